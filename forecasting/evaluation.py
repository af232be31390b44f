"""Score a calibrated model on folds that nothing of it has seen, beside the baselines on the same folds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import msgspec
import numpy as np

from forecasting import losses
from forecasting.artefact import Recipe
from forecasting.backtest import SCORED_LEVELS, FoldForecasts, outcomes, score, score_by_fold, score_by_step
from forecasting.comparison import MODEL, Judged, compare
from forecasting.fold_metrics import ByFold, by_fold
from forecasting.folds import Part
from forecasting.intervals import quantile_pair
from forecasting.models.baselines import BASELINES
from forecasting.panel import FloatArray
from forecasting.residuals import calibrated, histories_of, residuals_of, series_of
from forecasting.serving import LoadedModel
from forecasting.training_panel import Panel

#: Cutoffs of the fit or validation part that are forecast again to say how well it was learnt, over all series.
_SEEN_FOLDS = 500
#: What is told of such a part, of the first step, and of every step.
_OF_PART = ("mae", "rmse", "mape", "r2")
_OF_FIRST_STEP = ("mape", "rmse", "r2")
_BY_STEP = ("mae", "coverage-", "direction-accuracy", "dm-p-value-")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a model did on the test part, beside the baselines on the same folds.

    Attributes:
        metrics: Method (`model` and each baseline) -> loss -> value, the mean over the series.
        metrics_by_step: The same for each step alone, the first step first.
        skill: Baseline -> 1 - loss / loss of the baseline.
        skill_by_step: The same for each step alone, shape (horizon,) each.
        calibration_curve: Central level -> share of outcomes within, in percent, over all steps.
        folds: Method -> forecasts of the folds of the first series.
        fold_count: Folds over all series.
        by_fold: What is told of each cutoff time alone.
        parts: `train` and `validation` -> what the tested model says of cutoffs that its own fit has learnt from and
            stopped by, in the first series; empty for a model that was not asked.
    """

    metrics: dict[str, dict[str, float]]
    metrics_by_step: dict[str, list[dict[str, float]]]
    skill: dict[str, float]
    skill_by_step: dict[str, list[float]]
    calibration_curve: dict[float, float]
    folds: dict[str, FoldForecasts]
    fold_count: int
    by_fold: ByFold
    parts: dict[str, FoldForecasts]

    @property
    def released(self) -> dict[str, dict[str, float]]:
        """The metrics over all steps, and beside them what is told of each step alone, as ``mae-step-1``."""
        return {
            method: metrics
            | {
                f"{name}-step-{step}": value
                for step, found in enumerate(self.metrics_by_step[method], start=1)
                for name, value in found.items()
                if name.startswith(_BY_STEP) or (step == 1 and name in _OF_FIRST_STEP)
            }
            for method, metrics in self.metrics.items()
        }


def baseline_recipe(recipe: Recipe, name: str) -> Recipe:
    """Return the recipe of a baseline on the same series, with a window that holds a season."""
    return msgspec.structs.replace(
        recipe,
        algorithm=name,
        window_size=recipe.baseline_rows,
        features=(),
        has_volatility_input=False,
        quantiles=(),
        median_weight=1.0,
        statistical=None,
        members=(),
        weights=(),
        member_spreads=(),
        hyperparameters={},
    )


