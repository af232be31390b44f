"""Source `yahoo`: Yahoo Finance through the `yfinance` package.

One fetch has one deadline for everything that yfinance does on the way (cookie, crumb, time zone, prices): the session
gives each request what is left of it. What went wrong is judged by what the session saw, since yfinance reports an
unreachable server and an unknown symbol alike.
"""

from __future__ import annotations

import logging
import queue
import re
import socket
import threading
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import numpy as np

from forecasting.calendars import parse_freq, season_length
from forecasting.errors import CalendarError
from ingestor.errors import BadSourceData, SourceFault, SourceUnreachable, UnknownSymbol
from ingestor.raw_responses import RawResponse, RawResponses
from ingestor.sources import FloatArray, SourceFrame, Wanted
from runtime.clock import SystemClock
from runtime.retry_after import retry_after_seconds

NAME = "yahoo"
INTERVALS = {
    "1min": "1m", "2min": "2m", "5min": "5m", "15min": "15m", "30min": "30m", "1h": "1h",
    "1d": "1d", "1w": "1wk", "1mo": "1mo", "1q": "3mo",
}  # fmt: skip
DEFAULT_DAYS = 3653
#: Yahoo keeps bars within a day for so many days.
_INTRADAY_DAYS = {"1min": 7, "1h": 729}
_INTRADAY_DAYS_DEFAULT = 59
_COLUMNS = {
    "Open": "open", "High": "high", "Low": "low", "Close": "close", "Adj Close": "adj_close", "Volume": "volume",
    "Dividends": "dividends", "Stock Splits": "splits", "Capital Gains": "capital_gains",
}  # fmt: skip
#: Letters, digits and what tickers of the world have between them; the ticker becomes a part of an address.
_SYMBOL = re.compile(r"[A-Za-z0-9^][A-Za-z0-9^=.&-]{0,29}")
#: Before the first day Yahoo has nothing; the nanoseconds of pandas end soon after the last.
_FIRST_DAY, _LAST_DAY = date(1900, 1, 1), date(2200, 1, 1)
_NOT_FOUND = 404
_CHART = "/chart/"
_HOST = "query2.finance.yahoo.com"

#: Deadline in seconds -> a session of a kind that yfinance takes, and what it saw.
SessionFactory = Callable[[float], "tuple[Any, Seen]"]


class Seen:
    """What came of the requests of one fetch."""

    def __init__(self) -> None:
        #: Status of each answer to a request for prices.
        self.statuses: list[int] = []
        #: Why requests had no answer.
        self.failures: list[str] = []
        #: How long the last answer asked to be left alone.
        self.retry_after_seconds: float | None = None

    def answer(self, url: str, status: int, retry_after: str = "") -> None:
        """Note an answer."""
        if _CHART in url:
            self.statuses.append(status)
            self.retry_after_seconds = retry_after_seconds(retry_after)

    def failure(self, url: str, reason: str) -> None:
        """Note that a request had no answer."""
        if _CHART in url:
            self.failures.append(reason)


def browser_session(timeout_seconds: float, raw: RawResponses | None = None) -> tuple[Any, Seen]:
    """Return a session that looks like a browser and gives up everything after ``timeout_seconds``.

    Answers to requests for prices are kept in ``raw``.
    """
    from curl_cffi import requests  # noqa: PLC0415

    seen = Seen()
    deadline = time.monotonic() + timeout_seconds

    class DeadlineSession(requests.Session[Any]):
        def request(self, method: Any, url: str, **options: Any) -> Any:  # type: ignore[override]  # its forty options
            options["timeout"] = max(deadline - time.monotonic(), 0.001)
            try:
                response = super().request(method, url, **options)
            except requests.exceptions.RequestException as error:
                seen.failure(url, str(error).partition(". See ")[0])
                raise
            seen.answer(url, response.status_code, response.headers.get("Retry-After") or "")
            if raw is not None and _CHART in url:
                headers = {name.lower(): value or "" for name, value in response.headers.items()}
                kept = RawResponse(
                    url=response.url, status=response.status_code, headers=headers, body=response.content
                )
                raw.keep(NAME, kept, SystemClock().now())
            return response

    return DeadlineSession(impersonate="chrome"), seen


def connect(timeout_seconds: float, host: str = _HOST, port: int = 443) -> None:
    """Open and close a connection: without a network that is told at once, before seconds of loading libraries.

    Behind a proxy nothing is tried: then only the proxy knows.

    Raises:
        OSError: No connection within ``timeout_seconds``, looking up the name included.
    """
    if urllib.request.getproxies().keys() & {"https", "all"}:
        return
    outcome: queue.Queue[OSError | None] = queue.Queue()

    def try_it() -> None:
        try:
            socket.create_connection((host, port), timeout_seconds).close()
        except OSError as error:
            outcome.put(error)
        else:
            outcome.put(None)

    # A thread, since looking up a name knows no timeout.
    threading.Thread(target=try_it, daemon=True).start()
    try:
        error = outcome.get(timeout=timeout_seconds)
    except queue.Empty:
        error = TimeoutError("no answer")
    if error is not None:
        raise error


