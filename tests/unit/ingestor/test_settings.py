"""The ingestor's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingestor.settings import IngestorSettings
from runtime.errors import SettingsError
from runtime.settings import load_settings


@pytest.mark.parametrize(("value", "expected"), [("", None), ("/data", Path("/data"))])
def test_an_empty_directory_of_files_serves_none(monkeypatch, value, expected):
    """Red without _empty_is_unset: the directory in which the service happens to run would be served."""
    monkeypatch.setenv("FORETOPIC_INGESTOR_FILES_DIRECTORY", value)

    assert load_settings(IngestorSettings).files_directory == expected


def test_faults_are_told_together(monkeypatch):
    monkeypatch.setenv("FORETOPIC_INGESTOR_YAHOO_TIMEOUT_SECONDS", "0")
    monkeypatch.setenv("FORETOPIC_INGESTOR_FILE_DIRECTORY", "/data")

    with pytest.raises(SettingsError, match=r"(?s)FILE_DIRECTORY is not known.*YAHOO_TIMEOUT_SECONDS was '0'"):
        load_settings(IngestorSettings)
