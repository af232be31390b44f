"""Uploads as the product takes them: a gunicorn gateway with its green threads, an ingestor, a real Kafka."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pytest
import requests
from pyarrow import csv, parquet

from tests.integration.gateway_process import GatewayProcess
from tests.integration.ingestor_process import Client, ingestor_process
from tests.integration.test_gateway_kafka import log_with_a_champion
from tests.unit.gateway.world import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SERIES, DAYS, PROMISED = 30, 60, 5
#: How long another request may wait while a large upload is taken in and read, as a share of the whole time: a machine
#: that has much else to do makes both longer. Were it taken in or read in one go, it would be most of it.
LONGEST_WAIT_SHARE = 0.4
#: For the child that reads a file: it waits while the file `held` stands beside this one, and says so.
HOLD = """
import sys, time
from pathlib import Path
folder = Path(__file__).parent
if "gateway.uploads.child" in sys.orig_argv and (folder / "held").exists():
    (folder / "waits").touch()
    while (folder / "held").exists():
        time.sleep(0.02)
"""


@dataclass
class Others:
    """Somebody else, who asks the gateway something small all the time."""

    address: str
    is_over: threading.Event = field(default_factory=threading.Event)
    waits: list[float] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def run(self) -> None:
        with requests.Session() as session:
            while not self.is_over.wait(0.01):
                asked = time.monotonic()
                status = session.get(f"{self.address}/api/v1/series", timeout=120).status_code
                self.waits.append(time.monotonic() - asked)
                if status != 200:
                    self.refused.append(status)

    def longest_share(self) -> float:
        """Return the longest wait as a share of the whole time."""
        return max(self.waits) / self._seconds

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self.run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._seconds = time.monotonic() - self._began
        self.is_over.set()
        self._thread.join(120)


@dataclass(frozen=True)
class Installation:
    """A gateway and an ingestor that share a directory."""

    address: str
    files: Path
    #: Where `HOLD` is.
    hold: Path

    def upload(self, content: bytes, name: str) -> Any:
        answer = requests.post(f"{self.address}/api/v1/uploads", files={"file": (name, content)}, timeout=120)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def load(self, upload_id: str, **body: Any) -> Any:
        answer = requests.post(f"{self.address}/api/v1/uploads/{upload_id}/load", json=body, timeout=120)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        answer = requests.get(f"{self.address}{path}", timeout=120)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ended(self, upload_id: str) -> list[dict[str, Any]] | None:
        series = self.get(f"/api/v1/uploads/{upload_id}")["series"]
        return series if all(line["ingest"]["state"] in ("succeeded", "failed") for line in series) else None


@pytest.fixture
def installation(
    kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    files, hold = tmp_path / "files", tmp_path / "hold"
    hold.mkdir()
    (hold / "sitecustomize.py").write_text(HOLD)
    monkeypatch.setenv("PYTHONPATH", str(hold), prepend=os.pathsep)
    with log_with_a_champion(kafka, topic_prefix):
        client = Client(kafka, topic_prefix)
        gateway = GatewayProcess(kafka, topic_prefix, tmp_path, files_directory=str(files))
        try:
            with ingestor_process(client, tmp_path, files_directory=str(files)):
                gateway.start()
                yield Installation(f"http://127.0.0.1:{gateway.port}", files, hold)
                assert gateway.stop() == 0
        finally:
            gateway.close()
            client.close()


def shops(series: int = SERIES) -> pa.Table:
    """Return a long table whose sales end today, and whose promotions are known for some days more."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    days = [today - timedelta(days=DAYS - 1 - n) for n in range(DAYS + PROMISED)]
    # Today's too, which are withheld: past midnight they are yesterday's, and without them their row would be left out.
    sales = [float(100 + n % 7) if n < DAYS else None for n in range(len(days))]
    return pa.table(
        {
            "shop": np.repeat([f"shop {number:02}" for number in range(series)], len(days)),
            "date": pa.array(days * series, pa.timestamp("s")).cast(pa.date32()),
            "sales": pa.array(sales * series),
            "promo": pa.array([n % 2 for n in range(len(days))] * series),
            "price": pa.array([1.5] * (len(days) * series)),
        }
    )


