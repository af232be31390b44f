"""Forecasts: asked for one by one or together, looked up, followed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from foretopic.client.documents.forecasts import (
    Batch,
    Forecast,
    ForecastHistory,
    ForecastInputs,
    ForecastLine,
    PendingForecast,
    Usage,
)
from foretopic.client.errors import WaitedTooLong
from foretopic.client.offered import following, listing, operation, work
from foretopic.client.session import path
from foretopic.client.steps import Asker, Call, Events, Flow, Pages, Pause, Started

#: Longer than this no gateway waits within one answer.
LONGEST_WAIT_SECONDS = 30.0
#: On top of what the gateway was asked to wait.
ANSWER_SECONDS = 30.0
_LOOK_SECONDS = 0.5
#: A stream beats more often than this.
_SILENCE_SECONDS = 60.0

FileFormat = Literal["csv", "parquet", "ndjson"]
#: Of a file, by how its name ends.
_FORMATS: dict[str, FileFormat] = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}


def waiting(wait_seconds: float, key: str | None) -> dict[str, Any]:
    """Return how a call is made that the gateway waits in."""
    waits = min(wait_seconds, LONGEST_WAIT_SECONDS)
    return {
        "headers": {"Prefer": f"wait={waits:g}"} | keyed(key),
        "timeout_seconds": waits + ANSWER_SECONDS,
    }


def keyed(key: str | None) -> dict[str, str]:
    """Return the header of an Idempotency-Key of the caller's own."""
    return {} if key is None else {"Idempotency-Key": key}


def get_forecast(forecast_or_request_id: str) -> Call[Forecast | PendingForecast]:
    """Look up a forecast."""
    return Call(
        method="GET",
        path=path("/api/v1/forecasts/{one}", one=forecast_or_request_id),
        answers={200: Forecast, 202: PendingForecast},
    )


