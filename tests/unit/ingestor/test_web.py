"""Asking over HTTP: what comes is limited in time and size, and an unchanged answer is not sent again."""

from __future__ import annotations

import gzip
import pickle
import socket
import tracemalloc
import zlib
from datetime import UTC, datetime

import pytest
import requests
import stamina

from ingestor import raw_responses
from ingestor.errors import BadSourceData, SourceUnreachable
from ingestor.raw_responses import RawResponse, RawResponses
from ingestor.web import ATTEMPTS, MAX_REDIRECTS, WebClient
from tests.unit.ingestor.answers import Fake, said, served

URL = "https://example.test/prices.csv"
NOW = datetime(2024, 3, 12, 12, tzinfo=UTC)
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def _no_waiting():
    with stamina.set_testing(True, attempts=3):
        yield


def client(answer=None, **changes):
    fake = Fake(answer if callable(answer) else lambda *_: answer)
    options = {"source": "test", "timeout_seconds": 60.0, "max_bytes": MIB, "sessions": fake.session} | changes
    return WebClient(**options), fake


def test_a_gzipped_answer_is_unpacked():
    web, fake = client(said(gzip.compress(b"a,b"), Content_Encoding="gzip"))

    assert web.get(URL).body == b"a,b"
    assert fake.asked[0].headers["Accept-Encoding"] == "gzip"


def test_deflate_is_unpacked():
    assert client(said(zlib.compress(b"a,b"), Content_Encoding="deflate"))[0].get(URL).body == b"a,b"


def test_a_gzip_bomb_stops_at_the_limit():
    """A quarter of a megabyte that unpacks to 256: red when the limit is on what was sent, or a piece is unpacked whole."""
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(MIB)
    bomb = b"".join(packer.compress(zeros) for _ in range(256)) + packer.flush()
    assert len(bomb) < MIB

    web, _ = client(said(bomb, Content_Encoding="gzip"))
    tracemalloc.start()
    try:
        with pytest.raises(BadSourceData, match="at most 1048576 bytes"):
            web.get(URL)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (said(b"x" * (MIB + 1)), "at most 1048576 bytes"),
        (said(b"no gzip", Content_Encoding="gzip"), "the answer is no gzip"),
        (said(b"x", Content_Encoding="br"), "Content-Encoding must be gzip or none, was 'br'"),
    ],
)
def test_a_body_that_is_refused(answer, words):
    with pytest.raises(BadSourceData, match=words):
        client(answer)[0].get(URL)


def test_half_a_gzip_is_no_whole_answer():
    half = gzip.compress(b"a,b\n" * 1000)[:-20]
    with pytest.raises(SourceUnreachable, match="the answer ended in the middle"):
        client(said(half, Content_Encoding="gzip"))[0].get(URL)


def test_redirects_are_followed_to_a_limit():
    def answer(request, query):
        step = int(request.path_url.rpartition("/")[2])
        return said(b"here") if step == 3 else (302, {"Location": f"/{step + 1}"}, b"")

    found = client(answer, follows_redirects=True)[0].get("https://example.test/0")
    assert (found.body, found.url) == (b"here", "https://example.test/3")

    web, fake = client((301, {"Location": "/again"}, b""), follows_redirects=True)
    with pytest.raises(BadSourceData, match="at most 5 redirects"):
        web.get(URL)
    assert len(fake.asked) == MAX_REDIRECTS + 1


def test_an_answer_may_be_just_as_large_as_it_may_be():
    """Red where the comparison in `WebClient._read` is another one."""
    assert client(said(b"x" * 100), max_bytes=100)[0].get(URL).body == b"x" * 100
    with pytest.raises(BadSourceData, match="at most 100 bytes"):
        client(said(b"x" * 101), max_bytes=100)[0].get(URL)


def test_not_modified_is_no_answer_where_nothing_was_kept():
    """Red without the look at ``kept`` in `WebClient._once`."""
    answer = client((304, {}, b""))[0].get(URL)
    assert (answer.status, answer.body) == (304, b"")


