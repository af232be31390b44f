"""Server-sent events: told once, in order, and on from where a reader was cut off."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway import event_stream, positions
from gateway import feed as feeds
from gateway.access import Principal
from gateway.event_stream import EventStream
from gateway.events import Event
from gateway.feed import Feed
from gateway.problems import Problem
from gateway.streams import Streams
from gateway.told import Told, Wish
from runtime.broker import TopicPartition
from schemas.forecasts import ForecastIssued
from schemas.topics import FORECASTS, MODELS, TRAINING_EVENTS
from tests import factories
from tests.unit.gateway.world import World, partition_of, running, wait_until

#: A stream that tells nothing is waited for: without what is tested here, it is for ever.
pytestmark = pytest.mark.timeout(180)
URL = "/api/v1/events"
PLUMS = "shop/plums@1d"
TOPICS = (FORECASTS, TRAINING_EVENTS, MODELS)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("gateway")) as started:
        started.settle()
        yield started


class Reader:
    """Reads a stream, one event at a time."""

    def __init__(self, world: World, query: str = "", after: str = "", **headers: str) -> None:
        sent = headers | ({"Last-Event-ID": after} if after else {})
        self.answer = world.client.get(f"{URL}?{query}", headers=sent)
        assert self.answer.status_code == 200, self.answer.text
        self._chunks = iter(self.answer.response)
        begin = next(self._chunks).decode().split("\n")
        assert begin[1:] == ["retry: 1000", "", ""]
        self.last_id = begin[0].removeprefix("id: ")
        assert self.last_id == (after or self.last_id)

    def events(self, count: int) -> list[dict[str, Any]]:
        found = []
        while len(found) < count:
            lines = dict(line.split(": ", 1) for line in next(self._chunks).decode().strip().split("\n"))
            self.last_id = lines.get("id", self.last_id)
            if "data" in lines and lines["event"] != "position":
                document = json.loads(lines["data"])
                assert document["type"] == lines["event"]
                found.append(document)
        return found

    def ids(self, count: int) -> list[str]:
        return [event["data"]["request_id"] for event in self.events(count)]

    def close(self) -> None:
        self.answer.close()


def forecast(request_id: str, series_id: str = factories.SERIES, model: str = "shop/apples-1d") -> ForecastIssued:
    record = factories.forecast_issued(request_id, series_id=series_id)
    return msgspec.structs.replace(record, model=msgspec.structs.replace(record.model, name=model))


def tell(world: World, *request_ids: str, series_id: str = factories.SERIES, model: str = "shop/apples-1d") -> None:
    for request_id in request_ids:
        world.publish(FORECASTS, forecast(request_id, series_id, model), partition_of(series_id))
    world.settle()


def test_a_forecast_is_told_as_it_comes(world: World) -> None:
    with closing(Reader(world, f"series_id={factories.SERIES}")) as reader:
        tell(world, "live-1")
        (event,) = reader.events(1)
    assert event["type"] == "forecast.issued"
    assert event["data"]["request_id"] == "live-1"
    assert event["timestamp"].endswith("Z")
    headers = reader.answer.headers
    assert (headers["Content-Type"], headers["X-Accel-Buffering"]) == ("text/event-stream", "no")


def test_filters_and_types(world: World) -> None:
    with (
        closing(Reader(world, f"series_id={PLUMS}")) as of_series,
        closing(Reader(world, "model=shop/plums-1d")) as of_model,
        closing(Reader(world, "project=shop&types=forecast.refused,training.succeeded,model.released")) as of_project,
        closing(Reader(world, "types=training.failed")) as of_type,
    ):
        tell(world, "other-1")
        tell(world, "plums-1", series_id=PLUMS)
        tell(world, "plums-2", series_id=PLUMS, model="shop/plums-1d")
        world.publish(FORECASTS, factories.forecast_refused("no-1", series_id=PLUMS))
        for sequence, state in enumerate(("running", "failed", "succeeded")):
            world.publish(TRAINING_EVENTS, factories.training_event("t-events", state=state, sequence=sequence))
            world.settle()
        world.publish(MODELS, factories.model_release(model="shop/plums-1d"))
        assert of_series.ids(3) == ["plums-1", "plums-2", "no-1"]
        assert of_model.events(2)[1]["type"] == "model.released"
        assert [event["type"] for event in of_project.events(3)] == [
            "forecast.refused",
            "training.succeeded",
            "model.released",
        ]
        assert [event["data"]["state"] for event in of_type.events(1)] == ["failed"]


def test_a_reader_goes_on_where_it_was_cut_off_here_and_in_another_gateway(world: World, tmp_path: Path) -> None:
    """Red without `_replayed` in gateway.event_stream."""
    names = [f"resume-{number}" for number in range(30)]
    series = [factories.SERIES, PLUMS, "shop/pears@1d"]
    with closing(Reader(world, "project=shop")) as reader:
        for number, name in enumerate(names[:10]):
            tell(world, name, series_id=series[number % 3])
        got = reader.ids(10)
    for number, name in enumerate(names[10:20]):
        tell(world, name, series_id=series[number % 3])
    with closing(Reader(world, "project=shop", after=reader.last_id)) as again:
        got += again.ids(7)
    with running(tmp_path, broker=world.broker) as rebuilt:
        rebuilt.settle()
        with closing(Reader(rebuilt, f"project=shop&last_event_id={again.last_id}")) as elsewhere:
            got += elsewhere.ids(3)
            for number, name in enumerate(names[20:]):
                tell(world, name, series_id=series[number % 3])
            got += elsewhere.ids(10)
    assert sorted(got) == sorted(names)


def test_a_reader_that_is_cut_off_before_the_first_event_misses_none(world: World) -> None:
    """Red without the `id` of the first block in `EventStream.chunks`."""
    with closing(Reader(world, "project=shop")) as reader:
        pass
    tell(world, "unheard-1")
    with closing(Reader(world, "project=shop", after=reader.last_id)) as again:
        assert again.ids(1) == ["unheard-1"]


def test_a_record_that_stands_twice_in_the_log_is_told_once(world: World) -> None:
    """Red without `Told.first`, live and from the log."""
    with closing(Reader(world, "types=forecast.issued&project=shop")) as reader:
        tell(world, "twice-0")
        start = reader.ids(1) and reader.last_id
        tell(world, "twice-1", "twice-1", "twice-2")
        assert reader.ids(2) == ["twice-1", "twice-2"]
    with closing(Reader(world, "types=forecast.issued&project=shop", after=start)) as again:
        assert again.ids(2) == ["twice-1", "twice-2"]


def test_what_was_read_from_the_log_is_not_told_again_live(world: World) -> None:
    """Red without the comparison with the position in `EventStream._take`."""
    tell(world, "overlap-1")
    stream = EventStream(world.service, Wish(types=frozenset({"forecast.issued"})), "")
    place = world.service.projection.place(FORECASTS, partition_of(factories.SERIES))
    end = world.service.projection.written()[place].next_offset

    def event(offset: int) -> Event:
        known = {"id": "x", "type": "forecast.issued", "time": factories.START, "row_key": ("x",), "model": None}
        return Event(**known, place=place, offset=offset, series_ids=(factories.SERIES,), record=b"{}")

    told = list(stream._take([event(end - 1), event(end), event(end)]))
    stream.close()
    assert len(told) == 1


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("types=forecast.issued,lottery", 422),
        ("serie_id=x", 422),
        ("last_event_id=17", 422),
        ("last_event_id=AQ", 422),
        ("last_event_id=" + "A" * 5000, 422),
    ],
)
def test_bad_wishes_are_refused(world: World, query: str, status: int) -> None:
    assert world.client.get(f"{URL}?{query}").status_code == status


def test_a_position_beyond_the_log_is_refused(world: World) -> None:
    places = [[world.service.projection.place(topic, number) for number in range(topic.partitions)] for topic in TOPICS]
    beyond = positions.encode({places[0][3]: 10**9}, places)
    answer = world.client.get(URL, headers={"Last-Event-ID": beyond})
    assert answer.status_code == 422
    assert "beyond the end" in answer.get_json()["detail"]


def test_positions_come_back_and_are_short() -> None:
    places = [[TopicPartition(topic.name, number) for number in range(topic.partitions)] for topic in TOPICS]
    known = {place: 12_345_678 + number for of_topic in places for number, place in enumerate(of_topic)}
    text = positions.encode(known, places)
    assert positions.decode(text, places) == known
    assert len(text) < 150
    for broken in (text[:-4], text + "AAAA", "!" + text, "Ag" + text[2:], "\u00e9" + text):
        with pytest.raises(ValueError, match=r"too|other|middle|base64|data|ASCII"):
            positions.decode(broken, places)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x01\x02\x05\x07", "other partitions"),
        (b"\x01\x03\x05\x07", "too short"),
        (b"\x01\x03\x05\x07\x09\x0b", "too long"),
        (b"\x01\x03\x05\x07\xff", "middle"),
        (b"\x01\x03\x05\x07\x09\x80", "middle"),
        (b"\x01\x03\x05\x07" + b"\xff" * 9 + b"\x01", "too large"),
    ],
)
def test_a_position_that_somebody_changed_is_refused(content: bytes, told: str) -> None:
    """Red without the line of `gateway.positions` that says so."""
    places = [[TopicPartition("one", number) for number in range(3)]]
    assert positions.decode(_text(b"\x01\x03\x05\x07\x09"), places) == dict(zip(places[0], (5, 7, 9), strict=True))
    with pytest.raises(ValueError, match=told):
        positions.decode(_text(content), places)


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def test_what_comes_while_a_reader_begins_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when `EventStream` asks how far the log is before it listens: what comes in between would be lost."""
    with closing(Reader(world, "types=forecast.issued")) as reader:
        tell(world, "before")
        reader.ids(1)
    listen = world.service.feed.listen

    def late(wish: Wish) -> Any:
        tell(world, "between")
        return listen(wish)

    monkeypatch.setattr(world.service.feed, "listen", late)
    with closing(Reader(world, "types=forecast.issued", after=reader.last_id)) as again:
        tell(world, "after")
        assert again.ids(2) == ["between", "after"]


