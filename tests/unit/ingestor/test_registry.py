"""The sources as a service has them: by name, from its settings, each in a process of its own where it is heavy."""

from __future__ import annotations

import threading
from functools import partial

import pytest
from pydantic import SecretStr

from ingestor import registry
from ingestor.errors import BadSourceData, SourceFault, SourceUnreachable
from ingestor.fetching import fetch_in_child
from ingestor.registry import fetchers
from ingestor.settings import IngestorSettings
from ingestor.urls import UrlSource
from tests.unit.ingestor.answers import said, served
from tests.unit.ingestor.frames import wanted

CSV = b"Date,Close\n2024-03-08,1\n2024-03-11,2\n"


def test_every_source_has_its_name():
    names = {"sample", "mock", "yahoo", "cryptocompare", "url", "sql", "file"}
    assert names <= fetchers(IngestorSettings()).keys()


def test_no_secret_is_told():
    settings = IngestorSettings(
        cryptocompare_api_key=SecretStr("hush-1"), sql_url=SecretStr("hush-2"), s3_secret_key=SecretStr("hush-3")
    )
    assert "hush" not in repr(settings)
    assert "hush" not in repr(fetchers(settings))


@pytest.mark.loopback
def test_a_file_by_url_through_a_child_and_kept_raw(tmp_path):
    settings = IngestorSettings(url_allowed_hosts="other, 127.0.0.1", raw_directory=tmp_path)
    with served(lambda _: said(CSV, content_type="text/csv")) as address:
        fetched = fetchers(settings)["url"](wanted(symbol=f"{address}/x.csv"))

    assert fetched.frame.columns["close"].tolist() == [1, 2]
    assert len(list((tmp_path / "url").iterdir())) == 1


@pytest.mark.loopback
def test_raw_answers_are_off_with_0_bytes(tmp_path):
    settings = IngestorSettings(url_allowed_hosts="127.0.0.1", raw_directory=tmp_path, raw_max_bytes=0)
    with served(lambda _: said(CSV, content_type="text/csv")) as address:
        fetchers(settings)["url"](wanted(symbol=f"{address}/x.csv"))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.loopback
def test_headers_that_drip_end_with_the_child():
    """No time-out of a socket sees them: red when the source runs in the service itself."""
    ended = threading.Event()

    def drip(request):
        try:
            request.wfile.write(b"HTTP/1.0 200 OK\r\n")
            for _ in range(1000):  # 50 seconds, were nobody to end it
                if ended.wait(0.05):
                    break
                request.wfile.write(b"X")
        except OSError:
            pass

    with served(drip) as address:
        # The drips of a busy machine may be far apart, and each is waited for so long.
        source = UrlSource(max_bytes=1000, timeout_seconds=60, allowed_hosts=("127.0.0.1",))
        try:
            with pytest.raises(SourceUnreachable, match="gave no answer within 3 s"):
                fetch_in_child(source, wanted(symbol=address), timeout_seconds=3)
        finally:
            ended.set()


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("cryptocompare", "not a symbol"), ("url", "http://169.254.169.254/"), ("sql", "sales"), ("file", "../x.csv")],
)
def test_a_bad_symbol_is_told_through_the_child(monkeypatch, name, symbol):
    # A child may start late on a busy machine.
    monkeypatch.setattr(registry, "fetch_in_child", partial(fetch_in_child, timeout_seconds=120))
    with pytest.raises(SourceFault) as told:
        fetchers(IngestorSettings())[name](wanted(symbol=symbol))
    assert not isinstance(told.value, SourceUnreachable)
    assert told.value.source == name


def test_a_setting_that_is_empty_is_unset(monkeypatch):
    monkeypatch.setenv("FORETOPIC_INGESTOR_RAW_DIRECTORY", "")
    assert IngestorSettings().raw_directory is None
    with pytest.raises(BadSourceData, match="SQL_QUERIES_FILE"):
        fetchers(IngestorSettings())["sql"](wanted(symbol="x"))
