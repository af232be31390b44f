"""Why a source gives no observations.

SourceFault
├── SourceUnreachable   it does not answer: the next source is asked
├── UnknownSymbol       it answers that it has no such series: the ingest fails
└── BadSourceData       what was asked or what came cannot be used: the ingest fails
    └── NothingOlder    it has nothing so far back: the end of a long load, or the ingest fails
"""

from __future__ import annotations


class SourceFault(Exception):
    """Anything that keeps a source from giving observations; ``reason`` is told to whoever asked."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason

    def __reduce__(self) -> tuple[type[SourceFault], tuple[object, ...]]:
        """Let it travel between processes."""
        return type(self), (self.source, self.reason)


class SourceUnreachable(SourceFault):
    """Say that a source does not answer now; ``retry_after_seconds`` is how long it asks to be left alone."""

    def __init__(self, source: str, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(source, reason)
        self.retry_after_seconds = retry_after_seconds

    def __reduce__(self) -> tuple[type[SourceFault], tuple[object, ...]]:
        return type(self), (self.source, self.reason, self.retry_after_seconds)


class UnknownSymbol(SourceFault):
    """Say that a source answers, and has no such series."""


class BadSourceData(SourceFault):
    """Say that what was asked of a source, or what it gave, cannot be used."""


class NothingOlder(BadSourceData):
    """Say that a source has the series, and nothing of it up to the end that was asked for."""
