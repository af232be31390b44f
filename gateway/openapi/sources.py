"""The operations on sources: schedules of series and how they go."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from gateway.answers import Answer, Count
from gateway.bodies import SourceBody
from gateway.openapi.examples import MODEL_NAME, SERIES_ID
from gateway.openapi.ingests import INGEST, INGEST_ACCEPTED, Ingest, IngestAccepted
from gateway.openapi.operation import JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import QUERY, STARTING
from schemas.record import Freq, Id, SeriesId
from schemas.schedules import Minutes, RetrainRule


class ScheduleLine(Answer, frozen=True, kw_only=True):
    """When a series is fetched, from where, and when its models are trained again."""

    schedule_id: Id
    sources: tuple[str, ...]
    symbol: str
    freq: Freq
    calendar: str
    adjust: bool
    known_future: tuple[str, ...]
    #: Cron expression of five fields, read in `timezone`; empty when the calendar says when.
    cron: str
    timezone: str
    #: Minutes after the close of each session, or after the end of each observation of a `24/7` calendar.
    after_close_minutes: Minutes | None
    jitter_seconds: float
    is_paused: bool
    retrain: tuple[RetrainRule, ...]
    cause: str


class IngestFailure(Answer, frozen=True, kw_only=True):
    """The newest ingest of a series that failed, among its last ones."""

    ingest_id: Id
    time: datetime
    reason: str


class Source(Answer, frozen=True, kw_only=True):
    """A series that is fetched by itself, and how that goes."""

    series_id: SeriesId
    #: `refused`: the schedule cannot be followed, `reason` says why.
    state: Literal["active", "paused", "refused"]
    reason: str
    schedule: ScheduleLine
    #: Null while paused, and until the ingestor has read the schedule.
    next_run: datetime | None
    last_ingest: Ingest | None
    last_error: IngestFailure | None
    #: Start of the newest row.
    newest_observation: datetime | None
    #: Since the row after the newest one is complete; 0 is on time.
    late_seconds: Count


class SourceList(Answer, frozen=True, kw_only=True):
    """Every series that has a schedule, by name."""

    sources: tuple[Source, ...]


BODY: JsonObject = {
    "sources": ["yahoo", "sample"],
    "symbol": "AAPL",
    "calendar": "XNYS",
    "after_close_minutes": 30,
    "jitter_seconds": 300,
    "retrain": [{"model": MODEL_NAME, "every_observations": 20}],
}
CRON_BODY: JsonObject = {
    "source": "file",
    "symbol": "berlin.csv",
    "cron": "15 6 * * 1-5",
    "timezone": "Europe/Berlin",
    "known_future": ["promo"],
    "retrain": [{"model": "shop/berlin-1d", "cron": "0 3 * * 0"}],
}
SOURCE: JsonObject = {
    "series_id": SERIES_ID,
    "state": "active",
    "reason": "",
    "schedule": {
        "schedule_id": "schedule-1",
        "sources": ["yahoo", "sample"],
        "symbol": "AAPL",
        "freq": "1d",
        "calendar": "XNYS",
        "adjust": False,
        "known_future": [],
        "cron": "",
        "timezone": "UTC",
        "after_close_minutes": 30,
        "jitter_seconds": 300.0,
        "is_paused": False,
        "retrain": [{"model": MODEL_NAME, "every_observations": 20}],
        "cause": "user",
    },
    "next_run": "2025-01-03T21:31:12.500000Z",
    "last_ingest": INGEST,
    "last_error": {
        "ingest_id": "ingest-0",
        "time": "2025-01-01T21:31:40Z",
        "reason": "yahoo: could not be reached within 5 s",
    },
    "newest_observation": "2025-01-02T00:00:00Z",
    "late_seconds": 0,
}
_KNOWN = {404: ("unknown-source",)}

SOURCES = (
    Operation(
        method="get",
        path="/api/v1/sources",
        id="listSources",
        tag="sources",
        summary="Every series that is fetched by itself, and how that goes",
        description=(
            "Every schedule of your projects, with the next run, the last ingest, the last failure and how late the "
            "newest row is."
        ),
        answers={200: json_answer("The sources.", SourceList, {"sources": [SOURCE]})},
        problems=QUERY,
    ),
    Operation(
        method="get",
        path="/api/v1/sources/{series_id}",
        id="getSource",
        tag="sources",
        summary="One schedule, and how it goes",
        description="Its schedule, the next run, the last ingest, the last failure and how late the newest row is.",
        parameters=("series_id",),
        answers={200: json_answer("The source.", Source, SOURCE, "ScheduleTag")},
        problems={**_KNOWN, **QUERY, **STARTING},
    ),
    Operation(
        method="put",
        path="/api/v1/sources/{series_id}",
        id="setSource",
        is_repeatable=True,
        tag="sources",
        summary="Schedule a series, in place of the schedule that it has",
        description=(
            "Exactly one of `cron` (five fields, read in `timezone`) and `after_close_minutes` is given. What was due "
            "before is not made up for. A calendar that the ingestor does not know is told in `reason`. With "
            "`If-Match` a schedule that somebody else has changed meanwhile stays; with `If-None-Match: *` any that is."
        ),
        parameters=("series_id", "IfMatch", "IfNoneMatchAny"),
        body=SourceBody,
        examples={"after-close": BODY, "cron": CRON_BODY},
        answers={200: json_answer("Scheduled.", Source, SOURCE, "ScheduleTag")},
        problems={
            404: ("unknown-project", "unknown-upload"),
            409: ("limit-reached",),
            412: ("precondition-failed",),
            **STARTING,
        },
    ),
    *(
        Operation(
            method="post",
            path=f"/api/v1/sources/{{series_id}}/{verb}",
            id=f"{verb}Source",
            is_repeatable=True,
            tag="sources",
            summary=summary,
            description=description,
            parameters=("series_id", "IfMatch"),
            answers={200: json_answer("Done.", Source, example, "ScheduleTag")},
            problems={412: ("precondition-failed",), **_KNOWN, **STARTING},
        )
        for verb, summary, description, example in (
            (
                "pause",
                "Fetch and train nothing by itself any more",
                "The schedule stays; `run` still fetches.",
                {**SOURCE, "state": "paused", "next_run": None},
            ),
            ("resume", "Fetch and train by itself again", "What was due meanwhile is not made up for.", SOURCE),
        )
    ),
    Operation(
        method="post",
        path="/api/v1/sources/{series_id}/run",
        id="runSource",
        tag="sources",
        summary="Fetch now, whatever the schedule says",
        description="The schedule stays as it is. `GET /api/v1/ingests/{ingest_id}` tells what became of it.",
        parameters=("series_id", "IdempotencyKey"),
        answers={202: json_answer("Asked.", IngestAccepted, INGEST_ACCEPTED, "Location")},
        problems={**_KNOWN, 422: ("idempotency-key-reused",), **STARTING},
    ),
)
