"""A gateway on the in-memory broker, and a predictor beside it that answers honestly from the factories."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from flask import Flask
from sqlalchemy import Connection, select

from gateway.accounts.database import AccountsDatabase, open_accounts
from gateway.app import create_app, service_of
from gateway.migrations.upgrade import upgrade
from gateway.settings import GatewaySettings
from gateway.store import Store, open_engine
from gateway.tables import METADATA
from runtime.broker import Broker, OutgoingMessage, TopicPartition, partition_for
from runtime.clock import SystemClock
from runtime.memory_broker import MemoryBroker
from runtime.memory_delivery import PromptNetwork, SentMessage
from runtime.publisher import Publisher
from runtime.topic_specs import specs
from schemas import topics
from schemas.codec import decode, encode
from schemas.forecasts import ForecastRequestBatch, ForecastRequested, ForecastStep, forecast_id_of
from schemas.record import Record
from schemas.schedules import RunPlanned
from schemas.topics import FORECAST_REQUESTS, FORECASTS, TOPIC_BY_NAME, Topic
from tests import factories, postgres

#: Ends a run that is broken: a machine with much else to do may take five times as long as it mostly does.
DEADLINE_SECONDS = 120.0


def wait_until(claim: Callable[[], Any], what: str = "the condition", seconds: float = DEADLINE_SECONDS) -> Any:
    """Return what ``claim`` gives once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := claim():
            return found
        threading.Event().wait(0.005)
    raise AssertionError(f"{what} did not come true in {seconds} s")


def publish(broker: MemoryBroker, topic: Topic, record: Record, partition: int | None = None) -> tuple[int, int]:
    """Append a record as a service would; return its partition and offset."""
    encoded = encode(topic, record, source="/foretopic/test", time=SystemClock().now())
    message = OutgoingMessage(topic.name, encoded.key, encoded.value, encoded.headers, partition)
    return broker.producer().send(message).result(60.0)


class HeldNetwork(PromptNetwork):
    """Keeps what is sent to one topic until it is let through."""

    def __init__(self, topic: str) -> None:
        super().__init__()
        self._topic = topic
        self._lock = threading.Lock()
        self.held: list[SentMessage] = []
        self.is_open = False

    def on_send(self, sent: SentMessage) -> None:
        with self._lock:
            if not self.is_open and sent.partition.topic == self._topic:
                self.held.append(sent)
                return
        super().on_send(sent)

    def release(self) -> None:
        """Let everything through, now and from now on."""
        with self._lock:
            self.is_open = True
            held, self.held = self.held, []
        for sent in held:
            sent.append()
            sent.acknowledge()

    def release_held(self) -> None:
        """Let through what is held now."""
        with self._lock:
            held, self.held = self.held, []
        for sent in held:
            sent.append()
            sent.acknowledge()


class Responder:
    """Answers each request once, from the log, as the predictor would."""

    def __init__(
        self, broker: Broker, answer: Callable[[ForecastRequested], Record] | None = None, *, prefix: str = ""
    ) -> None:
        self._broker = broker
        self._answer = answer or issued
        self._prefix = prefix
        self._stop = threading.Event()
        self._must_pause = threading.Event()
        self._is_parked = threading.Event()
        self.requests: list[ForecastRequested] = []
        self.records: list[Record] = []
        self._answered: set[str] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_SECONDS)

    def pause(self) -> None:
        """Return once nothing is answered any more."""
        self._is_parked.clear()
        self._must_pause.set()
        assert self._is_parked.wait(DEADLINE_SECONDS)

    def resume(self) -> None:
        """Answer what waits, and go on."""
        self._must_pause.clear()

    def _run(self) -> None:
        name = FORECAST_REQUESTS.full_name(self._prefix)
        reader = self._broker.reader({TopicPartition(name, number): 0 for number in range(12)})
        publisher = Publisher(self._broker.producer(), service="test", clock=SystemClock(), topic_prefix=self._prefix)
        while not self._stop.is_set():
            if self._must_pause.is_set():
                self._is_parked.set()
                self._stop.wait(0.005)
                continue
            for message in reader.poll(0.02):
                record = decode(FORECAST_REQUESTS, message.value, message.headers).record
                self.records.append(record)
                requests = record.requests if isinstance(record, ForecastRequestBatch) else (record,)
                for request in requests:
                    self.requests.append(request)
                    if request.request_id not in self._answered:
                        self._answered.add(request.request_id)
                        publisher.send(FORECASTS, self._answer(request), partition=message.partition)
        reader.close()
        publisher.close()


