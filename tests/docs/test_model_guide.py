"""The model guide: every algorithm has its formula, its source, when to take it and what it cannot do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from forecasting import adaptation, halving, preparation, residuals, stacking
from forecasting.models import linear
from forecasting.models.registry import ALGORITHMS, AUTO, ENSEMBLE, declared_hyperparameters
from tests.docs.pages import PAGES, ROOT, blocks

GUIDE = ("models.md", "nets.md", "automl.md")
TEXT = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in GUIDE}
NAMES = (*ALGORITHMS, ENSEMBLE, AUTO)
_HEADING = re.compile(r"^#{2,3} `([a-z-]+)`\n(.*?)(?=^#{1,3} |\Z)", flags=re.MULTILINE | re.DOTALL)
#: What a section must hold -> what shows that it does. A sentence has five words at least.
_SENTENCE = r"(?:\S+\s+){4}[^\n]*"
NEEDED = {
    "a formula": r"^```math$|\$[^$\n]+\$",
    "a source with its year": r"^\*\*Source\.\*\* [^\n]*(?:\n[^\n]+)*?\b(?:19|20)\d\d\b",
    "when to take it": rf"^\*\*Take it\*\* {_SENTENCE}",
    "what it cannot do": rf"^\*\*It cannot\*\* {_SENTENCE}",
}


def sections(text: str) -> dict[str, str]:
    """Return what a page says under the heading of each algorithm."""
    return dict(_HEADING.findall(text))


def lacking(section: str) -> list[str]:
    """Return what a section does not say."""
    return [what for what, shown in NEEDED.items() if not re.search(shown, section, flags=re.MULTILINE)]


@pytest.mark.parametrize("name", NAMES)
def test_guide_says_what_an_algorithm_computes_and_cannot_do(name: str) -> None:
    found = [section for text in TEXT.values() for section in [sections(text).get(name)] if section is not None]

    assert len(found) == 1, f"{name} needs one heading in {', '.join(GUIDE)}"
    assert lacking(found[0]) == []


def test_guide_has_no_heading_for_what_is_no_algorithm() -> None:
    headings = Counter(name for text in TEXT.values() for name, _ in _HEADING.findall(text))

    assert headings == Counter(NAMES)


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        ("```math\nx = 1\n```", "a formula"),
        ("1997", "a source with its year"),
        ("**Take it**", "when to take it"),
        ("**It cannot**", "what it cannot do"),
        (" see beyond its window of rows.", "what it cannot do"),
    ],
)
def test_section_without_a_part_is_found(gone: str, missing: str) -> None:
    section = (
        "It is one.\n\n```math\nx = 1\n```\n\n**Source.** Someone,\nJournal 9, 1997.\n\n"
        "**Take it** where it fits a series.\n\n**It cannot** see beyond its window of rows.\n"
    )

    assert lacking(section) == []
    assert lacking(section.replace(gone, "")) == [missing]


def formulas(text: str) -> Iterator[str]:
    """Yield the formulas that stand within the lines of a page, code left out."""
    plain = re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for line in plain.splitlines():
        parts = re.sub(r"`[^`]*`", "", line).split("$")
        assert len(parts) % 2, f"a formula without an end: {line}"
        yield from parts[1::2]


def faults(formula: str, *, is_inline: bool) -> list[str]:
    """Return why GitHub would not show a formula."""
    found = []
    if formula.count("{") != formula.count("}") or formula.count(r"\left") != formula.count(r"\right"):
        found.append("braces that do not close")
    if Counter(re.findall(r"\\begin{(\w+)}", formula)) != Counter(re.findall(r"\\end{(\w+)}", formula)):
        found.append("an environment that does not close")
    # Markdown takes such a backslash away before the formula is read.
    if is_inline and re.search(r"\\[^A-Za-z]", formula):
        found.append("an escaped sign, which only a block may have")
    if is_inline and formula != formula.strip():
        found.append("a space beside its dollar sign")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_formulas_can_be_shown(page: Path) -> None:
    inline = formulas(page.read_text(encoding="utf-8"))
    whole = [block.text for block in blocks("math") if block.page == str(page.relative_to(ROOT))]

    wrong = {text: faults(text, is_inline=True) for text in inline}
    wrong |= {text: faults(text, is_inline=False) for text in whole}

    assert {text: found for text, found in wrong.items() if found} == {}


@pytest.mark.parametrize(
    ("formula", "fault"),
    [
        ("x_{1", "braces that do not close"),
        (r"\begin{aligned} x", "an environment that does not close"),
        (r"x \, y", "an escaped sign, which only a block may have"),
        (" x", "a space beside its dollar sign"),
    ],
)
def test_formula_that_cannot_be_shown_is_found(formula: str, fault: str) -> None:
    assert faults(formula, is_inline=True) == [fault]


def default(algorithm: str, name: str) -> object:
    (found,) = (one.default for one in declared_hyperparameters(algorithm) if one.name == name)
    return found


def test_numbers_in_the_guide_are_those_of_the_code() -> None:
    models, automl, adapted = TEXT["models.md"], TEXT["automl.md"], adaptation.DEFAULT
    blocks_of_tcn, kernel = len(str(default("tcn", "layers")).split(",")), int(str(default("tcn", "kernel")))

    assert f"Weights fall by {preparation._VOLATILITY_DECAY} a row" in models
    assert rf"v_i \propto {preparation._VOLATILITY_DECAY}^i" in models
    assert rf"The share $\lambda$ is {preparation._VOLATILITY_SHRINKAGE}, and" in models
    assert f"it is ${preparation._PRIOR_CHANGES} / (n + 1)$" in models
    assert rf"\frac{{{residuals.DOUBT:g} E}}{{G}}" in models
    assert f"in steps of {residuals._WEIGHTS[1]:g}, with" in models
    assert rf"\gamma = {adapted.stride} \cdot {adapted.rate} \," in models
    assert f"the newest {adapted.folds} folds" in models
    assert f"(the window, {(adapted.folds - 1) * adapted.stride} rows and the horizon)" in models
    assert ", ".join(f"{one:g}" for one in linear._PENALTIES[:-1]) + f" and {linear._PENALTIES[-1]:g}" in models
    assert f"For quantiles it is {linear._QUANTILE_PENALTY:.4f}." in models
    assert f"beyond {default('gradient-boosting', 'max_rows'):,} table rows (`max_rows`)" in models
    assert f"Beyond {default('random-forest', 'max_rows'):,} table rows" in models
    assert f"({stacking._MOST_OUTCOMES:,} of them at most" in automl
    assert rf"\max(\lceil n / {halving.ETA} \rceil, {halving.LEAST_FINALISTS})" in automl
    assert f"has the share ${halving.ETA}^{{r - R}}$" in automl
    assert f"{1 + 2 * (kernel - 1) * (2**blocks_of_tcn - 1)} rows by default" in TEXT["nets.md"]
