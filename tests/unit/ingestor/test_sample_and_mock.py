"""The sources that need no network."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from ingestor.cleaning import clean
from ingestor.errors import BadSourceData, UnknownSymbol
from ingestor.mock import MockSource
from ingestor.sample import SPLITS, SYMBOLS, SampleSource
from tests.unit.ingestor.frames import wanted

NOW = datetime(2025, 1, 2, 10, 30, tzinfo=UTC)


def sample(symbol="AAPL", **changes):
    return wanted(symbol=symbol, calendar="XNYS", now=NOW, **changes)


def mock(freq="1d", **changes):
    return wanted(**{"symbol": "HET", "freq": freq, "now": NOW, **changes})


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_sample_is_clean_and_whole(symbol):
    frame = SampleSource().fetch(sample(symbol))
    found = clean(frame, sample(symbol))

    assert len(found) == len(frame)
    assert (found.unit, found.notes) == ("USD", ())
    assert datetime.fromtimestamp(int(found.time[-1]), UTC) == datetime(2013, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_sample_closes_have_the_basis_of_the_adjusted_close(symbol):
    """A split that were missing or wrong would make the closes jump against the adjusted ones; dividends move them
    by a few percent at the most (MSFT's of 3 dollars in November 2004 by 11)."""
    frame = SampleSource().fetch(sample(symbol))
    ratio = frame.columns["adj_close"] / frame.columns["close"]

    assert np.abs(ratio[1:] / ratio[:-1] - 1).max() < 0.12
    assert 0.65 < ratio.min() <= ratio.max() < 1.0001
    assert (frame.columns["high"] >= frame.columns["close"] - 1e-6).all()


def test_sample_volume_times_price_is_what_was_traded():
    """AAPL on 2000-03-01: 130.31 dollars and 2.749 million shares then, a 28th of that price in later shares."""
    frame = SampleSource().fetch(sample())

    assert frame.columns["close"][0] == pytest.approx(130.31 / 28, abs=1e-6)
    assert frame.columns["splits"][np.searchsorted(frame.time, _seconds(date(2005, 2, 28)))] == 2.0
    assert frame.columns["splits"].sum() == sum(
        ratio for day, ratio in SPLITS["AAPL"].items() if day < date(2013, 3, 1)
    )


def test_sample_adjusted_has_the_adjusted_close_as_close():
    plain = SampleSource().fetch(sample())
    adjusted = SampleSource().fetch(sample(adjust=True))

    assert adjusted.columns["close"] == pytest.approx(plain.columns["adj_close"], abs=1e-5)
    assert "adj_close" not in adjusted.columns


def test_sample_keeps_to_the_range_and_says_what_it_has():
    some = SampleSource().fetch(sample(start=date(2012, 1, 3), end=date(2012, 1, 5)))
    assert len(some) == 3

    with pytest.raises(BadSourceData, match="is there from 2000-03-01 to 2013-03-01, asked was 2016-01-01 to today"):
        SampleSource().fetch(sample(start=date(2016, 1, 1)))


def test_days_at_the_end_of_the_calendar_are_a_range_like_others():
    assert len(SampleSource().fetch(sample(start=date.min, end=date.max))) == 3270


def test_sample_knows_its_symbols_freq_and_calendar():
    with pytest.raises(UnknownSymbol, match="AAPL, FB, GOOG, IBM, MSFT, was 'TSLA'"):
        SampleSource().fetch(sample("TSLA"))
    with pytest.raises(BadSourceData, match="freq must be 1d and calendar XNYS"):
        SampleSource().fetch(replace(sample(), freq="1h"))


def test_mock_says_that_it_is_simulated():
    frame = MockSource().fetch(mock())

    assert frame.source == "mock"
    assert frame.notes == ("simulated prices of an invented asset",)


def test_mock_tells_the_same_story_whenever_it_is_asked():
    early = MockSource().fetch(mock("1h"))
    late = MockSource().fetch(mock("1h", now=NOW + timedelta(days=300)))

    assert len(late) == len(early) + 300 * 24
    for name, values in early.columns.items():
        assert (late.columns[name][: len(early)] == values).all()


def test_mock_prices_do_not_change_with_the_machine_or_the_library():
    """Should this fail, numpy's frozen generator was not frozen: series that are in use would be restated."""
    frame = MockSource().fetch(mock("1d", now=datetime(2020, 1, 4, tzinfo=UTC)))

    assert {name: values.tolist() for name, values in frame.columns.items()} == EXPECTED


def test_mock_days_agree_with_their_hours():
    hours, days = MockSource().fetch(mock("1h")), MockSource().fetch(mock("1d"))
    first_day = {name: values[:24] for name, values in hours.columns.items()}

    assert days.columns["open"][0] == first_day["open"][0]
    assert days.columns["high"][0] == first_day["high"].max()
    assert days.columns["low"][0] == first_day["low"].min()
    assert days.columns["close"][0] == first_day["close"][-1]
    assert days.columns["volume"][0] == first_day["volume"].sum()


@pytest.mark.parametrize("freq", ["1h", "1d"])
def test_mock_bars_are_complete_and_clean(freq):
    frame = MockSource().fetch(mock(freq))
    found = clean(frame, mock(freq))

    assert len(found) == len(frame)
    length = timedelta(hours=1) if freq == "1h" else timedelta(days=1)
    assert datetime.fromtimestamp(int(frame.time[-1]), UTC) + length <= NOW
    assert (frame.columns["low"] <= np.minimum(frame.columns["open"], frame.columns["close"])).all()


def test_mock_knows_one_asset_and_two_freqs():
    with pytest.raises(UnknownSymbol, match="invented asset HET, was 'BTC'"):
        MockSource().fetch(mock(symbol="BTC"))
    with pytest.raises(BadSourceData, match="freq must be 1h or 1d"):
        MockSource().fetch(mock("15min"))


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


EXPECTED = {
    "open": [100.0, 99.09, 98.84],
    "high": [100.9, 100.04, 100.25],
    "low": [98.65, 97.98, 98.39],
    "close": [99.09, 98.84, 99.97],
    "volume": [35811.0, 27973.0, 28319.0],
}
