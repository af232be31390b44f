"""The Yahoo source over recorded answers: the transport is faked, yfinance is the real one."""

from __future__ import annotations

import json
import socket
import threading
from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import requests

from ingestor.cleaning import clean
from ingestor.errors import BadSourceData, SourceUnreachable, UnknownSymbol
from ingestor.raw_responses import RawResponses
from ingestor.yahoo import Seen, YahooSource, browser_session, connect
from tests.unit.ingestor.frames import wanted

DAY = 86_400
#: Three sessions of 2024 in the form of Yahoo's chart answers, with a dividend and a 2:1 split: invented numbers.
CHART = {
    "meta": {
        "currency": "USD", "symbol": "TEST", "exchangeName": "NMS", "instrumentType": "EQUITY",
        "firstTradeDate": 345479400, "regularMarketTime": 1709931601, "gmtoffset": -18000, "timezone": "EST",
        "exchangeTimezoneName": "America/New_York", "regularMarketPrice": 12.0, "chartPreviousClose": 9.0,
        "priceHint": 2, "dataGranularity": "1d", "range": "", "validRanges": ["1d", "5d", "1mo", "10y", "max"],
        "currentTradingPeriod": {
            part: {"timezone": "EST", "start": 1709908200, "end": 1709931600, "gmtoffset": -18000}
            for part in ("pre", "regular", "post")
        },
    },
    # The opens of 7, 8 and 11 March 2024: New York changed its clocks on the 10th.
    "timestamp": [1709821800, 1709908200, 1710163800],
    "events": {
        "dividends": {"1709908200": {"amount": 0.25, "date": 1709908200}},
        "splits": {"1710163800": {"date": 1710163800, "numerator": 2, "denominator": 1, "splitRatio": "2:1"}},
    },
    "indicators": {
        "quote": [{"open": [9.0, 10.0, 11.0], "high": [10.5, 11.5, 12.5], "low": [8.5, 9.5, 10.5],
                   "close": [10.0, 11.0, 12.0], "volume": [100, 200, 300]}],
        "adjclose": [{"adjclose": [9.5, 10.9, 12.0]}],
    },
}  # fmt: skip


class Transport(requests.Session):
    """Answers what it is told to, and notes what was asked."""

    def __init__(self, answer, seen: Seen) -> None:
        super().__init__()
        self.answer = answer
        self.seen = seen
        self.asked: list[str] = []

    def request(self, method, url, params=None, **options):
        self.asked.append(requests.Request(method, url, params=params).prepare().url)
        if "/chart/" not in url:
            return self._response(200, "a-crumb", url)
        try:
            status, body = self.answer(self.asked[-1])
        except OSError as error:
            self.seen.failure(url, str(error))
            raise
        self.seen.answer(url, status)
        return self._response(status, json.dumps(body), url)

    @staticmethod
    def _response(status: int, text: str, url: str) -> requests.Response:
        response = requests.Response()
        response.status_code = status
        response._content = text.encode()
        response.url = url
        return response


@pytest.fixture
def fetch():
    """Fetch over a transport that gives ``answer``; return the frame and what was asked."""
    sessions: list[Transport] = []

    def session(timeout_seconds: float):
        seen = Seen()
        sessions.append(Transport(fetch.answer, seen))
        return sessions[-1], seen

    def fetch(answer, **changes):
        fetch.answer = answer if callable(answer) else lambda url: answer
        values = {"symbol": "TEST", "calendar": "XNYS", "now": datetime(2024, 4, 1, tzinfo=UTC)} | changes
        return YahooSource(5.0, session, probe=lambda timeout: None).fetch(wanted(**values))

    fetch.sessions = sessions
    return fetch


def chart(result):
    return 200, {"chart": {"result": [result], "error": None}}


def days(frame):
    return [f"{datetime.fromtimestamp(int(time), UTC):%Y-%m-%dT%H:%M}".removesuffix("T00:00") for time in frame.time]


def test_bars_have_the_day_of_their_session_with_dividends_and_splits(fetch):
    frame = fetch(chart(CHART))

    assert days(frame) == ["2024-03-07", "2024-03-08", "2024-03-11"]
    assert frame.unit == "USD"
    assert {name: values.tolist() for name, values in frame.columns.items()} == {
        "open": [9, 10, 11],
        "high": [10.5, 11.5, 12.5],
        "low": [8.5, 9.5, 10.5],
        "close": [10, 11, 12],
        "adj_close": [9.5, 10.9, 12],
        "volume": [100, 200, 300],
        "dividends": [0, 0.25, 0],
        "splits": [0, 0, 2],
    }


