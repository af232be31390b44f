"""Source `cryptocompare`: prices of crypto assets from CryptoCompare, by its older `min-api` or its newer `data-api`.

Both give pages that end at a moment, so they are read backwards from the end until the start, or until the provider
has nothing older. `min-api` fills the time before a listing with bars of zeros; `data-api` answers 404 there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from http import HTTPStatus
from typing import Any, Literal

import numpy as np
import requests

from ingestor.errors import BadSourceData, NothingOlder, SourceFault, SourceUnreachable, UnknownSymbol
from ingestor.raw_responses import RawResponses
from ingestor.sources import SourceFrame, Wanted, within_days
from ingestor.web import Answer, Sessions, WebClient

NAME = "cryptocompare"
Api = Literal["min-api", "data-api"]
HOSTS: dict[Api, str] = {
    "min-api": "https://min-api.cryptocompare.com",
    "data-api": "https://data-api.cryptocompare.com",
}
CALENDAR = "24/7"
#: Freq -> path of each API, seconds a bar, and how many days back without a start; minutes are kept for a week.
FREQS: dict[str, tuple[dict[Api, str], int, int]] = {
    "1d": ({"min-api": "histoday", "data-api": "days"}, 86_400, 3653),
    "1h": ({"min-api": "histohour", "data-api": "hours"}, 3600, 730),
    "1min": ({"min-api": "histominute", "data-api": "minutes"}, 60, 6),
}
#: Bars a page, and pages a fetch: 50 years of hours, which no honest provider reaches.
PAGE_BARS, MAX_PAGES = 2000, 250
_MAX_BYTES = 16 * 1024 * 1024
_SYMBOL = re.compile(r"([A-Za-z0-9*.]{1,20})(?:-([A-Za-z0-9*.]{1,20}))?")
#: Our column -> its names in either API; what an answer does not have is left out.
_COLUMNS = {
    "open": ("open", "OPEN"), "high": ("high", "HIGH"), "low": ("low", "LOW"), "close": ("close", "CLOSE"),
    "volume": ("volumefrom", "VOLUME"), "quote_volume": ("volumeto", "QUOTE_VOLUME"),
    "market_cap": ("marketcap", "market_cap", "MARKET_CAP", "CIRCULATING_MKT_CAP_USD"),
}  # fmt: skip
_REQUIRED = ("open", "high", "low", "close")
_RATE_LIMIT_CODE = 99
#: Its shortest limits are counted a minute.
_RATE_LIMIT_SECONDS = 60.0
#: Of the year 9999.
_LAST_SECOND = 253_402_300_799
_TOLD_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class CryptoCompareSource:
    """Bars of crypto assets; the market cap too where the answer has it.

    Attributes:
        api: Which of the two.
        api_key: Sent as a header; empty: without one.
        market: Whose prices `data-api` gives, e.g. ``cadli``, its index over many exchanges.
        timeout_seconds: Of one page, its tries included.
        raw: Where answers are kept.
        hosts: Where the APIs are.
        sessions: Makes the HTTP sessions.
    """

    name = NAME
    api: Api = "min-api"
    api_key: str = field(default="", repr=False)
    market: str = "cadli"
    timeout_seconds: float = 10.0
    raw: RawResponses | None = None
    hosts: dict[Api, str] = field(default_factory=HOSTS.copy)
    sessions: Sessions = requests.Session

    def fetch(self, wanted: Wanted) -> SourceFrame:
        asset, currency = _asked(wanted)
        paths, step, days = FREQS[wanted.freq]
        first = _first_day(wanted, days)
        bars: dict[int, dict[str, Any]] = {}
        reached = _seconds(first)
        # The interval that a moment lies in is given too: with `end` that is its last bar, not the next day's first.
        end = int(wanted.now.timestamp())
        if wanted.end is not None:
            end = min(end, _seconds(wanted.end) + 86_400 - step)
        for _ in range(MAX_PAGES):
            page = self._page(paths[self.api], asset, currency, end, is_first=not bars)
            fresh = [bar for bar in page if bar["time"] not in bars and bar["time"] <= end]
            bars |= {bar["time"]: bar for bar in fresh}
            if not fresh or min(bar["time"] for bar in fresh) <= reached:
                break
            end = min(bar["time"] for bar in fresh) - step
        else:
            raise BadSourceData(NAME, f"at most {MAX_PAGES} pages are read, there were more; ask for a later start")
        if not bars:
            raise NothingOlder(NAME, f"no bars of {asset}-{currency} from {first} to {wanted.end or 'today'}")
        frame = _frame([bars[moment] for moment in sorted(bars)], currency)
        return _within(frame, wanted, first)

    def _page(self, path: str, asset: str, currency: str, end: int, *, is_first: bool) -> list[dict[str, Any]]:
        """Return the bars up to ``end`` (UTC seconds), of which those before a listing are left out."""
        client = WebClient(
            source=NAME,
            timeout_seconds=self.timeout_seconds,
            max_bytes=_MAX_BYTES,
            sessions=self.sessions,
            raw=self.raw,
        )
        headers = {"Accept": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Apikey {self.api_key}"
        if self.api == "min-api":
            url, parameters = f"{self.hosts[self.api]}/data/v2/{path}", {"fsym": asset, "tsym": currency}
            parameters |= {"limit": str(PAGE_BARS), "toTs": str(end)}
        else:
            url, parameters = f"{self.hosts[self.api]}/index/cc/v1/historical/{path}", {"market": self.market}
            parameters |= {"instrument": f"{asset}-{currency}", "limit": str(PAGE_BARS), "to_ts": str(end)}
        answer = client.get(url, parameters, headers)
        document = _document(answer)
        fault = _fault(document, answer.status, f"{asset}-{currency}")
        if fault is not None:
            if _is_before_the_first(document):
                if is_first:
                    raise NothingOlder(NAME, fault.reason)
                return []
            raise fault
        return list(_bars(document))


def _asked(wanted: Wanted) -> tuple[str, str]:
    """Return asset and currency of a request that can be answered."""
    found = _SYMBOL.fullmatch(wanted.symbol)
    if found is None:
        raise UnknownSymbol(NAME, f"a symbol such as BTC or BTC-USD is expected, was {wanted.symbol[:50]!r}")
    if wanted.freq not in FREQS or wanted.calendar != CALENDAR:
        raise BadSourceData(
            NAME,
            f"freq must be one of {', '.join(FREQS)} and calendar {CALENDAR}, were {wanted.freq} and {wanted.calendar}",
        )
    return found[1].upper(), (found[2] or "USD").upper()


def first_day(freq: str, today: date) -> date | None:
    """Return the first day of a series without a start; ``None`` for a freq that it does not have."""
    return today - timedelta(days=FREQS[freq][2]) if freq in FREQS else None


def _first_day(wanted: Wanted, days: int) -> date:
    if wanted.start is not None:
        return wanted.start
    default = wanted.now.date() - timedelta(days=days)
    # Minutes are gone after a week, whatever the log has.
    return default if wanted.known_since is None or wanted.freq == "1min" else min(default, wanted.known_since)


def _within(frame: SourceFrame, wanted: Wanted, first: date) -> SourceFrame:
    rows = within_days(frame.rows(frame.time >= _seconds(first)), wanted)
    if len(rows) == 0:
        have = datetime.fromtimestamp(int(frame.time[0]), UTC).date()
        raise BadSourceData(NAME, f"no bars from {first} to {wanted.end or 'today'}; the first one is of {have}")
    return rows


def _document(answer: Answer) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Raises:
        SourceUnreachable: A page for people, nothing at all, or a status that forbids.
        BadSourceData: Anything else that is no JSON object.
    """
    if not answer.body.strip():
        raise SourceUnreachable(NAME, f"answered with an empty body (HTTP status {answer.status})")
    if "html" in answer.content_type or answer.body.lstrip()[:1] == b"<":
        raise SourceUnreachable(NAME, f"answered with an HTML page (HTTP status {answer.status}), JSON was expected")
    if answer.content_type and "json" not in answer.content_type:
        raise BadSourceData(NAME, f"application/json was expected, the answer is {answer.content_type[:60]}")
    try:
        document = json.loads(answer.body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadSourceData(NAME, f"the answer is no whole JSON: {str(error)[:100]}") from error
    if not isinstance(document, dict):
        raise BadSourceData(NAME, f"a JSON object was expected, was {type(document).__name__}")
    return document


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _fault(document: dict[str, Any], status: int, symbol: str) -> SourceFault | None:
    """Return what an answer says went wrong; ``None`` when nothing did."""
    error = document.get("Err") or {}
    message, code = document.get("Message") or "", document.get("Type")
    if isinstance(error, dict) and error:
        message, code = error.get("message") or "", error.get("type")
    elif document.get("Response") != "Error" and status < HTTPStatus.BAD_REQUEST:
        return None
    told = str(message)[:_TOLD_CHARACTERS] or f"HTTP status {status}"
    lower = told.lower()
    if code == _RATE_LIMIT_CODE or "rate limit" in lower:
        return SourceUnreachable(NAME, f"asks for fewer requests: {told}", _RATE_LIMIT_SECONDS)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) or "api key" in lower or "auth key" in lower:
        return SourceUnreachable(NAME, f"wants another key ({told}): set FORETOPIC_INGESTOR_CRYPTOCOMPARE_API_KEY")
    parameter = _other(error).get("param")
    is_symbol = parameter in ("instrument", "instruments", "fsym", "tsym")
    if is_symbol or re.search(r"does not exist|no data for the symbol|no data for the to ?symbol", lower):
        return UnknownSymbol(NAME, f"there is no {symbol!r}: {told}")
    if status == HTTPStatus.NOT_FOUND and parameter is None:
        return UnknownSymbol(NAME, f"there is no {symbol!r}: {told}")
    return BadSourceData(NAME, told)


