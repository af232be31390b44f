from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, headings

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def broken(page: Path) -> list[str]:
    """Return the links of a page that lead nowhere; addresses beyond the repository are not asked."""
    found = []
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        place = (page.parent / file).resolve() if file else page
        is_page = place.suffix == ".md" and place.is_file()
        if not place.exists() or (anchor and not (is_page and anchor in headings(place))):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    assert broken(page) == []


def test_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n[a](#title) [b](#other) [c](page.md#title) [d](missing.md) [e](https://example.org)\n")
    assert broken(page) == ["#other", "missing.md"]


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    named = {target.partition("#")[0] for target in _LINK.findall(index)}
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    examples = {f"../examples/{file.name}" for file in (ROOT / "examples").iterdir() if file.is_file()}
    assert pages | examples <= named


def test_readme_leads_to_the_index() -> None:
    assert "docs/README.md" in _LINK.findall((ROOT / "README.md").read_text())
