"""How much work a live row is: by ratio to the long way on the same machine, since a wall clock would say who else works."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from ingestor import live
from ingestor.live import Judged
from ingestor.quarantine import Held
from tests.unit.ingestor.test_live import NOW, history, row

ROUNDS = 60


def processor_seconds(work: Callable[[], object]) -> float:
    """Return the least processor time of some rounds: what else runs only ever adds to it."""
    found = []
    for _ in range(ROUNDS):
        started = time.thread_time()
        work()
        found.append(time.thread_time() - started)
    return min(found)


def test_a_plain_row_costs_a_fraction_of_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty times less when written; goes red when `Judged.add` no longer asks `is_plain`."""
    known = history()
    rows = row(known)

    def judge() -> None:
        judged = Judged()
        judged.add(rows, known, Held(), "append-1", NOW)
        judged.finish(NOW)

    short = processor_seconds(judge)
    monkeypatch.setattr(live, "is_plain", lambda *_: False)
    assert processor_seconds(judge) > 10 * short
