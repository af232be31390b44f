"""The quality gate over recorded market data: the known faults are caught, the real crashes and the fixed twins pass."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from ingestor.cleaning import clean
from ingestor.files import FileSource
from ingestor.gate import Verdict, judge
from ingestor.sample import SYMBOLS, SampleSource
from ingestor.sources import SourceFrame, Wanted
from tests.unit.ingestor.planted import flagged_rules, held_rules, known_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AET, ALPHA, ASAI = "AET-L-1d-100x-error", "ALPHA-PA-1d-bad-stock-split", "ASAI-L-1h-bad-unit"
#: Rows that the data's README tells to be inconsistent, of which so many are too far out to be believed.
INCONSISTENT = {"stocks/PETR4.SA.csv.gz": (20, 1), "stocks/VALE3.SA.csv.gz": (15, 4)}
REAL = [
    *(
        (f"stocks/{name}.csv.gz", "1d", "XNYS")
        for name in ("AAPL", "MSFT", "GOOGL", "AMZN", "NVDA", "JPM", "KO", "BAC")
    ),
    *((f"stocks/{name}.SA.csv.gz", "1d", "BVMF") for name in ("PETR4", "VALE3")),
    *((f"stocks/{name}.SA_2018_2025.csv.gz", "1d", "BVMF") for name in ("PETR4", "VALE3")),
    ("index/GSPC.csv.gz", "1d", "XNYS"),
    ("index/BVSP.csv.gz", "1d", "BVMF"),
    *((f"crypto/daily/{name}-USD.csv.gz", "1d", "24/7") for name in ("BTC", "ETH", "ADA")),
    *((f"crypto/hourly/{name}_USDT-1h.parquet", "1h", "24/7") for name in ("BTC", "ETH", "ADA")),
]


def read(root: Path, path: str, freq: str, calendar: str) -> SourceFrame:
    wanted = Wanted(symbol=path, freq=freq, calendar=calendar, now=NOW)
    return clean(FileSource(root).fetch(wanted), wanted)


def verdict_on(frame: SourceFrame, freq: str, calendar: str) -> Verdict:
    return judge(frame, None, freq=freq, calendar=calendar, now=NOW)


@pytest.mark.parametrize(
    ("name", "place", "expected"),
    [
        # 14 of 23 rows are in pounds: without a log nobody knows which.
        (AET, ("1d", "XLON"), ("unit-error", 23)),
        (ALPHA, ("1d", "XPAR"), ("split", 1)),
        (ASAI, ("1h", "XLON"), ("mixed-units", 1)),
    ],
)
def test_known_bad_data_are_held_and_their_fixed_twins_let_in(shared_data, name, place, expected):
    bad = verdict_on(read(shared_data, f"quality/{name}.csv", *place), *place)
    fixed = verdict_on(read(shared_data, f"quality/{name}-fixed.csv", *place), *place)

    [rule] = held_rules(bad)
    assert (rule, int(bad.held.sum())) == expected
    assert not fixed.held.any()
    assert set(flagged_rules(fixed)) <= {"zero-volume", "gaps"}


def test_with_a_log_only_the_rows_in_the_other_unit_are_held(shared_data):
    bad = read(shared_data, f"quality/{AET}.csv", "1d", "XLON")
    fixed = read(shared_data, f"quality/{AET}-fixed.csv", "1d", "XLON")

    verdict = judge(bad, known_of(fixed), freq="1d", calendar="XLON", now=NOW)

    assert held_rules(verdict) == ["unit-error"]
    assert verdict.held.tolist() == (bad.columns["close"] < 1).tolist()


@pytest.mark.parametrize("name", ["CALM-1d-no-bad-divs", "EWG-1d-no-bad-divs"])
def test_clean_data_pass_in_silence(shared_data, name):
    verdict = verdict_on(read(shared_data, f"quality/{name}.csv", "1d", "XNYS"), "1d", "XNYS")

    assert (verdict.broken, verdict.flags) == ((), ())


@pytest.mark.parametrize(("path", "freq", "calendar"), REAL, ids=[path for path, _, _ in REAL])
def test_real_prices_are_let_in_but_for_the_faults_that_are_known(shared_data, path, freq, calendar):
    frame = read(shared_data, path, freq, calendar)
    verdict = verdict_on(frame, freq, calendar)

    known, held = INCONSISTENT.get(path, (0, 0))
    assert held_rules(verdict) == ["bar-consistency"] * bool(held)
    assert int(verdict.held.sum()) == held
    assert int(inconsistent(frame).sum()) == known
    assert not (verdict.held & ~inconsistent(frame)).any()
    assert "split" not in flagged_rules(verdict)


@pytest.mark.parametrize(("path", "freq", "calendar"), REAL, ids=[path for path, _, _ in REAL])
def test_the_newest_rows_are_let_in_beside_the_log(shared_data, path, freq, calendar):
    """As an hourly or nightly fetch does it: the last rows of what the log has, and some new ones."""
    frame = read(shared_data, path, freq, calendar)
    for end in np.linspace(50, len(frame), 12, dtype=int).tolist():
        known = known_of(frame.rows(np.arange(end - 10)))
        verdict = judge(frame.rows(np.arange(end - 20, end)), known, freq=freq, calendar=calendar, now=NOW)
        assert not (verdict.held & ~inconsistent(frame)[end - 20 : end]).any()


@pytest.mark.parametrize(
    ("path", "calendar", "day"),
    [
        ("crypto/daily/BTC-USD.csv.gz", "24/7", "2020-03-12"),
        ("crypto/daily/ETH-USD.csv.gz", "24/7", "2020-03-12"),
        ("crypto/daily/ADA-USD.csv.gz", "24/7", "2025-03-02"),
        ("stocks/PETR4.SA.csv.gz", "BVMF", "2020-03-09"),
        ("stocks/VALE3.SA.csv.gz", "BVMF", "2019-01-28"),
    ],
)
def test_real_crashes_are_told_and_never_held(shared_data, path, calendar, day):
    frame = read(shared_data, path, "1d", calendar)
    row = int(np.searchsorted(frame.time, datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()))

    # With all that came later, and on the day itself as the newest row beside the log.
    whole = verdict_on(frame, "1d", calendar)
    log = known_of(frame.rows(np.arange(row)))
    newest = judge(frame.rows(np.arange(row, row + 1)), log, freq="1d", calendar=calendar, now=NOW)

    assert not whole.held[row]
    assert not newest.held.any()
    for verdict in (whole, newest):
        assert any(flag.startswith("jumps") and day in flag for flag in verdict.flags)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_what_the_first_start_loads_is_let_in_whole(symbol):
    """Apple fell by a half on 2000-09-29, three months after a split by two: a crash, not a split that was forgotten.

    Red without `is_believable` in `rules_levels.split`.
    """
    wanted = Wanted(symbol=symbol, freq="1d", calendar="XNYS", now=NOW)
    frame = clean(SampleSource().fetch(wanted), wanted)

    assert not judge(frame, None, freq="1d", calendar="XNYS", now=NOW).held.any()


def inconsistent(frame: SourceFrame) -> np.ndarray:
    columns = frame.columns
    top = np.maximum(columns["open"], columns["close"]) > columns["high"] * (1 + 1e-6)
    return top | (np.minimum(columns["open"], columns["close"]) < columns["low"] * (1 - 1e-6))