class YahooSource:
    """Prices, dividends and splits of whatever Yahoo Finance lists."""

    name = NAME

    def __init__(
        self,
        timeout_seconds: float = 5.0,
        session: SessionFactory = browser_session,
        probe: Callable[[float], None] = connect,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._session = session
        self._probe = probe

    def fetch(self, wanted: Wanted) -> SourceFrame:
        if wanted.freq not in INTERVALS:
            raise BadSourceData(NAME, f"freq must be one of {', '.join(INTERVALS)}, was {wanted.freq}")
        if _SYMBOL.fullmatch(wanted.symbol) is None:
            raise UnknownSymbol(NAME, f"a ticker such as AAPL, BRK-B or ^GSPC is expected, was {wanted.symbol[:50]!r}")
        _require_kept(wanted)
        try:
            self._probe(self._timeout_seconds)
        except OSError as error:
            raise self._unreachable(f"{_HOST}: {error.strerror or error}") from error
        try:
            season_length(wanted.freq, wanted.calendar)
        except CalendarError as error:
            raise BadSourceData(NAME, str(error)) from error
        with _quiet_yfinance() as yfinance:
            session, seen = self._session(self._timeout_seconds)
            try:
                table, unit = self._history(yfinance, session, wanted)
            except SourceFault:
                raise
            except Exception as error:  # yfinance raises whatever its parsing stumbles over
                raise self._judge(seen, wanted, error) from error
        if table.empty:
            raise BadSourceData(NAME, _no_rows(wanted))
        return _frame(table, unit, wanted)

    def _history(self, yfinance: Any, session: Any, wanted: Wanted) -> tuple[Any, str]:
        ticker = yfinance.Ticker(wanted.symbol, session=session)
        table = ticker.history(
            start=_start(wanted),
            end=_end(wanted) + timedelta(days=1),
            interval=INTERVALS[wanted.freq],
            auto_adjust=wanted.adjust,
            back_adjust=False,
            actions=True,
            repair=False,
            timeout=self._timeout_seconds,
        )
        return table, str(ticker.get_history_metadata().get("currency") or "")

    def _judge(self, seen: Seen, wanted: Wanted, error: Exception) -> SourceFault:
        symbol = wanted.symbol
        if _NOT_FOUND in seen.statuses:
            return UnknownSymbol(NAME, f"there is no symbol {symbol!r}")
        bad = [status for status in seen.statuses if status >= 400]  # noqa: PLR2004  # HTTP: errors begin here
        if bad:
            return SourceUnreachable(NAME, f"answered with HTTP status {bad[-1]}", seen.retry_after_seconds)
        if not seen.statuses:
            why = seen.failures[-1] if seen.failures else f"{type(error).__name__}: {error}"
            return self._unreachable(why)
        if type(error).__name__ == "YFPricesMissingError":
            return BadSourceData(NAME, _no_rows(wanted))
        return BadSourceData(NAME, f"the answer for {symbol!r} cannot be read: {type(error).__name__}: {error}")

    def _unreachable(self, why: str) -> SourceUnreachable:
        return SourceUnreachable(NAME, f"could not be reached within {self._timeout_seconds:g} s: {why}")


@contextmanager
def _quiet_yfinance() -> Iterator[Any]:
    """Give yfinance with exceptions instead of log lines, no retries, and no memory in files or in the process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import yfinance  # noqa: PLC0415  # 2 s and 140 MB that only a fetch needs
        from yfinance import cache, data  # noqa: PLC0415

        # yfinance 1.7 uses what pandas 3 says will change, and its import sets filters of its own.
        warnings.simplefilter("ignore")
        logging.getLogger("yfinance").setLevel(logging.CRITICAL)  # what it tells there, we raise
        yfinance.config.debug.hide_exceptions = False
        yfinance.config.network.retries = 0
        cache._TzCacheManager._tz_cache = cache._TzCacheDummy()  # noqa: SLF001  # its databases in the user's
        cache._CookieCacheManager._Cookie_cache = cache._CookieCacheDummy()  # noqa: SLF001  # cache: no setting for none
        data.YfData.cache_get.cache_clear()
        yield yfinance


def _no_rows(wanted: Wanted) -> str:
    return f"no rows of {wanted.symbol} from {_start(wanted)} to {_end(wanted)}"


def _first_kept(wanted: Wanted) -> date | None:
    """Return the first day of which Yahoo keeps bars within a day; ``None`` for daily and longer ones."""
    if parse_freq(wanted.freq)[1] not in ("min", "h"):
        return None
    return wanted.now.date() - timedelta(days=_INTRADAY_DAYS.get(wanted.freq, _INTRADAY_DAYS_DEFAULT))


def _require_kept(wanted: Wanted) -> None:
    first = _first_kept(wanted)
    if first is not None and wanted.start is not None and wanted.start < first:
        days = (wanted.now.date() - first).days
        raise BadSourceData(
            NAME,
            f"bars of {wanted.freq} are kept for {days} days, start must be {first} or later, was {wanted.start}; "
            "leave it out, or ask for 1d",
        )


def _start(wanted: Wanted) -> date:
    if wanted.start is not None:
        return max(wanted.start, _FIRST_DAY)
    first = _first_kept(wanted)
    if first is not None:
        return first
    default = wanted.now.date() - timedelta(days=DEFAULT_DAYS)
    return default if wanted.known_since is None else min(default, wanted.known_since)


def _end(wanted: Wanted) -> date:
    return min(wanted.end or wanted.now.date(), _LAST_DAY)


def _frame(table: Any, unit: str, wanted: Wanted) -> SourceFrame:
    index = table.index
    if parse_freq(wanted.freq)[1] in ("min", "h"):
        moments = index.tz_convert("UTC").tz_localize(None)
    else:
        moments = index.tz_localize(None).normalize()  # the day at the exchange
    columns: dict[str, FloatArray] = {
        ours: table[theirs].to_numpy(dtype=np.float64) for theirs, ours in _COLUMNS.items() if theirs in table.columns
    }
    return SourceFrame(
        source=NAME, unit=unit, time=moments.to_numpy().astype("datetime64[s]").astype(np.int64), columns=columns
    )