def test_a_reader_comes_again_after_a_while(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red without `LIFETIME_SECONDS` in `EventStream._live`: what it may see would never be looked at anew."""
    stream = EventStream(world.service, Wish(types=frozenset({"forecast.issued"})), "")
    take, turns = stream._listener.take, []

    def once(_timeout_seconds: float) -> Any:
        turns.append(1)
        if len(turns) == 1:
            monkeypatch.setattr(event_stream, "LIFETIME_SECONDS", -1.0)
        if len(turns) > 5:
            stream._listener.cut()
        return take(0.0)

    monkeypatch.setattr(stream._listener, "take", once)
    list(stream.chunks())
    stream.close()
    assert len(turns) == 1


def test_streams_of_one_caller_are_limited_and_counted_down(tmp_path: Path) -> None:
    """Red without `Streams.admit` in gateway.routes.events."""
    with running(tmp_path, max_streams_per_caller=2) as small:
        small.settle()
        readers = [Reader(small), Reader(small)]
        refused = small.client.get(URL)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")
        readers[0].close()
        readers[0].close()
        Reader(small).close()
        readers[1].close()
        assert not small.service.feed._listeners


def test_streams_are_counted_over_all_callers_and_all_keys_of_a_user() -> None:
    """Red without either limit in `Streams.admit`, or when a stream ends twice."""
    streams = Streams(limit=3, limit_a_caller=2)
    first, second = (Principal(name=f"key/{number}", user_id="user_1") for number in range(2))
    ends = [streams.admit(first), streams.admit(second)]
    with pytest.raises(Problem):
        streams.admit(first)
    streams.admit(Principal(name="user/user_2", user_id="user_2"))
    with pytest.raises(Problem):
        streams.admit(Principal(name="user/user_3", user_id="user_3"))

    for _ in range(2):
        ends[0]()

    streams.admit(first)
    with pytest.raises(Problem):
        streams.admit(first)


def test_a_slow_reader_is_cut_off_and_loses_nothing(tmp_path: Path) -> None:
    """Red without the limit in `Listener.tell`: it would hold every event in memory."""
    with running(tmp_path) as small:
        small.settle()
        feed = small.service.feed
        feed._max_waiting_events = 100
        with closing(Reader(small, f"series_id={PLUMS}")) as reader:
            tell(small, "slow-first", series_id=PLUMS)
            assert reader.ids(1) == ["slow-first"]
            (listener,) = feed._listeners
            many = [f"slow-{number}" for number in range(300)]
            tell(small, *many, series_id=PLUMS)
            wait_until(lambda: listener.is_cut, "the reader is cut off")
            with pytest.raises(StopIteration):
                reader.events(1)
        with closing(Reader(small, f"series_id={PLUMS}", after=reader.last_id)) as again:
            assert again.ids(len(many)) == many


def test_a_stream_ends_when_the_gateway_stops(tmp_path: Path) -> None:
    with running(tmp_path) as short:
        short.settle()
        reader = Reader(short)
    with pytest.raises(StopIteration):
        reader.events(1)


class _NeverAsked(Told):
    def __init__(self) -> None:
        pass


def test_messages_that_nobody_gets_round_to_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red without the limit in `Feed.offer`: a feed that is slower than the log would hold all of it."""
    monkeypatch.setattr(feeds, "_MAX_WAITING_MESSAGES", 3)
    feed = Feed(_NeverAsked())
    listener = feed.listen(Wish(types=frozenset()))
    for _ in range(2):
        assert not listener.is_cut
        feed.offer([object()] * 2, {})  # type: ignore[list-item]  # nobody looks at them

    assert listener.is_cut
    assert not feed._waiting


def test_with_nobody_listening_nothing_is_looked_at() -> None:
    """What the projection pays for the feed: red without the first lines of `Feed.offer`."""
    feed = Feed(_NeverAsked())
    feed.offer([object()], {})  # type: ignore[list-item]  # must not be touched
    assert not feed._waiting
