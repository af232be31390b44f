"""Forecasts as they come: repeats dropped, contradictions called out, starts understood."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import msgspec
import pytest

from foretopic.log_access import read_to_end, topic_partitions
from foretopic.subscription import Alarm, Received, StartError, Subscription, as_json, as_line, start_offsets
from runtime.broker import Message, OutgoingMessage, partition_for
from runtime.errors import BrokerUnavailable
from runtime.memory_broker import MemoryBroker
from runtime.topic_specs import specs
from schemas.codec import encode
from schemas.forecasts import ForecastRefused
from schemas.topics import FORECASTS
from tests.factories import START, forecast_issued


def message_of(record, offset: int = 0, partition: int = 0) -> Message:
    encoded = encode(FORECASTS, record, source="/foretopic/predictor", time=START)
    return Message(
        topic="forecasts",
        partition=partition,
        offset=offset,
        key=encoded.key,
        value=encoded.value,
        headers=encoded.headers,
        timestamp_ms=0,
    )


def test_forecast_is_received():
    record = forecast_issued()
    taken = Subscription().take(message_of(record))
    assert isinstance(taken, Received)
    assert taken.record == record


def test_repeat_is_dropped():
    # Goes red without the `return None` for a known ce_id in Subscription.take.
    subscription = Subscription()
    subscription.take(message_of(forecast_issued(), offset=0))
    assert subscription.take(message_of(forecast_issued(), offset=1)) is None


def test_one_ce_id_over_two_contents_is_an_alarm():
    # Goes red without the comparison in Subscription._remember.
    subscription = Subscription()
    first = forecast_issued()
    subscription.take(message_of(first))
    other = message_of(msgspec.structs.replace(first, unit="EUR"), offset=1)
    taken = subscription.take(other)
    assert isinstance(taken, Alarm)
    assert "stands over two different contents" in taken.text
    assert taken.text.startswith("ce_id")


def test_one_forecast_id_over_two_contents_is_an_alarm():
    subscription = Subscription()
    first = forecast_issued()
    subscription.take(message_of(first))
    other = msgspec.structs.replace(first, request_id="request-2", unit="EUR")
    taken = subscription.take(message_of(other, offset=1))
    assert isinstance(taken, Alarm)
    assert taken.text.startswith(f"forecast_id {first.forecast_id}")


def test_two_requests_for_one_forecast_are_both_received():
    subscription = Subscription()
    first = forecast_issued()
    subscription.take(message_of(first))
    assert isinstance(
        subscription.take(message_of(msgspec.structs.replace(first, request_id="request-2"), offset=1)), Received
    )


def test_other_series_are_left_out():
    assert Subscription("shop/pears@1d").take(message_of(forecast_issued())) is None


def test_junk_is_an_alarm():
    junk = replace(message_of(forecast_issued()), value=b"junk")
    taken = Subscription().take(junk)
    assert isinstance(taken, Alarm)
    assert "no forecast" in taken.text


def test_refusal_is_shown_with_its_reason():
    refused = ForecastRefused(request_id="request-1", series_id="shop/apples@1d", code="no-champion", reason="none yet")
    taken = Subscription().take(message_of(refused))
    assert isinstance(taken, Received)
    assert as_line(taken) == "shop/apples@1d  refused (no-champion): none yet"


def test_json_line_holds_the_record_as_it_came():
    message = message_of(forecast_issued(), offset=7, partition=3)
    taken = Subscription().take(message)
    assert isinstance(taken, Received)
    document = json.loads(as_json(taken))
    assert (document["partition"], document["offset"], document["type"]) == (3, 7, "ForecastIssued")
    assert document["record"] == json.loads(message.value)


def write(broker, record) -> None:
    encoded = encode(FORECASTS, record, source="/foretopic/predictor", time=START)
    producer = broker.producer()
    producer.send(OutgoingMessage(topic="forecasts", key=encoded.key, value=encoded.value, headers=encoded.headers))
    producer.flush(10)


def test_starts_are_understood(broker, clock):
    record = forecast_issued()
    write(broker, record)
    clock.advance(3600)
    after_first = clock.now()
    clock.advance(3600)
    write(broker, msgspec.structs.replace(record, request_id="request-2"))
    places = topic_partitions(broker, FORECASTS, "")
    place = places[partition_for(record.series_id.encode(), len(places))]

    def start(text: str) -> int:
        return start_offsets(broker, places, text, series_id=record.series_id)[place]

    assert start("now") == 2
    assert start("earliest") == 0
    assert start("1") == 1
    assert start("99") == 2
    assert start(after_first.isoformat()) == 1
    assert start(after_first.replace(tzinfo=None).isoformat()) == 1
    with pytest.raises(StartError, match="now, earliest, an offset or a time"):
        start("yesterday")


def test_without_a_series_every_partition_is_read(broker):
    places = topic_partitions(broker, FORECASTS, "")
    assert set(start_offsets(broker, places, "earliest", series_id=None)) == set(places)


def test_whole_topic_is_read_to_its_end(broker, clock):
    for number in range(5):
        write(broker, msgspec.structs.replace(forecast_issued(), request_id=f"request-{number}"))
    assert len(list(read_to_end(broker, topic_partitions(broker, FORECASTS, ""), clock=clock))) == 5


class HaltingBroker(MemoryBroker):
    """Gives one message at a time, and nothing at every second look: what was fetched is still on its way."""

    def reader(self, positions):
        reader, looks = super().reader(positions), itertools.count()
        poll = reader.poll
        reader.poll = lambda timeout_seconds: [] if next(looks) % 2 else poll(timeout_seconds, 1)
        return reader


def test_a_caller_who_takes_long_over_a_message_hears_no_silence_of_the_broker(clock):
    # Red with the seconds since the last message in place of those that were waited in vain.
    broker = HaltingBroker(clock)
    broker.ensure_topics(specs())
    for number in range(3):
        write(broker, msgspec.structs.replace(forecast_issued(), request_id=f"request-{number}"))
    read = 0
    for _ in read_to_end(broker, topic_partitions(broker, FORECASTS, ""), clock=clock):
        read += 1
        clock.advance(60)
    assert read == 3


class SilentBroker(MemoryBroker):
    """Gives nothing, however long one waits."""

    def reader(self, positions):
        reader = super().reader(positions)
        reader.poll = lambda timeout_seconds: self.clock.sleep(timeout_seconds) or []
        return reader


def test_a_broker_that_falls_silent_is_told(clock):
    broker = SilentBroker(clock)
    broker.ensure_topics(specs())
    write(broker, forecast_issued())
    with pytest.raises(BrokerUnavailable, match="Kafka gave nothing for 15 s"):
        list(read_to_end(broker, topic_partitions(broker, FORECASTS, ""), clock=clock))


def test_missing_topic_is_told(broker):
    with pytest.raises(BrokerUnavailable, match=r"topic other-forecasts does not exist.*FORETOPIC_TOPIC_PREFIX"):
        topic_partitions(broker, FORECASTS, "other-")