def as_parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def as_csv(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    csv.write_csv(table, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(("write", "name"), [(as_parquet, "shops.parquet"), (as_csv, "shops.csv")])
def test_file_of_many_series_is_shown_loaded_and_read(
    installation: Installation, write: Callable[[pa.Table], bytes], name: str
) -> None:
    with Others(installation.address) as others:
        shown = installation.upload(write(shops()), name)
        assert shown["mapping"] == {
            "time": "date",
            "series": "shop",
            "target": "sales",
            "columns": ["sales", "promo", "price"],
            "known_future": ["promo", "price"],
            "freq": "1d",
            "calendar": "24/7",
        }
        upload_id = shown["upload_id"]
        loaded = installation.load(upload_id, project="shops", known_future=["promo"], columns=["sales", "promo"])
        assert [line["ingest"]["series_id"] for line in loaded["series"]][:2] == [
            "shops/shop-00@1d",
            "shops/shop-01@1d",
        ]
        series = wait_until(lambda: installation.ended(upload_id), "the end of every ingest")

    assert [line["ingest"]["state"] for line in series] == ["succeeded"] * SERIES, series[0]
    for number in (0, SERIES - 1):
        rows = installation.get(f"/api/v1/series/shops/shop-{number:02}@1d/observations?limit=1000")["observations"]
        columns = rows["columns"]
        assert len(columns["sales"]) == DAYS + PROMISED
        assert columns["sales"][: DAYS - 1] == [float(100 + n % 7) for n in range(DAYS - 1)]
        assert columns["sales"][DAYS:] == [None] * PROMISED
        assert columns["promo"] == [float(n % 2) for n in range(DAYS + PROMISED)]
    assert len(others.waits) > 20
    assert others.refused == []


def test_others_are_answered_while_a_file_is_read(installation: Installation) -> None:
    """Red where the gateway reads it itself, and where a thread of it waits for the child: all requests share one."""
    held = installation.hold / "held"
    held.touch()
    with ThreadPoolExecutor(1) as pool:
        try:
            upload = pool.submit(installation.upload, as_csv(shops(1)), "small.csv")
            wait_until((installation.hold / "waits").exists, "a child has the file")
            for _ in range(3):
                installation.get("/api/v1/series")
            assert not upload.done()
        finally:
            held.unlink()
        assert upload.result(120)["inspection"]["rows"] == DAYS + PROMISED


def test_others_are_answered_while_a_large_file_comes_in(installation: Installation) -> None:
    line = b"2024-01-01," + b"7" * 40 + b"\n"
    content = b"date,sales\n" + line * (128 * 1024 * 1024 // len(line))
    with Others(installation.address) as others:
        large = installation.upload(content, "large.csv")
        small = installation.upload(as_csv(shops(1)), "small.csv")

    assert large["inspection"]["rows"] == 128 * 1024 * 1024 // len(line)
    assert small["inspection"]["rows"] == DAYS + PROMISED
    assert others.refused == []
    assert others.longest_share() < LONGEST_WAIT_SHARE


def test_file_that_takes_the_memory_ends_its_child_and_nothing_else(installation: Installation) -> None:
    """Its footer tells of little: one text of a mebibyte, once, for half a million rows."""
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(500_000, np.int32)), pa.array(["x" * 1024 * 1024]))
    table = pa.table({"date": np.zeros(500_000, "datetime64[s]"), "text": text})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd", store_schema=False)
    with Others(installation.address) as others:
        answer = requests.post(
            f"{installation.address}/api/v1/uploads", files={"file": ("bomb.parquet", buffer.getvalue())}, timeout=120
        )

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-upload")
    assert "memory" in answer.json()["detail"]
    assert list((installation.files / "uploads").iterdir()) == []
    assert others.refused == []
