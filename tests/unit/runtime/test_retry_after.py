from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from runtime.retry_after import LONGEST_SECONDS, retry_after_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 40 ", 40.0),
        ("9" * 400, LONGEST_SECONDS),
        ("-3", None),
        ("1.5", None),
        ("", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00", 0.0),  # red when a date without a zone stays without one
        ("Wed, 21 Oct 2015 07:28:00 -9999", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_SECONDS),
        ("Fri, 31 Dec 9999 23:59:59 -0000", LONGEST_SECONDS),
        ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", None),  # red without `OverflowError`
    ],
)
def test_what_a_header_asks_for(text: str, seconds: float | None) -> None:
    """Red without `LONGEST_SECONDS`, or without `max`."""
    assert retry_after_seconds(text) == seconds


def test_a_date_says_how_long_too() -> None:
    until = datetime.now(UTC) + timedelta(seconds=900)
    assert 800 < (retry_after_seconds(format_datetime(until, usegmt=True)) or 0) <= 900
