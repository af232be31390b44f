from __future__ import annotations

import itertools
import signal
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from foretopic.errors import NotReady
from foretopic.stack import Stack, create_topics
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


@pytest.mark.parametrize("moment", range(30))
def test_a_signal_ends_the_stack_whatever_it_interrupts(moment: int, clock: ManualClock, tmp_path: Path) -> None:
    """Red where the handler sets a `threading.Event` that the same thread waits for: it may hold the event's lock."""
    stack = Stack(StackSettings(home=tmp_path), clock=clock, notice=lambda _: None)
    services: Any = SimpleNamespace(tick=lambda: None)
    steps = itertools.count()

    def step(frame: FrameType, _event: str, _value: object) -> Any:
        """Be called between any two lines, as the handler of a signal is."""
        if next(steps) == moment:
            stack._on_signal(signal.SIGTERM, frame)
        return step

    def supervise() -> None:
        sys.settrace(step)
        stack._supervise(services)

    thread = threading.Thread(target=supervise, daemon=True)
    thread.start()
    thread.join(60)

    assert not thread.is_alive()
