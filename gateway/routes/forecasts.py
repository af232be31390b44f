"""Forecasts: asked for, waited for, read again."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus

import msgspec
from flask import Blueprint, Response, request, url_for

from gateway import caching, tenancy
from gateway.access import Permission
from gateway.answers import json_bytes, json_of, refusal
from gateway.bodies import ForecastBody, read_body
from gateway.forecast_access import Reader, reader
from gateway.forecast_requests import ForecastRequests, project_of_forecast
from gateway.guard import needs, principal
from gateway.headers import idempotency_key, new_id, wait_seconds
from gateway.limits.quotas import FORECAST
from gateway.open_requests import OpenRequest
from gateway.problems import FieldFault, Problem, not_found, unavailable
from gateway.routes.inputs import inputs_of
from gateway.rows import wish_of
from gateway.service import GatewayService
from gateway.stored_answers import request_in_progress
from runtime.errors import TransientError
from schemas.forecasts import ForecastRequested

#: A request stands in the log before its answer, so the store has it a transaction or two later.
_WRITES_AWAITED = 4
_BODY = msgspec.json.Decoder(ForecastBody)


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes below ``/api/v1/forecasts``."""
    routes = Blueprint("forecasts", __name__, url_prefix="/api/v1/forecasts")
    desk = ForecastDesk(service)

    @routes.post("")
    @needs(Permission.FORECAST)
    def post() -> Response:
        with service.door.admits(1, principal().organisation_id):
            return desk.ask(read_body(_BODY))

    @routes.get("/<forecast_or_request_id>")
    @needs(Permission.READ)
    def get(forecast_or_request_id: str) -> Response:
        found = desk.find(forecast_or_request_id)
        return caching.unchanging(found) if found.status_code == HTTPStatus.OK else found

    @routes.get("/<forecast_or_request_id>/inputs")
    @needs(Permission.READ)
    def inputs(forecast_or_request_id: str) -> Response:
        found = desk.find(forecast_or_request_id)
        return inputs_of(service, found.data) if found.status_code == HTTPStatus.OK else found

    return routes


class _StepShape(msgspec.Struct):
    quantiles: dict[str, msgspec.Raw]


class _Shape(msgspec.Struct):
    series_id: str | None
    cutoff: datetime | None
    steps: list[_StepShape]


_SHAPE = msgspec.json.Decoder(_Shape)


def fits(entry: OpenRequest, wanted: ForecastRequested) -> bool:
    """Return whether an answer can be that of ``wanted``, as far as the answer tells what was asked."""
    if entry.answer is None or entry.is_refused:
        return True
    shape = _SHAPE.decode(entry.answer)
    return (
        shape.series_id == wanted.series_id
        and (wanted.window is None or shape.cutoff == wanted.cutoff)
        and len(shape.steps) == wanted.horizon
        and len(shape.steps[0].quantiles) == 2 * len(wanted.levels)
    )


