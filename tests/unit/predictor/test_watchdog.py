from __future__ import annotations

from predictor.watchdog import Stuck, Watchdog
from runtime.broker import TopicPartition

ONE, TWO = TopicPartition("forecast-requests", 0), TopicPartition("forecast-requests", 1)


def test_partition_with_messages_that_does_not_move_is_stuck_after_a_while() -> None:
    watchdog = Watchdog(60)

    assert watchdog.look({ONE: 3, TWO: 5}, {ONE: 4, TWO: 5}, 100) is None
    assert watchdog.look({ONE: 3, TWO: 5}, {ONE: 9, TWO: 5}, 159) is None
    assert watchdog.look({ONE: 3, TWO: 5}, {ONE: 9, TWO: 5}, 160) == Stuck(ONE, 3, 9, 60)


def test_partition_that_moves_or_has_nothing_is_not_stuck() -> None:
    watchdog = Watchdog(60)
    for step in range(100):
        assert watchdog.look({ONE: step, TWO: 5}, {ONE: 1000, TWO: 5}, 50.0 * step) is None


def test_waiting_begins_when_a_message_comes() -> None:
    watchdog = Watchdog(60)
    watchdog.look({ONE: 3}, {ONE: 3}, 0)

    assert watchdog.look({ONE: 3}, {ONE: 4}, 1000) is None
    assert watchdog.look({ONE: 3}, {ONE: 4}, 1060) is not None


def test_partition_that_was_given_up_is_forgotten() -> None:
    watchdog = Watchdog(60)
    watchdog.look({ONE: 3}, {ONE: 4}, 0)
    watchdog.look({}, {}, 30)

    assert watchdog.look({ONE: 3}, {ONE: 4}, 70) is None