def test_adjusting_is_said_explicitly_both_ways(fetch):
    assert fetch(chart(CHART), adjust=False).columns["close"].tolist() == [10, 11, 12]
    adjusted = fetch(chart(CHART), adjust=True)

    assert adjusted.columns["close"].tolist() == pytest.approx([9.5, 10.9, 12])
    assert adjusted.columns["open"][0] == pytest.approx(9 * 9.5 / 10)
    assert "adj_close" not in adjusted.columns


def test_a_session_that_is_still_open_is_withheld(fetch):
    """Yahoo gives the running day as its last row: red without _withhold_incomplete in ingestor.cleaning."""
    asked = {"symbol": "TEST", "calendar": "XNYS", "now": datetime(2024, 3, 11, 19, 59, tzinfo=UTC)}
    frame = clean(fetch(chart(CHART), **asked), wanted(**asked))

    assert days(frame) == ["2024-03-07", "2024-03-08"]
    assert frame.notes == ("withheld until complete: 2024-03-11",)


@pytest.mark.parametrize(
    ("changes", "start", "end"),
    [
        ({}, date(2014, 4, 1), date(2024, 4, 2)),
        ({"known_since": date(2000, 3, 1)}, date(2000, 3, 1), date(2024, 4, 2)),
        ({"known_since": date(2020, 3, 1)}, date(2014, 4, 1), date(2024, 4, 2)),
        ({"start": date(2024, 3, 1), "end": date(2024, 3, 11)}, date(2024, 3, 1), date(2024, 3, 12)),
    ],
    ids=["ten-years", "all-that-is-known", "known-is-shorter", "as-asked"],
)
def test_the_range_that_is_asked_for(fetch, changes, start, end):
    fetch(chart(CHART), **changes)

    [query] = [parse_qs(urlsplit(url).query) for url in fetch.sessions[-1].asked if "period1" in url]
    moments = [datetime.fromtimestamp(int(query[name][0]), UTC) for name in ("period1", "period2")]
    assert [moment.date() for moment in moments] == [start, end]
    assert [moment.hour in (4, 5) for moment in moments] == [True, True]  # midnight in New York


@pytest.mark.parametrize("symbol", ["", "../v1/test", "AAPL?range=max", "a b", "x" * 31, "Ω", "-A"])
def test_a_symbol_that_is_no_ticker_is_unknown_and_asked_nowhere(fetch, symbol):
    with pytest.raises(UnknownSymbol, match="a ticker such as AAPL"):
        fetch(chart(CHART), symbol=symbol)
    assert fetch.sessions == []


def test_days_at_the_end_of_the_calendar_are_asked_for_all_the_same(fetch):
    assert len(fetch(chart(CHART), start=date.min, end=date.max)) == 3


def test_no_network_is_told_before_anything_is_loaded():
    def probe(timeout_seconds):
        raise OSError(101, "Network is unreachable")

    def session(timeout_seconds):
        raise AssertionError("asked all the same")

    with pytest.raises(SourceUnreachable, match=r"within 5 s: query2\.finance\.yahoo\.com: Network is unreachable"):
        YahooSource(5.0, session, probe).fetch(wanted(symbol="TEST", calendar="XNYS"))


@pytest.mark.loopback
def test_the_probe_knows_a_server_from_none(monkeypatch, nobody):
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect(60.0, "127.0.0.1", server.getsockname()[1])
    # That of the server might be another's by now.
    with pytest.raises(ConnectionRefusedError):
        connect(60.0, "127.0.0.1", nobody)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    connect(60.0, "127.0.0.1", nobody)


def test_a_name_that_is_looked_up_for_ever_is_given_up(monkeypatch):
    """Red when the connection is tried in the calling thread: looking up a name knows no timeout."""
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    release = threading.Event()

    def look_up(*_):
        release.wait(60)
        raise OSError("too late")

    monkeypatch.setattr(socket, "create_connection", look_up)
    before = set(threading.enumerate())
    try:
        with pytest.raises(TimeoutError, match="no answer"):
            connect(0.1)
    finally:
        release.set()
        # One that begins late must not find the real function again.
        for thread in set(threading.enumerate()) - before:
            thread.join(60)


def test_an_unknown_symbol(fetch):
    not_found = {"result": None, "error": {"code": "Not Found", "description": "No data found, symbol may be delisted"}}
    with pytest.raises(UnknownSymbol, match="there is no symbol 'TEST'"):
        fetch((404, {"chart": not_found}))


@pytest.mark.parametrize("status", [429, 500, 503, 403])
def test_an_error_status_is_unreachable(fetch, status):
    with pytest.raises(SourceUnreachable, match=f"HTTP status {status}"):
        fetch((status, {"chart": {"result": None, "error": {"code": "x", "description": "Too Many Requests"}}}))