class ForecastDesk:
    """Takes forecast requests to the log and their answers back."""

    def __init__(self, service: GatewayService) -> None:
        self._service = service
        self._requests = ForecastRequests(service)

    def ask(self, body: ForecastBody) -> Response:
        """Answer a request for one forecast, waiting as long as its caller prefers."""
        service = self._service
        key = idempotency_key(request.headers.get("Idempotency-Key"))
        sent_key = key or new_id()
        seconds = wait_seconds(
            request.headers.get("Prefer"),
            default=service.settings.default_wait_seconds,
            maximum=service.settings.max_wait_seconds,
        )
        wanted = self._requests.wanted(tenancy.own_id(sent_key), body)
        wish = None if key is None else wish_of(wanted)
        entry, is_new = service.open_requests.join(wanted.request_id, wish, wanted)
        try:
            if key is not None:
                is_new = self._is_first(entry, is_new, key, wish)
            if is_new:
                self._charge(entry, wanted)
                size = request.content_length or service.settings.max_body_bytes
                service.dispatcher.put([self._requests.waiting(entry, wanted, size)])
            with service.meters.forecast_seconds.time():
                service.open_requests.wait(entry, seconds)
            if key is not None and entry.answer is not None and not fits(entry, wanted):
                # Another gateway was first with this key, and another body.
                self._require_same_wish(key, "another", wish)
            return self._answer(entry, sent_key)
        finally:
            service.open_requests.leave(entry)

    def _charge(self, entry: OpenRequest, wanted: ForecastRequested) -> None:
        """Count what will be done.

        Raises:
            Problem: 429; the project has no forecast left today.
        """
        try:
            self._service.usage.take(principal(), FORECAST, {project_of_forecast(wanted): 1})
        except (Problem, TransientError):
            self._service.open_requests.discard(entry)
            raise

    def _is_first(self, entry: OpenRequest, is_new: bool, key: str, wish: str | None) -> bool:
        """Return whether a request with a key has to be sent; take what the store knows about it otherwise.

        Raises:
            Problem: 409 somebody waits for its answer; 422 the key came before with another body.
        """
        open_requests = self._service.open_requests
        if not is_new:
            first = entry.wish or self._logged_wish(entry.request_id)
            self._require_same_wish(key, first, wish)
            if entry.answer is None and entry.waiting > 1:
                raise request_in_progress("somebody waits for the forecast under this Idempotency-Key")
            return False
        try:
            stored = self._service.queries.request(entry.request_id)
            if stored is None:
                return True
            self._require_same_wish(key, stored.wish, wish)
        except (Problem, TransientError):
            open_requests.discard(entry)
            raise
        open_requests.stored_requests([entry.request_id])
        if stored.answer is not None:
            open_requests.answered(entry.request_id, stored.answer, is_refused=stored.is_refused)
            open_requests.stored_answers([entry.request_id])
        return False

    def _logged_wish(self, request_id: str) -> str | None:
        """Return what was first asked under an id whose answer was seen before its request was stored."""
        for _ in range(_WRITES_AWAITED):
            stored = self._service.queries.request(request_id)
            if stored is not None and stored.wish is not None:
                return stored.wish
            self._service.projection.wait_for_write(0.5)
        return None

    def _require_same_wish(self, key: str, first: str | None, now: str | None) -> None:
        if first is not None and first != now:
            raise Problem(
                422,
                "idempotency-key-reused",
                f"the Idempotency-Key {key!r} came before with another body; a new request needs a new key",
                errors=[
                    FieldFault(
                        field="Idempotency-Key",
                        expected="a key that is new, or the body that first came with it",
                        found=key,
                    )
                ],
                extensions={"request_id": tenancy.own_id(key)},
            )

    def _answer(self, entry: OpenRequest, key: str) -> Response:
        if entry.answer is None and entry.failure is None and not entry.is_logged:
            self._service.open_requests.wait_until_logged(entry, self._service.settings.stuck_after_seconds)
        if entry.answer is not None:
            if entry.is_refused:
                raise refusal(entry.answer)
            return json_bytes(entry.answer)
        if isinstance(entry.failure, ValueError):
            raise Problem(413, "request-too-large", str(entry.failure), extensions={"request_id": entry.request_id})
        if not entry.is_logged:
            raise unavailable(
                "broker-unavailable",
                "the event log did not acknowledge the request in time; send it again with the Idempotency-Key "
                f"{key}, then it is answered once however often it arrived",
                request_id=entry.request_id,
            )
        return self._pending(entry.request_id)

    def _pending(self, request_id: str) -> Response:
        location = url_for("forecasts.get", forecast_or_request_id=request_id)
        return json_of({"request_id": request_id, "state": "pending"}, 202, {"Location": location, "Retry-After": "1"})

    def find(self, sought_id: str) -> Response:
        """Answer ``GET /api/v1/forecasts/{id}``: by request id, then by forecast id."""
        reading = reader(self._service)
        found = self._known(sought_id, reading)
        if found is None:
            # What is not found may only not have been read or stored yet.
            self._service.require_written()
            found = self._known(sought_id, reading)
        if found is None:
            raise not_found("forecast", sought_id, "a request_id or a forecast_id was expected")
        return found

    def _known(self, sought_id: str, reading: Reader) -> Response | None:
        entry = self._service.open_requests.get(sought_id)
        if entry is not None and not reading.may_read(entry.asked):
            entry = None
        if entry is not None and entry.answer is not None:
            return self._stored_answer(entry.answer, is_refused=entry.is_refused)
        stored = self._service.queries.request(sought_id)
        if stored is not None and not reading.may_read_request(stored.series_id, stored.model, stored.organisation_id):
            stored = None
        if stored is not None and stored.answer is not None:
            return self._stored_answer(stored.answer, is_refused=stored.is_refused)
        if stored is not None or (entry is not None and entry.is_logged):
            return self._pending(sought_id)
        forecast = self._service.queries.forecast(sought_id, reading)
        return None if forecast is None else json_bytes(forecast)

    def _stored_answer(self, answer: bytes, *, is_refused: bool) -> Response:
        if is_refused:
            raise refusal(answer)
        return json_bytes(answer)
