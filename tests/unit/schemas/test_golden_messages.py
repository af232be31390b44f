"""Every golden message is read today as it was written, by every reader that was ever published."""

from __future__ import annotations

import json
from itertools import product

import jsonschema
import pytest

from schemas import evolution, golden
from schemas.codec import decode, encode, record_type_name
from schemas.golden import GoldenMessage, golden_messages, to_text
from schemas.topics import TOPIC_BY_NAME, TOPICS

MESSAGES = list(golden_messages())
MESSAGE_IDS = [f"{message.topic}/v{message.version}/{message.case}" for message in MESSAGES]


def reencoded(message: GoldenMessage):
    topic = TOPIC_BY_NAME[message.topic]
    decoded = decode(topic, message.value, message.headers)
    envelope = decoded.envelope
    return encode(
        topic,
        decoded.record,
        source=envelope.source,
        time=envelope.time,
        code_version=envelope.code_version,
        traceparent=envelope.traceparent,
    )


@pytest.mark.parametrize("message", MESSAGES, ids=MESSAGE_IDS)
def test_golden_message_decodes_and_encodes_to_the_same_bytes(message):
    again = reencoded(message)

    assert again.value == message.value
    assert again.headers == message.headers
    assert again.key == message.key


def test_releases_of_before_say_nothing_of_single_folds():
    # Red where `fold_metrics` or `fold_spread` has no default.
    older = [one for one in MESSAGES if one.topic == "models" and b"fold_metrics" not in one.value]
    records = [decode(TOPIC_BY_NAME["models"], one.value, one.headers).record for one in older]

    assert len(records) >= 4
    assert {(one.fold_metrics, tuple(one.fold_spread)) for one in records} == {((), ())}


def test_every_file_below_examples_is_a_golden_message_of_a_topic():
    files = {path for path in golden.EXAMPLES_PATH.rglob("*") if path.is_file()}
    claimed = {
        golden.EXAMPLES_PATH / message.topic / f"v{message.version}" / f"{message.case}.json"
        for message in MESSAGES
        if message.topic in TOPIC_BY_NAME
        and message.type_name
        in {record_type_name(record, message.version) for record in TOPIC_BY_NAME[message.topic].records}
    }
    assert files == claimed


def test_every_version_of_every_record_has_golden_messages():
    expected = {record_type_name(record, version) for topic in TOPICS for record, version in topic.records.items()}
    assert {message.type_name for message in MESSAGES} >= expected | set(evolution.read_published())


def test_golden_files_stand_in_the_form_in_which_they_are_written():
    for message in MESSAGES:
        path = golden.EXAMPLES_PATH / message.topic / f"v{message.version}" / f"{message.case}.json"
        assert path.read_text(encoding="utf-8") == to_text(reencoded(message))


def reader_pairs():
    published = evolution.read_published()
    for message, (name, revisions) in product(MESSAGES, published.items()):
        if message.type_name == name:
            for number, revision in enumerate(revisions, start=1):
                yield pytest.param(message, revision, id=f"{message.case}-by-revision-{number}")


@pytest.mark.parametrize(("message", "revision"), list(reader_pairs()))
def test_every_published_reader_accepts_every_golden_message(message, revision):
    """Full-transitive: old messages by new readers, new messages by old readers."""
    validator = jsonschema.Draft202012Validator(revision, format_checker=jsonschema.FormatChecker())

    assert [error.message for error in validator.iter_errors(json.loads(message.value))] == []
