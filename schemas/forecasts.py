"""Asking for a forecast, and the two ways in which a request ends."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from math import isfinite
from typing import Annotated

from msgspec import Meta

from schemas.identity import content_id
from schemas.models import Role, Version
from schemas.record import (
    Digest,
    Id,
    Level,
    ModelName,
    ModelReference,
    Offset,
    Record,
    Requester,
    SeriesId,
    UtcTime,
    require,
    require_ascending,
    require_finite,
    require_utc,
)

DEFAULT_LEVELS = (80.0, 95.0)


class AsOf(Record, frozen=True, kw_only=True):
    """How far into the log a request may read: end offsets, exclusive."""

    #: Of the partition of `observations` that holds the series; 0 for a request with its own window.
    observations: Offset
    #: Of `models` and `deployments`, which have one partition each.
    models: Offset
    deployments: Offset


class KnownFuture(Record, frozen=True, kw_only=True):
    """What is known of the steps ahead: values of the columns that a model was told are known in the future."""

    #: Column -> its value at each step, raw, shape (steps,).
    columns: Annotated[dict[str, tuple[float, ...]], Meta(min_length=1, max_length=1000)]
    #: UTC starts of the steps, such as the days on which a shop will be open; empty: those of the calendar.
    time: tuple[UtcTime, ...] = ()

    def __post_init__(self) -> None:
        steps = self.steps
        require(steps >= 1, "future.columns must have at least one step")
        for name, values in self.columns.items():
            require(len(values) == steps, f"future.columns[{name!r}] must have {steps} steps, had {len(values)}")
            require_finite(f"future.columns[{name!r}]", values)
        require(len(self.time) in (0, steps), f"future.time must be empty or have {steps} steps, had {len(self.time)}")
        for time in self.time:
            require_utc("future.time", time)
        require(
            all(earlier < later for earlier, later in pairwise(self.time)), "future.time must ascend without repeats"
        )

    @property
    def steps(self) -> int:
        """How many steps are known."""
        return len(next(iter(self.columns.values())))


class ForecastRequested(Record, frozen=True, kw_only=True):
    """Somebody wants a forecast of a series, or of a window of raw values that comes with the request."""

    request_id: Id
    series_id: SeriesId | None = None
    #: Rows of raw values, oldest first, in the column order of the model, shape (window_size, columns).
    window: tuple[tuple[float, ...], ...] | None = None
    #: Time of the last row of `window` (UTC); without it the steps of the answer carry no times.
    cutoff: UtcTime | None = None
    #: What is known of the steps; a model that was trained with such columns needs it here or in the log.
    future: KnownFuture | None = None
    horizon: Annotated[int, Meta(ge=1, le=1000)]
    levels: Annotated[tuple[Level, ...], Meta(min_length=1, max_length=20)] = DEFAULT_LEVELS
    #: Model name or `name:version`; null means the model named after the series.
    model: ModelReference | None = None
    #: Null: the predictor pins it by writing the request again with the offsets it has read.
    as_of: AsOf | None = None
    #: The time (UTC) whose knowledge was asked for: `as_of.observations` then ends before the first batch of the series
    #: that was received later. Null: all that had been read.
    known_at: UtcTime | None = None
    #: Who or what asked: `caller`, `observation`.
    cause: str = "caller"
    requester: Requester = ""
    #: Of the requests that one call asked for together.
    batch_id: Id | None = None

    def __post_init__(self) -> None:
        require(
            (self.series_id is None) != (self.window is None),
            "exactly one of series_id and window must be given",
        )
        require(self.window is None or self.model is not None, "model must be given with a window")
        require(self.window is not None or self.cutoff is None, "cutoff may only be given with a window")
        require_utc("cutoff", self.cutoff)
        require_ascending("levels", self.levels)
        require_utc("known_at", self.known_at)
        require(
            self.known_at is None or (self.series_id is not None and self.as_of is not None),
            "known_at may only be given with series_id and with the as_of that it stands for",
        )
        if self.future is not None:
            require(
                self.future.steps >= self.horizon,
                f"future must reach {self.horizon} steps, the horizon, had {self.future.steps}",
            )
        if self.window is not None:
            require(len(self.window) >= 1, "window must have at least one row")
            width = len(self.window[0])
            for index, row in enumerate(self.window):
                require(
                    len(row) == width, f"window rows must have equal length, row {index} has {len(row)}, not {width}"
                )
                require_finite(f"window[{index}]", row)

    def identity(self) -> tuple[object, ...]:
        return (self.request_id, None if self.as_of is None else "pinned")


class ForecastRequestBatch(Record, frozen=True, kw_only=True):
    """Several requests of one partition in one message: fewer and fuller messages cost less."""

    requests: Annotated[tuple[ForecastRequested, ...], Meta(min_length=1, max_length=500)]
    #: W3C trace context of each request, or empty when none has one.
    traceparents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(
            len(self.traceparents) in (0, len(self.requests)),
            f"traceparents must be empty or one a request, were {len(self.traceparents)} for {len(self.requests)}",
        )

    def identity(self) -> tuple[object, ...]:
        return tuple(request.request_id for request in self.requests)


class ForecastStep(Record, frozen=True, kw_only=True):
    """What one step ahead is expected to be."""

    #: UTC start of the step; null when the request's window came without a cutoff.
    time: UtcTime | None
    #: In the unit of the target.
    median: float
    #: Probability -> value, both ascending.
    quantiles: dict[str, float]
    #: Probability that the target ends above its value at the cutoff; null when the model does not say.
    direction_probability: Annotated[float, Meta(ge=0, le=1)] | None = None

    def __post_init__(self) -> None:
        require_utc("time", self.time)
        # A forecast has many steps: the slower checks, and their messages, only where there is something to say.
        values = list(self.quantiles.values())
        if not (isfinite(self.median) and all(map(isfinite, values))):
            require_finite("median", (self.median,))
            require_finite("quantiles", values)
        probabilities = _probabilities(tuple(self.quantiles))
        require_ascending("quantiles", probabilities)
        if probabilities and not (probabilities[0] > 0 and probabilities[-1] < 1):
            raise ValueError(f"quantiles must lie in (0, 1), were {list(probabilities)}")
        if values != sorted(values):
            raise ValueError(f"quantiles must not cross, were {values}")


@lru_cache(maxsize=1024)
def _probabilities(keys: tuple[str, ...]) -> tuple[float, ...]:
    return tuple(map(float, keys))


class ModelUsed(Record, frozen=True, kw_only=True):
    """The model version that made a forecast, and in which role."""

    name: ModelName
    version: Version
    role: Role
    algorithm: str


class Lineage(Record, frozen=True, kw_only=True):
    """What a forecast was made from. Offsets name the newest messages used, not how far the reader had read."""

    #: Partition of `observations` and the offset of the newest batch used; null for a request with its own window.
    observation_partition: Annotated[int, Meta(ge=0)] | None = None
    observation_offset: Offset | None = None
    model_offset: Offset
    #: Null when the request named the version.
    deployment_offset: Offset | None = None
    #: SHA-256 of the raw window that the model saw.
    input_digest: Digest
    model_digest: Digest


class ForecastIssued(Record, frozen=True, kw_only=True):
    """A request ended with a forecast. Nothing here depends on the wall clock or on who computed it."""

    forecast_id: Id
    request_id: Id
    #: Null for a request with its own window.
    series_id: SeriesId | None
    #: Time of the last observation used (UTC); null for a window without one.
    cutoff: UtcTime | None
    target: str
    unit: str = ""
    steps: Annotated[tuple[ForecastStep, ...], Meta(min_length=1)]
    model: ModelUsed
    lineage: Lineage
    #: Baseline -> its value for each step, shape (horizon,).
    baselines: dict[str, tuple[float, ...]]
    #: Why it was asked for: `caller`, `observation`.
    cause: str = "caller"

    def __post_init__(self) -> None:
        require_utc("cutoff", self.cutoff)
        for name, values in self.baselines.items():
            require(
                len(values) == len(self.steps),
                f"baselines[{name!r}] must have {len(self.steps)} values, had {len(values)}",
            )
            require_finite(f"baselines[{name!r}]", values)

    def identity(self) -> tuple[object, ...]:
        return (self.request_id,)

    def content(self) -> tuple[object, ...]:
        """Return what ``forecast_id`` names: two records with one forecast id must agree in this."""
        return (
            self.series_id,
            self.cutoff,
            self.target,
            self.unit,
            self.steps,
            self.baselines,
            self.lineage.input_digest,
            self.lineage.model_digest,
        )


class ForecastRefused(Record, frozen=True, kw_only=True):
    """A request ended without a forecast, with the reason."""

    request_id: Id
    series_id: SeriesId | None = None
    #: What kind of refusal, lower-case-with-hyphens, e.g. `unknown-series`.
    code: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]*$(?!\n)")]
    #: One sentence: what was expected, what was found, what to do.
    reason: str
    #: The field of the request that is at fault, what it may be and what it was; empty when it is none.
    field: str = ""
    expected: str = ""
    found: str = ""
    cause: str = "caller"

    def identity(self) -> tuple[object, ...]:
        return (self.request_id,)


def forecast_id_of(
    *,
    series_id: str | None,
    cutoff: UtcTime | None,
    horizon: int,
    levels: tuple[float, ...],
    model_digest: str,
    input_digest: str,
) -> str:
    """Return the id that names the content of a forecast: what it was made from and what was asked."""
    return content_id("forecast", series_id, cutoff, horizon, levels, model_digest, input_digest)


def default_model_name(series_id: str) -> str:
    """Return the name of the model that answers for a series when the request names none.

    >>> default_model_name("market/AAPL@1d")
    'market/AAPL-1d'
    """
    return series_id.replace("@", "-").replace(":", "-")
