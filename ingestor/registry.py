"""The sources by name. A new source is one line here."""

from __future__ import annotations

from functools import partial

from ingestor.fetching import fetch, fetch_in_child
from ingestor.files import FileSource
from ingestor.handlers import Fetchers
from ingestor.mock import MockSource
from ingestor.sample import SampleSource
from ingestor.settings import IngestorSettings
from ingestor.yahoo import YahooSource


def fetchers(settings: IngestorSettings) -> Fetchers:
    """Return how each source is asked; the heavy ones in a process of their own."""
    return {
        "sample": partial(fetch, SampleSource()),
        "mock": partial(fetch, MockSource()),
        "yahoo": partial(fetch_in_child, YahooSource(settings.yahoo_timeout_seconds)),
        "file": partial(fetch_in_child, FileSource(settings.files_directory, settings.max_file_bytes)),
    }
