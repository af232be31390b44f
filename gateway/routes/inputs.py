"""What a forecast saw: the rows of its series as they were known to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from flask import Response

from gateway import parameters
from gateway.answers import json_of
from gateway.observed import columnar, versions_of
from gateway.problems import Problem
from gateway.service import GatewayService
from gateway.versions import KnownAt
from schemas.forecasts import ForecastIssued
from schemas.models import ModelReleased

MAX_ROWS = 10_000
_ISSUED = msgspec.json.Decoder(ForecastIssued)
_RELEASE = msgspec.json.Decoder(ModelReleased)


def inputs_of(service: GatewayService, answer: bytes) -> Response:
    """Answer ``GET /api/v1/forecasts/{id}/inputs`` for a `ForecastIssued`.

    Raises:
        Problem: 404 for a forecast that was made from a window of its request.
    """
    parameters.require_known(("limit", "versions"))
    issued = _ISSUED.decode(answer)
    lineage = issued.lineage
    if issued.series_id is None or lineage.observation_offset is None or issued.cutoff is None:
        raise Problem(
            404,
            "no-inputs",
            f"a forecast of a series was expected, {issued.forecast_id} was made from the window that came with its "
            "request in forecast-requests",
        )
    release = _release(service, issued)
    limit = parameters.integer("limit", default=min(release.window_size, MAX_ROWS), minimum=1, maximum=MAX_ROWS)
    seen = KnownAt(before_offset=lineage.observation_offset + 1)
    cutoff = int(issued.cutoff.timestamp())
    # Strictly before the second after the cutoff: the row of the cutoff is the newest one.
    rows = service.versions.observations(
        issued.series_id, seen, after=None, before=cutoff + 1, limit=limit, is_newest_first=True
    )
    known = service.versions.observations(
        issued.series_id, seen, after=cutoff, before=None, limit=len(issued.steps), is_newest_first=False
    )
    names: Sequence[str] = release.recipe.get("future_columns", ())
    document: dict[str, Any] = {
        "forecast_id": issued.forecast_id,
        "request_id": issued.request_id,
        "series_id": issued.series_id,
        "model": issued.model.name,
        "version": issued.model.version,
        "cutoff": issued.cutoff,
        "observation_partition": lineage.observation_partition,
        "observation_offset": lineage.observation_offset,
        "observations": columnar(rows[::-1], release.columns),
        "future": columnar(known, names) if names else None,
    }
    if parameters.choice("versions", ("false", "true")) == "true":
        document["versions"] = versions_of(service.versions, issued.series_id, rows[::-1])
    return json_of(document)


def _release(service: GatewayService, issued: ForecastIssued) -> ModelReleased:
    row = service.queries.release(issued.model.name, issued.model.version)
    if row is None:
        # Its release stands before it in the log, in a topic that may be read a moment later.
        raise Problem(404, "unknown-version", f"{issued.model.name}:{issued.model.version} has not been read yet")
    return _RELEASE.decode(row["release"])
