"""Measure the history: how fast it is written and how fast its pages are: ``python -m benchmarks.history``.

A million forecasts go the way of the projection, from the bytes of the log to the rows of the database: records are
decoded, joined and written as they are in the gateway, in transactions of a full buffer. Then every combination of
filters that `docs/history.md` names is asked for, as its first page and as deep ones, in the way of the gateway
without HTTP.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table
from sqlalchemy import text

from benchmarks.machine import description
from benchmarks.postgres import postgres_server
from gateway.history_queries import FORECASTS, Filter, HistoryQueries, Place
from gateway.migrations.upgrade import upgrade
from gateway.rows import rows_of
from gateway.store import Position, Store, open_engine
from runtime.broker import Message, TopicPartition
from runtime.incoming import Incoming, decode_message
from runtime.process import collect_rarely
from schemas import topics
from schemas.codec import encode
from schemas.forecasts import (
    AsOf,
    ForecastIssued,
    ForecastRefused,
    ForecastRequested,
    ForecastStep,
    Lineage,
    ModelUsed,
    default_model_name,
)
from schemas.identity import content_id
from schemas.record import Record
from schemas.topics import TOPIC_BY_NAME, Topic

_START = datetime(2026, 1, 1, tzinfo=UTC)
_DAYS = 300
_PROJECTS, _SERIES_A_PROJECT, _VERSIONS, _KEYS = 40, 50, 6, 400
#: Requests and answers that the gateway takes in one transaction at most, see `gateway.projection`.
_BUFFER = 5_000
#: The answer of a request stands so many requests later in the log.
_ANSWER_LAG = 100
#: Parts of all forecasts.
_PUBLIC, _TRIGGERED, _PENDING, _REFUSED = 0.5, 0.2, 0.001, 0.02
#: So many pages in a row, then a leap to somewhere else.
_IN_A_ROW = 4
_PAGE, _ROUNDS = 100, 8
_NAMES = {name: name for name in TOPIC_BY_NAME}
_PLACES = {topic.name: TopicPartition(topic.name, 0) for topic in (topics.FORECAST_REQUESTS, topics.FORECASTS)}
PACKAGES = ("foretopic", "sqlalchemy", "psycopg", "msgspec")


@dataclass(frozen=True)
class Asked:
    """One forecast of the made-up installation."""

    number: int
    series_id: str
    version: str
    requester: str
    cause: str
    outcome: str

    @property
    def request_id(self) -> str:
        return f"{self.number:08x}-6a0f-4f3e-9a3b-3f1f6a1c2b4d"


def series_ids() -> list[str]:
    """Return the series of all projects; the first project is the public one."""
    projects = ["market", *(f"shop-{number:03d}" for number in range(1, _PROJECTS))]
    return [f"{project}/item-{number:03d}@1d" for project in projects for number in range(_SERIES_A_PROJECT)]


def asked(count: int, rng: random.Random) -> Iterator[Asked]:
    """Yield forecasts as an installation might ask for them: half of public series, some by nobody, some refused."""
    every = series_ids()
    places = {series_id: place for place, series_id in enumerate(every)}
    public, private = every[:_SERIES_A_PROJECT], every[_SERIES_A_PROJECT:]
    for number in range(count):
        series_id = rng.choice(public if rng.random() < _PUBLIC else private)
        age = number * _VERSIONS // count
        version = f"{places[series_id]:012x}{age:04x}"
        is_triggered = rng.random() < _TRIGGERED
        key = rng.randrange(_KEYS)
        requester = "" if is_triggered else f"org-{key % 50:02d}/key/key-{key:03d}"
        luck = rng.random()
        outcome = "pending" if luck < _PENDING else "refused" if luck < _REFUSED else "issued"
        yield Asked(number, series_id, version, requester, "observation" if is_triggered else "caller", outcome)


_ID, _FORECAST_ID, _NAME, _VERSION = "request-id", "forecast-id", "project/name", "f0f0f0f0f0f0f0f0"
_REQUESTER, _CAUSE = "organisation/key/id", "the-cause"
_CUTOFF = _START - timedelta(days=1)
_RECORDS: dict[str, tuple[Topic, Record]] = {
    "asked": (
        topics.FORECAST_REQUESTS,
        ForecastRequested(
            request_id=_ID,
            series_id=f"{_NAME}@1d",
            horizon=10,
            as_of=AsOf(observations=1, models=1, deployments=1),
            cause=_CAUSE,
            requester=_REQUESTER,
        ),
    ),
    "refused": (
        topics.FORECASTS,
        ForecastRefused(
            request_id=_ID, series_id=f"{_NAME}@1d", code="too-little-history", reason="too few rows", cause=_CAUSE
        ),
    ),
    "issued": (
        topics.FORECASTS,
        ForecastIssued(
            forecast_id=_FORECAST_ID,
            request_id=_ID,
            series_id=f"{_NAME}@1d",
            cutoff=_CUTOFF,
            target="close",
            steps=tuple(
                ForecastStep(
                    time=_CUTOFF + timedelta(days=step),
                    median=100.25 + step / 7,
                    quantiles={"0.025": 99.1, "0.1": 99.9, "0.9": 102.7, "0.975": 103.3},
                )
                for step in range(1, 11)
            ),
            model=ModelUsed(name=f"{_NAME}-1d", version=_VERSION, role="champion", algorithm="lightgbm"),
            lineage=Lineage(
                observation_partition=3,
                observation_offset=17,
                model_offset=4,
                input_digest="0" * 64,
                model_digest="1" * 64,
            ),
            baselines={"seasonal-naive": tuple(100.0 for _ in range(10))},
            cause=_CAUSE,
        ),
    ),
}


class Messages:
    """The bytes of records: each kind is encoded once, and its names are changed; a million would take long."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._offsets = dict.fromkeys(_PLACES, 0)
        self._encoded = {
            kind: (topic, encode(topic, record, source="/foretopic/bench", time=_START))
            for kind, (topic, record) in _RECORDS.items()
        }

    def of(self, kind: str, one: Asked, number: int) -> tuple[Topic, Message]:
        """Return a message that the log took when forecast ``number`` was asked for."""
        topic, encoded = self._encoded[kind]
        value = encoded.value
        for old, new in (
            (_FORECAST_ID, f"{one.number:040x}"),
            (_ID, one.request_id),
            (_NAME, one.series_id.removesuffix("@1d")),
            (_VERSION, one.version),
            (_REQUESTER, one.requester),
            (_CAUSE, one.cause),
        ):
            value = value.replace(old.encode(), new.encode())
        offset, self._offsets[topic.name] = self._offsets[topic.name], self._offsets[topic.name] + 1
        moment = _START + number * timedelta(days=_DAYS) / self._count
        time_ms = int(moment.timestamp() * 1000)
        record = _RECORDS[kind][1]
        identity = (one.request_id, "pinned") if kind == "asked" else (one.request_id,)
        ce_id = content_id(type(record).__name__, identity).encode()
        headers = tuple((name, ce_id if name == "ce_id" else text) for name, text in encoded.headers)
        return topic, Message(topic.name, 0, offset, encoded.key, value, headers, time_ms)


