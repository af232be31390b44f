"""Request bodies: JSON to typed bodies, and every fault named by field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from flask import request
from msgspec import Meta
from werkzeug.exceptions import RequestEntityTooLarge

from gateway.problems import FieldFault, Problem
from schemas.calendars import require_calendar
from schemas.forecasts import DEFAULT_LEVELS, KnownFuture
from schemas.models import Role, Version
from schemas.record import Freq, Level, ModelName, ModelReference, SeriesId, UtcTime
from schemas.schedules import Minutes, RetrainRule
from schemas.trainings import (
    CovariateKind,
    FeatureRequested,
    GapRule,
    Hyperparameter,
    IntervalKind,
    StepFeatureRequested,
)

MAX_SHOWN = 120


def _in_words(kind: object) -> tuple[str, str]:
    """Return the pattern of a kind of text as msgspec tells it, and what it is called by."""
    (meta,) = get_args(kind)[1:]
    words: str = meta.description
    return f"`str` matching regex {meta.pattern!r}", words[0].lower() + words[1:]


#: A step of a path as msgspec tells it: into an array, or into an object.
_STEP = re.compile(r"\[(\d+)\]|\.(\w+)")
#: Messages of msgspec that say what is wrong, and what is expected instead.
_SAID_OTHERWISE = (
    *(_in_words(kind) for kind in (SeriesId, Freq, ModelName, ModelReference, Version)),
    ("Object missing required field", "an object with the field"),
    ("Object contains unknown field", "an object without the field"),
    ("Invalid RFC3339 encoded datetime", "a time such as `2025-01-02T00:00:00Z`"),
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


class ForecastBody(Body, frozen=True, kw_only=True):
    """What to forecast: a series, or a window of raw values with its model."""

    series_id: SeriesId | None = None
    window: tuple[tuple[float, ...], ...] | None = None
    cutoff: datetime | None = None
    #: Values of the columns that are known in the future, a step each: `{"columns": {"promo": [1, 0]}}`.
    future: KnownFuture | None = None
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
    seed: Annotated[int, Meta(ge=0)] = 0
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


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}… ({len(text)} characters)"


def _not_shown(value: Any) -> str:
    return f"{type(value).__name__} (not shown)"


def _expected(message: str, type_: object) -> str:
    """Return the rule in a msgspec message such as ``Expected `int` <= 1000 - at `$.horizon` ``."""
    rule = message.split(" - at `", maxsplit=1)[0]
    if rule.startswith("Invalid enum value") and (choices := list(_choices(type_))):
        return f"one of {', '.join(choices)}"
    for found, expected in _SAID_OTHERWISE:
        rule = rule.replace(found, expected)
    return rule.removeprefix("Expected ")


def _choices(type_: object) -> Iterator[str]:
    """Yield what the literals in a type may be."""
    if get_origin(type_) is Literal:
        yield from (str(choice) for choice in get_args(type_))
        return
    for part in get_args(type_):
        yield from _choices(part)


def _within(value: Any, path: str) -> Any:
    """Return what stands at a path of msgspec such as ``[59][0]``, as far as it can be followed."""
    for index, name in _STEP.findall(path.partition("[...]")[0]):
        value = value[int(index)] if index else value[name]
    return value


def field_faults(raw: Any, body_type: type[B]) -> list[FieldFault]:
    """Return every field of the decoded JSON ``raw`` that ``body_type`` cannot take, each judged on its own."""
    shown = _not_shown if issubclass(body_type, SecretBody) else _shown
    if not isinstance(raw, dict):
        return [FieldFault(field="", expected="a JSON object", found=shown(raw))]
    fields = {field.encode_name: field for field in msgspec.structs.fields(body_type)}
    known = ", ".join(fields)
    faults = [
        FieldFault(field=name, expected=f"one of the fields {known}", found=shown(value))
        for name, value in raw.items()
        if name not in fields
    ]
    for name, field in fields.items():
        if name not in raw:
            if field.required:
                faults.append(FieldFault(field=name, expected="a value", found="nothing"))
            continue
        try:
            msgspec.convert(raw[name], field.type, strict=True)
        except msgspec.ValidationError as error:
            path = str(error).partition(" - at `$")[2].rstrip("`")
            faults.append(
                FieldFault(
                    field=name + path, expected=_expected(str(error), field.type), found=shown(_within(raw[name], path))
                )
            )
    return faults


def invalid(detail: str, faults: list[FieldFault]) -> Problem:
    """Return the 422 for a body that is JSON but not what is asked for."""
    return Problem(422, "invalid-body", detail, errors=faults)


def rule_broken(error: ValueError, body: Body) -> Problem:
    """Return the 422 for a rule over several fields; its sentence starts with, or names, the field."""
    return _broken(str(error), {name: getattr(body, name) for name in body.__struct_fields__})


def _broken(text: str, values: Mapping[str, Any]) -> Problem:
    words = text.replace("[", " ").split()
    names = sorted((name for name in values if name in words), key=words.index)
    faults = [FieldFault(field=name, expected=text, found=_shown(values[name])) for name in names]
    return invalid(text, faults[:1])


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
        raise _fault_of(content, error, decoder.type) from error
    if b"\\u0000" in content and _has_nul(msgspec.json.decode(content)):
        raise invalid("a body without the character NUL was expected: PostgreSQL keeps it in no text", [])
    return body


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(_has_nul(part) for part in value)


def _fault_of(content: bytes, error: Exception, body_type: type[B]) -> Problem:
    try:
        raw = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as malformed:
        detail = f"the body must be JSON in UTF-8 (NaN and Infinity are not JSON): {malformed}"
        return Problem(400, "malformed-json", detail)
    faults = field_faults(raw, body_type)
    if not faults:  # each field may be as it is; a rule of the body says otherwise
        return _broken(str(error), raw)
    named = "; ".join(
        f"{fault.field or 'the body'}: expected {fault.expected}, found {fault.found}" for fault in faults
    )
    return invalid(named, faults)
