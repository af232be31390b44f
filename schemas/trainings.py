"""Asking for a training, cancelling it, and how it goes."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from schemas.record import (
    Id,
    Level,
    ModelName,
    Offset,
    Record,
    Requester,
    Seed,
    SeriesId,
    UtcTime,
    require,
    require_ascending,
    require_finite,
    require_utc,
)

TrainingState = Literal["queued", "running", "progress", "succeeded", "failed", "cancelled"]
FINAL_TRAINING_STATES: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})
Hyperparameter = bool | int | float | str
FeatureName = Annotated[str, Meta(min_length=1, max_length=100)]
CovariateKind = Literal["known-future", "past-only", "static"]
IntervalKind = Literal["split", "adaptive"]
GapRule = Literal["skip", "forward-fill", "interpolate", "zero", "refuse"]


class FeatureRequested(Record, frozen=True, kw_only=True):
    """An input of the model that is made from the rows: a return, a lag, an indicator, a calendar term."""

    name: FeatureName
    #: Raw columns that it is made from; empty takes the target, or the columns of the bar that an indicator needs.
    columns: tuple[str, ...] = ()
    #: Rows that it looks at, or how many it looks back; 1 for a feature that takes none.
    window_size: Annotated[int, Meta(ge=1, le=10_000)] = 1
    #: What else the feature lets one set, by name.
    parameters: dict[str, Hyperparameter] = {}

    def __post_init__(self) -> None:
        numbers = [value for value in self.parameters.values() if not isinstance(value, str)]
        require_finite("parameters", numbers)


class StepFeatureRequested(Record, frozen=True, kw_only=True):
    """An input of the model for each step ahead: a calendar term of the step, a column known in the future."""

    name: FeatureName
    columns: tuple[str, ...] = ()
    #: Length of a season or cycle, in rows or in the unit that the feature says.
    period: Annotated[float, Meta(ge=0, le=1_000_000)] = 0.0
    #: Which harmonic, season or how many rows; 0 is what the feature does without.
    order: Annotated[int, Meta(ge=0, le=10_000)] = 0
    #: A word that the feature needs, such as the country of holidays.
    option: Annotated[str, Meta(max_length=100)] = ""


class TrainingRequested(Record, frozen=True, kw_only=True):
    """Somebody wants a model version trained on prefixes of the observation log."""

    training_id: Id
    model: ModelName
    #: The series to learn from; the first one is the Kafka key.
    series_ids: Annotated[tuple[SeriesId, ...], Meta(min_length=1)]
    #: The column that is forecast.
    target: str = "close"
    #: Raw columns that the model sees, in order; empty means the target alone.
    columns: tuple[str, ...] = ()
    algorithm: str = "lstm"
    horizon: Annotated[int, Meta(ge=1, le=1000)] = 10
    window_size: Annotated[int, Meta(ge=1, le=10_000)] = 20
    levels: Annotated[tuple[Level, ...], Meta(min_length=1, max_length=20)] = (80.0, 95.0)
    hyperparameters: dict[str, Hyperparameter] = {}
    #: Column -> what is known of it at the steps; a column that is not named is past-only.
    covariates: dict[str, CovariateKind] = {}
    #: Inputs of the model from the rows; empty takes those that suit the algorithm.
    features: Annotated[tuple[FeatureRequested, ...], Meta(max_length=500)] = ()
    #: Inputs of the model for each step; likewise.
    step_features: Annotated[tuple[StepFeatureRequested, ...], Meta(max_length=500)] = ()
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
    #: Partition of `observations` (decimal) -> end offset, exclusive: nothing at or beyond it is read.
    as_of: dict[str, Offset]
    #: The time (UTC) whose knowledge was asked for: `as_of` then ends before the first batch of these series that was
    #: received later. Null: all that had been read.
    known_at: UtcTime | None = None
    #: Who or what asked: `user`, `first-start`, `schedule`, `observations`, `drift`.
    cause: str = "user"
    requester: Requester = ""

    def __post_init__(self) -> None:
        require_ascending("levels", self.levels)
        require(self.target not in self.covariates, f"covariates must not name the target {self.target}")
        require(len(set(self.series_ids)) == len(self.series_ids), "series_ids must not repeat a series")
        require(
            all(partition.isdecimal() for partition in self.as_of),
            f"as_of must name partitions by number, named {sorted(self.as_of)}",
        )
        require_utc("known_at", self.known_at)

    def identity(self) -> tuple[object, ...]:
        return (self.training_id,)


class TrainingCancelRequested(Record, frozen=True, kw_only=True):
    """Somebody wants a training stopped; one that has ended stays as it is."""

    training_id: Id
    #: The first series of the training: the cancellation follows it into the same partition.
    series_id: SeriesId
    reason: str = ""

    def identity(self) -> tuple[object, ...]:
        return (self.training_id,)


class TrainingEvent(Record, frozen=True, kw_only=True):
    """One moment of a training. `sequence` counts from 0; after a restart it goes on from what stands in the log.

    The first event with a final state in log order is the end of a training.
    """

    training_id: Id
    model: ModelName
    series_id: SeriesId
    sequence: Annotated[int, Meta(ge=0)]
    state: TrainingState
    #: Part done, in [0, 1].
    fraction: Annotated[float, Meta(ge=0, le=1)] = 0.0
    #: What is being done: `reading`, `search`, `fitting`, `backtest`, `calibration`, `export`, `recording`.
    stage: str = ""
    epoch: int | None = None
    #: `train` and `validation` loss, in the unit of the loss.
    losses: dict[str, float] = {}
    metrics: dict[str, float] = {}
    #: Why it failed or was cancelled; what went wrong on the way (a warning), or, of a success, why another algorithm
    #: stands in for the one that was asked for; empty otherwise.
    reason: str = ""
    #: The released version and the MLflow run, once succeeded.
    version: str | None = None
    mlflow_run_id: str | None = None

    def __post_init__(self) -> None:
        require_finite("losses", self.losses.values())
        require_finite("metrics", self.metrics.values())

    def identity(self) -> tuple[object, ...]:
        # All that it says: a crash, MLflow or the moment of a cancellation may change how a repeated training
        # goes on, and then it tells something else under the same sequence. An int that was given for a number
        # comes back from the wire as a float, so numbers are named as floats.
        return (
            self.training_id,
            self.sequence,
            self.state,
            float(self.fraction),
            self.stage,
            self.epoch,
            {name: float(loss) for name, loss in self.losses.items()},
            {name: float(metric) for name, metric in self.metrics.items()},
            self.reason,
            self.version,
            self.mlflow_run_id,
        )
