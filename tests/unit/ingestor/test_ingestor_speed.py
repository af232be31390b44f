"""How much work a live row is: by ratio to the long way on the same machine, since a wall clock would say who else works."""

from __future__ import annotations

import time

import pytest

from ingestor import live
from ingestor.live import Judged
from ingestor.quarantine import Held
from tests.timing import processor_seconds
from tests.unit.ingestor.test_live import NOW, history, row

ROUNDS = 60


def test_a_plain_row_costs_a_fraction_of_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty times less when written; goes red when `Judged.add` no longer asks `is_plain`."""
    known = history()
    rows = row(known)

    def judge() -> None:
        judged = Judged()
        judged.add(rows, known, Held(), "append-1", NOW)
        judged.finish(NOW)

    short = processor_seconds(judge, ROUNDS, time.thread_time)
    monkeypatch.setattr(live, "is_plain", lambda *_: False)
    assert processor_seconds(judge, ROUNDS, time.thread_time) > 10 * short
