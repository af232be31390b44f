"""Files of observations on their way to the ingestor."""

from __future__ import annotations

from pathlib import Path

import pytest

from foretopic.errors import ForetopicError
from foretopic.files import files_directory, place_file


def test_directory_that_is_set_comes_first(tmp_path):
    assert files_directory(tmp_path, {}) == tmp_path / "files"
    assert files_directory(tmp_path, {"FORETOPIC_INGESTOR_FILES_DIRECTORY": "/data"}) == Path("/data")


def test_file_below_the_directory_is_named_as_it_is(tmp_path):
    path = tmp_path / "files" / "shop" / "sales.csv"
    path.parent.mkdir(parents=True)
    path.write_text("Date,sales\n")
    assert place_file(path, tmp_path / "files") == "shop/sales.csv"


def test_file_elsewhere_is_copied_once_for_each_content(tmp_path):
    path, directory = tmp_path / "sales.csv", tmp_path / "files"
    path.write_text("one")
    first = place_file(path, directory)
    assert place_file(path, directory) == first
    path.write_text("two")
    second = place_file(path, directory)
    assert {first, second} == {found.name for found in directory.iterdir()}
    assert (directory / second).read_text() == "two"


def test_missing_file_is_told(tmp_path):
    with pytest.raises(ForetopicError, match="there is none at"):
        place_file(tmp_path / "gone.csv", tmp_path / "files")
