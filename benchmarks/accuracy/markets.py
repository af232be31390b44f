"""Prices: train on what lies before the test part, forecast every cutoff in it, compare with the last value.

The version that is tested is the one that the product's own `train` releases from the rows before the test part: its
settings, the weight of its median and its bands come from folds of those rows alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from benchmarks.accuracy.table import Row, at_least, within
from forecasting.backtest import FoldForecasts, outcomes, score
from forecasting.losses import mean_absolute_error, mean_absolute_percentage_error, seasonal_scale, skill
from forecasting.panel import FloatArray, IntArray, Observations
from forecasting.serving import LoadedModel
from forecasting.significance import FoldValues, diebold_mariano, share_of
from forecasting.training import TrainedModel, train
from forecasting.training_panel import panel_of
from forecasting.training_spec import TrainingSpec

LEVELS = (80.0, 95.0)
LEAST_SKILL = -0.5
#: Level -> how far coverage may be from it, in points.
COVERAGE_TOLERANCE = {80.0: 2.0, 95.0: 1.0}


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A model on the test part of one series.

    Attributes:
        name: The series.
        folds: What it forecast, and what happened.
        last: Values at the cutoffs, shape (folds,).
        starts: Times of the cutoffs, UTC seconds, shape (folds,).
        ends: Times of the last outcomes, shape (folds,).
        scale: Of MASE, from the rows before the test part.
        rises: Probability that the target ends above its value at the cutoff, shape (folds, horizon); empty where
            the model gives none.
        seconds: Training and forecasting.
    """

    name: str
    folds: FoldForecasts
    last: FloatArray
    starts: IntArray
    ends: IntArray
    scale: float
    rises: FloatArray
    seconds: float

    @property
    def naive(self) -> FloatArray:
        """The last value as forecast, shape (folds, horizon)."""
        return np.repeat(self.last[:, None], self.folds.y.shape[1], axis=1)

    @property
    def skill(self) -> float:
        """Skill against the last value by MASE, in percent."""
        y = self.folds.y.ravel()
        losses = [float(mean_absolute_error(y, one.ravel())) / self.scale for one in (self.folds.median, self.naive)]
        return 100 * skill(*losses)

    def gains(self) -> FoldValues:
        """Return how much less MASE each fold has than the last value."""
        naive, model = (np.abs(self.folds.y - one).mean(axis=1) for one in (self.naive, self.folds.median))
        return FoldValues((naive - model) / self.scale, self.starts, self.ends, np.zeros(len(naive), dtype=np.int64))

    def hits(self) -> FoldValues:
        """Return the share of steps in each fold whose direction was forecast; steps that did not move are left out."""
        moved = self.folds.y != self.naive
        right = ((self.rises > 0.5) == (self.folds.y > self.naive)) & moved  # noqa: PLR2004  # even odds
        share = right.sum(axis=1) / np.maximum(moved.sum(axis=1), 1)
        return FoldValues(share, self.starts, self.ends, np.zeros(len(share), dtype=np.int64))


def assess(spec: TrainingSpec, series: Observations, *, test_rows: int, stride: int = 1) -> tuple[TrainedModel, Tested]:
    """Return the version that is released from the rows before the test part, and how it does in it.

    Args:
        spec: What to train.
        series: With the test part.
        test_rows: Newest rows that only outcomes are taken from, and cutoffs as they pass.
        stride: Steps between cutoffs.
    """
    started = time.perf_counter()
    panel = panel_of(spec, [series])
    rows = panel.series[0]
    known = len(rows) - test_rows
    trained = train(spec, [rows.slice(0, known)])
    model = LoadedModel.load(trained.recipe, trained.graph)
    cutoffs = np.arange(known - 1, len(rows) - spec.horizon, stride)
    found = model.backtest([(panel.history(model.recipe, 0), cutoffs)], LEVELS)
    target = panel.values[0][:, spec.all_columns.index(spec.target)]
    return trained, Tested(
        name=series.series_id.partition("/")[2],
        folds=FoldForecasts(
            cutoffs=cutoffs,
            y=outcomes(target, cutoffs, spec.horizon),
            median=found.median,
            quantiles=found.quantiles,
        ),
        last=target[cutoffs],
        starts=rows.time[cutoffs],
        ends=rows.time[cutoffs + spec.horizon],
        scale=seasonal_scale(target[:known], trained.recipe.season_length),
        rises=np.empty(0) if found.direction_probability is None else found.direction_probability,
        seconds=time.perf_counter() - started,
    )


def _together(series: Sequence[FoldValues]) -> FoldValues:
    """Return the folds of several series as those of all."""
    values, starts, ends, _ = (np.concatenate(each) for each in zip(*series, strict=True))
    return FoldValues(values, starts, ends, np.repeat(np.arange(len(series)), [len(one.values) for one in series]))