def issued(request: ForecastRequested) -> Record:
    """Return a flat forecast that is a function of what was asked, so that one forecast id has one content."""
    cutoff = factories.START + timedelta(days=29) if request.series_id else request.cutoff
    tails = [(50 - level / 2) / 100 for level in reversed(request.levels)]
    probabilities = [*tails, *(1 - tail for tail in reversed(tails))]
    quantiles = {repr(round(p, 6)): 100.0 + p for p in probabilities}
    steps = tuple(
        ForecastStep(time=cutoff and cutoff + timedelta(days=step), median=100.5, quantiles=quantiles)
        for step in range(1, request.horizon + 1)
    )
    example = factories.forecast_issued()
    return factories.forecast_issued(
        request.request_id,
        horizon=request.horizon,
        series_id=request.series_id,
        cutoff=cutoff,
        steps=steps,
        forecast_id=forecast_id_of(
            series_id=request.series_id,
            cutoff=cutoff,
            horizon=request.horizon,
            levels=request.levels,
            model_digest=example.lineage.model_digest,
            input_digest=example.lineage.input_digest,
        ),
    )


@cache
def _empty_database() -> bytes:
    """Return a migrated database: the migrations take a while, and are tested elsewhere."""
    with TemporaryDirectory() as folder:
        engine = open_engine(f"sqlite:///{folder}/empty.db")
        upgrade(engine)
        engine.dispose()
        return Path(folder, "empty.db").read_bytes()


class World:
    """What a test of the gateway holds."""

    def __init__(self, folder: Path, *, broker: MemoryBroker | None = None, **settings: Any) -> None:
        self.broker = broker or MemoryBroker(SystemClock())
        self.broker.ensure_topics(specs())
        self.folder = folder
        given = {
            "accounts": "local",
            # Passwords that cost nothing to check: at its start a gateway hashes one too.
            "password_memory_kibibytes": 8,
            "password_rounds": 1,
            "min_write_interval_seconds": 0.0,
            "default_wait_seconds": 60.0,
            "delivery_timeout_seconds": 60.0,
            # Of a machine with much else to do, a thread may get nothing for longer than the log of a real one.
            "stuck_after_seconds": 60.0,
        }
        if postgres.of_worlds is not None and not settings.get("database_url"):
            given["database_url"] = postgres.of_worlds.of_folder(folder)
            settings.pop("database_url", None)
        self.settings = GatewaySettings(home=folder, **(given | settings))
        self.store = self.new_store()
        self.accounts = open_accounts(self.settings.accounts_url, SystemClock())
        self.app: Flask = create_app(self.settings, broker=self.broker, store=self.store, accounts=self.accounts)
        self.service = service_of(self.app)
        self.client = self.app.test_client()

    def new_store(self, name: str = "gateway.db") -> Store:
        if self.settings.database_url:
            return Store(open_engine(self.settings.database_url))
        self.folder.mkdir(exist_ok=True)
        database = self.folder / name
        if not database.exists():
            database.write_bytes(_empty_database())
        return Store(open_engine(f"sqlite:///{database}"))

    def close(self) -> None:
        """Give back the connections to its databases."""
        # A delivery that is under way when the gateway stops is not waited for, and would keep one, or take another.
        self.service.webhooks.deliverer._pool.shutdown()
        self.store.engine.dispose()
        self.accounts.engine.dispose()

    def publish(self, topic: Topic, record: Record, partition: int | None = None) -> tuple[int, int]:
        return publish(self.broker, topic, record, partition)

    def settle(self) -> None:
        """Wait until the store has everything that stands in the log."""
        places = [
            TopicPartition(topic.name, number) for topic in TOPIC_BY_NAME.values() for number in range(topic.partitions)
        ]
        projection = self.service.projection

        def is_settled() -> bool:
            ends = self.broker.end_offsets(places)
            # The second look: what is written while something is projected, a dead letter, stands in the log by then.
            return projection.is_caught_up and projection.has_written(ends) and self.broker.end_offsets(places) == ends

        wait_until(is_settled, "the projection of the log")


class CountedAccounts(AccountsDatabase):
    """The accounts database as one gateway has it; says how often it is read and written to."""

    reads = 0
    writes = 0

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self.reads += 1
        with super().read() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self.writes += 1
        with super().write() as connection:
            yield connection


