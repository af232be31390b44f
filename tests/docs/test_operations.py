from __future__ import annotations

import re

import pytest

from foretopic import settings_table

PAGE = settings_table.PAGE.read_text()


def test_settings_in_the_page_are_the_settings_of_the_services() -> None:
    assert settings_table.with_tables(PAGE) == PAGE, "run python -m foretopic.settings_table"


def test_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="must have the lines"):
        settings_table.with_tables("# Operations\n")


def test_every_variable_that_the_page_names_exists() -> None:
    tables = set(re.findall(r"^\| `(FORETOPIC_\w+)` \|", PAGE, flags=re.MULTILINE))
    elsewhere = {"FORETOPIC_POSTGRES_PASSWORD", "FORETOPIC_MAVEN_REPOSITORY", "FORETOPIC_CACHE"}
    assert set(re.findall(r"FORETOPIC_[A-Z]+\w*", PAGE)) - elsewhere <= tables