def rows_of(dataset: str, model: str, found: Sequence[Tested], notes: Mapping[str, str]) -> list[Row]:
    """Return a line for each series, and the means over the series.

    Args:
        dataset: Name of the set.
        model: Name of the model.
        found: A test a series.
        notes: Series -> what was chosen before the test part.
    """
    rows = [_series_row(dataset, model, one, notes[one.name]) for one in found]
    comparison = diebold_mariano(_together([one.gains() for one in found]))
    told = "" if comparison is None else f"Diebold-Mariano p {comparison.p_value:.2f}"
    mean = f"{model}, mean of {len(found)}"
    seconds = sum(one.seconds for one in found)
    value = float(np.mean([one.skill for one in found]))
    target = at_least(LEAST_SKILL)
    rows.append(
        Row(
            dataset=dataset,
            model=mean,
            measure="MASE skill",
            value=value,
            unit=" %",
            target=target,
            naive=0.0,
            seconds=seconds,
            note=told,
        )
    )
    first = [(one.folds.y[:, 0], one.folds.median[:, 0], one.last) for one in found]
    rows.append(
        Row(
            dataset=dataset,
            model=mean,
            measure="MAPE, step 1",
            value=float(np.mean([mean_absolute_percentage_error(y, median) for y, median, _ in first])),
            unit=" %",
            naive=float(np.mean([mean_absolute_percentage_error(y, last) for y, _, last in first])),
        )
    )
    for level, tolerance in COVERAGE_TOLERANCE.items():
        each = [_coverage(one, level) for one in found]
        rows.append(
            Row(
                dataset=dataset,
                model=mean,
                measure=f"coverage of {level:g}",
                value=float(np.mean(each)),
                unit=" %",
                target=within(level, tolerance),
                note=f"{min(each):.1f} to {max(each):.1f} by series",
            )
        )
    return rows


def _series_row(dataset: str, model: str, one: Tested, note: str) -> Row:
    comparison = diebold_mariano(one.gains())
    told = [note] if note else []
    if comparison is not None:
        told.append(f"Diebold-Mariano p {comparison.p_value:.2f}")
    told.append(f"coverage {_coverage(one, 80.0):.1f} and {_coverage(one, 95.0):.1f} %")
    return Row(
        dataset=dataset,
        model=f"{model}, {one.name}",
        measure="MASE skill",
        value=one.skill,
        unit=" %",
        target=at_least(LEAST_SKILL),
        naive=0.0,
        seconds=one.seconds,
        note="; ".join(told),
    )


def direction_rows(dataset: str, model: str, found: Sequence[Tested]) -> list[Row]:
    """Return how often each series went where the model said, beside always up, with a 95 % confidence interval."""
    rows = []
    for one in found:
        if not len(one.rises):
            continue
        share = share_of(one.hits())
        ups = 100 * float(np.mean(one.folds.y > one.naive))
        told = "" if share is None else f"95 % interval {100 * share.lower:.1f} to {100 * share.upper:.1f} %"
        rows.append(
            Row(
                dataset=dataset,
                model=f"{model}, {one.name}",
                measure="direction accuracy",
                value=100 * float(np.mean(one.hits().values)),
                unit=" %",
                naive=max(ups, 100 - ups),
                naive_name="always the more frequent",
                note=told,
            )
        )
    return rows


def _coverage(one: Tested, level: float) -> float:
    return score(one.folds, (level,), one.scale)[f"coverage-{level:g}"]


def compared(
    dataset: str,
    series: Mapping[str, Observations],
    specs: Mapping[str, TrainingSpec],
    report: Callable[[str], None],
    *,
    test_rows: int,
    stride: int = 1,
) -> tuple[list[Row], dict[str, list[Tested]]]:
    """Return the rows of every model on every series, and the tests behind them.

    Args:
        dataset: Name of the set.
        series: With their test parts.
        specs: Name of a model -> how it is trained.
        report: Told what each training chose before its test part.
        test_rows: Of every series.
        stride: Steps between cutoffs.
    """
    rows: list[Row] = []
    tests: dict[str, list[Tested]] = {}
    for model, spec in specs.items():
        notes: dict[str, str] = {}
        for one in series.values():
            trained, test = assess(spec, one, test_rows=test_rows, stride=stride)
            tests.setdefault(model, []).append(test)
            notes[test.name] = _chosen(trained)
            known_to = datetime.fromtimestamp(int(test.starts[0]), UTC)
            report(
                f"{model} on {test.name}: settings from rows to {known_to:%Y-%m-%d %H:%M} alone ({notes[test.name]}; "
                f"skill on their own last folds {100 * trained.skill['last-value']:+.2f} %), then "
                f"{len(test.starts)} cutoffs: {test.skill:+.2f} % ({test.seconds:.1f} s)"
            )
        rows += rows_of(dataset, model, tests[model], notes)
    return rows, tests


def _chosen(trained: TrainedModel) -> str:
    """Return what a training chose by itself."""
    recipe = trained.recipe
    parts = [f"{name} {value}" for name, value in trained.diagnostics.chosen.items()]
    if trained.leaderboard:
        members = f" of {', '.join(member.algorithm for member in recipe.members)}" if recipe.members else ""
        parts.append(f"{recipe.algorithm}{members} among {len(trained.leaderboard)}")
    if recipe.quantiles:
        parts.append(f"median weight {recipe.median_weight:g}")
    return ", ".join(parts)
