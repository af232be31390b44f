"""How data come in: ingests, uploads, schedules."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from foretopic.client.documents.document import Document


class ColumnMapping(Document, frozen=True, kw_only=True):
    """What the columns of a file are."""

    time: str
    series: str | None = None
    target: str
    columns: tuple[str, ...]
    known_future: tuple[str, ...] = ()
    freq: str
    calendar: str


class FoundColumn(Document, frozen=True, kw_only=True):
    """A column as it was found."""

    name: str
    kind: str
    missing: int


class Inspection(Document, frozen=True, kw_only=True):
    """What a file seems to hold."""

    kind: str
    rows: int
    columns: tuple[FoundColumn, ...]
    mapping: ColumnMapping
    target_candidates: tuple[str, ...]
    series_candidates: tuple[str, ...]
    series_count: int
    series_examples: tuple[str, ...]
    first_time: datetime
    last_time: datetime
    preview: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...] = ()


class Ingest(Document, frozen=True, kw_only=True):
    """An ingest, as its newest event tells it."""

    ingest_id: str
    series_id: str
    state: str
    source: str | None = None
    rows_received: int = 0
    rows_published: int = 0
    rows_quarantined: int = 0
    flags: tuple[str, ...] = ()
    fraction: float = 0.0
    first_time: datetime | None = None
    last_time: datetime | None = None
    reason: str = ""


class IngestAccepted(Document, frozen=True, kw_only=True):
    """An ingest that has been asked for."""

    ingest_id: str
    series_id: str
    state: str


class IngestLine(Ingest, frozen=True, kw_only=True):
    """An ingest with who asked for it."""

    requested_at: datetime
    project: str
    cause: str
    requester: str


class IngestHistory(Document, frozen=True, kw_only=True):
    """Ingests, the newest first."""

    ingests: tuple[IngestLine, ...]
    next: str | None = None


class Appended(Document, frozen=True, kw_only=True):
    """An append that has been written to one partition; `series_id` is its first series."""

    ingest_id: str
    series_id: str
    state: str
    series: int
    rows: int


class AppendAccepted(Document, frozen=True, kw_only=True):
    """What has been asked for, one ingest for the series of each partition."""

    ingests: tuple[Appended, ...]


class UploadedSeries(Document, frozen=True, kw_only=True):
    """A series of an upload, and how its ingest goes."""

    rows: int
    ingest: Ingest


class Upload(Document, frozen=True, kw_only=True):
    """An uploaded file: what it seems to hold, and once it is loaded the state of each series."""

    upload_id: str
    filename: str
    size_bytes: int
    state: str
    inspection: Inspection
    mapping: ColumnMapping
    series: tuple[UploadedSeries, ...] = ()


class UploadRemoved(Document, frozen=True, kw_only=True):
    """An upload that is no more."""

    upload_id: str
    state: str


class IngestFailure(Document, frozen=True, kw_only=True):
    """The newest ingest of a series that failed, among its last ones."""

    ingest_id: str
    time: datetime
    reason: str


class RetrainRule(Document, frozen=True, kw_only=True):
    """When a model is trained again without anybody asking: at least one of the two conditions."""

    model: str
    every_observations: int = 0
    cron: str = ""


class ScheduleLine(Document, frozen=True, kw_only=True):
    """When a series is fetched, from where, and when its models are trained again."""

    schedule_id: str
    sources: tuple[str, ...]
    symbol: str
    freq: str
    calendar: str
    adjust: bool
    known_future: tuple[str, ...]
    cron: str
    timezone: str
    after_close_minutes: int | None = None
    jitter_seconds: float
    is_paused: bool
    retrain: tuple[RetrainRule, ...]
    cause: str


class Source(Document, frozen=True, kw_only=True):
    """A series that is fetched by itself, and how that goes."""

    series_id: str
    state: str
    reason: str
    schedule: ScheduleLine
    next_run: datetime | None = None
    last_ingest: Ingest | None = None
    last_error: IngestFailure | None = None
    newest_observation: datetime | None = None
    late_seconds: int


class SourceList(Document, frozen=True, kw_only=True):
    """Every series that has a schedule, by name."""

    sources: tuple[Source, ...]
