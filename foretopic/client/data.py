"""Series, their observations, and how they come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Literal

from foretopic.client.documents.forecasts import Forecast
from foretopic.client.documents.ingests import (
    AppendAccepted,
    Ingest,
    IngestAccepted,
    IngestHistory,
    IngestLine,
    Source,
    SourceList,
    Upload,
    UploadRemoved,
)
from foretopic.client.documents.series import (
    ObservationsPage,
    Quarantined,
    QuarantineLine,
    QuarantinePage,
    RestatementsPage,
    SeriesLine,
    SeriesList,
)
from foretopic.client.offered import listing, operation, work
from foretopic.client.session import change, path, read
from foretopic.client.steps import Asker, Call, Flow, Pages, Started

_ENDED = ("succeeded", "failed")
#: A large file takes its time.
_UPLOAD_SECONDS = 600.0


def has_ended(ingest: Ingest) -> bool:
    """Tell whether an ingest has ended."""
    return ingest.state in _ENDED


class Data:
    """Series and the ways in."""

    @operation
    def list_series(self) -> Call[SeriesList]:
        """Return every series that may be seen, by name."""
        return read("/api/v1/series", SeriesList)

    @operation
    def get_series(self, series_id: str) -> Call[SeriesLine]:
        """Return what is known of a series."""
        return read(path("/api/v1/series/{one}", one=series_id), SeriesLine)

    @operation
    def list_observations(
        self,
        series_id: str,
        *,
        limit: int | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        order: Literal["oldest", "newest"] | None = None,
        known_at: datetime | None = None,
        known_at_offset: int | None = None,
        versions: bool | None = None,
    ) -> Call[ObservationsPage]:
        """Return observations, column by column; ``next`` says whether there are more."""
        return read(
            path("/api/v1/series/{one}/observations", one=series_id),
            ObservationsPage,
            limit=limit,
            after=after,
            before=before,
            order=order,
            known_at=known_at,
            known_at_offset=known_at_offset,
            versions=versions,
        )

    @operation
    def list_restatements(
        self,
        series_id: str,
        *,
        limit: int | None = None,
        order: Literal["oldest", "newest"] | None = None,
        cursor: str | None = None,
    ) -> Call[RestatementsPage]:
        """Return rows whose values were replaced by others."""
        target = path("/api/v1/series/{one}/restatements", one=series_id)
        return read(target, RestatementsPage, limit=limit, order=order, cursor=cursor)

    @operation
    def get_latest_forecast(self, series_id: str) -> Call[Forecast]:
        """Return the newest forecast of a series."""
        return read(path("/api/v1/series/{one}/forecasts/latest", one=series_id), Forecast)

    @work
    def start_ingest(
        self,
        symbol: str,
        *,
        source: str | None = None,
        sources: Sequence[str] | None = None,
        series_id: str | None = None,
        freq: str | None = None,
        calendar: str | None = None,
        start: date | None = None,
        end: date | None = None,
        adjust: bool | None = None,
        known_future: Sequence[str] | None = None,
        force: bool | None = None,
        key: str | None = None,
    ) -> Started[IngestAccepted, Ingest]:
        """Fetch a series from a source."""
        body = {
            "symbol": symbol,
            "source": source,
            "sources": sources,
            "series_id": series_id,
            "freq": freq,
            "calendar": calendar,
            "start": start,
            "end": end,
            "adjust": adjust,
            "known_future": known_future,
            "force": force,
        }
        return _ingest(change("POST", "/api/v1/ingests", IngestAccepted, body, key=key))

    @operation
    def get_ingest(self, ingest_id: str) -> Call[Ingest]:
        """Return how an ingest goes."""
        return read(path("/api/v1/ingests/{one}", one=ingest_id), Ingest)

    @listing
    def list_ingests(
        self,
        *,
        series_id: str | None = None,
        status: str | None = None,
        from_time: datetime | None = None,
        to_time: datetime | None = None,
        project: str | None = None,
        requester: str | None = None,
        cause: str | None = None,
        limit: int | None = None,
    ) -> Pages[IngestLine]:
        """Yield ingests, the newest first; ``limit`` is of one page."""
        call = read(
            "/api/v1/ingests",
            IngestHistory,
            **{"from": from_time, "to": to_time},
            series_id=series_id,
            status=status,
            project=project,
            requester=requester,
            cause=cause,
            limit=limit,
        )
        return Pages(call, "ingests", IngestLine)

    @operation
    def append_observations(
        self, series: Sequence[Mapping[str, object]], *, key: str | None = None
    ) -> Call[AppendAccepted]:
        """Write rows that are at hand: `{"series_id", "time": […], "columns": {name: […]}}` of each series."""
        return change("POST", "/api/v1/observations", AppendAccepted, {"series": series}, key=key)

    @operation
    def list_sources(self) -> Call[SourceList]:
        """Return every series that is fetched by itself."""
        return read("/api/v1/sources", SourceList)

    @operation
    def get_source(self, series_id: str) -> Call[Source]:
        """Return when a series is fetched, and how that goes."""
        return read(path("/api/v1/sources/{one}", one=series_id), Source)

    @operation
    def set_source(
        self,
        series_id: str,
        *,
        symbol: str,
        source: str | None = None,
        sources: Sequence[str] | None = None,
        freq: str | None = None,
        calendar: str | None = None,
        adjust: bool | None = None,
        known_future: Sequence[str] | None = None,
        cron: str | None = None,
        timezone: str | None = None,
        after_close_minutes: int | None = None,
        jitter_seconds: float | None = None,
        is_paused: bool | None = None,
        retrain: Sequence[Mapping[str, object]] | None = None,
        seen: str | None = None,
    ) -> Call[Source]:
        """Have a series fetched by itself, from now on as this says.

        With ``seen``, the ``schedule_id`` of the schedule that this takes the place of, another one that holds by now
        is kept, and `Problem` 412 raised.
        """
        body = {
            "symbol": symbol,
            "source": source,
            "sources": sources,
            "freq": freq,
            "calendar": calendar,
            "adjust": adjust,
            "known_future": known_future,
            "cron": cron,
            "timezone": timezone,
            "after_close_minutes": after_close_minutes,
            "jitter_seconds": jitter_seconds,
            "is_paused": is_paused,
            "retrain": retrain,
        }
        call = change("PUT", path("/api/v1/sources/{one}", one=series_id), Source, body)
        return call if seen is None else replace(call, headers={**call.headers, "If-Match": f'"{seen}"'})

    @operation
    def pause_source(self, series_id: str) -> Call[Source]:
        """Fetch a series no more, until `resume_source`."""
        return change("POST", path("/api/v1/sources/{one}/pause", one=series_id), Source)

    @operation
    def resume_source(self, series_id: str) -> Call[Source]:
        """Fetch a series again."""
        return change("POST", path("/api/v1/sources/{one}/resume", one=series_id), Source)

    @work
    def run_source(self, series_id: str, *, key: str | None = None) -> Started[IngestAccepted, Ingest]:
        """Fetch a series now."""
        target = path("/api/v1/sources/{one}/run", one=series_id)
        return _ingest(change("POST", target, IngestAccepted, key=key))

    @operation
    def upload_file(
        self, file: Path, *, filename: str | None = None, load: bool | None = None, project: str | None = None
    ) -> Call[Upload]:
        """Send a CSV or Parquet file; the answer says what it seems to hold."""
        return Call(
            method="POST",
            path="/api/v1/uploads",
            query={"filename": filename or file.name, "load": load, "project": project},
            file=file,
            answers={201: Upload},
            timeout_seconds=_UPLOAD_SECONDS,
        )

    @operation
    def get_upload(self, upload_id: str) -> Call[Upload]:
        """Return what a file seems to hold, or how each of its series is loaded."""
        return read(path("/api/v1/uploads/{one}", one=upload_id), Upload)

    @work
    def load_upload(
        self,
        upload_id: str,
        *,
        project: str | None = None,
        name: str | None = None,
        time: str | None = None,
        series: str | None = None,
        target: str | None = None,
        columns: Sequence[str] | None = None,
        known_future: Sequence[str] | None = None,
        freq: str | None = None,
        calendar: str | None = None,
        force: bool | None = None,
    ) -> Started[Upload, Upload]:
        """Load each series of a file; what is left out is as guessed."""
        body = {
            "project": project,
            "name": name,
            "time": time,
            "series": series,
            "target": target,
            "columns": columns,
            "known_future": known_future,
            "freq": freq,
            "calendar": calendar,
            "force": force,
        }
        return Started(
            call=change("POST", path("/api/v1/uploads/{one}/load", one=upload_id), Upload, body),
            look=lambda asker, upload: asker.flow(read(path("/api/v1/uploads/{one}", one=upload.upload_id), Upload)),
            has_ended=lambda upload: all(has_ended(one.ingest) for one in upload.series),
            fault=lambda upload: "; ".join(map(ingest_fault, (one.ingest for one in upload.series))).strip("; "),
        )

    @operation
    def remove_upload(self, upload_id: str) -> Call[UploadRemoved]:
        """Remove a file from the disk; what was loaded stays."""
        return change("DELETE", path("/api/v1/uploads/{one}", one=upload_id), UploadRemoved)

    @listing
    def list_quarantine(
        self, *, series_id: str | None = None, state: str | None = None, limit: int | None = None
    ) -> Pages[QuarantineLine]:
        """Yield rows that the quality gate holds back, the newest first."""
        call = read("/api/v1/quarantine", QuarantinePage, series_id=series_id, state=state, limit=limit)
        return Pages(call, "quarantine", QuarantineLine)

    @operation
    def get_quarantined(self, quarantine_id: str) -> Call[Quarantined]:
        """Return held rows and the rules that they break."""
        return read(path("/api/v1/quarantine/{one}", one=quarantine_id), Quarantined)

    @operation
    def release_quarantined(
        self, quarantine_id: str, *, decided_by: str | None = None, reason: str | None = None
    ) -> Call[QuarantineLine]:
        """Let held rows in."""
        target = path("/api/v1/quarantine/{one}/release", one=quarantine_id)
        return change("POST", target, QuarantineLine, {"decided_by": decided_by, "reason": reason})

    @operation
    def reject_quarantined(
        self, quarantine_id: str, *, decided_by: str | None = None, reason: str | None = None
    ) -> Call[QuarantineLine]:
        """Keep held rows out for good."""
        target = path("/api/v1/quarantine/{one}/reject", one=quarantine_id)
        return change("POST", target, QuarantineLine, {"decided_by": decided_by, "reason": reason})


def ingest_fault(ingest: Ingest) -> str:
    """Return what went wrong of an ingest; empty: nothing."""
    return f"{ingest.series_id}: {ingest.reason}" if ingest.state == "failed" else ""


def _ingest(call: Call[IngestAccepted]) -> Started[IngestAccepted, Ingest]:
    def look(asker: Asker, accepted: IngestAccepted) -> Flow[Ingest]:
        return asker.flow(read(path("/api/v1/ingests/{one}", one=accepted.ingest_id), Ingest))

    return Started(call=call, look=look, has_ended=has_ended, fault=ingest_fault)
