"""The log is the database: the store is made from it, again and again, and always the same."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import projection
from gateway.migrations.upgrade import upgrade
from gateway.rows import Rows, rows_of
from gateway.store import Position, Store, StoreTaken, StoreUnavailable, open_engine
from runtime.broker import OutgoingMessage, TopicPartition
from runtime.incoming import Incoming
from runtime.memory_broker import MemoryBroker
from runtime.topic_specs import specs
from schemas import topics
from schemas.codec import decode
from schemas.dead_letters import DeadLetter
from schemas.forecasts import ForecastStep
from schemas.models import LeaderboardEntry
from schemas.topics import DEAD_LETTERS, TOPIC_BY_NAME
from tests import factories
from tests.unit.gateway.conftest import BOTH, fill
from tests.unit.gateway.world import DEADLINE_SECONDS, World, contents, every_record, running, wait_until

NAMES = {name: name for name in TOPIC_BY_NAME}


def log_of(records: list[tuple[Any, Any]]) -> list[Incoming]:
    """Return the records as messages, with offsets that count within their partition."""
    ends: Counter[tuple[str, int]] = Counter()
    messages = []
    for topic, record in records:
        partition = factories.message(topic, record).partition
        messages.append(factories.incoming(topic, record, offset=ends[topic.name, partition], partition=partition))
        ends[topic.name, partition] += 1
    return messages


def positions_of(messages: list[Incoming]) -> dict[TopicPartition, Position]:
    return {
        TopicPartition(each.message.topic, each.message.partition): Position(
            each.message.offset + 1, each.message.timestamp_ms
        )
        for each in messages
    }


def write(store: Store, messages: list[Incoming]) -> list[Any]:
    known = store.positions()
    after = positions_of(messages)
    before = {place: known[place] for place in after if place in known}
    return store.apply(rows_of(messages), before, after, NAMES)


@pytest.fixture(scope="module", params=BOTH)
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(tmp_path: Path, new_database: Callable[[], str]) -> Iterator[Store]:
    world = World(tmp_path, database_url=new_database())
    yield world.store
    world.close()


def test_a_database_made_again_has_the_same_rows(tmp_path: Path, new_database: Callable[[], str]) -> None:
    with running(tmp_path / "first", database_url=new_database()) as world:
        for topic, record in every_record():
            world.publish(topic, record)
        world.settle()
        with running(tmp_path / "second", broker=world.broker, database_url=new_database()) as again:
            again.settle()

            made = contents(world.store)
            assert contents(again.store) == made
    assert {name for name, rows in made.items() if not rows} == {"alarms"}


@pytest.fixture
def whole(tmp_path: Path) -> Store:
    """A store that was written in one transaction, and an empty one beside it to copy."""
    engine = open_engine(f"sqlite:///{tmp_path / 'whole.db'}")
    upgrade(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=DELETE")
    shutil.copy(tmp_path / "whole.db", tmp_path / "empty.db")
    store = Store(engine)
    write(store, log_of(every_record()))
    return store


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 27), max_size=6), repeats=st.lists(st.integers(0, 26), max_size=4))
def test_where_transactions_end_and_what_is_read_again_changes_no_row(
    tmp_path: Path, whole: Store, cuts: list[int], repeats: list[int]
) -> None:
    messages = log_of(every_record())
    shutil.copy(tmp_path / "empty.db", tmp_path / "pieces.db")
    pieces = Store(open_engine(f"sqlite:///{tmp_path / 'pieces.db'}"))

    edges = [0, *sorted(cuts), len(messages)]
    for start, end in pairwise(edges):
        # A message that is read again, as after a lost acknowledgement of the transaction.
        again = [messages[index] for index in repeats if index < start]
        pieces.apply(rows_of(again), {}, {}, NAMES)
        write(pieces, messages[start:end])

    assert contents(pieces) == contents(whole)
    pieces.engine.dispose()


def test_a_repeated_batch_does_not_undo_a_restatement(store: Store) -> None:
    write(store, log_of(every_record()[:3]))

    rows = sorted(contents(store)["observations"], key=lambda row: row[1])
    # Goes red without `Store._new`, which drops what came before under the same ce_id.
    assert [msgspec.json.decode(columns)["close"] for _, _, columns, *_ in rows[:3]] == [7.0, 8.0, None]


NEWEST_OF_TWO = [
    # Red where `Store._newest_wins` compares no offsets.
    (topics.INGEST_SCHEDULES, factories.schedule(), factories.schedule("schedule-2", is_paused=True)),
    # Red where `Store._models` compares none.
    (topics.MODELS, factories.model_release(), factories.model_release(training_id="training-2")),
]
FIRST_OF_TWO = [
    # Red where `Store._requested` writes over what was requested.
    (topics.TRAINING_REQUESTS, factories.training_request(), factories.training_request(algorithm="drift")),
    (topics.INGEST_REQUESTS, factories.ingest_request(), factories.ingest_request(symbol="PEARS")),
]


@pytest.mark.parametrize(("topic", "older", "newer"), NEWEST_OF_TWO)
def test_an_older_record_that_is_read_again_is_not_the_newest(store: Store, topic: Any, older: Any, newer: Any) -> None:
    """As after a migration, which has the log read again from its beginning."""
    messages = log_of([(topic, older), (topic, newer)])
    write(store, messages)
    before = contents(store)

    store.apply(rows_of(messages[:1]), {}, {}, NAMES)

    assert contents(store) == before


def test_what_was_compared_outlives_a_training_that_names_what_was_chosen(store: Store) -> None:
    """Red without `_telling_more`: both release one version, as the same artefact comes of both."""
    board = (LeaderboardEntry(algorithm="drift", state="chosen"),)
    chosen = factories.model_release(training_id="training-auto", leaderboard=board)
    named = factories.model_release(training_id="training-named")
    again = factories.model_release(training_id="training-auto-2", leaderboard=board)
    messages = log_of([(topics.MODELS, one) for one in (chosen, named, again)])

    def kept(read: list[Incoming]) -> tuple[str, int]:
        assert store.apply(rows_of(read), {}, {}, NAMES) == []
        ((_, _, offset, release),) = contents(store)["model_versions"]
        return msgspec.json.decode(release)["training_id"], offset

    assert kept(messages[:1]) == ("training-auto", 0)
    assert kept(messages[1:2]) == ("training-auto", 1), "the place is that of the newest release"
    assert kept(messages[:2]) == ("training-auto", 1), "what is read again changes nothing"
    assert kept(messages[2:]) == ("training-auto-2", 2)


@pytest.mark.parametrize(("topic", "first", "second"), FIRST_OF_TWO)
def test_a_second_request_of_one_id_changes_nothing(store: Store, topic: Any, first: Any, second: Any) -> None:
    messages = log_of([(topic, first), (topic, second)])
    write(store, messages[:1])
    before = contents(store)

    store.apply(rows_of(messages[1:]), {}, {}, NAMES)

    assert contents(store) == before


def test_rows_and_positions_are_written_together_or_not_at_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = log_of(every_record())

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    # The last step of the transaction; goes red when `Store.apply` uses more than one transaction.
    monkeypatch.setattr(Store, "_history", killed)
    with pytest.raises(KeyboardInterrupt):
        write(store, messages)

    assert {name: rows for name, rows in contents(store).items() if rows} == {}


def test_two_gateways_on_one_database_are_refused(store: Store) -> None:
    place = TopicPartition("models", 0)
    store.apply(Rows(), {}, {place: Position(5, 1)}, NAMES)

    # Goes red without the comparison in `Store._move`.
    with pytest.raises(StoreTaken, match="give each gateway its own"):
        store.apply(Rows(), {place: Position(3, 1)}, {place: Position(4, 1)}, NAMES)
    with pytest.raises(StoreTaken):
        store.apply(Rows(), {}, {place: Position(6, 1)}, NAMES)
    assert store.positions() == {place: Position(5, 1)}


def test_the_first_pinned_record_of_a_request_counts(store: Store) -> None:
    first = factories.forecast_request("asked", as_of=None, horizon=1)
    pinned = factories.forecast_request("asked", as_of=factories.as_of(), horizon=2)
    repeat = factories.forecast_request("asked", as_of=factories.as_of(), horizon=3)
    messages = log_of([(topics.FORECAST_REQUESTS, each) for each in (first, pinned, repeat)])

    for message in messages:
        write(store, [message])

    ((*_, wish, is_pinned, _, offset),) = contents(store)["forecast_requests"]
    assert (is_pinned, offset) == (True, 1)
    assert wish == rows_of(messages[1:2]).forecast_requests[0]["wish"]


OTHER_STEPS = tuple(
    ForecastStep(time=factories.START, median=1.0, quantiles={"0.1": 0.0, "0.9": 2.0}) for _ in range(3)
)


@pytest.mark.parametrize(
    ("topic", "first", "second", "kind"),
    [
        (
            topics.FORECASTS,
            factories.forecast_issued("r-1"),
            factories.forecast_issued("r-1", forecast_id="other"),
            "one-request-two-answers",
        ),
        (
            topics.FORECASTS,
            factories.forecast_issued("r-1"),
            factories.forecast_refused("r-1"),
            "one-request-two-answers",
        ),
        (
            topics.FORECASTS,
            factories.forecast_issued("r-1"),
            factories.forecast_issued("r-2", steps=OTHER_STEPS),
            "one-forecast-id-two-contents",
        ),
        (
            topics.DEPLOYMENTS,
            factories.deployment(reason="one"),
            factories.deployment(reason="two"),
            "one-deployment-two-contents",
        ),
        (
            topics.MODELS,
            factories.model_release(seed=1),
            factories.model_release(seed=2),
            "one-release-two-contents",
        ),
    ],
)
@pytest.mark.parametrize("is_one_transaction", [True, False])
def test_one_id_over_two_contents_is_an_alarm(
    store: Store, topic: Any, first: Any, second: Any, kind: str, *, is_one_transaction: bool
) -> None:
    messages = log_of([(topic, first), (topic, second)])

    pieces = [messages] if is_one_transaction else [[message] for message in messages]
    alarms = [alarm for piece in pieces for alarm in write(store, piece)]

    assert [alarm.kind for alarm in alarms] == [kind]
    assert (alarms[0].topic, alarms[0].log_offset) == (topic.name, 1)
    assert len(contents(store)["alarms"]) == 1


def test_forecasts_with_one_id_and_one_content_raise_no_alarm(store: Store) -> None:
    messages = log_of([(topics.FORECASTS, factories.forecast_issued(name)) for name in ("r-1", "r-2", "r-1")])

    assert write(store, messages) == []


def test_an_alarm_is_in_the_status_and_in_the_metrics(world: World) -> None:
    world.publish(topics.FORECASTS, factories.forecast_issued("r-1"))
    world.publish(topics.FORECASTS, factories.forecast_refused("r-1"))
    world.settle()

    (alarm,) = world.client.get("/status").json["alarms"]
    assert (alarm["kind"], alarm["subject"]) == ("one-request-two-answers", "r-1")
    assert 'foretopic_alarms_total{kind="one-request-two-answers"} 1.0' in world.client.get("/metrics").text


@pytest.mark.parametrize("topic", ["models", "deployments", "forecasts", "training-events", "ingest-events"])
def test_junk_on_an_owned_topic_becomes_a_dead_letter_and_stops_nothing(world: World, topic: str) -> None:
    value, key = b"\x00junk", b"k"
    sent = OutgoingMessage(topic, key, value, (("ce_type", b"foretopic.ModelReleased.v99"),), 0)
    _, offset = world.broker.producer().send(sent).result(1.0)
    world.publish(topics.FORECASTS, factories.forecast_issued("behind-it"))
    world.settle()

    letters = dead_letters(world)

    assert [(each.topic, each.partition, each.offset, each.value) for each in letters] == [(topic, 0, offset, value)]
    assert letters[0].service == "gateway"
    assert world.client.get("/api/v1/forecasts/behind-it").status_code == 200


@pytest.mark.parametrize("topic", ["observations", "forecast-requests", "training-requests", "ingest-requests"])
def test_junk_that_is_another_service_s_to_bury_is_counted_only(world: World, topic: str) -> None:
    world.broker.producer().send(OutgoingMessage(topic, b"k", b"junk", (), 0)).result(1.0)
    world.settle()

    assert dead_letters(world) == []
    assert f'foretopic_junk_messages_total{{topic="{topic}"}} 1.0' in world.client.get("/metrics").text


def dead_letters(world: World) -> list[DeadLetter]:
    reader = world.broker.reader({TopicPartition(DEAD_LETTERS.name, number): 0 for number in range(12)})
    found = [decode(DEAD_LETTERS, message.value, message.headers).record for message in reader.poll(0.05)]
    return [letter for letter in found if isinstance(letter, DeadLetter)]


def test_readers_wait_for_the_writer_when_what_they_hold_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when `Buffer.is_full` does not look at the bytes: all of the log would be read into memory."""
    is_writing, is_over = threading.Event(), threading.Event()

    def waits(*_: object) -> None:
        is_writing.set()
        assert is_over.wait(DEADLINE_SECONDS)
        raise StoreUnavailable("the test is over")

    monkeypatch.setattr(Store, "apply", waits)
    monkeypatch.setattr(projection, "_MAX_BUFFERED_BYTES", 500_000)
    days = range(200)
    batch = factories.observation_batch(
        time=tuple(factories.START + timedelta(days=day) for day in days),
        columns={"close": tuple(1.0 + day / 7 for day in days)},
    )
    message = factories.outgoing_message(topics.OBSERVATIONS, batch)
    size, count = len(message.value or b""), 600
    broker = MemoryBroker()
    broker.ensure_topics(specs())
    producer = broker.producer()
    for _ in range(count):
        partition, _offset = producer.send(message).result(1)
    with running(tmp_path, broker=broker) as world:
        try:
            assert is_writing.wait(DEADLINE_SECONDS)
            reads = world.service.projection
            wait_until(lambda: reads._buffer.is_full, "a full buffer")
            # What the writer has and what the reader holds: each within the limit but for the messages of one look.
            most = 2 * (500_000 + projection._MAX_POLLED_MESSAGES * size)
            assert reads.seen(topics.OBSERVATIONS, partition) * size <= most < count * size
        finally:
            is_over.set()