def partition_of(key: str) -> int:
    return partition_for(key.encode(), 12)


@contextmanager
def running(folder: Path, *, broker: MemoryBroker | None = None, **settings: Any) -> Iterator[World]:
    """Yield a started world; one with a log of its own knows that nothing stands there."""
    world = World(folder, broker=broker, **settings)
    world.service.start()
    try:
        if broker is None:
            # Until then a request may be asked to come again, and what is tested would never be looked at.
            wait_until(lambda: world.service.projection.is_caught_up, "the beginning of the log")
        yield world
    finally:
        world.service.stop()
        world.close()


def contents(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table."""
    with store.engine.connect() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in METADATA.sorted_tables
        }


def every_record() -> list[tuple[Topic, Record]]:
    """Return a log in which every record type stands, and repeats besides."""
    request = factories.forecast_request("asked-1")
    unpinned = factories.forecast_request("asked-2", as_of=None)
    batch = ForecastRequestBatch(
        requests=(factories.forecast_request("asked-3"), factories.forecast_request("asked-4"))
    )
    restated = factories.observation_batch(
        rows=3, columns={"close": (7.0, 8.0, None)}, kind="restatement", reason="late"
    )
    return [
        (topics.OBSERVATIONS, factories.observation_batch()),
        (topics.OBSERVATIONS, restated),
        (topics.OBSERVATIONS, factories.observation_batch()),
        (topics.OBSERVATIONS, factories.observation_batch(series_id="shop/plums@1d")),
        (topics.INGEST_REQUESTS, factories.ingest_request()),
        (topics.INGEST_EVENTS, factories.ingest_event(state="running")),
        (topics.INGEST_EVENTS, factories.ingest_event(state="succeeded")),
        (topics.INGEST_SCHEDULES, factories.schedule()),
        (topics.INGEST_SCHEDULES, factories.schedule("schedule-2", is_paused=True)),
        (topics.INGEST_EVENTS, RunPlanned(schedule_id="schedule-2", series_id=factories.SERIES)),
        (topics.INGEST_EVENTS, factories.ingest_event(state="running")),
        (topics.QUARANTINE, factories.observations_quarantined()),
        (topics.QUARANTINE, factories.observations_quarantined("held-2")),
        (topics.QUARANTINE, factories.quarantine_decided()),
        (topics.QUARANTINE, factories.quarantine_decided(decision_id="decision-2", decision="reject")),
        (topics.QUARANTINE, factories.observations_quarantined()),
        (topics.DEAD_LETTERS, factories.dead_letter()),
        (topics.DEAD_LETTERS, factories.dead_letter(offset=1, key=b"\x00", topic="no\x00such")),
        (topics.DEAD_LETTERS, factories.dead_letter_decided()),
        (topics.DEAD_LETTERS, factories.dead_letter_decided(decision_id="decision-2", decision="drop")),
        (topics.DEAD_LETTERS, factories.dead_letter(reason="a repeat")),
        (topics.TRAINING_REQUESTS, factories.training_request()),
        (topics.TRAINING_REQUESTS, factories.training_cancel_request()),
        (topics.TRAINING_REQUESTS, factories.training_request()),
        (topics.TRAINING_EVENTS, factories.training_event(sequence=0, state="running")),
        (topics.TRAINING_EVENTS, factories.training_event(sequence=1, state="cancelled")),
        (topics.TRAINING_EVENTS, factories.training_event(sequence=0, state="running")),
        (topics.MODELS, factories.model_release()),
        (topics.MODELS, factories.model_release(training_id="training-2")),
        (topics.DEPLOYMENTS, factories.deployment()),
        (topics.DEPLOYMENTS, factories.deployment()),
        (topics.FORECAST_REQUESTS, request),
        (topics.FORECAST_REQUESTS, request),
        (topics.FORECAST_REQUESTS, unpinned),
        (topics.FORECAST_REQUESTS, factories.forecast_request("asked-2", as_of=factories.as_of())),
        (topics.FORECAST_REQUESTS, batch),
        (topics.FORECASTS, factories.forecast_issued("asked-1")),
        (topics.FORECASTS, factories.forecast_issued("asked-1")),
        (topics.FORECASTS, factories.forecast_refused("asked-3")),
        (topics.FORECASTS, factories.forecast_issued("asked-4")),
    ]