class Writer:
    """Writes messages as the projection does, and counts the seconds that this takes; making them is not counted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._before: dict[TopicPartition, Position] = {}
        self._waiting: list[tuple[Topic, Message]] = []
        #: Forecasts a second of each transaction.
        self.rates: list[float] = []
        self.seconds = 0.0
        #: Of this process alone.
        self.processor_seconds = 0.0

    def put(self, message: tuple[Topic, Message]) -> None:
        """Take a message of the log; write when the buffer is full."""
        self._waiting.append(message)
        if len(self._waiting) >= _BUFFER:
            self.flush()

    def flush(self) -> None:
        """Write what waits in one transaction."""
        if not self._waiting:
            return
        started, started_processor = time.perf_counter(), time.process_time()
        incoming: list[Incoming] = [decode_message(topic, message) for topic, message in self._waiting]
        newest = {_PLACES[topic.name]: message for topic, message in self._waiting}
        after = {place: Position(message.offset + 1, message.timestamp_ms) for place, message in newest.items()}
        before = {place: self._before[place] for place in after if place in self._before}
        self._store.apply(rows_of(incoming), before, after, _NAMES)
        taken = time.perf_counter() - started
        self.seconds += taken
        self.processor_seconds += time.process_time() - started_processor
        self.rates.append(len(self._waiting) / 2 / taken)
        self._before |= after
        self._waiting.clear()


def fill(store: Store, count: int) -> Writer:
    """Bring ``count`` forecasts into the store."""
    writer, messages = Writer(store), Messages(count)
    behind: deque[Asked] = deque()

    def answer(number: int) -> None:
        one = behind.popleft()
        if one.outcome != "pending":
            writer.put(messages.of(one.outcome, one, number))

    for one in track(asked(count, random.Random(7)), f"writing {count} forecasts", total=count):  # noqa: S311  # made-up
        writer.put(messages.of("asked", one, one.number))
        behind.append(one)
        if len(behind) > _ANSWER_LAG:
            answer(one.number)
    while behind:
        answer(count)
    writer.flush()
    return writer


def combinations() -> dict[str, Filter]:
    """Return every combination of filters, with values that let few or many rows pass, for operators and tenants."""
    rng = random.Random(13)  # noqa: S311  # which value stands for a filter
    market, shop = "market/item-007@1d", "shop-007/item-021@1d"
    values: dict[str, Sequence[str]] = {
        "series_id": (market, shop),
        "model": tuple(default_model_name(each) for each in (market, shop)),
        "version": (f"{7:012x}0000", f"{series_ids().index(shop):012x}0003"),
        "status": ("issued", "refused", "pending"),
        "requester": ("org-07/key/key-007",),
        "cause": ("observation",),
        "project": ("market", "shop-007"),
    }
    month = {
        "from_ms": int((_START + timedelta(days=100)).timestamp() * 1000),
        "to_ms": int((_START + timedelta(days=130)).timestamp() * 1000),
    }
    seen = {
        "operator": None,
        "tenant": frozenset({"shop-007", "shop-008", "shop-009", "market/org-07"}),
        "large tenant": frozenset(f"shop-{number:03d}" for number in range(1, 30)) | {"market/org-07"},
    }
    found = {}
    for size in range(len(values) + 1):
        for names in itertools.combinations(values, size):
            for who, tenants in seen.items():
                for when, times in (("", {}), ("month", month)):
                    equal = {name: rng.choice(values[name]) for name in names}
                    label = " ".join((who, *(f"{name}={value}" for name, value in equal.items()), when)).strip()
                    found[label] = Filter(equal, tenants=tenants, **times)
    return found


def measure_pages(store: Store, rounds: int) -> dict[str, Any]:
    """Return the times (ms) of pages: of each combination the first one, deep ones, and those in a row."""
    queries = HistoryQueries(store)
    every: list[tuple[float, str]] = []
    rng = random.Random(11)  # noqa: S311  # made-up places
    for label, wanted in track(combinations().items(), "asking for pages"):
        after: Place | None = None
        for number in range(rounds):
            started = time.perf_counter()
            page = queries.page(FORECASTS, wanted, after=after, limit=_PAGE)
            every.append((1000 * (time.perf_counter() - started), label))
            after = page.next
            if after is None or number % _IN_A_ROW == _IN_A_ROW - 1:
                moment = _START + timedelta(days=_DAYS * rng.random())
                after = Place(int(moment.timestamp() * 1000), "")
    times = sorted(taken for taken, _ in every)
    worst = sorted(every, reverse=True)[:8]
    return {
        "pages": len(times),
        "p50_ms": statistics.median(times),
        "p99_ms": times[int(len(times) * 0.99)],
        "max_ms": times[-1],
        "worst": [f"{taken:.1f} ms {label}" for taken, label in worst],
    }


def measure(url: str, count: int, rounds: int) -> dict[str, Any]:
    """Return the figures of one database, which must be empty."""
    engine = open_engine(url)
    upgrade(engine)
    store = Store(engine)
    writer = fill(store, count)
    if engine.dialect.name == "postgresql":
        # Sooner or later autovacuum does it; the figures must not hang on when.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    tenth = sorted(writer.rates)[len(writer.rates) // 10]
    figures = {
        "forecasts": count,
        "per_second": count / writer.seconds,
        "per_processor_second": count / writer.processor_seconds,
        "slow_per_second": tenth,
        "bytes_a_forecast": _sizes(store, count),
        "pages": measure_pages(store, rounds),
    }
    engine.dispose()
    return figures


def _sizes(store: Store, count: int) -> dict[str, float]:
    """Return bytes a forecast of each table and index."""
    if store.engine.dialect.name == "sqlite":
        query = "SELECT name, SUM(pgsize) FROM dbstat GROUP BY name"
    else:
        query = "SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    with store.engine.connect() as connection:
        found = {name: int(size) / count for name, size in connection.execute(text(query))}
    return {name: round(size, 1) for name, size in sorted(found.items(), key=lambda item: -item[1]) if size >= 1}


def show(figures: dict[str, Any]) -> None:
    """Print the figures beside their targets."""
    console = Console(width=140)
    for line in figures["machine"]:
        console.print(line)
    table = Table("history", "SQLite", "PostgreSQL", "target")
    both = [figures[name] for name in ("sqlite", "postgresql")]
    rows = (
        ("forecasts written a second", [f"{each['per_second']:.0f}" for each in both], "2,000"),
        ("... in the slowest tenth of transactions", [f"{each['slow_per_second']:.0f}" for each in both], "2,000"),
        ("filtered page, median", [f"{each['pages']['p50_ms']:.1f} ms" for each in both], ""),
        ("filtered page, 99th percentile", [f"{each['pages']['p99_ms']:.1f} ms" for each in both], "50 ms"),
        ("filtered page, slowest", [f"{each['pages']['max_ms']:.1f} ms" for each in both], ""),
        ("bytes a forecast", [f"{sum(each['bytes_a_forecast'].values()):.0f}" for each in both], ""),
    )
    for name, found, target in rows:
        table.add_row(name, *found, target)
    console.print(table)
    for name in ("sqlite", "postgresql"):
        console.print(name, figures[name]["bytes_a_forecast"])
        console.print(name, "slowest:", figures[name]["pages"]["worst"])


def main() -> None:
    """Measure both databases and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("--forecasts", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="pages of each combination of filters")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    given = parser.parse_args()
    figures: dict[str, Any] = {"machine": description(PACKAGES)}
    collect_rarely()  # as the gateway does, for both databases and from the first row on
    with tempfile.TemporaryDirectory(prefix="foretopic-bench-") as home:
        figures["sqlite"] = measure(f"sqlite:///{home}/gateway.db", given.forecasts, given.rounds)
    with postgres_server() as url:
        figures["postgresql"] = measure(url, given.forecasts, given.rounds)
    if given.out is not None:
        given.out.write_text(json.dumps(figures, indent=2) + "\n")
    show(figures)


if __name__ == "__main__":
    main()
