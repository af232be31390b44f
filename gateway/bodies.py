"""Request bodies: JSON to typed bodies, and every fault named by field."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from flask import request
from msgspec import Meta
from werkzeug.exceptions import RequestEntityTooLarge

from gateway.faults import faults_of, not_shown, rule_fault, shown
from gateway.problems import FieldFault, Problem
from schemas.calendars import require_calendar
from schemas.forecasts import DEFAULT_LEVELS, KnownFuture
from schemas.models import Role, Version
from schemas.record import Freq, Level, ModelName, ModelReference, Seed, SeriesId, UtcTime
from schemas.schedules import Minutes, RetrainRule
from schemas.trainings import (
    CovariateKind,
    FeatureRequested,
    GapRule,
    Hyperparameter,
    IntervalKind,
    StepFeatureRequested,
)

MAX_UNSAID_BYTES = 1024 * 1024
Levels = Annotated[tuple[Level, ...], Meta(min_length=1, max_length=20)]
Horizon = Annotated[int, Meta(ge=1, le=1000, description="Steps ahead, 1 to 1000; at most the horizon of the model")]


def require_in_utc(name: str, time: datetime) -> None:
    """Refuse a time that no clock in UTC shows, such as the last hour of the year 9999 west of Greenwich.

    Raises:
        ValueError: It lies outside of the years 1 to 9999; what is kept of it could never be read again.
    """
    try:
        time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{name} must be a time in the years 1 to 9999, UTC") from error


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request body; unknown fields are refused by name, since a misspelt option must not pass in silence."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, datetime) and value.tzinfo is not None:
                require_in_utc(name, value)


class SecretBody(Body, frozen=True, kw_only=True):
    """A request body with secrets in it: what is wrong with it is told without repeating anything of it."""


class FutureBody(KnownFuture, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of the steps ahead: values of the columns that a model was told are known in the future."""


class ForecastBody(Body, frozen=True, kw_only=True):
    """What to forecast: a series, or a window of raw values with its model."""

    series_id: SeriesId | None = None
    window: tuple[tuple[float, ...], ...] | None = None
    cutoff: datetime | None = None
    #: Values of the columns that are known in the future, a step each: `{"columns": {"promo": [1, 0]}}`.
    future: FutureBody | None = None
    horizon: Horizon
    levels: Levels = DEFAULT_LEVELS
    model: ModelReference | None = None
    #: As the series was known at this time (UTC): only batches that were received until then are read.
    known_at: UtcTime | None = None


class FeatureBody(FeatureRequested, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An input of the model that is made from the rows: a return, a lag, an indicator, a calendar term."""


class StepFeatureBody(StepFeatureRequested, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An input of the model for each step ahead: a calendar term of the step, a column known in the future."""


class TrainingBody(Body, frozen=True, kw_only=True):
    """What to train; the fields and defaults of `schemas.trainings.TrainingRequested`."""

    series_ids: Annotated[tuple[SeriesId, ...], Meta(min_length=1)] | None = None
    #: Short for one series.
    series_id: SeriesId | None = None
    model: ModelName | None = None
    target: str = "close"
    columns: tuple[str, ...] = ()
    algorithm: str = "lstm"
    horizon: Horizon = 10
    window_size: Annotated[int, Meta(ge=1, le=10_000)] = 20
    levels: Levels = DEFAULT_LEVELS
    hyperparameters: dict[str, Hyperparameter] = {}
    #: Column -> what is known of it at the steps; a column that is not named is past-only.
    covariates: dict[str, CovariateKind] = {}
    #: Inputs of the model from the rows; empty takes those that suit the algorithm.
    features: Annotated[tuple[FeatureBody, ...], Meta(max_length=500)] = ()
    #: Inputs of the model for each step; likewise.
    step_features: Annotated[tuple[StepFeatureBody, ...], Meta(max_length=500)] = ()
    #: Steps a season; 0 takes that of the freq and calendar.
    season_length: Annotated[int, Meta(ge=0, le=10_000)] = 0
    #: What becomes of missing rows and values.
    gaps: GapRule = "skip"
    #: What `auto` compares, or the members of an `ensemble`; empty takes what suits the series.
    candidates: tuple[str, ...] = ()
    #: Seconds that `auto` may take; 0 is without limit.
    budget_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    #: Trials of the hyperparameter search; 0 searches none.
    search_trials: Annotated[int, Meta(ge=0, le=10_000)] = 0
    #: Whether a simpler model may stand in where the history is too short for the algorithm.
    fallback: bool = True
    #: Whether bands follow the newest folds of a series or stay as they were calibrated.
    intervals: IntervalKind = "adaptive"
    seed: Seed = 0
    #: As the series were known at this time (UTC): only batches that were received until then are read.
    known_at: UtcTime | None = None
    cause: str = "user"


class DeployBody(Body, frozen=True, kw_only=True):
    """Which version takes which role."""

    version: Version
    role: Role = "champion"
    reason: str = ""


class IngestBody(Body, frozen=True, kw_only=True):
    """Which data to fetch; the fields of `schemas.ingests.IngestRequested`."""

    symbol: Annotated[str, Meta(min_length=1, max_length=500)]
    #: One source, or several that are tried in order.
    source: str | None = None
    sources: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    #: Null: `market/SYMBOL@FREQ`.
    series_id: SeriesId | None = None
    freq: Freq = "1d"
    #: Exchange calendar code, or `24/7`.
    calendar: str = "XNYS"
    start: date | None = None
    end: date | None = None
    adjust: bool = False
    #: Columns that are known in the future: rows later than now may have these alone.
    known_future: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(max_length=100)] = ()
    #: Let in what the quality gate would hold back; what is impossible stays refused.
    force: bool = False
    cause: str = "user"

    def __post_init__(self) -> None:
        require_calendar(self.calendar)


