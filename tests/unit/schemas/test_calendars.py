"""The codes of calendars that requests may name."""

from __future__ import annotations

import exchange_calendars
import pytest

from schemas.calendars import CALENDARS, require_calendar


def test_the_codes_are_those_of_the_package_that_computes_with_them():
    assert set(exchange_calendars.get_calendar_names()) == CALENDARS


@pytest.mark.parametrize("calendar", ["NOPE", "", "xnys", "\0", "X" * 1000])
def test_an_unknown_code_is_refused(calendar: str):
    with pytest.raises(ValueError, match="calendar must be 24/7, 24/5 or the code of an exchange"):
        require_calendar(calendar)
