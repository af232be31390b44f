"""Columns that are known in the future: from the file to the window that a predictor forecasts from."""

from __future__ import annotations

from datetime import UTC, datetime
from math import nan

import numpy as np
import pytest

from forecasting.gaps import Gaps
from forecasting.panel import SeriesHistory, window_of
from ingestor.cleaning import clean
from ingestor.core import Series, plan
from ingestor.errors import BadSourceData
from ingestor.files import FileSource
from ingestor.gate import judge
from tests.unit.ingestor.frames import frame, wanted

SERIES = Series(series_id="shop/berlin@1d", freq="1d", calendar="24/7")
#: Noon of 6 January 2024: the day 5 of the frames is complete, 6 runs.
NOW = datetime(2024, 1, 6, 12, tzinfo=UTC)
PROMO = ("promo",)


def cleaned(given, now=NOW, known_future=PROMO):
    return clean(given, wanted(now=now, known_future=known_future))


def days(given):
    return [datetime.fromtimestamp(int(time), UTC).day for time in given.time]


class Shop:
    """The log of one series, and how a file of it is taken in."""

    def __init__(self) -> None:
        self.history = SeriesHistory(SERIES.series_id)
        self.offset = 0

    def ingest(self, given, now=NOW, known_future=PROMO):
        known = self.history.view() if len(self.history) else None
        rows = cleaned(given, now, known_future)
        verdict = judge(rows, known, freq="1d", calendar="24/7", now=now, known_future=known_future)
        assert not verdict.held.any(), verdict.broken
        batches = plan(SERIES, known, rows, now, known_future)
        for batch in batches:
            self.history.append(self.offset, batch)
            self.offset += 1
        return [(batch.kind, [time.day for time in batch.time]) for batch in batches]

    def window(self, **options):
        return window_of(self.history.view(), ["sales"], 3, ["promo"], **options)


def sales(*values, promo, first=0):
    """Rows from 2 January on; values that are not there are missing."""
    rows = len(promo)
    return frame(list(range(first, first + rows)), sales=[*values, *[nan] * (rows - len(values))], promo=promo)


def test_a_known_promotion_reaches_the_window_of_a_forecast():
    shop = Shop()
    published = shop.ingest(sales(10, 12, 11, 13, promo=[0, 1, 0, 0, 1, 1, 0, 1]))

    assert published == [("history", [2, 3, 4, 5, 6, 7, 8, 9])]
    window = shop.window()
    assert window.cutoff == datetime(2024, 1, 5, tzinfo=UTC)
    assert window.values[:, 0].tolist() == [12, 11, 13]
    assert window.future is not None
    assert window.future.values[:, 0].tolist() == [1, 1, 0, 1]
    assert days(window.future) == [6, 7, 8, 9]


@pytest.mark.parametrize("rule", ["forward-fill", "interpolate", "zero"])
def test_no_rule_of_gaps_invents_sales_of_the_future(rule):
    shop = Shop()
    shop.ingest(sales(10, 12, 11, 13, promo=[0, 1, 0, 0, 1, 1]))

    window = shop.window(gaps=Gaps(rule, "sales"))
    assert window.values[:, 0].tolist() == [12, 11, 13]
    assert window.future is not None
    assert window.future.values[:, 0].tolist() == [1, 1]


def test_what_is_observed_later_is_appended_and_keeps_the_promotion():
    """Red without only_adds in ingestor.core: a first value would be told as a correction."""
    shop = Shop()
    shop.ingest(sales(10, 12, 11, 13, promo=[0, 1, 0, 0, 1, 1]))
    published = shop.ingest(sales(20, promo=[1, 1, 0, 1], first=4), now=datetime(2024, 1, 7, 12, tzinfo=UTC))

    assert published == [("append", [6]), ("append", [8, 9])]
    view = shop.history.view()
    assert view.columns["sales"][4] == 20
    assert view.columns["promo"].tolist() == [0, 1, 0, 0, 1, 1, 0, 1]
    assert shop.window().cutoff == datetime(2024, 1, 6, tzinfo=UTC)


def test_a_promotion_that_is_called_off_is_a_restatement():
    shop = Shop()
    shop.ingest(sales(10, 12, 11, 13, promo=[0, 1, 0, 0, 1, 1]))

    assert shop.ingest(sales(promo=[1, 0], first=4)) == [("restatement", [7])]
    assert shop.ingest(sales(promo=[1, 0], first=4)) == []


def test_a_value_of_a_day_that_was_observed_stays_a_restatement():
    shop = Shop()
    shop.ingest(sales(10, nan, 11, 13, promo=[0, 1, 0, 0, 1]))

    assert shop.ingest(sales(10, 12, 11, 13, promo=[0, 1, 0, 0, 1])) == [("restatement", [3])]


def test_the_running_day_keeps_only_what_is_known():
    found = cleaned(sales(10, 12, 11, 13, 4, promo=[0, 1, 0, 0, 1, 1]))

    assert days(found) == [2, 3, 4, 5, 6, 7]
    np.testing.assert_equal(found.columns["sales"].tolist(), [10, 12, 11, 13, nan, nan])
    assert found.notes == ("withheld until complete: 2024-01-06",)


def test_without_a_declaration_the_running_day_is_withheld_whole():
    found = cleaned(sales(10, 12, 11, 13, 4, promo=[0, 1, 0, 0, 1]), known_future=())

    assert days(found) == [2, 3, 4, 5]


def test_a_future_row_of_a_series_of_prices_needs_no_close():
    found = cleaned(frame(close=[1, 2, 3, 4, nan, nan], promo=[0, 0, 0, 0, 1, 0]))

    assert days(found) == [2, 3, 4, 5, 6, 7]
    assert found.notes == ()


@pytest.mark.parametrize("known_future", [(), PROMO])
def test_sales_of_the_future_are_refused(known_future):
    with pytest.raises(BadSourceData, match="future-date: rows later than now may only have columns"):
        Shop().ingest(frame([0, 1, 2, 3, 8], sales=[1, 2, 3, 4, 5], promo=[1] * 5), known_future=known_future)


def test_from_a_file_to_the_window(tmp_path):
    (tmp_path / "berlin.csv").write_text(
        "date,sales,promo\n2024-01-02,10,0\n2024-01-03,12,1\n2024-01-04,11,0\n2024-01-05,13,0\n"
        "2024-01-06,,1\n2024-01-07,,1\n2024-01-08,,0\n"
    )
    shop = Shop()
    shop.ingest(FileSource(tmp_path).fetch(wanted(symbol="berlin.csv", now=NOW, known_future=PROMO)))

    future = shop.window().future
    assert future is not None
    assert future.values[:, 0].tolist() == [1, 1, 0]
