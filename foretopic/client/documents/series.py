"""Series, their observations, and rows that are held back."""

from __future__ import annotations

from datetime import datetime

import msgspec

from foretopic.client.documents.document import Document


class Columns(Document, frozen=True, kw_only=True):
    """Observations column by column; all arrays have one length."""

    time: tuple[datetime, ...]
    columns: dict[str, tuple[float | None, ...]]


class RowVersions(Document, frozen=True, kw_only=True):
    """Where the version of each row comes from; all arrays are as long as the rows."""

    log_offset: tuple[int, ...]
    received_at: tuple[datetime, ...]
    kind: tuple[str, ...]
    reason: tuple[str, ...]
    source: tuple[str, ...]


class ColumnChange(Document, frozen=True, kw_only=True):
    """How a value changed; null is a missing one."""

    from_: float | None = msgspec.field(name="from", default=None)
    to: float | None = None


class ObservationsPage(Document, frozen=True, kw_only=True):
    """Some observations of a series, and where the next ones are."""

    series_id: str
    freq: str
    unit: str
    observations: Columns
    versions: RowVersions | None = None
    next: str | None = None


class SeriesLine(Document, frozen=True, kw_only=True):
    """One series."""

    series_id: str
    freq: str
    calendar: str
    unit: str
    source: str
    rows: int
    first_time: datetime | None = None
    last_time: datetime | None = None


class SeriesList(Document, frozen=True, kw_only=True):
    """Every series, by name."""

    series: tuple[SeriesLine, ...]


class Restatement(Document, frozen=True, kw_only=True):
    """A row whose values were replaced by others."""

    time: datetime
    received_at: datetime
    log_offset: int
    kind: str
    reason: str
    source: str
    columns: dict[str, ColumnChange]


class RestatementsPage(Document, frozen=True, kw_only=True):
    """Some restatements of a series, and where the next ones are."""

    series_id: str
    restatements: tuple[Restatement, ...]
    next: str | None = None


class RuleBroken(Document, frozen=True, kw_only=True):
    """One rule of the gate that rows break."""

    rule: str
    column: str = ""
    times: tuple[datetime, ...] = ()
    rows: int = 0
    reason: str


class QuarantineLine(Document, frozen=True, kw_only=True):
    """Rows that the quality gate holds back, without the rows themselves."""

    quarantine_id: str
    series_id: str
    ingest_id: str
    held_at: datetime
    source: str
    rows: int
    first_time: datetime
    last_time: datetime
    broken: tuple[RuleBroken, ...]
    state: str
    decided_by: str = ""
    reason: str = ""
    release_ingest_id: str | None = None


class QuarantinePage(Document, frozen=True, kw_only=True):
    """Held rows, the newest first."""

    quarantine: tuple[QuarantineLine, ...]
    next: str | None = None


class Quarantined(QuarantineLine, frozen=True, kw_only=True):
    """Rows that the quality gate holds back."""

    kind: str
    unit: str
    observations: Columns
