"""The topics of the contract as the broker is to create them."""

from __future__ import annotations

from datetime import timedelta

from runtime.broker import TopicSpec
from schemas.topics import TOPICS


def specs(prefix: str = "", replication_factor: int = 1) -> list[TopicSpec]:
    """Return every topic of an installation.

    Args:
        prefix: Stands before every name.
        replication_factor: Copies of each message. With three or more, two of them must have a message before it
            counts as acknowledged, so that the loss of one broker loses nothing.
    """
    return [
        TopicSpec(
            name=topic.full_name(prefix),
            partitions=topic.partitions,
            replication_factor=replication_factor,
            min_insync_replicas=2 if replication_factor >= 3 else 1,  # noqa: PLR2004  # a majority of three
            retention_ms=None if topic.retention is None else topic.retention // timedelta(milliseconds=1),
            max_message_bytes=topic.max_message_bytes,
        )
        for topic in TOPICS
    ]
