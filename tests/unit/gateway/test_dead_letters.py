"""Dead letters over HTTP: listed, shown, sent again, let go; the first decision counts, on every gateway."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.accounts.tables import AUDIT
from runtime.broker import Message, OutgoingMessage, TopicPartition
from schemas import topics
from schemas.codec import decode, record_id
from schemas.dead_letters import REPLAY_OF, DeadLetter, DeadLetterDecided, dead_letter_id
from schemas.errors import InvalidRecord
from tests import factories
from tests.unit.gateway.test_gateway_bad_input import assert_problem
from tests.unit.gateway.world import World, running, wait_until

URL = "/api/v1/dead-letters"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("letters")) as world:
        yield world


_OFFSETS = iter(range(100, 10_000))


def die(world: World, **changes: Any) -> str:
    letter = factories.dead_letter(offset=next(_OFFSETS), **changes)
    world.publish(topics.DEAD_LETTERS, letter)
    world.settle()
    return record_id(letter)


def messages(world: World, topic: str) -> list[Message]:
    places = [TopicPartition(topic, number) for number in range(topics.TOPIC_BY_NAME[topic].partitions)]
    reader = world.broker.reader(dict.fromkeys(places, 0))
    found = list(reader.poll(0.0, 10_000))
    reader.close()
    return found


def decisions(world: World, letter_id: str) -> list[DeadLetterDecided]:
    found = []
    for message in messages(world, "dead-letters"):
        try:
            record = decode(topics.DEAD_LETTERS, message.value, message.headers).record
        except InvalidRecord:
            continue
        is_decision = isinstance(record, DeadLetterDecided)
        if is_decision and dead_letter_id(record.topic, record.partition, record.offset) == letter_id:
            found.append(record)
    return found


def test_the_id_of_a_letter_is_that_of_its_record() -> None:
    letter = factories.dead_letter(topic="models", partition=3, offset=4)
    assert dead_letter_id("models", 3, 4) == record_id(letter)


def test_a_letter_is_listed_and_shown(desk: World) -> None:
    letter_id = die(desk, key=b"k", value=b"\x00\xff" + SCRIPT.encode(), headers={"junk": b"\xff"}, service="trainer")

    (line,) = desk.client.get(f"{URL}?service=trainer").json["dead_letters"]
    assert line.pop("died_at").endswith("Z")
    assert line == {
        "dead_letter_id": letter_id,
        "topic": "observations",
        "service": "trainer",
        "reason": "not JSON",
        "value_bytes": 27,
        "replay_of": None,
        "state": "waiting",
        "decided_by": "",
        "decision_reason": "",
        "replayed_to": None,
    }
    shown = desk.client.get(f"{URL}/{letter_id}").json
    assert shown["key"]["text"] == "k"
    assert shown["value"]["text"] is None
    assert base64.b64decode(shown["value"]["base64"]) == b"\x00\xff" + SCRIPT.encode()
    assert shown["value"]["hex"].startswith("00000000  00 ff 3c 73 63 72")
    assert (shown["headers"]["junk"]["base64"], shown["attempts"], shown["died_again_as"]) == ("/w==", 1, [])
    assert_problem(desk.client.get(f"{URL}/nothing"), 404, "unknown-dead-letter")


def test_long_bytes_are_cut_between_characters(desk: World) -> None:
    letter_id = die(desk, value=b"x" + "ã".encode() * 40_000)
    value = desk.client.get(f"{URL}/{letter_id}").json["value"]
    assert (value["bytes"], value["is_cut"], value["text"]) == (80_001, True, "x" + "ã" * 32_767)


def test_the_list_is_filtered_and_comes_in_pages(desk: World) -> None:
    mine = [die(desk, service="predictor", topic="deployments") for _ in range(5)]
    desk.client.post(f"{URL}/{mine[1]}/drop", json={})

    def ids(query: str) -> list[str]:
        found, url = [], f"{URL}?limit=2&topic=deployments&{query}"
        while url:
            page = desk.client.get(url).json
            assert len(page["dead_letters"]) <= 2
            found += [line["dead_letter_id"] for line in page["dead_letters"]]
            url = page["next"]
        return found

    everything = ids("")
    assert (len(everything), sorted(everything)) == (5, sorted(mine))
    assert sorted(ids("state=waiting")) == sorted(set(mine) - {mine[1]})
    assert (ids("state=dropped"), ids("state=replayed"), ids("service=trainer")) == ([mine[1]], [], [])
    for query in ("state=lost", "limit=0", "toppic=models", "topic=%00"):
        assert_problem(desk.client.get(f"{URL}?{query}"), 422, "invalid-parameter")
    assert_problem(desk.client.get(f"{URL}?after=nothing"), 404, "unknown-dead-letter")


def test_a_replay_sends_the_same_bytes_to_the_partition_of_the_key(desk: World) -> None:
    headers = {"ce_id": b"x", "junk": b"\xff\x00"}
    letter_id = die(desk, topic="training-requests", key=b"market/AAPL@1d", value=b"\x00junk", headers=headers)

    answer = desk.client.post(f"{URL}/{letter_id}/replay", json={"decided_by": "ana", "reason": "mended"})
    assert (answer.status_code, answer.json["state"], answer.json["decided_by"]) == (202, "replayed", "ana")
    (message,) = [one for one in messages(desk, "training-requests") if one.value == b"\x00junk"]
    assert message.key == b"market/AAPL@1d"
    assert dict(message.headers) == {**headers, REPLAY_OF: letter_id.encode()}
    place = {"topic": "training-requests", "partition": message.partition, "offset": message.offset}
    assert answer.json["replayed_to"] == place
    again = desk.client.post(f"{URL}/{letter_id}/replay", json={"decided_by": "bob"})
    assert (again.status_code, again.json["decided_by"]) == (202, "ana")
    # Goes red without `if row["decision"] is None` in gateway.dead_letters.decide.
    assert len([one for one in messages(desk, "training-requests") if one.value == b"\x00junk"]) == 1
    assert len(decisions(desk, letter_id)) == 1


def test_a_message_without_key_goes_to_its_partition(desk: World) -> None:
    letter_id = die(desk, topic="training-requests", key=None, partition=7, value=b"keyless")
    assert desk.client.post(f"{URL}/{letter_id}/replay", json={}).json["replayed_to"]["partition"] == 7


def test_the_first_decision_counts(desk: World) -> None:
    letter_id = die(desk, topic="training-requests", value=b"dropped")
    assert desk.client.post(f"{URL}/{letter_id}/drop", json={}).status_code == 202
    assert_problem(desk.client.post(f"{URL}/{letter_id}/replay", json={}), 409, "already-decided")
    assert [one for one in messages(desk, "training-requests") if one.value == b"dropped"] == []
    assert [one.decision for one in decisions(desk, letter_id)] == ["drop"]


def test_a_message_that_dies_again_names_the_letter_that_it_was(desk: World) -> None:
    # The gateway itself buries what is no record of `models`.
    letter_id = die(desk, topic="models", key=b"m", value=b"never a release")
    desk.client.post(f"{URL}/{letter_id}/replay", json={})

    again = wait_until(lambda: desk.client.get(f"{URL}/{letter_id}").json["died_again_as"])
    second = desk.client.get(f"{URL}/{again[0]}").json
    assert (second["replay_of"], second["state"], second["service"]) == (letter_id, "waiting", "gateway")
    assert second["value"]["text"] == "never a release"
    third = desk.client.post(f"{URL}/{again[0]}/replay", json={})
    newest = wait_until(lambda: desk.client.get(f"{URL}/{again[0]}").json["died_again_as"])
    # The header names the last one, not the first.
    assert (third.status_code, desk.client.get(f"{URL}/{newest[0]}").json["replay_of"]) == (202, again[0])


@pytest.mark.parametrize("topic", ["dead-letters", "no-such-topic"])
def test_what_has_no_topic_to_go_to_is_only_dropped(desk: World, topic: str) -> None:
    """Red for `dead-letters` without `topic is DEAD_LETTERS` in runtime.dead_letter.again: it would go round."""
    letter_id = die(desk, topic=topic)
    before = len(messages(desk, "dead-letters"))
    assert_problem(desk.client.post(f"{URL}/{letter_id}/replay", json={}), 409, "not-replayable")
    assert len(messages(desk, "dead-letters")) == before
    assert desk.client.post(f"{URL}/{letter_id}/drop", json={}).json["state"] == "dropped"


def test_what_its_topic_does_not_take_is_only_dropped(desk: World) -> None:
    """Red without `require_size` in gateway.dead_letters: the broker would refuse it each time."""
    too_large = b"x" * topics.TRAINING_REQUESTS.max_message_bytes
    letter_id = die(desk, topic="training-requests", value=too_large)
    assert_problem(desk.client.post(f"{URL}/{letter_id}/replay", json={}), 409, "not-replayable")
    assert all(one.value != too_large for one in messages(desk, "training-requests"))


def test_junk_among_the_dead_letters_is_buried_by_nobody(desk: World) -> None:
    """Red with DEAD_LETTERS in gateway.projection.OWNED: each letter would make another one."""
    before = len(messages(desk, "dead-letters"))
    desk.broker.producer().send(OutgoingMessage("dead-letters", b"k", b"junk", ())).result(5.0)
    desk.settle()
    die(desk)
    assert len(messages(desk, "dead-letters")) == before + 2


def test_a_header_that_is_no_id_names_nothing(desk: World) -> None:
    for value in (b"\xff" * 32, b"x", b"<" * 32, b"a" * 33):
        assert desk.client.get(f"{URL}/{die(desk, headers={REPLAY_OF: value})}").json["replay_of"] is None


def test_another_gateway_knows_the_decision(desk: World, tmp_path: Path) -> None:
    letter_id = die(desk, value=b"for all")
    desk.client.post(f"{URL}/{letter_id}/drop", json={"decided_by": "ana", "reason": "old"})
    with running(tmp_path, broker=desk.broker) as other:
        other.settle()
        shown = other.client.get(f"{URL}/{letter_id}").json
        assert (shown["state"], shown["decided_by"], shown["decision_reason"]) == ("dropped", "ana", "old")


def test_a_decision_stands_in_the_audit_log(desk: World) -> None:
    letter_id = die(desk)
    desk.client.post(f"{URL}/{letter_id}/drop", json={"reason": "old"})
    desk.client.post(f"{URL}/{letter_id}/drop", json={"reason": "again"})
    with desk.accounts.read() as connection:
        rows = connection.execute(select(AUDIT).where(AUDIT.c.subject == letter_id)).mappings().all()
    assert [(row["action"], row["details"]) for row in rows] == [
        ("dead-letter.dropped", '{"topic":"observations","reason":"old"}')
    ]


@pytest.mark.parametrize("body", [{"reason": 1}, {"decision": "drop"}, {"reason": "x" * 2001}])
def test_bad_bodies_are_told(desk: World, body: dict[str, Any]) -> None:
    letter_id = die(desk)
    assert_problem(desk.client.post(f"{URL}/{letter_id}/drop", json=body), 422, "invalid-body")
    assert desk.client.get(f"{URL}/{letter_id}").json["state"] == "waiting"


def test_a_decision_says_where_a_replayed_message_stands_and_nothing_else() -> None:
    with pytest.raises(ValueError, match="replayed_offset"):
        factories.dead_letter_decided(replayed_offset=None)
    with pytest.raises(ValueError, match="replayed_partition"):
        factories.dead_letter_decided(decision="drop", replayed_partition=1)
    assert isinstance(factories.dead_letter(), DeadLetter)
