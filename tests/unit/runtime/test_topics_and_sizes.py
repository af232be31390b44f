"""Topics as the broker is to make them, and the sizes of messages."""

from __future__ import annotations

import pytest
from kafka.record.default_records import DefaultRecordBatchBuilder

from runtime.broker import OutgoingMessage
from runtime.message_size import message_size
from runtime.topic_specs import specs
from schemas.topics import TOPICS


def test_every_topic_of_the_contract_has_its_settings() -> None:
    found = {spec.name: spec for spec in specs("acme-")}

    assert set(found) == {f"acme-{topic.name}" for topic in TOPICS}
    assert found["acme-ingest-requests"].retention_ms == 7 * 86_400_000
    assert found["acme-observations"].retention_ms is None
    assert found["acme-observations"].max_message_bytes == 4 * 1024 * 1024
    assert not found["acme-models"].is_compacted  # a prefix of the log must stay what it was
    assert (found["acme-models"].partitions, found["acme-deployments"].partitions) == (1, 1)


@pytest.mark.parametrize(("replicas", "in_sync"), [(1, 1), (2, 1), (3, 2), (5, 2)])
def test_with_three_replicas_two_must_have_a_message(replicas: int, in_sync: int) -> None:
    assert {(s.replication_factor, s.min_insync_replicas) for s in specs("", replicas)} == {(replicas, in_sync)}


@pytest.mark.parametrize("size", [0, 1, 63, 64, 8_191, 8_192, 1_000_000])
def test_the_size_is_never_below_what_the_record_takes(size: int) -> None:
    message = OutgoingMessage("t", b"k" * (size // 3), b"v" * size, (("naïve", b"x" * size), ("a", b"")))
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=10_000_000,
    )
    builder.append(0, timestamp=1_700_000_000_000, key=message.key, value=message.value, headers=list(message.headers))

    real = len(builder.build())

    assert real <= message_size(message) <= real + 60
