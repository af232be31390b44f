"""Dead letters keep the original bytes, and too many of them are not borne."""

from __future__ import annotations

import pytest

from runtime.dead_letter import DeadLetterLimit, dead_letter
from runtime.errors import TooManyDeadLetters
from schemas.codec import record_id
from schemas.topics import OBSERVATIONS
from tests.factories import message, observation_batch


def test_a_dead_letter_of_the_same_message_is_a_repeat() -> None:
    original = message(OBSERVATIONS, observation_batch(), offset=4, prefix="acme-")

    first = dead_letter(OBSERVATIONS, original, reason="no", service="predictor")
    second = dead_letter(OBSERVATIONS, original, reason="no", service="predictor")

    assert first == second
    assert record_id(first) == record_id(second)
    assert (first.topic, first.offset, first.value, first.key) == ("observations", 4, original.value, original.key)
    assert first.headers["ce_source"] == b"/foretopic/test"


def test_so_many_in_a_row_are_borne_and_not_one_more() -> None:
    """Red without the check of `_consecutive`."""
    limit = DeadLetterLimit(max_consecutive=3)
    for _ in range(3):
        limit.observe(is_dead=True)

    with pytest.raises(TooManyDeadLetters, match="more than 3 dead letters in a row"):
        limit.observe(is_dead=True)


def test_a_good_message_begins_the_count_anew() -> None:
    limit = DeadLetterLimit(max_consecutive=3)
    for is_dead in [True, True, True, False] * 10:
        limit.observe(is_dead=is_dead)


def test_the_ratio_of_the_last_messages_is_limited() -> None:
    """Red without the check of `_dead_recently`."""
    limit = DeadLetterLimit(max_consecutive=1000, max_ratio=0.5, window_size=10)
    for number in range(9):
        limit.observe(is_dead=number % 3 != 0)

    with pytest.raises(TooManyDeadLetters, match="6 of the last 10 messages are dead letters, 50% are borne"):
        limit.observe(is_dead=False)


def test_the_ratio_forgets_what_is_long_ago() -> None:
    limit = DeadLetterLimit(max_consecutive=1000, max_ratio=0.5, window_size=4)
    for is_dead in [True, True, False, False] + [False] * 4 + [True, True, False, False]:
        limit.observe(is_dead=is_dead)


@pytest.mark.parametrize(
    "arguments", [{"max_consecutive": 0}, {"window_size": 0}, {"max_ratio": 0.0}, {"max_ratio": 1.1}]
)
def test_limits_that_make_no_sense_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be >= 1"):
        DeadLetterLimit(**arguments)  # type: ignore[arg-type]  # a table of arguments