def test_a_restart_goes_on_where_the_store_is(tmp_path: Path, new_database: Callable[[], str]) -> None:
    url = new_database()
    with running(tmp_path, database_url=url) as world:
        fill(world)
    # It has stopped: what it wrote to its last moment.
    before = world.store.positions()
    world.close()
    with running(tmp_path, broker=world.broker, database_url=url) as again:
        wait_until(lambda: again.service.projection.is_caught_up)
        assert again.store.positions() == before
        assert again.service.projection.knows_series(factories.SERIES)
        again.publish(topics.FORECASTS, factories.forecast_issued("later"))
        again.settle()
        assert again.client.get("/api/v1/forecasts/later").status_code == 200


def test_a_reader_may_begin_while_progress_is_told(tmp_path: Path) -> None:
    """Red without the `list` of `Projection.progress`: `foretopic rebuild` asks for it from the first moment on."""
    world = World(tmp_path)
    reads = world.service.projection

    class Ends(dict[TopicPartition, int]):
        def items(self) -> Any:
            reads._ends_at_start["begins now"] = {}
            return super().items()

    reads._ends_at_start["has begun"] = Ends({reads.place(topics.MODELS, 0): 3})

    assert reads.progress() == (0, 3)
    world.close()


def test_a_gateway_has_stopped_once_its_companions_have(tmp_path: Path) -> None:
    """Red without the `join` in `GatewayService.stop`: they would go on with databases that were let go of."""
    may_end, ended = threading.Event(), []
    world = World(tmp_path)

    def companion() -> None:
        wait_until(lambda: world.service.projection.is_stopping)
        assert may_end.wait(DEADLINE_SECONDS)
        ended.append(True)

    world.service.accompany(companion)
    world.service.start()
    later = threading.Timer(0.2, may_end.set)
    later.start()
    world.service.stop()
    world.close()

    assert ended == [True]


def test_a_bug_in_the_projection_ends_the_process_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[bool] = []
    world = World(tmp_path)
    monkeypatch.setattr(world.service.projection, "_on_failure", lambda: ended.append(True))
    monkeypatch.setattr(world.store, "apply", lambda *_: 1 / 0)
    world.publish(topics.MODELS, factories.model_release())
    world.service.start()

    wait_until(lambda: ended)

    answer = world.client.get("/health")
    assert (answer.status_code, answer.json["status"]) == (503, "unavailable")
    # Anybody may ask: what went wrong is for the log.
    assert answer.json["reason"] == "the projection ended; the log says why"
    world.service.stop()
    world.close()
