"""The sources by name. A new source is one line here."""

from __future__ import annotations

from functools import partial

from ingestor.cryptocompare import PAGE_BARS, CryptoCompareSource, first_day
from ingestor.fetching import fetch, fetch_in_child
from ingestor.files import FileSource
from ingestor.jobs import Fetchers
from ingestor.mock import FIRST_HOUR, MockSource
from ingestor.providers import Policy
from ingestor.raw_responses import RawResponses
from ingestor.sample import SampleSource
from ingestor.settings import IngestorSettings
from ingestor.sql import SqlSource
from ingestor.uploads import UploadSource
from ingestor.urls import S3, UrlSource
from ingestor.yahoo import YahooSource, browser_session

#: Many pages may be read: a year of hours has five.
_PAGES_TIMEOUT_SECONDS = 300.0
#: Beyond the source's own deadline: for starting, parsing and cleaning.
_MORE_SECONDS = 60.0
#: The page that ends within the newest day begins so many bars earlier: each part of a range then fits into one page.
_SHORTER_BARS = 24
#: Of simulated prices in one part of a long range.
MOCK_ROWS = 5000


def fetchers(settings: IngestorSettings) -> Fetchers:
    """Return how each source is asked; the heavy ones in a process of their own."""
    raw = raw_responses(settings)
    in_child = partial(fetch_in_child, memory_bytes=settings.fetch_memory_bytes)
    return {
        "sample": partial(in_child, SampleSource()),
        "mock": partial(fetch, MockSource()),
        "yahoo": partial(in_child, YahooSource(settings.yahoo_timeout_seconds, partial(browser_session, raw=raw))),
        "cryptocompare": partial(in_child, _cryptocompare(settings, raw), timeout_seconds=_PAGES_TIMEOUT_SECONDS),
        "url": partial(in_child, _url(settings, raw), timeout_seconds=settings.url_timeout_seconds + _MORE_SECONDS),
        "sql": partial(in_child, _sql(settings), timeout_seconds=2 * settings.sql_timeout_seconds + _MORE_SECONDS),
        "upload": partial(fetch, UploadSource(directory=settings.files_directory, max_bytes=settings.max_file_bytes)),
        "file": partial(in_child, FileSource(settings.files_directory, settings.max_file_bytes)),
    }


def policies(settings: IngestorSettings) -> dict[str, Policy]:
    """Return how much is asked of each source; those that are not named have no budget."""
    parallel = settings.parallel_fetches
    return {
        "yahoo": Policy(parallel=parallel, per_minute=settings.yahoo_requests_per_minute, is_remote=True),
        "cryptocompare": Policy(
            parallel=parallel,
            per_minute=settings.cryptocompare_requests_per_minute,
            is_remote=True,
            chunk_rows=PAGE_BARS - _SHORTER_BARS,
            first_day=first_day,
            is_incremental=True,
        ),
        "url": Policy(parallel=parallel, per_minute=settings.url_requests_per_minute, is_remote=True, by_host=True),
        "sql": Policy(parallel=parallel, is_remote=True),
        "mock": Policy(parallel=parallel, chunk_rows=MOCK_ROWS, first_day=lambda _freq, _today: FIRST_HOUR.date()),
        **{name: Policy(parallel=parallel) for name in ("sample", "file", "upload")},
    }


def raw_responses(settings: IngestorSettings) -> RawResponses | None:
    """Return where the answers of providers are kept; ``None``: nowhere."""
    if settings.raw_directory is None or settings.raw_max_bytes == 0:
        return None
    return RawResponses(directory=settings.raw_directory, max_bytes=settings.raw_max_bytes)


def _cryptocompare(settings: IngestorSettings, raw: RawResponses | None) -> CryptoCompareSource:
    return CryptoCompareSource(
        api=settings.cryptocompare_api,
        api_key=settings.cryptocompare_api_key.get_secret_value(),
        market=settings.cryptocompare_market,
        timeout_seconds=settings.cryptocompare_timeout_seconds,
        raw=raw,
    )


def _url(settings: IngestorSettings, raw: RawResponses | None) -> UrlSource:
    return UrlSource(
        directory=settings.files_directory,
        max_bytes=settings.max_file_bytes,
        timeout_seconds=settings.url_timeout_seconds,
        allowed_hosts=_names(settings.url_allowed_hosts.lower()),
        s3=S3(
            buckets=_names(settings.s3_buckets),
            endpoint=settings.s3_endpoint,
            key=settings.s3_access_key.get_secret_value(),
            secret=settings.s3_secret_key.get_secret_value(),
            region=settings.s3_region,
        ),
        raw=raw,
    )


def _sql(settings: IngestorSettings) -> SqlSource:
    return SqlSource(
        url=settings.sql_url.get_secret_value(),
        queries=settings.sql_queries_file,
        timeout_seconds=settings.sql_timeout_seconds,
        max_rows=settings.sql_max_rows,
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
