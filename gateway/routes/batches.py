"""Up to a thousand forecasts by one call."""

from __future__ import annotations

import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Annotated, Any

import msgspec
from flask import Blueprint, Response, request, url_for
from msgspec import Meta

from gateway import parameters, tenancy
from gateway.access import Permission
from gateway.answers import json_of, refusal
from gateway.batches import MAX_ENTRIES, index_of, request_id_of, stem_of
from gateway.bodies import Body, ForecastBody, Horizon, Levels, faulty, field_faults, read_body
from gateway.forecast_access import reader
from gateway.forecast_requests import ForecastRequests, project_of_forecast
from gateway.guard import needs, principal
from gateway.headers import idempotency_key, new_id, wait_seconds
from gateway.history import ISSUED, PENDING, REFUSED
from gateway.limits.quotas import FORECAST
from gateway.open_requests import OpenRequest
from gateway.problems import FieldFault, Problem, document_of, not_found, unavailable
from gateway.rows import wish_of
from gateway.service import GatewayService
from gateway.stored_answers import request_in_progress
from runtime.errors import TransientError
from schemas.forecasts import ForecastRequested
from schemas.record import ModelReference, UtcTime
from schemas.topics import FORECAST_REQUESTS

#: An entry waits without a connection of its own and travels with two hundred others.
ENTRIES_A_PLACE = 10
_MAX_REMEMBERED = 1000
_CURSOR = re.compile(r"[0-9a-f]{32}-[0-9]{4}")


class BatchBody(Body, frozen=True, kw_only=True):
    """Forecasts to ask for together: what they have in common, and each of them."""

    #: Each as the body of a single request; what it lacks is taken from the common fields.
    forecasts: Annotated[tuple[Any, ...], Meta(min_length=1, max_length=MAX_ENTRIES)]
    horizon: Horizon | None = None
    levels: Levels | None = None
    model: ModelReference | None = None
    known_at: UtcTime | None = None