class RetrainBody(RetrainRule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a model is trained again: after so many observations, by the clock, or both."""


class SourceBody(Body, frozen=True, kw_only=True):
    """When and from where a series is fetched; the fields of `schemas.schedules.SeriesScheduled`."""

    symbol: Annotated[str, Meta(min_length=1, max_length=500)]
    #: One source, or several that are tried in order.
    source: str | None = None
    sources: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    #: Null: that of the series id.
    freq: Freq | None = None
    #: Exchange calendar code, or `24/7`.
    calendar: str = "24/7"
    adjust: bool = False
    known_future: tuple[str, ...] = ()
    cron: str = ""
    timezone: str = "UTC"
    after_close_minutes: Minutes | None = None
    jitter_seconds: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    is_paused: bool = False
    retrain: Annotated[tuple[RetrainBody, ...], Meta(max_length=50)] = ()
    cause: str = "user"

    def __post_init__(self) -> None:
        require_calendar(self.calendar)


class DecisionBody(Body, frozen=True, kw_only=True):
    """Who let held rows in, or threw them away, and why; all may be left out."""

    decided_by: Annotated[str, Meta(max_length=200)] = ""
    reason: Annotated[str, Meta(max_length=2000)] = ""


B = TypeVar("B", bound=Body)


def field_faults(raw: Any, body_type: type[B]) -> list[FieldFault]:
    """Return the faults of the decoded JSON ``raw`` that ``body_type`` cannot take, as `gateway.faults.faults_of`."""
    show = not_shown if issubclass(body_type, SecretBody) else shown
    if not isinstance(raw, dict):
        return [FieldFault(field="", expected="a JSON object", found=show(raw))]
    return faults_of(raw, body_type, show)


def invalid(detail: str, faults: list[FieldFault]) -> Problem:
    """Return the 422 for a body that is JSON but not what is asked for."""
    return Problem(422, "invalid-body", detail, errors=faults)


def faulty(faults: list[FieldFault]) -> Problem:
    """Return the 422 for fields that are not what is asked for."""
    return invalid("; ".join(map(_told, faults)), faults)


def _told(fault: FieldFault) -> str:
    if " must " in fault.expected:  # the sentence of a rule
        return fault.expected
    return f"{fault.field or 'the body'}: expected {fault.expected}, found {fault.found}"


def rule_broken(error: ValueError, of: msgspec.Struct, path: str = "") -> Problem:
    """Return the 422 for a rule over several fields of the body, or of what stands at a path of it.

    The first field that its sentence names is the one at fault.
    """
    fault = rule_fault(str(error), {name: getattr(of, name) for name in of.__struct_fields__}, path=path)
    return invalid(str(error), [] if fault is None else [fault])


def read_body(decoder: msgspec.json.Decoder[B]) -> B:
    """Return the body of the current request.

    Raises:
        Problem: 400 empty or not JSON, 415 another content type, 422 JSON that does not fit.
        RequestEntityTooLarge: More bytes than the gateway takes.
    """
    if request.mimetype != "application/json" and not request.mimetype.endswith("+json"):
        raise Problem(
            415,
            "unsupported-media-type",
            f"the header Content-Type must be application/json, was {request.mimetype or 'missing'!r}",
            headers={"Accept": "application/json"},
        )
    content = request.get_data(cache=False)
    if request.content_length is None and len(content) >= (request.max_content_length or MAX_UNSAID_BYTES):
        # A chunked body is cut at the limit without a word.
        raise RequestEntityTooLarge
    if not content:
        raise Problem(400, "empty-body", "a JSON object was expected, the body is empty")
    try:
        body = decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _fault_of(content, decoder.type) from error
    if b"\\u0000" in content:
        _require_no_nul(msgspec.json.decode(content))
    return body


def _require_no_nul(raw: Any) -> None:
    """Refuse the character NUL: PostgreSQL keeps it in no text."""
    place = next(_nul_places(raw), None)
    if place is not None:
        raise faulty([FieldFault(field=place, expected="text without the character NUL", found="one")])


def _nul_places(value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of the texts that have the character NUL, and of the objects with such a key."""
    if isinstance(value, str):
        if "\0" in value:
            yield path
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from [path] if "\0" in key else _nul_places(part, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _nul_places(part, f"{path}[{index}]")


def _fault_of(content: bytes, body_type: type[B]) -> Problem:
    try:
        raw = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as malformed:
        detail = f"the body must be JSON in UTF-8 (NaN and Infinity are not JSON): {malformed}"
        return Problem(400, "malformed-json", detail)
    return faulty(field_faults(raw, body_type))
