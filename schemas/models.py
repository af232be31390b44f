"""Released model versions and which of them answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from schemas.record import (
    Digest,
    Freq,
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

Version = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$(?!\n)", description="First 16 digits of the artefact digest")]
Role = Literal["champion", "challenger", "shadow"]


LeaderboardState = Literal["chosen", "compared", "dropped", "not-possible", "not-reached"]


class LeaderboardEntry(Record, frozen=True, kw_only=True):
    """How one candidate of `auto`, or of a search, did on folds that precede the test part."""

    algorithm: str
    #: Of an ensemble.
    members: tuple[str, ...] = ()
    #: What differs from the defaults.
    hyperparameters: dict[str, bool | int | float | str] = {}
    #: `chosen` was released; `compared` was judged on the last rung; `dropped` was worse than those that climbed from
    #: its rung; `not-possible` could not be trained; `not-reached` lay beyond the budget.
    state: LeaderboardState
    #: The highest rung of successive halving on which it was judged, from 1; 0 is none.
    rung: Annotated[int, Meta(ge=0)] = 0
    #: Folds on that rung, and what they say.
    folds: Annotated[int, Meta(ge=0)] = 0
    #: Baseline -> 1 - loss / loss of the baseline on the same folds.
    skill: dict[str, float] = {}
    #: `mae` and, where it is defined, `mase`.
    metrics: dict[str, float] = {}
    #: Why it was not possible, or why it was chosen.
    reason: str = ""

    def __post_init__(self) -> None:
        require_finite("skill", self.skill.values())
        require_finite("metrics", self.metrics.values())


class FoldMetrics(Record, frozen=True, kw_only=True):
    """How the forecasts from one cutoff of the test part did, those of all series together."""

    #: Time of the last observation that they used (UTC).
    cutoff: UtcTime
    #: UTC starts of the first and of the last step that was scored.
    first_time: UtcTime
    last_time: UtcTime
    #: How many there are, one a series, each of `horizon` steps.
    forecasts: Annotated[int, Meta(ge=1)]
    #: Method -> metric -> value, the mean over the series; `model` has them all, a baseline its absolute errors.
    metrics: dict[str, dict[str, float]]

    def __post_init__(self) -> None:
        for field in ("cutoff", "first_time", "last_time"):
            require_utc(field, getattr(self, field))
        require(self.cutoff < self.first_time <= self.last_time, "cutoff, first_time and last_time must ascend")
        for method, metrics in self.metrics.items():
            require_finite(f"metrics[{method!r}]", metrics.values())


class MetricSpread(Record, frozen=True, kw_only=True):
    """How a metric of single folds varies."""

    mean: float
    #: The standard deviation of a sample: n - 1 in the denominator.
    deviation: Annotated[float, Meta(ge=0)]
    #: In how many folds the metric is defined.
    folds: Annotated[int, Meta(ge=2)]

    def __post_init__(self) -> None:
        require_finite("mean, deviation", (self.mean, self.deviation))


class ModelReleased(Record, frozen=True, kw_only=True):
    """One model version: an ONNX graph and a JSON recipe, nothing executable, with the skill that it showed.

    The content depends on the training request and the log prefixes alone, so a repeated
    training releases the same bytes.
    """

    model: ModelName
    version: Version
    training_id: Id
    algorithm: str
    series_ids: Annotated[tuple[SeriesId, ...], Meta(min_length=1)]
    #: The forecast column, and the raw columns in the order in which a `window` must give them.
    target: str
    columns: Annotated[tuple[str, ...], Meta(min_length=1)]
    freq: Freq
    calendar: str
    unit: str = ""
    window_size: Annotated[int, Meta(ge=1)]
    horizon: Annotated[int, Meta(ge=1)]
    levels: tuple[Level, ...]
    #: What turns observations into the input of the graph and its output into a forecast; see `forecasting.artefact`.
    recipe: dict[str, Any]
    #: The ONNX graph; null for a statistical model, which is its recipe.
    graph: bytes | None = None
    #: SHA-256 over the canonical recipe and the graph.
    artefact_digest: Digest
    #: Method -> metric -> value over the walk-forward folds; the method `model` stands beside the baselines.
    metrics: dict[str, dict[str, float]]
    #: Baseline -> skill, 1 - loss / loss of the baseline on the same folds; below 0 the model loses to it.
    skill: dict[str, float]
    folds: Annotated[int, Meta(ge=1)]
    #: Partition of `observations` -> end offset that the training read up to, and the digest of what it read.
    as_of: dict[str, Offset]
    data_digest: Digest
    seed: Seed
    #: Version of the code that trained.
    code_version: str
    #: What was compared where the algorithm or its hyperparameters were chosen, the best first; empty where they were
    #: given. `metrics` and `skill` above are of later folds, which no choice has seen.
    leaderboard: tuple[LeaderboardEntry, ...] = ()
    #: The algorithm that was asked for where the history was too short for it and `algorithm` stands in, and why.
    fallback_from: str = ""
    fallback_reason: str = ""
    #: Walk-forward folds that the bands are calibrated on; 0: the release does not say.
    calibration_folds: Annotated[int, Meta(ge=0)] = 0
    #: The test part cutoff by cutoff, the oldest first; many are thinned evenly, the newest stays. Empty: the release
    #: does not say.
    fold_metrics: tuple[FoldMetrics, ...] = ()
    #: Method -> metric -> how it varies over the cutoffs, those included that are thinned away; without fewer than two.
    fold_spread: dict[str, dict[str, MetricSpread]] = {}

    def __post_init__(self) -> None:
        require_ascending("levels", self.levels)
        for method, metrics in self.metrics.items():
            require_finite(f"metrics[{method!r}]", metrics.values())
        require_finite("skill", self.skill.values())

    def identity(self) -> tuple[object, ...]:
        return (self.model, self.version, self.training_id)


class Deployment(Record, frozen=True, kw_only=True):
    """A version takes a role for a model name. The newest `champion` record of a name is the one that answers."""

    deployment_id: Id
    model: ModelName
    version: Version
    role: Role
    #: The champion that the writer meant to replace; null when it knew of none.
    previous: Version | None = None
    #: True: take effect only where the name has no champion yet (the first release); readers decide it by log order.
    only_if_first: bool = False
    #: Who or what deployed: `user`, `first-release`, and in words why.
    cause: str = "user"
    requester: Requester = ""
    reason: str = ""

    def identity(self) -> tuple[object, ...]:
        return (self.deployment_id,)