_BODY = msgspec.json.Decoder(BatchBody)
_COMMON = ("horizon", "levels", "model", "known_at")


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes of batches."""
    routes = Blueprint("batches", __name__, url_prefix="/api/v1")
    desk = BatchDesk(service)

    @routes.post("/forecasts:batch")
    @needs(Permission.FORECAST)
    def post() -> Response:
        return desk.ask(read_body(_BODY))

    @routes.get("/batches/<batch_id>")
    @needs(Permission.READ)
    def get(batch_id: str) -> Response:
        return desk.find(batch_id)

    return routes


@dataclass
class _Entry:
    """One place of a batch: refused here with ``problem``, or on its way as ``wanted``."""

    index: int
    series_id: str | None = None
    wanted: ForecastRequested | None = None
    open: OpenRequest | None = None
    problem: Problem | None = None


class BatchDesk:
    """Takes batches to the log by the way of single requests, and their answers back."""

    def __init__(self, service: GatewayService) -> None:
        self._service = service
        self._requests = ForecastRequests(service)
        #: Batch id -> the stem of its ids, of those that this gateway took lately: before the store knows them.
        self._stems: OrderedDict[str, str] = OrderedDict()
        #: Batches for which somebody waits here.
        self._asking: set[str] = set()
        self._lock = threading.Lock()

    def ask(self, body: BatchBody) -> Response:
        """Answer a request for many forecasts, waiting as long as its caller prefers."""
        service = self._service
        key = idempotency_key(request.headers.get("Idempotency-Key"))
        seconds = wait_seconds(
            request.headers.get("Prefer"),
            default=service.settings.default_wait_seconds,
            maximum=service.settings.max_wait_seconds,
        )
        with service.door.admits(ceil(len(body.forecasts) / ENTRIES_A_PLACE), principal().organisation_id):
            batch_id = tenancy.own_id(key or new_id())
            stem = stem_of(batch_id, body)
            if key is not None:
                self._require_same(key, batch_id, stem)
            with self._alone(batch_id):
                entries = [self._judged(batch_id, stem, body, index) for index in range(len(body.forecasts))]
                try:
                    self._send(entries, batch_id if key is not None else None)
                    self._wait(entries, seconds)
                    return self._answer(batch_id, entries)
                finally:
                    for entry in entries:
                        if entry.open is not None:
                            service.open_requests.leave(entry.open)

    def _require_same(self, key: str, batch_id: str, stem: str) -> None:
        with self._lock:
            known = self._stems.get(batch_id)
            if known is None:
                known = self._service.batches.stem(batch_id)
            if known is None:
                self._stems[batch_id] = stem
                if len(self._stems) > _MAX_REMEMBERED:
                    self._stems.popitem(last=False)
        if known is not None and known != stem:
            expected = "a key that is new, or the body that first came with it"
            raise Problem(
                422,
                "idempotency-key-reused",
                f"the Idempotency-Key {key!r} came before with another body; a new batch needs a new key",
                errors=[FieldFault(field="Idempotency-Key", expected=expected, found=key)],
                extensions={"batch_id": batch_id},
            )

    @contextmanager
    def _alone(self, batch_id: str) -> Iterator[None]:
        """Keep out who repeats a batch for which somebody waits.

        Raises:
            Problem: 409.
        """
        with self._lock:
            if batch_id in self._asking:
                raise request_in_progress("somebody waits for the batch under this Idempotency-Key")
            self._asking.add(batch_id)
        try:
            yield
        finally:
            with self._lock:
                self._asking.discard(batch_id)

    def _judged(self, batch_id: str, stem: str, body: BatchBody, index: int) -> _Entry:
        entry = _Entry(index)
        try:
            single = _single(body, body.forecasts[index])
            entry.series_id = single.series_id
            entry.wanted = self._requests.wanted(request_id_of(stem, index), single, batch_id)
        except Problem as problem:
            entry.problem = problem
        return entry

    def _send(self, entries: Sequence[_Entry], repeated: str | None) -> None:
        """Bring to the log what is not there; ``repeated`` is the batch id where it may have come before."""
        service = self._service
        wanted = [entry for entry in entries if entry.wanted is not None]
        new: set[OpenRequest] = set()
        # Before the store is asked: what it has not yet is in the entries, and what leaves them it has.
        for entry in wanted:
            assert entry.wanted is not None
            request_id = entry.wanted.request_id
            entry.open, is_new = service.open_requests.join(request_id, wish_of(entry.wanted), entry.wanted)
            if is_new:
                new.add(entry.open)
        try:
            known, answers = self._stored(repeated)
        except TransientError:
            for one in new:
                service.open_requests.discard(one)
            raise
        size = (request.content_length or service.settings.max_body_bytes) // len(entries) + 1
        waiting = []
        for entry in wanted:
            assert entry.wanted is not None
            assert entry.open is not None
            request_id = entry.wanted.request_id
            if request_id in known:
                service.open_requests.stored_requests([request_id])
                if request_id in answers:
                    answer, is_refused = answers[request_id]
                    service.open_requests.answered(request_id, answer, is_refused=is_refused)
                    service.open_requests.stored_answers([request_id])
            elif entry.open in new:
                waiting.append(self._requests.waiting(entry.open, entry.wanted, size))
        self._charge([one.entry for one in waiting])
        service.dispatcher.put(waiting)

    def _stored(self, repeated: str | None) -> tuple[frozenset[str], Mapping[str, tuple[bytes, bool]]]:
        """Return the requests of a batch that the store knows, and the answers that it has."""
        known = frozenset[str]() if repeated is None else self._service.batches.request_ids(repeated)
        answers = self._service.batches.answers(repeated) if known and repeated is not None else {}
        return known, answers

    def _charge(self, new: Sequence[OpenRequest]) -> None:
        """Count what will be done: all of the batch that is new, or nothing.

        Raises:
            Problem: 429; a project has not so many forecasts left today.
        """
        projects = Counter(project_of_forecast(one.asked) for one in new if one.asked is not None)
        try:
            self._service.usage.take(principal(), FORECAST, projects)
        except (Problem, TransientError):
            for one in new:
                self._service.open_requests.discard(one)
            raise

    def _wait(self, entries: Sequence[_Entry], seconds: float) -> None:
        service = self._service
        began = service.clock.monotonic()
        opened = [entry.open for entry in entries if entry.open is not None]
        for one in opened:
            service.open_requests.wait(one, began + seconds - service.clock.monotonic())
        began = service.clock.monotonic()
        for one in opened:
            if one.answer is None and one.failure is None and not one.is_logged:
                left = began + service.settings.stuck_after_seconds - service.clock.monotonic()
                service.open_requests.wait_until_logged(one, left)

    def _answer(self, batch_id: str, entries: Sequence[_Entry]) -> Response:
        lines = [_line(entry) for entry in entries]
        pending = sum(line["state"] == PENDING for line in lines)
        if pending:
            # What is on its way is read at the Location; what is not would be told nowhere else.
            told = [line for entry, line in zip(entries, lines, strict=True) if not _is_logged(entry)]
            headers = {"Location": url_for("batches.get", batch_id=batch_id), "Retry-After": "1"}
            return json_of(_document(batch_id, lines, told), 202, headers)
        return json_of(_document(batch_id, lines, lines))

    def find(self, batch_id: str) -> Response:
        """Answer ``GET /api/v1/batches/{batch_id}``."""
        parameters.require_known(("limit", "cursor"))
        service, reading = self._service, reader(self._service)
        limit = parameters.integer("limit", default=100, minimum=1, maximum=MAX_ENTRIES)
        cursor = request.args.get("cursor", "")
        if cursor and not _CURSOR.fullmatch(cursor):
            raise parameters.invalid("cursor", "as it stands in the path of a next page", cursor[:100])
        counts = service.batches.counts(batch_id, reading)
        if not any(counts.values()):
            service.require_written()
            counts = service.batches.counts(batch_id, reading)
        if not any(counts.values()):
            raise not_found("batch", batch_id, "the batch_id of an answer was expected")
        lines = service.batches.page(batch_id, reading, cursor, limit)
        following = None
        if len(lines) == limit:
            path = url_for("batches.get", batch_id=batch_id)
            following = f"{path}?limit={limit}&cursor={lines[-1].request_id}"
        is_done = not counts[PENDING] and self._has_all(batch_id)
        return json_of(
            {
                "batch_id": batch_id,
                "state": "done" if is_done else "pending",
                "counts": {"requested": sum(counts.values()), **counts},
                "answers": [
                    {
                        "index": index_of(line.request_id),
                        "request_id": line.request_id,
                        "series_id": line.series_id,
                        **_ended(line.answer, is_refused=line.status == REFUSED),
                    }
                    for line in lines
                ],
                "next": following,
            }
        )

    def _has_all(self, batch_id: str) -> bool:
        """Return whether the store has every request that the log had when this batch was first read here."""
        service = self._service
        count = service.partitions(FORECAST_REQUESTS)
        places = [service.projection.place(FORECAST_REQUESTS, number) for number in range(count)]
        try:
            return service.settled.holds(f"batch/{batch_id}", lambda: places)
        except TransientError:
            return False


def _single(body: BatchBody, given: object) -> ForecastBody:
    """Return an entry as the body of a single request.

    Raises:
        Problem: 422; it is none.
    """
    common = {name: getattr(body, name) for name in _COMMON if getattr(body, name) is not None}
    merged = {**msgspec.to_builtins(common), **given} if isinstance(given, dict) else given
    try:
        return msgspec.convert(merged, ForecastBody, strict=True)
    except msgspec.ValidationError as error:
        raise faulty(field_faults(merged, ForecastBody)) from error


def _is_logged(entry: _Entry) -> bool:
    return entry.open is not None and entry.open.is_logged


def _line(entry: _Entry) -> dict[str, Any]:
    line: dict[str, Any] = {
        "index": entry.index,
        "request_id": None if entry.wanted is None else entry.wanted.request_id,
        "series_id": entry.series_id,
    }
    if entry.open is None:
        assert entry.problem is not None
        return {**line, "state": REFUSED, "problem": document_of(entry.problem)}
    if entry.open.answer is None and not entry.open.is_logged:
        return {**line, "state": REFUSED, "problem": document_of(_not_logged(entry.open))}
    return {**line, **_ended(entry.open.answer, is_refused=entry.open.is_refused)}


def _ended(answer: bytes | None, *, is_refused: bool) -> dict[str, Any]:
    if answer is None:
        return {"state": PENDING}
    if is_refused:
        return {"state": REFUSED, "problem": document_of(refusal(answer))}
    return {"state": ISSUED, "forecast": msgspec.Raw(answer)}


def _not_logged(entry: OpenRequest) -> Problem:
    if isinstance(entry.failure, ValueError):
        return Problem(413, "request-too-large", str(entry.failure), extensions={"request_id": entry.request_id})
    return unavailable(
        "broker-unavailable",
        "the event log did not acknowledge this request in time; send the batch again with its Idempotency-Key",
        request_id=entry.request_id,
    )


def _document(batch_id: str, lines: Sequence[dict[str, Any]], told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    counts = {state: sum(line["state"] == state for line in lines) for state in (PENDING, ISSUED, REFUSED)}
    return {
        "batch_id": batch_id,
        "state": "pending" if counts[PENDING] else "done",
        "counts": {"requested": len(lines), **counts},
        "answers": told,
        "next": None,
    }