def evaluate(
    model: LoadedModel,
    panel: Panel,
    *,
    calibration: Sequence[Part],
    test: Sequence[Part],
    levels: Sequence[float],
    seen: Mapping[str, Sequence[Part]] = MappingProxyType({}),
    progress: Callable[[float], None] = lambda _: None,
) -> Evaluation:
    """Return how a calibrated model did on the test part, beside baselines that are calibrated on the same folds.

    The baselines' drift and volatility are those of the model's recipe: estimated from all that came before the test.

    Args:
        model: Fitted and calibrated on what lies before the test part.
        panel: The series.
        calibration: The folds that the model's bands were calibrated on.
        test: The folds that it is judged by.
        levels: Central levels whose bands are told, in percent.
        seen: Name (`train`, `validation`) -> cutoffs that the fit has seen, whose metrics stand apart from the test.
        progress: Told what part of it is done, in [0, 1]; what it raises ends it.
    """
    tested = _TestPart(panel, test, levels, model.recipe)
    folds, first, alone = {}, {}, {}
    metrics: dict[str, dict[str, float]] = {}
    by_step: dict[str, list[dict[str, float]]] = {}
    curve: dict[float, float] = {}
    for done, name in enumerate((MODEL, *BASELINES)):
        progress(done / (2 + len(BASELINES)))
        method = model if name == MODEL else _baseline(model.recipe, name, panel, calibration, levels)
        found = tested.forecasts(method)
        metrics[name], by_step[name] = tested.scores(found), tested.scores_by_step(found)
        curve = curve or tested.calibration_curve(found)
        first[name] = found.part(slice(len(test[0].cutoffs)))
        # A comparison needs no quantiles, and those of hundreds of series are a hundred megabytes a method.
        folds[name] = dataclasses.replace(found, quantiles={})
        alone[name] = tested.scores_by_fold(found if name == MODEL else folds[name])
    progress((1 + len(BASELINES)) / (2 + len(BASELINES)))
    judged = tested.judged(folds)
    for each, told in compare(judged).items():
        metrics[each] |= told
    for step in range(1, model.horizon + 1):
        for each, told in compare(judged, step).items():
            by_step[each][step - 1] |= told
    known = {name: _seen_folds(model, panel, parts) for name, parts in seen.items()}
    for part, of_part in known.items():
        metrics[MODEL] |= {f"{part}-{loss}": value for loss, value in _part_metrics(of_part).items()}
    return Evaluation(
        metrics=metrics,
        metrics_by_step=by_step,
        skill={name: _skill(metrics[MODEL], metrics[name]) for name in BASELINES},
        skill_by_step={
            name: [_skill(*pair) for pair in zip(by_step[MODEL], by_step[name], strict=True)] for name in BASELINES
        },
        calibration_curve=curve,
        folds=first,
        fold_count=len(folds[MODEL].cutoffs),
        by_fold=by_fold(judged, alone),
        parts={name: of_part[0] for name, of_part in known.items() if of_part},
    )


def _baseline(
    recipe: Recipe, name: str, panel: Panel, calibration: Sequence[Part], levels: Sequence[float]
) -> LoadedModel:
    """Return a baseline that is calibrated on folds."""
    draft = baseline_recipe(recipe, name)
    residuals = residuals_of(LoadedModel.load(draft, None), panel, calibration)
    return LoadedModel.load(calibrated(draft, residuals, levels), None)


class _TestPart:
    """Folds that a model and the baselines are judged by.

    Args:
        panel: The series.
        parts: The folds.
        levels: Central levels whose bands are told, in percent.
        recipe: Of the model.
    """

    def __init__(self, panel: Panel, parts: Sequence[Part], levels: Sequence[float], recipe: Recipe) -> None:
        self._panel = panel
        self._parts = parts
        self._levels = levels
        self._asked = sorted({*levels, *SCORED_LEVELS})
        self._scales = [_scale(recipe, panel, part) for part in parts]
        self._scale_of_folds = np.repeat(self._scales, [len(part.cutoffs) for part in parts])

    def forecasts(self, model: LoadedModel) -> FoldForecasts:
        """Return what a model forecasts, with all quantiles that are scored."""
        return _forecasts(model, self._panel, self._parts, self._asked)

    def scores(self, folds: FoldForecasts) -> dict[str, float]:
        """Return every loss over all steps, the mean over the series."""
        pairs = zip(_by_series(folds, self._parts), self._scales, strict=True)
        return _mean([score(one, self._levels, scale) for one, scale in pairs])

    def scores_by_step(self, folds: FoldForecasts) -> list[dict[str, float]]:
        """Return every loss of each step, the mean over the series, where it is defined for each of them."""
        pairs = zip(_by_series(folds, self._parts), self._scales, strict=True)
        found = [score_by_step(one, self._levels, scale) for one, scale in pairs]
        means = {name: np.mean(np.stack([one[name] for one in found], axis=-1), axis=-1) for name in found[0]}
        steps = range(folds.y.shape[1])
        return [{name: float(mean[i]) for name, mean in means.items() if np.isfinite(mean[i])} for i in steps]

    def scores_by_fold(self, folds: FoldForecasts) -> dict[str, FloatArray]:
        """Return the losses of each fold, shape (folds,); without quantiles those of the median."""
        return score_by_fold(folds, self._levels if folds.quantiles else (), self._scale_of_folds)

    def calibration_curve(self, folds: FoldForecasts) -> dict[float, float]:
        """Return the share of outcomes within each band, the mean over the series."""
        found = [[_coverage(one, level) for level in self._asked] for one in _by_series(folds, self._parts)]
        return dict(zip(self._asked, np.mean(found, axis=0).tolist(), strict=True))

    def judged(self, folds: Mapping[str, FoldForecasts]) -> Judged:
        """Return the forecasts of all methods for a comparison."""
        steps = np.arange(1, folds[MODEL].y.shape[1] + 1)
        times = [(self._panel.series[series].time, cutoffs) for series, cutoffs in self._parts]
        return Judged(
            folds=folds,
            series=series_of(self._parts),
            starts=np.concatenate([time[cutoffs] for time, cutoffs in times]),
            ends=np.concatenate([time[cutoffs[:, None] + steps] for time, cutoffs in times]),
            scale=self._scale_of_folds,
        )


