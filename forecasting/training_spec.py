"""What is asked of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from forecasting.artefact import FeatureRecipe, Setting, StepFeatureRecipe
from forecasting.features_request import raw_columns_of
from schemas.trainings import (
    CovariateKind,
    FeatureRequested,
    GapRule,
    IntervalKind,
    StepFeatureRequested,
    TrainingRequested,
)


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """What to train; mirrors `TrainingRequested`.

    Attributes:
        algorithm: A name of `models.registry.ALGORITHMS`.
        target: The column that is forecast.
        columns: Raw columns that the model sees, in order; empty is the target alone.
        horizon: Steps ahead.
        window_size: Rows of a window.
        levels: Central levels that the release must support, in percent, ascending.
        hyperparameters: What differs from the algorithm's defaults.
        covariates: Column -> what is known of it at the steps: ``known-future``, ``past-only`` or ``static``; a column
            that is not named is past-only.
        season_length: Steps a season; 0 takes that of the freq and calendar.
        gaps: What becomes of missing rows and values.
        features: Inputs of the graph; empty takes those that suit the algorithm. Their scaler values are fitted.
        step_features: Second inputs of the graph, a row a step; likewise.
        candidates: What `auto` compares, or the members of an `ensemble`; empty takes what suits the series.
        budget_seconds: That `auto` and a search may take; 0 is without limit.
        search_trials: Trials of the hyperparameter search; 0 searches none.
        fallback: Whether a simpler model stands in where the history is too short for this one.
        intervals: ``adaptive`` bands follow the newest folds of a series, ``split`` ones stay as they were calibrated.
        seed: Of all randomness.
    """

    algorithm: str = "lstm"
    target: str = "close"
    columns: tuple[str, ...] = ()
    horizon: int = 10
    window_size: int = 20
    levels: tuple[float, ...] = (80.0, 95.0)
    hyperparameters: Mapping[str, Setting] = field(default_factory=dict)
    covariates: Mapping[str, CovariateKind] = field(default_factory=dict)
    season_length: int = 0
    gaps: GapRule = "skip"
    features: tuple[FeatureRecipe | FeatureRequested, ...] = ()
    step_features: tuple[StepFeatureRecipe | StepFeatureRequested, ...] = ()
    candidates: tuple[str, ...] = ()
    budget_seconds: float = 0.0
    search_trials: int = 0
    fallback: bool = True
    intervals: IntervalKind = "adaptive"
    seed: int = 0

    @classmethod
    def of(cls, request: TrainingRequested) -> TrainingSpec:
        """Return the spec in a request."""
        return cls(
            algorithm=request.algorithm,
            target=request.target,
            columns=request.columns,
            horizon=request.horizon,
            window_size=request.window_size,
            levels=request.levels,
            hyperparameters=request.hyperparameters,
            covariates=request.covariates,
            features=request.features,
            step_features=request.step_features,
            season_length=request.season_length,
            gaps=request.gaps,
            candidates=request.candidates,
            budget_seconds=request.budget_seconds,
            search_trials=request.search_trials,
            fallback=request.fallback,
            intervals=request.intervals,
            seed=request.seed,
        )

    @property
    def all_columns(self) -> tuple[str, ...]:
        """The raw columns: the target, every covariate and what features are made from are among them."""
        named = self.columns or (self.target,)
        others = dict.fromkeys((*self.covariates, *raw_columns_of(self.features, self.target)))
        return (*named, *(name for name in others if name not in named))

    def columns_of(self, kind: CovariateKind) -> tuple[str, ...]:
        """Return the covariates of a kind, in the order of the columns."""
        return tuple(name for name in self.all_columns if self.covariates.get(name) == kind)