class Forecasting:
    """Forecasts and what is said about them."""

    @operation
    def forecast(
        self,
        series_id: str | None = None,
        *,
        horizon: int,
        levels: Sequence[float] | None = None,
        model: str | None = None,
        window: Sequence[Sequence[float]] | None = None,
        cutoff: datetime | None = None,
        future: Mapping[str, object] | None = None,
        known_at: datetime | None = None,
        wait_seconds: float = 60.0,
        key: str | None = None,
    ) -> Call[Forecast]:
        """Forecast a series, or what follows a window of rows, and wait for it.

        Args:
            series_id: Whose next steps; or ``window``.
            horizon: How many steps.
            levels: Central coverages in percent; those of the gateway unless given.
            model: The model that answers; the series' own unless given.
            window: Rows of a model's columns, the oldest first, instead of a series.
            cutoff: UTC time of the last row of the window.
            future: ``{"columns": {name: [value of each step]}}`` of what is known ahead.
            known_at: As the series was known then.
            wait_seconds: How long to wait.
            key: An Idempotency-Key of your own, to ask again later without asking twice.

        Raises:
            WaitedTooLong: It is not there yet; its ``newest`` has the ``request_id`` to look it up with.
        """
        body = {
            "series_id": series_id,
            "horizon": horizon,
            "levels": levels,
            "model": model,
            "window": window,
            "cutoff": cutoff,
            "future": future,
            "known_at": known_at,
        }
        began = time.monotonic()

        def until_issued(asker: Asker, answer: Forecast | PendingForecast) -> Flow[Forecast]:
            while isinstance(answer, PendingForecast):
                if time.monotonic() - began >= wait_seconds:
                    raise WaitedTooLong(f"no forecast within {wait_seconds:g} s; the request stands", answer)
                yield Pause(_LOOK_SECONDS)
                answer = yield from asker.flow(get_forecast(answer.request_id))
            return answer

        return Call(
            method="POST",
            path="/api/v1/forecasts",
            answers={200: Forecast, 202: PendingForecast},
            body=body,
            then=until_issued,
            **waiting(wait_seconds, key),
        )

    @operation
    def get_forecast(self, forecast_or_request_id: str) -> Call[Forecast | PendingForecast]:
        """Look up a forecast by its id or by that of a request; a request may still be pending."""
        return get_forecast(forecast_or_request_id)

    @operation
    def get_forecast_inputs(
        self, forecast_or_request_id: str, *, limit: int | None = None, versions: bool | None = None
    ) -> Call[ForecastInputs | PendingForecast]:
        """Return the observations that a forecast was made from, as they were known to it."""
        return Call(
            method="GET",
            path=path("/api/v1/forecasts/{one}/inputs", one=forecast_or_request_id),
            query={"limit": limit, "versions": versions},
            answers={200: ForecastInputs, 202: PendingForecast},
        )

    @work
    def batch(
        self,
        forecasts: Sequence[Mapping[str, object]],
        *,
        horizon: int | None = None,
        levels: Sequence[float] | None = None,
        model: str | None = None,
        known_at: datetime | None = None,
        wait_seconds: float = LONGEST_WAIT_SECONDS,
        key: str | None = None,
    ) -> Started[Batch, Batch]:
        """Ask for up to 1,000 forecasts at once; what stands beside the list is for entries that do not say it.

        ``answer`` is how they stood after ``wait_seconds``, `wait` returns them once each is answered. An entry that
        is refused has a ``problem`` where the others have a ``forecast``.
        """
        body = {"forecasts": forecasts, "horizon": horizon, "levels": levels, "model": model, "known_at": known_at}
        call: Call[Batch] = Call(
            method="POST",
            path="/api/v1/forecasts:batch",
            answers={200: Batch, 202: Batch},
            body=body,
            **waiting(wait_seconds, key),
        )

        def look(asker: Asker, answer: Batch) -> Flow[Batch]:
            if answer.state == "done":
                return answer
            limit = min(max(answer.counts.requested, 1), 1000)
            found = yield from asker.flow(_get_batch(answer.batch_id, limit))
            return found

        return Started(call=call, look=look, has_ended=lambda batch: batch.state == "done", fault=lambda _: "")

    @operation
    def get_batch(self, batch_id: str, *, limit: int | None = None) -> Call[Batch]:
        """Return how a batch stands, and its answers."""
        return _get_batch(batch_id, limit)

    @listing
    def list_forecasts(
        self,
        *,
        series_id: str | None = None,
        model: str | None = None,
        version: str | None = None,
        status: str | None = None,
        batch_id: str | None = None,
        from_time: datetime | None = None,
        to_time: datetime | None = None,
        project: str | None = None,
        requester: str | None = None,
        cause: str | None = None,
        limit: int | None = None,
    ) -> Pages[ForecastLine]:
        """Yield the forecasts that were asked for, the newest first; ``limit`` is of one page."""
        query = {
            "series_id": series_id,
            "model": model,
            "version": version,
            "status": status,
            "batch_id": batch_id,
            "from": from_time,
            "to": to_time,
            "project": project,
            "requester": requester,
            "cause": cause,
            "limit": limit,
        }
        call: Call[ForecastHistory] = Call(
            method="GET", path="/api/v1/forecasts", query=query, answers={200: ForecastHistory}
        )
        return Pages(call, "forecasts", ForecastLine)

    @operation
    def export(
        self,
        /,
        what: Literal["forecasts", "trainings", "ingests"],
        into: Path,
        *,
        file_format: FileFormat | None = None,
        **filters: object,
    ) -> Call[Path]:
        """Write a whole history to a file as it comes; ``filters`` are those of the lists, `from_time` too.

        Unless given, the format is that of the name: `.csv`, `.ndjson`, and else Parquet.
        """
        names = {"from_time": "from", "to_time": "to"}
        query = {names.get(name, name): value for name, value in filters.items()}

        def written(_asker: Asker, _answer: None) -> Flow[Path]:
            yield from ()
            return into

        return Call(
            method="GET",
            path=f"/api/v1/{what}",
            query={**query, "format": file_format or _FORMATS.get(into.suffix.lower(), "parquet")},
            headers={"Accept": "*/*"},
            into=into,
            timeout_seconds=_SILENCE_SECONDS,
            then=written,
        )

    @operation
    def usage(
        self,
        *,
        project: str | None = None,
        model: str | None = None,
        requester: str | None = None,
        from_day: date | None = None,
        to_day: date | None = None,
        by: Sequence[str] | None = None,
    ) -> Call[Usage]:
        """Return how many forecasts were asked for, summed by ``by``."""
        query = {
            "project": project,
            "model": model,
            "requester": requester,
            "from": from_day,
            "to": to_day,
            "by": by,
        }
        return Call(method="GET", path="/api/v1/usage", query=query, answers={200: Usage})

    @following
    def events(
        self,
        *,
        series_id: str | None = None,
        model: str | None = None,
        project: str | None = None,
        types: Sequence[str] | None = None,
        after: str = "",
    ) -> Events:
        """Yield events as they happen, for as long as they are taken; ``after`` is the id of the last one known.

        A stream that breaks goes on behind the last event. `position` says only how far a quiet stream is.
        """
        query = {"series_id": series_id, "model": model, "project": project, "types": types}
        return Events(Call(method="GET", path="/api/v1/events", query=query, timeout_seconds=_SILENCE_SECONDS), after)


def _get_batch(batch_id: str, limit: int | None) -> Call[Batch]:
    return Call(
        method="GET", path=path("/api/v1/batches/{one}", one=batch_id), query={"limit": limit}, answers={200: Batch}
    )
