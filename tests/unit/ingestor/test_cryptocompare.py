"""The source `cryptocompare` over recorded answers and small ones of the same shape; the transport is faked."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, date, datetime

import numpy as np
import pytest
import requests
import stamina

from ingestor.cleaning import clean
from ingestor.cryptocompare import PAGE_BARS, CryptoCompareSource
from ingestor.errors import BadSourceData, SourceUnreachable, UnknownSymbol
from ingestor.raw_responses import RawResponses
from tests.unit.ingestor.answers import Fake, said
from tests.unit.ingestor.frames import wanted

DAY = 86_400
NOW = datetime(2024, 3, 12, 12, tzinfo=UTC)
MIDNIGHT = int(datetime(2024, 3, 12, tzinfo=UTC).timestamp())


@pytest.fixture(autouse=True)
def _no_waiting():
    with stamina.set_testing(True, attempts=3):
        yield


def bar(time: int, close: float = 10.0, **more):
    return {
        "time": time,
        "open": close,
        "high": close,
        "low": close,
        "close": close,
        "volumefrom": 1.5,
        "volumeto": 15,
        **more,
    }


def upper(time: int, close: float = 10.0, **more):
    prices = dict.fromkeys(("OPEN", "HIGH", "LOW", "CLOSE"), close)
    return {"UNIT": "DAY", "TIMESTAMP": time, **prices, "VOLUME": 2.0, "QUOTE_VOLUME": 20.0, **more}


def v2(*bars):
    return {"Response": "Success", "Message": "", "Type": 100, "Data": {"Aggregated": False, "Data": list(bars)}}


def fetch(answer, symbol="BTC", *, source=None, **asked):
    fake = Fake(answer if callable(answer) else lambda *_: answer)
    options = {"sessions": fake.session} | (source or {})
    asked = {"symbol": symbol, "calendar": "24/7", "now": NOW} | asked
    return CryptoCompareSource(**options).fetch(wanted(**asked)), fake


def days(frame):
    return [str(datetime.fromtimestamp(int(time), UTC).date()) for time in frame.time]


def test_bars_of_the_v2_form():
    frame, fake = fetch(said(v2(bar(MIDNIGHT - DAY), bar(MIDNIGHT, 11.0))), start=date(2024, 3, 11))

    assert days(frame) == ["2024-03-11", "2024-03-12"]
    assert (frame.source, frame.unit) == ("cryptocompare", "USD")
    assert {name: values.tolist() for name, values in frame.columns.items()} == {
        "open": [10, 11], "high": [10, 11], "low": [10, 11], "close": [10, 11], "volume": [1.5, 1.5], "quote_volume": [15, 15],
    }  # fmt: skip
    assert fake.asked[0].url.startswith("https://min-api.cryptocompare.com/data/v2/histoday?")
    assert fake.queries == [{"fsym": "BTC", "tsym": "USD", "limit": str(PAGE_BARS), "toTs": str(int(NOW.timestamp()))}]


def test_the_running_day_is_withheld():
    frame, _ = fetch(said(v2(bar(MIDNIGHT - DAY), bar(MIDNIGHT, 11.0))), start=date(2024, 3, 11))

    assert days(clean(frame, wanted(calendar="24/7", now=NOW))) == ["2024-03-11"]


def test_the_first_form_and_the_market_cap_where_given():
    body = {"Response": "Success", "Data": [bar(MIDNIGHT - DAY, marketcap=1e12)]}
    frame, _ = fetch(said(body), "eth-eur", start=date(2024, 3, 11))

    assert frame.unit == "EUR"
    assert frame.columns["market_cap"].tolist() == [1e12]


@pytest.mark.parametrize(("freq", "path"), [("1d", "histoday"), ("1h", "histohour"), ("1min", "histominute")])
def test_each_freq_has_its_path(freq, path):
    _, fake = fetch(said(v2(bar(MIDNIGHT))), freq=freq, start=date(2024, 3, 12))

    assert f"/{path}?" in fake.asked[0].url


def test_pages_are_read_backwards_until_the_start():
    """Each page ends one bar before the oldest that is there; red when paging stops after the first page."""

    def page(request, query):
        end = int(query["toTs"]) // DAY * DAY
        return said(v2(*(bar(end - DAY * back) for back in reversed(range(3)))))

    frame, fake = fetch(page, start=date(2024, 3, 5))

    assert days(frame) == [f"2024-03-{day:02}" for day in range(5, 13)]
    assert [int(query["toTs"]) // DAY * DAY for query in fake.queries] == [
        MIDNIGHT - 3 * DAY * page for page in range(3)
    ]
    assert (np.diff(np.sort(frame.time)) == DAY).all()


def test_zeros_before_a_listing_end_the_paging_and_are_no_rows():
    def page(request, query):
        end = int(query["toTs"]) // DAY * DAY
        listed = MIDNIGHT - 4 * DAY
        return said(
            v2(
                *(
                    bar(t, 10.0 if t >= listed else 0.0, volumefrom=0, volumeto=0)
                    for t in range(end - 2 * DAY, end + 1, DAY)
                )
            )
        )

    frame, fake = fetch(page)

    assert days(frame)[0] == "2024-03-08"
    assert len(fake.asked) == 3


def test_a_provider_that_repeats_itself_ends():
    frame, fake = fetch(said(v2(bar(MIDNIGHT - DAY))))

    assert (len(frame), len(fake.asked)) == (1, 2)


def test_pages_without_end_are_refused():
    def page(request, query):
        return said(v2(bar(int(query["toTs"]) // 60 * 60)))

    with pytest.raises(BadSourceData, match="at most 250 pages"):
        fetch(page, freq="1min", start=date(2024, 1, 1))


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({}, "2014-03-12"),
        ({"known_since": date(2012, 1, 1)}, "2012-01-01"),
        ({"start": date(2024, 3, 10)}, "2024-03-10"),
    ],
    ids=["ten-years", "all-that-is-known", "as-asked"],
)
def test_the_range_that_is_asked_for(changes, first):
    moment = int(datetime.fromisoformat(f"{first}T00:00+00:00").timestamp())
    frame, _ = fetch(said(v2(*(bar(moment + DAY * day) for day in (-1, 0, 1)))), **changes)

    assert days(frame)[0] == first


def test_an_end_is_the_last_bar_of_its_day():
    _, fake = fetch(said(v2(bar(MIDNIGHT - DAY))), freq="1h", start=date(2024, 3, 11), end=date(2024, 3, 11))

    assert fake.queries[0]["toTs"] == str(MIDNIGHT - 3600)


def test_the_newer_api_stops_before_its_first_bar():
    first = MIDNIGHT - DAY
    error = {"type": 1, "message": "Invalid: to_ts parameter.", "other_info": {"param": "to_ts", "first": first}}

    def page(request, query):
        if int(query["to_ts"]) < first:
            return said({"Data": [], "Err": error}, 404)
        return said({"Data": [upper(first), upper(MIDNIGHT)], "Err": {}})

    frame, fake = fetch(page, "BTC-USD", source={"api": "data-api"})

    assert days(frame) == ["2024-03-11", "2024-03-12"]
    assert frame.columns["quote_volume"].tolist() == [20, 20]
    assert fake.asked[0].url.startswith("https://data-api.cryptocompare.com/index/cc/v1/historical/days?")
    assert fake.queries[0] == {
        "market": "cadli",
        "instrument": "BTC-USD",
        "limit": "2000",
        "to_ts": str(int(NOW.timestamp())),
    }


def test_the_key_goes_in_a_header_and_nowhere_else(tmp_path):
    """Red when the key is a parameter, in the repr, or kept with the raw answers."""
    raw = RawResponses(directory=tmp_path, max_bytes=10**6)
    source = {"api_key": "top-secret", "raw": raw}
    _, fake = fetch(said(v2(bar(MIDNIGHT))), start=date(2024, 3, 12), source=source)

    assert fake.asked[0].headers["Authorization"] == "Apikey top-secret"
    assert "top-secret" not in fake.asked[0].url
    assert "top-secret" not in repr(CryptoCompareSource(api_key="top-secret"))
    kept = raw.newest("cryptocompare", fake.asked[0].url)
    assert kept is not None
    assert "top-secret" not in repr(kept)


def test_it_travels_to_a_child_process():
    source = CryptoCompareSource(api_key="k")
    assert pickle.loads(pickle.dumps(source)) == source


HTML = b"<!DOCTYPE html><html><body>Will be right back</body></html>"
WRONG = [
    ("html", said(HTML, content_type="text/html; charset=utf-8"), SourceUnreachable, "answered with an HTML page"),
    ("html-that-says-json", said(HTML), SourceUnreachable, "answered with an HTML page"),
    ("html-403", said(HTML, 403, "text/html"), SourceUnreachable, "HTTP status 403"),
    ("empty", said(b""), SourceUnreachable, "empty body"),
    ("blanks", said(b" \n "), SourceUnreachable, "empty body"),
    ("half-a-json", said(json.dumps(v2(bar(MIDNIGHT))).encode()[:80]), BadSourceData, "no whole JSON"),
    ("wrong-content-type", said(v2(bar(MIDNIGHT)), content_type="image/png"), BadSourceData, "the answer is image/png"),
    ("no-utf-8", said(b'{"Data": "\xff\xfe"}'), BadSourceData, "no whole JSON"),
    ("nested-without-end", said(b"[" * 100_000), BadSourceData, "no whole JSON"),
    ("nan", said(b'{"Data": [{"time": 1, "open": NaN}]}'), BadSourceData, "NaN is no JSON number"),
    ("a-list", said([1, 2]), BadSourceData, "a JSON object was expected, was list"),
    ("null", said(b"null"), BadSourceData, "was NoneType"),
    ("no-data", said({"Response": "Success"}), BadSourceData, "bars were expected below Data"),
    ("data-is-text", said({"Data": "soon"}), BadSourceData, "bars were expected below Data"),
    ("bar-is-no-object", said({"Data": [1]}), BadSourceData, "bar 0 must have a time"),
    ("time-is-text", said({"Data": [bar("2024")]}), BadSourceData, "bar 0 must have a time"),
    ("time-beyond-all", said({"Data": [bar(10**30)]}), BadSourceData, "bar 0 must have a time"),
    ("price-is-text", said({"Data": [bar(MIDNIGHT, "12,5")]}), BadSourceData, "a number is expected, was '12,5'"),
    ("price-is-true", said({"Data": [bar(MIDNIGHT, True)]}), BadSourceData, "a number is expected"),
    ("no-close", said({"Data": [{"time": MIDNIGHT, "open": 1, "high": 1, "low": 1}]}), BadSourceData, "there is no close"),
    ("no-bars", said(v2()), BadSourceData, "no bars of BTC-USD"),
    ("rate-limit-status", said({}, 429), SourceUnreachable, "HTTP status 429"),
    ("rate-limit-late", said({}, 429, Retry_After="3600"), SourceUnreachable, "HTTP status 429"),
    ("rate-limit-code", said({"Response": "Error", "Message": "You are over your rate limit", "Type": 99, "Data": {}}), SourceUnreachable, "asks for fewer requests"),
    ("server-error", said(HTML, 503, "text/html"), SourceUnreachable, "HTTP status 503"),
    ("no-key", said({"Response": "Error", "Message": "You need a valid auth key or api key", "Type": 2}), SourceUnreachable, "CRYPTOCOMPARE_API_KEY"),
    ("key-refused", said({"Err": {"type": 2, "message": "Unauthorized"}}, 401), SourceUnreachable, "CRYPTOCOMPARE_API_KEY"),
    ("no-such-pair", said({"Response": "Error", "Message": "cccagg or market does not exist for this coin pair (XX-USD)", "Type": 2}), UnknownSymbol, "there is no 'BTC-USD'"),
    ("no-such-asset", said({"Response": "Error", "Message": "There is no data for the symbol XX .", "Type": 1}), UnknownSymbol, "there is no 'BTC-USD'"),
    ("404", said({"Data": [], "Err": {"type": 1, "message": "Not found"}}, 404), UnknownSymbol, "Not found"),
    ("no-such-instrument", said({"Err": {"type": 1, "message": "Invalid", "other_info": {"param": "instrument"}}}, 404), UnknownSymbol, "there is no 'BTC-USD'"),
    ("another-error", said({"Response": "Error", "Message": "limit param is invalid", "Type": 2}), BadSourceData, "limit param is invalid"),
    ("refused-connection", requests.ConnectionError("connection refused"), SourceUnreachable, "connection refused"),
    ("time-out", requests.ReadTimeout("read timed out"), SourceUnreachable, "no whole answer within 10 s"),
    ("too-large", said(b" " * (17 * 1024 * 1024)), BadSourceData, "at most 16777216 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "fault", "words"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_no_answer_is_told(answer, fault, words):
    with pytest.raises(fault, match=words):
        fetch(answer)


@pytest.mark.parametrize(
    ("answer", "tries"),
    [(said({}, 503), 3), (said({}, 429), 3), (said({}, 429, Retry_After="1"), 3), (said({}, 429, Retry_After="3600"), 1),
     (said({}, 404), 1), (requests.ConnectionError("reset"), 3)],
)  # fmt: skip
def test_only_what_may_mend_is_tried_again(answer, tries):
    asked = []

    def count(request, query):
        asked.append(request)
        return answer

    with pytest.raises((SourceUnreachable, UnknownSymbol)):
        fetch(count)
    assert len(asked) == tries


def test_a_try_that_fails_once_is_no_matter():
    answers = [said({}, 503), said(v2(bar(MIDNIGHT)))]
    frame, _ = fetch(lambda *_: answers.pop(0), start=date(2024, 3, 12))

    assert len(frame) == 1


@pytest.mark.parametrize("symbol", ["", "BTC/USD", "../x", "BTC-USD-EUR", "B" * 21, "BTC&tsym=EUR"])
def test_a_symbol_that_is_none_is_asked_nowhere(symbol):
    with pytest.raises(UnknownSymbol, match="a symbol such as BTC or BTC-USD"):
        fetch(lambda *_: pytest.fail("asked all the same"), symbol)


@pytest.mark.parametrize("changes", [{"freq": "1w"}, {"calendar": "XNYS"}])
def test_freq_and_calendar_are_checked_first(changes):
    with pytest.raises(BadSourceData, match="freq must be one of 1d, 1h, 1min and calendar 24/7"):
        fetch(lambda *_: pytest.fail("asked all the same"), **changes)


RECORDED = [
    ("v1_histo_day.json", "1d", "BTC", "min-api", 31, 2403.09),
    ("v1_histo_day_with_limit_10.json", "1d", "BTC", "min-api", 11, 2809.99),
    ("v1_histo_hour.json", "1h", "BTC", "min-api", 169, 2858.86),
    ("v1_histo_minute_with_limit_10.json", "1min", "BTC", "min-api", 11, 3707.03),
    ("v2_histoday_BTC_USD_2020-01.json", "1d", "BTC-USD", "min-api", 11, 7202.72),
    ("dataapi_days_WETH-EUR.json", "1d", "WETH-EUR", "data-api", 1, 3462.69913028888),
    ("dataapi_hours_WETH-EUR.json", "1h", "WETH-EUR", "data-api", 10, 3252.46203504816),
    ("dataapi_hours_BTC-USD_2010.json", "1h", "BTC-USD", "data-api", 401, 0.04951),
]


@pytest.mark.parametrize("case", RECORDED, ids=[case[0] for case in RECORDED])
def test_recorded_answers(shared_data, case):
    name, freq, symbol, api, rows, close = case
    body = (shared_data / "fixtures" / "cryptocompare" / name).read_bytes()
    asked = {"freq": freq, "start": date(2010, 1, 1), "now": datetime(2025, 9, 1, tzinfo=UTC)}
    frame, _ = fetch(said(body), symbol, source={"api": api}, **asked)

    assert len(frame) == rows
    assert frame.columns["close"][0] == close
    assert frame.unit == (symbol.partition("-")[2] or "USD")
    assert (np.diff(frame.time) == {"1d": DAY, "1h": 3600, "1min": 60}[freq]).all()


def test_recorded_refusals(shared_data):
    folder = shared_data / "fixtures" / "cryptocompare"
    with pytest.raises(BadSourceData, match="BTC-USD was not trading on cadli at 1279321200"):
        fetch(said((folder / "dataapi_error_invalid_to_ts.json").read_bytes(), 404), source={"api": "data-api"})
    with pytest.raises(BadSourceData, match="bars were expected below Data"):
        fetch(said((folder / "v1_rate_limit.json").read_bytes()))
