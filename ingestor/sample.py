"""Source `sample`: real daily prices of five shares, 2000 to 2013, that come with a package. No network.

The data of `bokeh_sampledata` are the public-domain Quandl WIKI prices: open, high, low, close and volume as traded,
and a close adjusted for splits and dividends up to March 2018. Here the traded prices are divided by the splits that
came later, up to March 2018 too, so that all columns of a row have one basis, as Yahoo's have.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from ingestor.errors import BadSourceData, UnknownSymbol
from ingestor.sources import SourceFrame, Wanted, within_days

SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
CALENDAR = "XNYS"
FREQ = "1d"
#: First session at the new price -> new shares for an old one. GOOG's is the class C distribution, as WIKI counted it.
SPLITS: dict[str, dict[date, float]] = {
    "AAPL": {date(2000, 6, 21): 2.0, date(2005, 2, 28): 2.0, date(2014, 6, 9): 7.0},
    "GOOG": {date(2014, 4, 3): 1.9938262},
    "MSFT": {date(2003, 2, 18): 2.0},
}
_PRICES = ("open", "high", "low", "close")


class SampleSource:
    """Real history of AAPL, FB, GOOG, IBM and MSFT."""

    name = "sample"

    def fetch(self, wanted: Wanted) -> SourceFrame:
        if wanted.symbol not in SYMBOLS:
            raise UnknownSymbol(self.name, f"symbol must be one of {', '.join(SYMBOLS)}, was {wanted.symbol!r}")
        if (wanted.freq, wanted.calendar) != (FREQ, CALENDAR):
            raise BadSourceData(
                self.name,
                f"freq must be {FREQ} and calendar {CALENDAR}, were {wanted.freq} and {wanted.calendar}",
            )
        # Parsed when first asked for, and by nobody who does not ask.
        from bokeh_sampledata import stocks  # noqa: PLC0415

        frame = self._frame(wanted.symbol, getattr(stocks, wanted.symbol), adjust=wanted.adjust)
        rows = within_days(frame, wanted)
        if len(rows) == 0:
            first, last = (datetime.fromtimestamp(int(frame.time[index]), UTC).date() for index in (0, -1))
            raise BadSourceData(
                self.name,
                f"{wanted.symbol} is there from {first} to {last}, asked was {wanted.start or first} to "
                f"{wanted.end or 'today'}; leave out the range",
            )
        return rows

    def _frame(self, symbol: str, table: dict[str, list[Any]], *, adjust: bool) -> SourceFrame:
        days = np.array(table["date"], dtype="datetime64[D]")
        traded = {name: np.array(table[name], dtype=np.float64) for name in (*_PRICES, "volume")}
        adjusted = np.array(table["adj_close"], dtype=np.float64)
        splits = np.zeros(len(days))
        later = np.ones(len(days))
        for day, ratio in SPLITS.get(symbol, {}).items():
            splits[days == np.datetime64(day)] = ratio
            later[days < np.datetime64(day)] *= ratio
        columns = {name: np.round(traded[name] / later, 6) for name in _PRICES}
        columns["volume"] = np.round(traded["volume"] * later)
        if adjust:
            factor = adjusted / columns["close"]
            columns |= {name: np.round(columns[name] * factor, 6) for name in _PRICES}
        else:
            columns["adj_close"] = adjusted
        columns["splits"] = splits
        return SourceFrame(
            source=self.name, unit="USD", time=days.astype("datetime64[s]").astype(np.int64), columns=columns
        )
