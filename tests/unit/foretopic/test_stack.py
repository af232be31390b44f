from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from foretopic.errors import NotReady
from foretopic.stack import create_topics
from foretopic.stack_settings import StackSettings
from runtime.broker import TopicSpec
from runtime.errors import TransientError
from runtime.memory_broker import MemoryBroker
from schemas.topics import TOPICS
from tests.fakes import ManualClock


class BusyBroker(MemoryBroker):
    """Makes topics, and is too busy to say so the first times."""

    def __init__(self, clock: ManualClock, late_answers: int) -> None:
        super().__init__(clock)
        self._late_answers = late_answers

    def ensure_topics(self, specs: Iterable[TopicSpec]) -> None:
        super().ensure_topics(specs)
        if self._late_answers:
            self._late_answers -= 1
            raise TransientError("the topics are not there after 10 s")


def test_topics_are_asked_for_again_while_the_broker_is_busy(
    clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when a `TransientError` leaves `create_topics`: the first start on a busy machine ended with it."""
    broker = BusyBroker(clock, late_answers=3)
    monkeypatch.setattr("foretopic.stack.KafkaBroker", lambda *_, **__: broker)

    create_topics(StackSettings(home=tmp_path), clock=clock)

    assert all(broker.partitions(topic.name) == topic.partitions for topic in TOPICS)


def test_topics_that_never_come_are_told(clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = BusyBroker(clock, late_answers=10**9)
    monkeypatch.setattr("foretopic.stack.KafkaBroker", lambda *_, **__: broker)

    with pytest.raises(NotReady, match="Kafka did not answer within 120 s; the topics are not there"):
        create_topics(StackSettings(home=tmp_path), clock=clock)