@pytest.mark.parametrize(
    "target", ["http://example.test/", "file:///etc/passwd", "ftp://example.test/x", "gopher://x/"]
)
def test_a_redirect_to_less_is_refused(target):
    web, fake = client((302, {"Location": target}, b""), follows_redirects=True)

    with pytest.raises(BadSourceData, match="a redirect must lead to https"):
        web.get(URL)
    assert len(fake.asked) == 1


def test_a_redirect_is_an_answer_where_none_is_followed():
    assert client((302, {"Location": "/x"}, b""))[0].get(URL).status == 302


@pytest.mark.parametrize(
    "url", ["", "prices.csv", "http://", "ftp://example.test/x", "http://[::1/", "https://exa mple/"]
)
def test_an_address_that_is_none(url):
    with pytest.raises((BadSourceData, SourceUnreachable)):
        client(sessions=requests.Session)[0].get(url)


@pytest.mark.loopback
def test_half_a_body_is_no_whole_answer():
    """The length says more than comes: red when a short body is taken for a whole one."""
    with (
        served(lambda request: said(b"a,b", Content_Length="1000")) as address,
        pytest.raises(SourceUnreachable, match="no whole answer"),
    ):
        client(sessions=requests.Session)[0].get(address)


@pytest.mark.loopback
def test_a_body_that_drips_ends_with_the_deadline():
    """Each byte comes before the read time-out: red without _left in WebClient._read."""
    import threading

    ended = threading.Event()

    def drip(request):
        request.send_response(200)
        request.end_headers()
        try:
            for _ in range(200):  # four seconds, were nobody to end it
                if ended.wait(0.02):
                    break
                request.wfile.write(b"x")
        except OSError:
            pass

    with served(drip) as address:
        try:
            # On a slow machine the time may be up before the first byte has come: then it is told otherwise.
            with pytest.raises(SourceUnreachable, match=r"no whole answer within 0\.3 s"):
                client(sessions=requests.Session, timeout_seconds=0.3)[0].get(address)
        finally:
            ended.set()


# --- raw answers ---------------------------------------------------------------------------------------------------


def test_an_unchanged_answer_comes_from_the_disk(tmp_path):
    """Red without `validators`: the body would be sent again, and kept again."""
    raw = RawResponses(directory=tmp_path, max_bytes=MIB)

    def answer(request, query):
        if request.headers.get("If-None-Match") == '"v1"':
            return 304, {}, b""
        return said(b"a,b", content_type="text/csv", ETag='"v1"')

    web, fake = client(answer, raw=raw)
    first, second = web.get(URL), web.get(URL)

    assert first == second
    assert second.content_type == "text/csv"
    assert [request.headers.get("If-None-Match") for request in fake.asked] == [None, '"v1"']
    assert len(list(tmp_path.rglob("*.gz"))) == 1


def test_when_it_was_modified_will_do_too(tmp_path):
    raw = RawResponses(directory=tmp_path, max_bytes=MIB)
    web, fake = client(said(b"a", Last_Modified="Tue, 12 Mar 2024 00:00:00 GMT"), raw=raw)
    web.get(URL)
    web.get(URL)

    assert fake.asked[1].headers["If-Modified-Since"] == "Tue, 12 Mar 2024 00:00:00 GMT"


def test_what_is_kept_is_what_came(tmp_path):
    raw = RawResponses(directory=tmp_path, max_bytes=MIB)
    client(said({"a": 1}, 404, Set_Cookie="secret=1"), raw=raw)[0].get(URL, {"to": "5"})

    [path] = tmp_path.rglob("*.gz")
    head, body = gzip.decompress(path.read_bytes()).split(b"\n")
    assert path.parent.name == "test"
    assert b'"url": "https://example.test/prices.csv?to=5"' in head
    assert b'"status": 404' in head
    assert b"secret" not in head
    assert body == b'{"a": 1}'


def response(url=URL, body=b"x", **headers):
    return RawResponse(url=url, status=200, headers=headers, body=body)