def test_no_connection_is_unreachable_and_not_an_unknown_symbol(fetch):
    def refuse(url):
        raise requests.exceptions.ConnectionError("connection refused")

    with pytest.raises(SourceUnreachable, match="could not be reached within 5 s: connection refused"):
        fetch(refuse)
    assert len(fetch.sessions[-1].asked) <= 4  # cookie, crumb and one try for prices: no storm


@pytest.mark.parametrize(
    "body", [{}, {"chart": None}, {"chart": {"result": [{"meta": {}}], "error": None}}, "Will be right back", [1], None]
)
def test_an_answer_that_is_none_is_bad_data(fetch, body):
    with pytest.raises((BadSourceData, SourceUnreachable)):
        fetch((200, body))


def test_no_bars_in_the_range(fetch):
    empty = {**CHART, "timestamp": [], "indicators": {"quote": [{}], "adjclose": [{}]}, "events": {}}
    with pytest.raises(BadSourceData):
        fetch(chart(empty))


def test_freq_and_calendar_are_checked_before_anything_is_asked(fetch):
    with pytest.raises(BadSourceData, match="was 4h"):
        fetch(chart(CHART), freq="4h")
    with pytest.raises(BadSourceData, match="calendar must be"):
        fetch(chart(CHART), calendar="NOPE")
    assert fetch.sessions == []


def test_nothing_is_left_on_the_disk(fetch):
    """Red without the dummy caches in _quiet_yfinance: cookies and time zones would stay in the user's cache."""
    from yfinance import cache

    def forbidden(*_):
        raise AssertionError("a cache in a file was opened")

    with pytest.MonkeyPatch.context() as patch:
        for manager in (cache._TzDBManager, cache._CookieDBManager, cache._ISINDBManager):
            patch.setattr(manager, "get_database", forbidden)
        patch.setattr(cache._TzCacheManager, "_tz_cache", None)
        patch.setattr(cache._CookieCacheManager, "_Cookie_cache", None)
        assert len(fetch(chart(CHART))) == 3


def test_a_second_fetch_asks_again(fetch):
    """yfinance keeps answers about the past for the life of a process: red without cache_clear."""
    fetch(chart(CHART))
    later = {**CHART, "indicators": {**CHART["indicators"], "adjclose": [{"adjclose": [1.0, 2.0, 3.0]}]}}

    assert fetch(chart(later)).columns["adj_close"].tolist() == [1, 2, 3]


def test_the_real_session_gives_each_request_what_is_left_of_the_deadline(monkeypatch):
    from curl_cffi import requests as curl

    timeouts: list[float] = []

    def request(self, method, url, **options):
        timeouts.append(options["timeout"])
        raise curl.exceptions.Timeout("no answer")

    monkeypatch.setattr(curl.Session, "request", request)
    session, seen = browser_session(500.0)
    with session:
        for _ in range(2):
            with pytest.raises(curl.exceptions.Timeout):
                session.get("https://example.invalid/v8/finance/chart/X", timeout=30)

    assert 500.0 >= timeouts[0] > timeouts[1] > 400.0
    assert seen.failures == ["no answer", "no answer"]


RECORDED = [
    ("chart-AAPL-2020-08-31-to-2020-11-07.json", "AAPL", "XNYS", "USD", 49),
    ("chart-MSFT-dividends-2021-02-01-to-2022-01-31.json", "MSFT", "XNYS", "USD", 252),
    ("chart-BTC-USD-2020-01-01-to-2020-01-03.json", "BTC-USD", "24/7", "USD", 3),
    ("chart-EURUSDX-2020-01-01-to-2020-01-03.json", "EURUSD=X", "24/7", "USD", 3),
]


@pytest.mark.parametrize("case", RECORDED, ids=[case[1] for case in RECORDED])
def test_recorded_answers(fetch, shared_data, case):
    name, symbol, calendar, unit, rows = case
    body = json.loads((shared_data / "fixtures" / "yahoo_chart" / name).read_text())
    asked = {
        "symbol": symbol,
        "calendar": calendar,
        "now": datetime(2025, 2, 20, tzinfo=UTC),
        "start": date(2019, 1, 1),
    }
    frame = clean(fetch((200, body), **asked), wanted(**asked))

    assert (frame.unit, len(frame)) == (unit, rows)
    assert (frame.time % DAY == 0).all()
    if symbol == "AAPL":
        assert days(frame)[0] == "2020-08-31"
        assert frame.columns["splits"][0] == 4.0
        assert frame.columns["close"][0] == pytest.approx(129.04, abs=1e-3)
        assert frame.columns["dividends"].sum() == pytest.approx(0.205)
        assert days(frame)[int(np.argmax(frame.columns["dividends"]))] == "2020-11-06"


OTHERS = [
    ("chart-AAPL-2020-01-01-to-2020-01-03.json", "AAPL", "XNYS", ["2020-01-02"]),
    ("chart-QQQ-2020-01-01-to-2020-01-03.json", "QQQ", "XNYS", ["2020-01-02"]),
    ("chart-0P0000XTS7-2024-09-12-to-2024-09-16.json", "0P0000XTS7", "24/5", ["2024-09-12", "2024-09-13"]),
]


