"""Bad input through the whole ingestor: the clear error, nothing of it in the log, the series beside it on time.

More than sixty cases; what only the gateway sees (uploads, bodies) stands in ``tests/unit/gateway``.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import stamina

from ingestor.compose import build
from ingestor.cryptocompare import CryptoCompareSource
from ingestor.fetching import Fetched, fetch
from ingestor.files import FileSource
from ingestor.settings import IngestorSettings
from ingestor.sources import Wanted
from ingestor.sql import SqlSource
from ingestor.uploads import UploadSource
from ingestor.urls import UrlSource
from runtime.broker import partition_for
from runtime.memory_broker import MemoryBroker
from schemas.topics import DEAD_LETTERS, QUARANTINE
from tests.fakes import ManualClock
from tests.unit.ingestor.answers import Fake, served
from tests.unit.ingestor.bad_input import CASES, GOOD_CSV, MIB, Bad
from tests.unit.ingestor.frames import frame
from tests.unit.ingestor.test_handlers import ask, batches, final, records, work

SERIES = "bad/X@1d"
#: Another series of the same partition: what waits behind a bad request would wait here.
NEIGHBOUR = next(
    name
    for name in (f"good/{n}@1d" for n in count())
    if partition_for(name.encode(), 12) == partition_for(b"bad/X@1d", 12)
)


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=1):
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What can be asked for, and what lies beside it and cannot."""
    folder = tmp_path / "files"
    folder.mkdir()
    (tmp_path / "secret.csv").write_bytes(GOOD_CSV)
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "good.csv").write_bytes(GOOD_CSV)
    (tmp_path / "queries.toml").write_text(
        '[sales]\nsql = "SELECT * FROM sales WHERE store = :store"\nparameters = { store = "int" }\n'
    )
    sqlite3.connect(tmp_path / "sales.db").close()
    return folder


def sources(bad: Bad, folder: Path) -> dict[str, object]:
    """Return the sources as the service has them, without processes of their own."""
    url = partial(UrlSource, directory=folder, max_bytes=MIB, timeout_seconds=60.0)
    coins = CryptoCompareSource(sessions=Fake(lambda *_: bad.answer or (200, {}, b"")).session)
    sql = SqlSource(url=f"sqlite:///{folder.parent / 'sales.db'}", queries=folder.parent / "queries.toml")
    real = {
        "file": FileSource(folder, 16 * MIB),
        "url": url(allowed_hosts=("127.0.0.1",)),
        "public-url": url(),
        "cryptocompare": coins,
        "upload": UploadSource(directory=folder, max_bytes=MIB),
        "sql": sql,
    }
    return {"one": partial(in_memory, bad), **{name: partial(fetch, source) for name, source in real.items()}}


def in_memory(bad: Bad, wanted: Wanted) -> Fetched:
    given = frame(close=[1.0, 2.0], unit="USD") if wanted.symbol == "KNOWN" else bad.frame
    assert given is not None
    return Fetched(frame=given, rows_received=len(given))


@pytest.mark.loopback
@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_told_and_harms_nothing(name: str, folder: Path, broker: MemoryBroker, clock: ManualClock) -> None:
    bad = CASES[name]
    if bad.file is not None:
        (folder / bad.symbol).write_bytes(bad.file)
    asked = {"series_id": SERIES, "calendar": "24/7", **bad.asked}
    neighbour = {"series_id": NEIGHBOUR, "calendar": "24/7", "sources": ("file",), "symbol": "good.csv"}
    with served(lambda _: bad.answer) as address:
        worker = build(IngestorSettings(), broker=broker, clock=clock, sources=sources(bad, folder))
        ask(broker, "known", **asked | {"sources": ("one",), "symbol": "KNOWN", "calendar": "24/7"})
        ask(broker, "before", **neighbour)
        work(worker, broker)
        known = [batch for batch in batches(broker) if batch.series_id == SERIES]

        ask(broker, "bad", **asked | {"sources": (bad.source,), "symbol": bad.symbol.format(address=address)})
        ask(broker, "after", **neighbour)
        (folder / "good.csv").write_bytes(GOOD_CSV + b"2024-03-12,3\n")
        work(worker, broker)
        worker.close()

    event = final(broker, "bad")
    assert (event.state, event.rows_published) == ("failed", 0)
    assert re.search(bad.said, event.reason), event.reason
    assert event.reason.startswith(f"{bad.source.removeprefix('public-')}: ") or bad.source in (
        "one",
        "nowhere",
        "file",
    )
    assert len(event.reason) <= 2000
    # Nothing of it is in the log, and nothing that was there is gone.
    assert [batch for batch in batches(broker) if batch.series_id == SERIES] == known
    assert (records(broker, DEAD_LETTERS), records(broker, QUARANTINE)) == ([], [])
    # The series behind it in the same partition is on time.
    assert [final(broker, one).rows_published for one in ("known", "before", "after")] == [2, 2, 1]


def test_there_are_as_many_cases_as_promised() -> None:
    assert len(CASES) >= 60