def test_the_oldest_go_first(tmp_path):
    """Red without _evict."""
    import random

    raw = RawResponses(directory=tmp_path, max_bytes=30_000)
    bodies = [random.Random(index).randbytes(9000) for index in range(6)]
    for index, body in enumerate(bodies):
        raw.keep("a", response(f"{URL}?{index}", body), NOW.replace(minute=index))

    assert [raw.newest("a", f"{URL}?{index}") is not None for index in range(6)] == [False] * 3 + [True] * 3
    # Red when one that is larger than all the room is written first: the newest goes last.
    raw.keep("a", response(f"{URL}?large", random.Random(9).randbytes(40_000)), NOW.replace(minute=30))
    assert raw.newest("a", f"{URL}?5") is not None


def test_the_newest_whole_one_counts(tmp_path):
    raw = RawResponses(directory=tmp_path, max_bytes=MIB)
    for minute, body in enumerate([b"old", b"new", b"torn"]):
        raw.keep("a", response(body=body), NOW.replace(minute=minute))
    torn = max(tmp_path.rglob("*.gz"))
    torn.write_bytes(torn.read_bytes()[:-9])

    found = raw.newest("a", URL)
    assert found is not None
    assert found.body == b"new"
    assert raw.newest("b", URL) is None


def test_a_kept_answer_that_was_changed_is_none(tmp_path):
    """Red without the digest: a whole gzip file, with another body."""
    raw = RawResponses(directory=tmp_path, max_bytes=MIB)
    raw.keep("a", response(), NOW)
    [path] = tmp_path.rglob("*.gz")
    head, _, _ = gzip.decompress(path.read_bytes()).partition(b"\n")
    path.write_bytes(gzip.compress(head + b"\nforged"))

    assert raw.newest("a", URL) is None


def test_an_answer_of_another_address_is_none(tmp_path, monkeypatch):
    """Red without the comparison of addresses: names of files have a part of a digest alone."""
    monkeypatch.setattr(raw_responses, "_digest", lambda _: "same")
    raw = RawResponses(directory=tmp_path, max_bytes=MIB)
    raw.keep("a", response(), NOW)

    assert raw.newest("a", f"{URL}?other") is None
    assert raw.newest("a", URL) is not None


@pytest.mark.loopback
def test_a_server_that_says_nothing_is_waited_for_no_longer():
    """Red without the timeout of the request: it would be waited for for ever."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        web = WebClient(source="test", timeout_seconds=0.3, max_bytes=MIB)
        with pytest.raises(SourceUnreachable, match=r"no whole answer within 0\.3 s"):
            web.get(f"http://127.0.0.1:{silent.getsockname()[1]}/")


def test_purging(tmp_path):
    raw = RawResponses(directory=tmp_path, max_bytes=MIB)
    for source in ("a", "a", "b"):
        raw.keep(source, response(), NOW)

    assert raw.purge("b")[0] == 1
    files, size = raw.purge()
    assert files == 2
    assert size > 100
    assert raw.purge() == (0, 0)


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    raw = RawResponses(directory=tmp_path / "file", max_bytes=MIB)
    (tmp_path / "file").write_text("no directory")

    with pytest.raises(SourceUnreachable, match="raw answers cannot be kept"):
        client(said(b"x"), raw=raw)[0].get(URL)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("40", 40), ("soon", None), ("", None), ("9" * 400, 86_400)],
)
def test_how_long_a_server_wants_to_be_left_alone_is_told(header, seconds):
    """Red when `WebClient.get` does not hand on what the header says, or `_backoff` asks again before it is over."""
    web, fake = client(said(b"", status=429, Retry_After=header))

    with pytest.raises(SourceUnreachable, match="HTTP status 429") as caught:
        web.get(URL)
    assert len(fake.asked) == (ATTEMPTS if seconds is None else 1)
    assert caught.value.retry_after_seconds == seconds
    assert pickle.loads(pickle.dumps(caught.value)).retry_after_seconds == seconds