@pytest.mark.parametrize("case", OTHERS, ids=[case[1] for case in OTHERS])
def test_recorded_answers_of_a_few_days(fetch, shared_data, case):
    name, symbol, calendar, expected = case
    body = json.loads((shared_data / "fixtures" / "yahoo_chart" / name).read_text())
    frame = fetch((200, body), symbol=symbol, calendar=calendar, now=datetime(2025, 2, 20, tzinfo=UTC))

    assert days(frame) == expected
    assert np.isfinite(frame.columns["close"]).all()


def test_the_recorded_answer_for_an_unknown_symbol(fetch, shared_data):
    body = json.loads((shared_data / "fixtures" / "yahoo_chart" / "error-404-not-found.json").read_text())
    with pytest.raises(UnknownSymbol, match="there is no symbol 'NOPE'"):
        fetch((404, body), symbol="NOPE")


def test_a_recorded_good_answer_without_bars(fetch, shared_data):
    name = "chart-AAPL-2025-02-01-to-2025-02-02-includePrePost-false-interval-1m.json"
    body = json.loads((shared_data / "fixtures" / "yahoo_chart" / name).read_text())
    asked = {"freq": "1min", "start": date(2025, 2, 1), "end": date(2025, 2, 2)}
    with pytest.raises(BadSourceData, match="no rows of AAPL from 2025-02-01 to 2025-02-02"):
        fetch((200, body), symbol="AAPL", now=datetime(2025, 2, 3, tzinfo=UTC), **asked)


# --- bars within a day ---------------------------------------------------------------------------------------------

#: Two hours of 8 March 2024 in New York, from 9:30 on, with the dividend of that day: invented numbers.
HOURS = {
    **CHART,
    "meta": {
        **CHART["meta"],
        "dataGranularity": "1h",
        "tradingPeriods": [[{"timezone": "EST", "start": 1709908200, "end": 1709931600, "gmtoffset": -18000}]],
    },
    "timestamp": [1709908200, 1709911800],
    "events": {"dividends": {"1709908200": {"amount": 0.25, "date": 1709908200}}},
    "indicators": {
        "quote": [{"open": [9.0, 10.0], "high": [10.5, 11.5], "low": [8.5, 9.5], "close": [10.0, 11.0],
                   "volume": [100, 200]}],
    },
}  # fmt: skip


def test_hours_begin_in_utc_and_keep_dividends_and_splits(fetch):
    frame = fetch(chart(HOURS), freq="1h", now=datetime(2024, 3, 9, tzinfo=UTC))

    assert days(frame) == ["2024-03-08T14:30", "2024-03-08T15:30"]
    assert frame.columns["dividends"].tolist() == [0.25, 0]
    assert frame.columns["splits"].tolist() == [0, 0]


@pytest.mark.parametrize(("freq", "kept"), [("1min", 7), ("5min", 59), ("30min", 59), ("1h", 729)])
def test_bars_that_yahoo_has_no_more_are_refused_with_the_first_day(fetch, freq, kept):
    now = datetime(2024, 4, 1, tzinfo=UTC)
    first = now.date() - timedelta(days=kept)
    with pytest.raises(BadSourceData, match=f"kept for {kept} days, start must be {first} or later"):
        fetch(chart(HOURS), freq=freq, start=first - timedelta(days=1), now=now)
    assert fetch.sessions == []


def test_without_a_start_as_much_as_yahoo_has_is_asked_for(fetch):
    fetch(chart(HOURS), freq="1h", now=datetime(2024, 4, 1, tzinfo=UTC))

    [query] = [parse_qs(urlsplit(url).query) for url in fetch.sessions[-1].asked if "period1" in url]
    assert datetime.fromtimestamp(int(query["period1"][0]), UTC).date() == date(2022, 4, 3)


def test_answers_for_prices_are_kept_and_no_others(tmp_path, monkeypatch):
    from curl_cffi import requests as curl

    class Answer:
        status_code, headers, content = 200, {"Content-Type": "application/json"}, b"{}"

        def __init__(self, url):
            self.url = url

    monkeypatch.setattr(curl.Session, "request", lambda self, method, url, **options: Answer(url))
    raw = RawResponses(directory=tmp_path, max_bytes=10**6)
    session, _ = browser_session(5.0, raw)
    with session:
        for path in ("v8/finance/chart/AAPL", "v1/test/getcrumb"):
            session.get(f"https://example.test/{path}")

    assert raw.sizes()["yahoo"][0] == 1
    assert raw.newest("yahoo", "https://example.test/v8/finance/chart/AAPL").body == b"{}"
