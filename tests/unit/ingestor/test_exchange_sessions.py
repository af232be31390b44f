"""Sessions that a child process reads are those of the package; its errors arrive as they are."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.errors import CalendarError
from forecasting.sessions import ask_exchange
from ingestor import exchange_sessions
from ingestor.exchange_sessions import sessions_in_child


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """A child loads pandas and the calendars, for which a busy machine may need longer than the service waits."""
    monkeypatch.setattr(exchange_sessions, "_TIMEOUT_SECONDS", 240.0)


def test_a_child_gives_the_sessions_of_the_package():
    for ours, theirs in zip(sessions_in_child("XHKG", 2023, 2024), ask_exchange("XHKG", 2023, 2024), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_child_tells_what_is_wrong():
    with pytest.raises(CalendarError, match="calendar must be 24/7 or a code"):
        sessions_in_child("NOWHERE", 2023, 2024)