def _forecasts(model: LoadedModel, panel: Panel, parts: Sequence[Part], levels: Sequence[float]) -> FoldForecasts:
    """Return the forecasts of folds, of all series together, by a model that was fitted before the first of them."""
    recipe = model.recipe
    target = recipe.columns.index(recipe.target)
    known = [(panel.values[series][:, target], cutoffs) for series, cutoffs in parts]
    found = model.backtest(histories_of(model, panel, parts), levels)
    return FoldForecasts(
        cutoffs=np.concatenate([cutoffs for _, cutoffs in known]),
        y=np.concatenate([outcomes(values, cutoffs, recipe.horizon) for values, cutoffs in known]),
        median=found.median,
        quantiles=found.quantiles,
        last=np.concatenate([values[cutoffs] for values, cutoffs in known]),
        rises=found.direction_probability,
    )


def _by_series(folds: FoldForecasts, parts: Sequence[Part]) -> Iterator[FoldForecasts]:
    """Yield the folds of each part apart."""
    end = 0
    for part in parts:
        yield folds.part(slice(end, end := end + len(part.cutoffs)))


def _seen_folds(model: LoadedModel, panel: Panel, parts: Sequence[Part]) -> list[FoldForecasts]:
    """Return what the model says of cutoffs that its fit has seen, evenly thinned: there are many, and they cost."""
    whole = [Part(series, cutoffs[cutoffs >= model.window_size - 1]) for series, cutoffs in parts]
    count = sum(len(part.cutoffs) for part in whole)
    stride = max(math.ceil(count / _SEEN_FOLDS), 1)
    kept = [Part(series, cutoffs[::-1][::stride][::-1]) for series, cutoffs in whole if len(cutoffs)]
    return list(_by_series(_forecasts(model, panel, kept, ()), kept)) if kept else []


def _part_metrics(folds: Sequence[FoldForecasts]) -> dict[str, float]:
    if not folds:
        return {}
    found = _mean([score(one, (), float("nan")) for one in folds])
    return {name: found[name] for name in _OF_PART if name in found}


def _scale(recipe: Recipe, panel: Panel, part: Part) -> float:
    """Return the scale of MASE, from what was known before the test part."""
    history = panel.values[part.series][: int(part.cutoffs[0]), recipe.columns.index(recipe.target)]
    return losses.seasonal_scale(history, recipe.season_length)


def _mean(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    names = [name for name in scores[0] if all(name in one for one in scores)]
    return {name: float(np.mean([one[name] for one in scores])) for name in names}


def _skill(metrics: dict[str, float], baseline: dict[str, float]) -> float:
    """Return the skill by MASE, which compares between series, or by the absolute error where MASE has no scale."""
    name = "mase" if "mase" in metrics and "mase" in baseline else "mae"
    return losses.skill(metrics[name], baseline[name])


def _coverage(folds: FoldForecasts, level: float) -> float:
    y, lower, upper = (values.ravel() for values in (folds.y, *(folds.quantiles[p] for p in quantile_pair(level))))
    return float(losses.coverage(y, lower, upper))
