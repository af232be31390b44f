"""The operations on series: what has been observed."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gateway.answers import Answer, Count
from gateway.openapi.examples import SERIES_ID, forecast
from gateway.openapi.operation import JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import QUERY, STARTING
from schemas.forecasts import ForecastIssued
from schemas.observations import BatchKind
from schemas.record import Freq, SeriesId


class SeriesLine(Answer, frozen=True, kw_only=True):
    """One series."""

    series_id: SeriesId
    freq: Freq
    #: Exchange calendar code, or `24/7`.
    calendar: str
    unit: str
    #: Where the newest batch came from: `yahoo`, `sample`, `file`, `mock`.
    source: str
    rows: Count
    first_time: datetime | None
    last_time: datetime | None


class SeriesList(Answer, frozen=True, kw_only=True):
    """Every series, by name."""

    series: tuple[SeriesLine, ...]


class Columns(Answer, frozen=True, kw_only=True):
    """Observations column by column; all arrays have one length."""

    #: UTC start of each interval, in the order asked for.
    time: tuple[datetime, ...]
    #: Column name -> values; null is a missing value.
    columns: dict[str, tuple[float | None, ...]]


class RowVersions(Answer, frozen=True, kw_only=True):
    """Where the version of each row comes from; all arrays are as long as the rows."""

    #: Of its batch, in the partition of the series.
    log_offset: tuple[Count, ...]
    #: When the ingestor saw it (UTC).
    received_at: tuple[datetime, ...]
    kind: tuple[BatchKind, ...]
    #: Why it was restated; empty for the other kinds.
    reason: tuple[str, ...]
    source: tuple[str, ...]


class ObservationsPage(Answer, frozen=True, kw_only=True):
    """Some observations of a series, and where the next ones are."""

    series_id: SeriesId
    freq: Freq
    unit: str
    observations: Columns
    #: Only where asked for.
    versions: RowVersions | None = None
    #: Path of the next page; null on the last one.
    next: str | None


class ColumnChange(Answer, frozen=True, kw_only=True):
    """How a value changed; null is a missing one."""

    from_: float | None = msgspec.field(name="from")
    to: float | None


class Restatement(Answer, frozen=True, kw_only=True):
    """A row whose values were replaced by others."""

    #: UTC start of its interval.
    time: datetime
    #: When the new values were received (UTC).
    received_at: datetime
    #: Of the batch with the new values: before it the old ones held.
    log_offset: Count
    kind: BatchKind
    reason: str
    source: str
    #: The columns that changed.
    columns: dict[str, ColumnChange]


class RestatementsPage(Answer, frozen=True, kw_only=True):
    """Some restatements of a series, and where the next ones are."""

    series_id: SeriesId
    restatements: tuple[Restatement, ...]
    #: Path of the next page; null on the last one.
    next: str | None


SERIES_LINE: JsonObject = {
    "series_id": SERIES_ID,
    "freq": "1d",
    "calendar": "XNYS",
    "unit": "USD",
    "source": "yahoo",
    "rows": 2514,
    "first_time": "2015-01-05T00:00:00Z",
    "last_time": "2025-01-02T00:00:00Z",
}
OBSERVATIONS: JsonObject = {
    "series_id": SERIES_ID,
    "freq": "1d",
    "unit": "USD",
    "observations": {
        "time": ["2024-12-31T00:00:00Z", "2025-01-02T00:00:00Z"],
        "columns": {"close": [250.42, 243.85], "volume": [39480700.0, None]},
    },
    "next": f"/api/v1/series/{SERIES_ID}/observations?limit=2&after=2025-01-02T00%3A00%3A00Z",
}
RESTATEMENTS: JsonObject = {
    "series_id": SERIES_ID,
    "restatements": [
        {
            "time": "2024-12-31T00:00:00Z",
            "received_at": "2025-01-02T21:05:03.250000Z",
            "log_offset": 12,
            "kind": "restatement",
            "reason": (
                "yahoo gives other values than the log had up to offset 11 (from yahoo) in 1 row: "
                "2024-12-31 close from 250.42 to 250.4"
            ),
            "source": "yahoo",
            "columns": {"close": {"from": 250.42, "to": 250.4}},
        }
    ],
    "next": None,
}

SERIES = (
    Operation(
        method="get",
        path="/api/v1/series",
        id="listSeries",
        tag="series",
        summary="Every series",
        description=(
            "All series of your projects and of the public ones, with their length and the time of their first and "
            "last row."
        ),
        answers={200: json_answer("The series.", SeriesList, {"series": [SERIES_LINE]})},
        problems=QUERY,
    ),
    Operation(
        method="get",
        path="/api/v1/series/{series_id}",
        id="getSeries",
        tag="series",
        summary="One series",
        description="How long it is, from when to when it goes, and where its newest rows came from.",
        parameters=("series_id",),
        answers={200: json_answer("The series.", SeriesLine, SERIES_LINE)},
        problems={404: ("unknown-series",), **QUERY},
    ),
    Operation(
        method="get",
        path="/api/v1/series/{series_id}/observations",
        id="listObservations",
        is_cached=True,
        tag="series",
        summary="Observations of a series, page by page",
        description=(
            "The latest record that names a time is the one that counts; with `known_at` or `known_at_offset` the "
            "latest one that was received, or stood in the log, then."
        ),
        parameters=(
            "series_id",
            "observation_limit",
            "after",
            "before",
            "order",
            "known_at",
            "known_at_offset",
            "versions",
        ),
        answers={200: json_answer("A page.", ObservationsPage, OBSERVATIONS)},
        problems={
            404: ("unknown-series",),
            422: ("invalid-parameter", "as-of-beyond-log"),
            **STARTING,
        },
    ),
    Operation(
        method="get",
        path="/api/v1/series/{series_id}/restatements",
        id="listRestatements",
        tag="series",
        summary="What was restated when, from what to what and why",
        description="Rows whose values were replaced by others, in the order of the log.",
        parameters=("series_id", "limit", "order", "restatement_cursor"),
        answers={200: json_answer("A page.", RestatementsPage, RESTATEMENTS)},
        problems={404: ("unknown-series",), **QUERY},
    ),
    Operation(
        method="get",
        path="/api/v1/series/{series_id}/forecasts/latest",
        id="getLatestForecast",
        tag="series",
        summary="The newest forecast of a series",
        description=(
            "What `GET /api/v1/forecasts/{id}` says of it. Of a public series it is the newest one that your "
            "organisation asked for."
        ),
        parameters=("series_id",),
        answers={200: json_answer("The forecast.", ForecastIssued, forecast())},
        problems={404: ("unknown-series", "no-forecast-yet"), **QUERY},
    ),
)
