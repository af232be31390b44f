"""Live rows: the short way says what the long one would, and what is wrong with one series is no fault of another."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.panel import Observations, SeriesHistory
from ingestor import live
from ingestor.live import Judged, is_plain, newest_of
from ingestor.quarantine import Held
from schemas.appends import AppendRequested, SeriesRows
from schemas.observations import ObservationBatch

SERIES = "market/X@1d"
FIRST = datetime(2020, 1, 1, tzinfo=UTC)
ROWS = 320
#: The row that follows the log has just ended.
NOW = FIRST + timedelta(days=ROWS + 1)
BARS = ("open", "high", "low", "close", "volume")


def history(columns: tuple[str, ...] = BARS, **changes: float) -> Observations:
    """Return a calm series; ``changes`` are values of its newest row."""
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, ROWS)))
    given = {
        "open": close * 1.001,
        "high": close * 1.005,
        "low": close * 0.995,
        "close": close,
        "volume": rng.integers(1_000, 9_000, ROWS).astype(float),
        "sales": close,
    }
    for name, value in changes.items():
        given[name][-1] = value
    batch = ObservationBatch.of(
        series_id=SERIES,
        freq="1d",
        calendar="24/7",
        kind="history",
        source="mock",
        received_at=NOW,
        unit="USD",
        time=tuple(FIRST + timedelta(days=day) for day in range(ROWS)),
        columns={name: tuple(given[name].tolist()) for name in columns},
    )
    found = SeriesHistory(SERIES)
    found.append(0, batch)
    return found.view()


def row(known: Observations, *, days: int = ROWS, unit: str = "", **changes: float | None) -> SeriesRows:
    """Return a row like the newest one of ``known``, a little higher, with changes."""
    columns = {name: (float(values[-1]) * 1.001,) for name, values in known.columns.items()}
    columns |= {name: (value,) for name, value in changes.items()}
    return SeriesRows(series_id=SERIES, unit=unit, time=(FIRST + timedelta(days=days),), columns=columns)


def said(rows: SeriesRows, known: Observations | None, now: datetime = NOW) -> Judged:
    judged = Judged()
    judged.add(rows, known, Held(), "append-1", now)
    judged.finish(now)
    return judged


def slowly(rows: SeriesRows, known: Observations, monkeypatch: pytest.MonkeyPatch) -> Judged:
    with monkeypatch.context() as patched:
        patched.setattr(live, "is_plain", lambda *_: False)
        return said(rows, known)


def near(value: float) -> st.SearchStrategy[float]:
    """Factors about the limits of the rules, and everything between."""
    limits = [1.0, 1.2, 1 / 1.2, 2.0, 0.5, 29.9, 30.0, 100.0, 1 + 1e-6, 1 - 1e-6, 1.01, 0.0, -1.0]
    factors = st.sampled_from(limits).flatmap(
        lambda limit: st.sampled_from([limit, limit * (1 + 1e-9), limit * (1 - 1e-9), limit * 1.0005])
    )
    return (factors | st.floats(0.5, 2.0)).map(lambda factor: value * factor)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_the_short_way_says_what_the_long_one_does(data: st.DataObject) -> None:
    """Each condition of `is_plain` is needed: without it a row passes that a rule has something to say about."""
    columns = data.draw(st.sampled_from([BARS, ("close",), ("sales",), ("close", "volume"), ("open", "close")]))
    known = history(columns)
    changes: dict[str, float | None] = {}
    for name in columns:
        if data.draw(st.booleans()):
            changes[name] = data.draw(st.none() | near(float(known.columns[name][-1])))
    rows = row(known, days=data.draw(st.sampled_from([ROWS, ROWS, ROWS, ROWS - 1, ROWS + 1])), **changes)
    if is_plain(rows, newest_of(known), NOW):
        with pytest.MonkeyPatch.context() as patched:
            long = slowly(rows, known, patched)
        assert said(rows, known) == long
        assert [batch.kind for batch in long.batches] == ["append"]
        assert (long.held, long.rows_held, long.flags, long.refused, long.notes) == ([], 0, [], [], [])


@pytest.mark.parametrize("columns", [BARS, ("sales",), ("close", "volume")])
def test_a_calm_row_is_plain(columns: tuple[str, ...]) -> None:
    """The other test would pass, and live rows be slow, if nothing were plain."""
    known = history(columns)
    assert is_plain(row(known), newest_of(known), NOW)
    assert is_plain(row(known, unit="USD"), newest_of(known), NOW)


@pytest.mark.parametrize(
    ("changes", "newest"),
    [
        ({"close": None}, {}),
        ({"volume": 0.0}, {}),
        ({"volume": -1.0}, {}),
        ({"close": 150.0}, {}),
        ({"low": -1.0}, {}),
        ({"high": 1.0}, {}),
        ({"open": 1e4}, {}),
        ({"unit": "EUR"}, {}),
        ({"days": ROWS + 1}, {}),
        ({"days": ROWS - 1}, {}),
        ({"extra": 1.0}, {}),
        ({}, {"close": 1e-3}),
        ({}, {"low": 1e-3}),
    ],
)
def test_what_a_rule_could_tell_is_not_plain(changes: dict, newest: dict[str, float]) -> None:
    known = history(**newest)
    assert not is_plain(row(known, **changes), newest_of(known), NOW)


def test_a_row_that_goes_on_or_repeats_the_last_one_is_not_plain() -> None:
    known = history()
    assert not is_plain(row(known), newest_of(known), NOW - timedelta(seconds=1))
    same = {name: float(values[-1]) for name, values in known.columns.items()}
    assert not is_plain(row(known, **same), newest_of(known), NOW)


def test_faults_of_one_series_leave_the_others_alone() -> None:
    known = history()
    judged = Judged()
    for rows in (row(known, unit="EUR"), row(known), row(known, close=known.columns["close"][-1] * 100)):
        judged.add(rows, known, Held(), "append-1", NOW)
    judged.finish(NOW)
    assert [batch.kind for batch in judged.batches] == ["append"]
    assert judged.refused == [
        f"{SERIES}: live: currency-change: {SERIES} is in USD in the log, the source gives EUR; load another series"
    ]
    assert judged.rows_held == 1
    assert [record.batch.columns["close"] for record in judged.held] == [(known.columns["close"][-1] * 100,)]


def test_first_rows_of_a_series_are_its_history() -> None:
    rows = row(history())
    assert [batch.kind for batch in said(rows, None).batches] == ["history"]


def test_a_row_that_has_not_ended_is_withheld() -> None:
    known = history()
    judged = said(row(known), known, NOW - timedelta(hours=1))
    assert judged.batches == []
    assert judged.notes == [f"{SERIES}: withheld until complete: 2020-11-16"]


def test_an_append_names_each_series_once() -> None:
    rows = row(history())
    with pytest.raises(ValueError, match="series must have each series once"):
        AppendRequested(ingest_id="a", series=(rows, rows))


@pytest.mark.parametrize(
    ("time", "values", "message"),
    [
        (("2020-01-02T00:00:00Z", "2020-01-01T00:00:00Z"), (1.0, 2.0), "time must strictly ascend"),
        (("2020-01-01T00:00:00Z",), (1.0, 2.0), "must have 1 values"),
        (("2020-01-01T00:00:00+01:00",), (1.0,), "time must be a UTC time"),
    ],
)
def test_rows_that_do_not_fit_are_refused(time: tuple, values: tuple, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert({"series_id": SERIES, "time": time, "columns": {"close": values}}, SeriesRows)
    with pytest.raises(ValueError, match="must be finite"):
        SeriesRows(series_id=SERIES, time=(FIRST,), columns={"close": (math.inf,)})
