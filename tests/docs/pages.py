"""The pages for people, and the code blocks in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    number: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}#{self.number}"


def blocks(*languages: str) -> list[Block]:
    """Return the blocks in some languages."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text.count("\n```") % 2 == 0, f"{page} has a block without an end"
        for number, match in enumerate(_BLOCK.finditer(text), start=1):
            if match[1] in languages:
                found.append(Block(str(page.relative_to(ROOT)), number, match[1], match[2]))
    return found


def shell_commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each simple command of a shell block, redirections and here-documents left out."""
    joined = re.sub(r"<<'(\w+)'\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL).replace("\\\n", " ")
    for line in joined.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if re.fullmatch(r"[|&;]+", word):
                yield words
                words = []
            else:
                words.append(word)
        yield words


def headings(page: Path) -> set[str]:
    """Return the anchors of a page, as GitHub makes them from its headings."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    found = set()
    for title in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", title.lower())
        found.add(plain.strip().replace(" ", "-"))
    return found