def _is_before_the_first(document: dict[str, Any]) -> bool:
    return _other(document.get("Err")).get("param") == "to_ts"


def _other(error: Any) -> dict[str, Any]:
    other = error.get("other_info") if isinstance(error, dict) else None
    return other if isinstance(other, dict) else {}


def _bars(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the bars, with ``time`` in UTC seconds; none of those that stand for "not listed yet"."""
    given = document.get("Data")
    if isinstance(given, dict):
        given = given.get("Data")
    if not isinstance(given, list):
        raise BadSourceData(NAME, f"bars were expected below Data or Data.Data, found {', '.join(map(str, document))}")
    for index, bar in enumerate(given):
        moment = bar.get("time", bar.get("TIMESTAMP")) if isinstance(bar, dict) else None
        if not isinstance(moment, int) or isinstance(moment, bool) or not 0 <= moment <= _LAST_SECOND:
            raise BadSourceData(NAME, f"bar {index} must have a time in seconds, was {str(bar)[:100]}")
        if any(_number(bar, names, index) for column, names in _COLUMNS.items() if column in _REQUIRED):
            yield {**bar, "time": moment}


def _frame(bars: Sequence[dict[str, Any]], currency: str) -> SourceFrame:
    columns = {}
    for column, names in _COLUMNS.items():
        values = np.array([_number(bar, names, index) for index, bar in enumerate(bars)], dtype=np.float64)
        if not np.isnan(values).all():
            columns[column] = values
        elif column in _REQUIRED:
            raise BadSourceData(NAME, f"bars must have {', '.join(_REQUIRED)}; there is no {column}")
    times = np.array([bar["time"] for bar in bars], dtype=np.int64)
    return SourceFrame(source=NAME, unit=currency, time=times, columns=columns)


def _number(bar: dict[str, Any], names: Sequence[str], index: int) -> float:
    value = next((bar[name] for name in names if bar.get(name) is not None), math.nan)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadSourceData(NAME, f"bar {index}, {names[0]}: a number is expected, was {str(value)[:50]!r}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _seconds(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
