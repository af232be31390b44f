"""What a caller asks for as the record that goes to the log."""

from __future__ import annotations

from datetime import UTC
from functools import lru_cache

from flask import g

from gateway import tenancy
from gateway.access import Permission, project_of
from gateway.bodies import ForecastBody, rule_broken
from gateway.dispatcher import Waiting
from gateway.guard import principal
from gateway.known import ends_known_at
from gateway.open_requests import OpenRequest
from gateway.problems import not_found
from gateway.service import GatewayService
from schemas.forecasts import AsOf, ForecastRequested
from schemas.topics import DEPLOYMENTS, FORECAST_REQUESTS, MODELS, OBSERVATIONS


def project_of_forecast(wanted: ForecastRequested) -> str:
    """Return the project to which a forecast counts: that of its series, of a window that of its model."""
    return project_of(wanted.series_id or wanted.model or "")


class ForecastRequests:
    """Makes them for the current HTTP request: pinned to what this gateway has read."""

    def __init__(self, service: GatewayService) -> None:
        self._service = service
        self._partition = lru_cache(maxsize=4096)(lambda series_id: service.partition_of(FORECAST_REQUESTS, series_id))

    def wanted(self, request_id: str, body: ForecastBody, batch_id: str | None = None) -> ForecastRequested:
        """Return the record for ``body``.

        Raises:
            Problem: The series or the model is not known to the caller, or the fields do not go together.
        """
        service, projection = self._service, self._service.projection
        self._require_known(body)
        end = 0
        if body.series_id is not None:
            end = projection.seen(OBSERVATIONS, self._partition(body.series_id))
            if body.known_at is not None:
                (end,) = ends_known_at(service, [body.series_id], body.known_at).values()
        try:
            return ForecastRequested(
                request_id=request_id,
                series_id=body.series_id,
                window=body.window,
                cutoff=body.cutoff,
                future=body.future,
                horizon=body.horizon,
                levels=body.levels,
                model=body.model,
                as_of=AsOf(
                    observations=end,
                    models=projection.seen(MODELS, 0),
                    deployments=projection.seen(DEPLOYMENTS, 0),
                ),
                known_at=None if body.known_at is None else body.known_at.astimezone(UTC),
                requester=principal().requester,
                batch_id=batch_id,
            )
        except ValueError as error:
            raise rule_broken(error, body) from error

    def _require_known(self, body: ForecastBody) -> None:
        service = self._service
        if body.series_id is not None:
            missing = tenancy.unknown_series(body.series_id)
            tenancy.require(service, Permission.FORECAST, body.series_id, missing)
            if not service.projection.knows_series(body.series_id):
                raise missing
        if body.model is not None:
            unknown = not_found("model", body.model, "GET /api/v1/models lists them")
            tenancy.require(service, Permission.FORECAST, body.model, unknown)

    def waiting(self, entry: OpenRequest, wanted: ForecastRequested, body_bytes: int) -> Waiting:
        """Return what the dispatcher takes; ``body_bytes`` is what the caller sent of it."""
        if wanted.series_id is not None:
            partition = self._partition(wanted.series_id)
        else:
            partition = self._service.partition_of(FORECAST_REQUESTS, wanted.request_id)
        return Waiting(entry, wanted, partition, g.traceparent, body_bytes)
