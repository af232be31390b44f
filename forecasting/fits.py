"""The fits of a training: which cutoffs each may see, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from forecasting.artefact import Recipe
from forecasting.calendars import season_length
from forecasting.candidates import member_specs
from forecasting.folds import MIN_KNOWN, Cut, Plan, PlanSize, min_calibration_of, plan_folds
from forecasting.models.fitting import Epoch, FitTask, Fitted
from forecasting.models.registry import ENSEMBLE, algorithm, hyperparameters_of
from forecasting.models.statistical import LEAST_ROWS
from forecasting.models.statistical_settings import is_statistical
from forecasting.panel import Observations
from forecasting.preparation import draft_recipe, examples_of, require_seasonal_window, thinned
from forecasting.training_panel import Panel
from forecasting.training_spec import TrainingSpec

#: Share of the work that is done when the first fit begins, and when the last one has ended.
READ, FITTED = 0.02, 0.9


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a training is.

    Attributes:
        stage: `reading`, `search` (candidates are compared), `fitting` (the released model), `backtest` (the fits
            before each block of folds), `calibration` or `export`.
        fraction: Part done, in [0, 1], never falling.
        epoch: Passes over the fit part so far, in a fit.
        losses: `train` and `validation`, in a fit.
    """

    stage: str
    fraction: float
    epoch: int | None = None
    losses: dict[str, float] = field(default_factory=dict)


class Draft(NamedTuple):
    """What comes of one fit: a recipe that is not calibrated yet, and what was fitted; ``None`` without a graph."""

    recipe: Recipe
    fitted: Fitted | None

    @property
    def graph(self) -> bytes | None:
        """The ONNX graph, if any."""
        return None if self.fitted is None else self.fitted.graph


def plan_of(spec: TrainingSpec, panel: Panel) -> Plan:
    """Return the fits and folds of a training: a matter of the times of its rows, never of their values.

    Raises:
        InvalidTraining: The window of a seasonal model is shorter than a season.
        TooLittleHistory: With the rows needed and found.
    """
    return plan_folds([one.time for one in panel.series], size_of(spec, panel), panel.cutoffs)


def size_of(spec: TrainingSpec, panel: Panel) -> PlanSize:
    """Return what the plan of a training must respect.

    Raises:
        InvalidTraining: See `plan_of`.
    """
    season = season_of(spec, panel.series[0])
    members = member_specs(spec, season, len(panel.series))
    for member in members:
        require_seasonal_window(member, season)
    hyperparameters = hyperparameters_of(spec.algorithm, spec.hyperparameters)
    return PlanSize(
        first_row=max(season, *(member.window_size for member in members)) - 1,
        horizon=spec.horizon,
        min_calibration=min_calibration_of(spec.levels),
        refits=int(hyperparameters.get("refits", 1)),
        embargo=int(hyperparameters.get("embargo", 0)),
        needs_fit=any(algorithm(member.algorithm) is not None for member in members),
        least_known=LEAST_ROWS if any(is_statistical(member.algorithm) for member in members) else MIN_KNOWN,
    )


def season_of(spec: TrainingSpec, first: Observations) -> int:
    """Return the steps of a season: as asked for, or by freq and calendar."""
    return spec.season_length or season_length(first.freq, first.calendar)


def fit_cut(spec: TrainingSpec, panel: Panel, cut: Cut) -> tuple[Recipe, bytes | None]:
    """Return the draft recipe and the graph of one fit of a training, as `forecasting.training.train` makes them."""
    draft = Fits(spec, panel, lambda _: None, fits=1).fit(cut, "fitting")
    return draft.recipe, draft.graph


class Fits:
    """The fits of one training, which share everything but the rows that they see.

    Args:
        spec: What to train.
        panel: The series.
        progress: Told how far the fits are; what it raises ends them.
        fits: How many there will be.

    Raises:
        InvalidTraining: Unknown algorithm or hyperparameter.
    """

    def __init__(self, spec: TrainingSpec, panel: Panel, progress: Callable[[Progress], None], *, fits: int) -> None:
        self._spec = spec
        self._panel = panel
        self._members = member_specs(spec, season_of(spec, panel.series[0]), len(panel.series))
        self._progress = progress
        self._fits = fits * len(self._members)
        self._done = 0
        self._last: tuple[Cut, Draft] | None = None

    def fit(self, cut: Cut, stage: str) -> Draft:
        """Return what comes of one fit."""
        if self._last is not None and cut.fit is self._last[0].fit:
            return self._last[1]  # a backtest without refits
        found = self._fitted(cut, stage)
        self._last = (cut, found)
        return found

    def _fitted(self, cut: Cut, stage: str) -> Draft:
        drafts = [self._fit(member, cut, stage) for member in self._members]
        if self._spec.algorithm != ENSEMBLE:
            return drafts[0]
        from forecasting.combining import combined_draft  # noqa: PLC0415  # only an ensemble pays for onnx

        return Draft(*combined_draft(self._spec, self._panel, cut, drafts))

    def _fit(self, spec: TrainingSpec, cut: Cut, stage: str) -> Draft:
        panel = self._panel
        hyperparameters = hyperparameters_of(spec.algorithm, spec.hyperparameters)
        self._tell(stage, 0.0)
        chosen = algorithm(spec.algorithm)
        recipe = draft_recipe(spec, panel, cut.fit, hyperparameters, chosen)
        fitted = None
        if chosen is not None:
            fitted = chosen.fit(
                FitTask(
                    fit=examples_of(recipe, panel, thinned(recipe, cut.fit)),
                    validation=examples_of(recipe, panel, thinned(recipe, cut.validation)),
                    quantiles=recipe.quantiles,
                    hyperparameters=hyperparameters,
                    seed=spec.seed,
                    on_epoch=lambda epoch: self._tell(stage, epoch.number / epoch.epochs, epoch),
                )
            )
        self._done += 1
        return Draft(recipe, fitted)

    def _tell(self, stage: str, share: float, epoch: Epoch | None = None) -> None:
        self._progress(
            Progress(
                stage=stage,
                fraction=READ + (FITTED - READ) * (self._done + share) / self._fits,
                epoch=None if epoch is None else epoch.number,
                losses={} if epoch is None else {"train": epoch.train_loss, "validation": epoch.validation_loss},
            )
        )
