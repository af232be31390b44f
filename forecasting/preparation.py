"""From observations to examples: the checked series, the recipe of one fit, and its windows with what followed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from forecasting.artefact import FeatureRecipe, IntervalRecipe, Recipe, Setting, VolatilityRecipe
from forecasting.calendars import season_length
from forecasting.errors import InvalidObservations, InvalidTraining
from forecasting.features import feature_of
from forecasting.folds import Part
from forecasting.inputs import InputBuilder
from forecasting.models.baselines import SEASONAL_NAIVE
from forecasting.models.fitting import Examples
from forecasting.panel import FloatArray, Observations, complete_rows
from schemas.trainings import TrainingRequested

_VOLATILITY_DECAY, _VOLATILITY_SHRINKAGE = 0.94, 0.1
#: Columns that are prices of the same thing as the target.
_PRICES = frozenset({"open", "high", "low", "close"})
_AMOUNTS = frozenset({"volume"})


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
        features: Inputs of the graph; empty takes the default ones of the columns. Their scaler values are fitted.
        seed: Of all randomness.
    """

    algorithm: str = "lstm"
    target: str = "close"
    columns: tuple[str, ...] = ()
    horizon: int = 10
    window_size: int = 20
    levels: tuple[float, ...] = (80.0, 95.0)
    hyperparameters: Mapping[str, Setting] = field(default_factory=dict)
    features: tuple[FeatureRecipe, ...] = ()
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
            seed=request.seed,
        )

    @property
    def all_columns(self) -> tuple[str, ...]:
        """The raw columns, the target among them."""
        return self.columns or (self.target,)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The series of a training: complete rows of the raw columns.

    Attributes:
        series: As given, without incomplete rows.
        values: Raw values of each, shape (rows, columns).
        rows_skipped: Incomplete rows that were left out, over all series.
    """

    series: list[Observations]
    values: list[FloatArray]
    rows_skipped: int


def panel_of(spec: TrainingSpec, observations: Sequence[Observations]) -> Panel:
    """Return the series that a training learns from, checked.

    Raises:
        InvalidObservations: ``no-observations``, ``unknown-column``, ``mixed-freq`` or ``mixed-calendar``.
        InvalidTraining: ``invalid-training``.
    """
    _check(spec)
    if not observations:
        raise InvalidObservations("no-observations", field="observations", expected="at least one series", found="none")
    for one in observations[1:]:
        for what, expected, found in (
            ("freq", observations[0].freq, one.freq),
            ("calendar", observations[0].calendar, one.calendar),
        ):
            if expected != found:
                raise InvalidObservations(
                    f"mixed-{what}",
                    field=f"observations.{one.series_id}.{what}",
                    expected=f"{expected} as in {observations[0].series_id}",
                    found=found,
                )
    series = [complete_rows(one, spec.all_columns) for one in observations]
    return Panel(
        series=series,
        values=[one.matrix(spec.all_columns) for one in series],
        rows_skipped=sum(len(given) - len(kept) for given, kept in zip(observations, series, strict=True)),
    )


def _check(spec: TrainingSpec) -> None:
    def refuse(field: str, expected: str, found: object) -> InvalidTraining:
        return InvalidTraining("invalid-training", field=field, expected=expected, found=str(found))

    if spec.target not in spec.all_columns:
        raise refuse("columns", f"to contain the target {spec.target}", ", ".join(spec.columns))
    if len(set(spec.all_columns)) != len(spec.all_columns):
        raise refuse("columns", "without repeats", ", ".join(spec.columns))
    if spec.horizon < 1:
        raise refuse("horizon", "at least 1", spec.horizon)
    if spec.window_size < 2:  # noqa: PLR2004  # one change
        raise refuse("window_size", "at least 2: a window must show one change", spec.window_size)
    if not spec.levels or not all(0 < level < 100 for level in spec.levels):  # noqa: PLR2004  # percent
        raise refuse("levels", "central levels in percent, above 0 and below 100", spec.levels)


def draft_recipe(
    spec: TrainingSpec,
    panel: Panel,
    fit: Sequence[Part],
    hyperparameters: dict[str, Setting],
    quantiles: tuple[float, ...],
) -> Recipe:
    """Return the recipe with everything that is estimated from the fit part alone, its intervals still empty."""
    columns = spec.all_columns
    target = columns.index(spec.target)
    is_positive = all((values[:, target] > 0).all() for values in panel.values)
    if not is_positive and len(panel.series) > 1:
        raise InvalidTraining(
            "invalid-training",
            field="series_ids",
            expected="one series, or several whose target is always positive: only ratios compare between series",
            found=f"{len(panel.series)} series with values that are not",
        )
    transform = "log-return" if is_positive else "difference"
    seen = [_seen(panel, part, spec.horizon) for part in fit]
    changes = np.concatenate(
        [np.diff(np.log(values[:, target]) if is_positive else values[:, target]) for values in seen]
    )
    first = panel.series[0]
    recipe = Recipe(
        algorithm=spec.algorithm,
        target=spec.target,
        columns=columns,
        freq=first.freq,
        calendar=first.calendar,
        season_length=season_length(first.freq, first.calendar),
        window_size=spec.window_size,
        horizon=spec.horizon,
        transform="log-return" if transform == "log-return" else "difference",
        volatility=VolatilityRecipe(
            decay=_VOLATILITY_DECAY,
            shrinkage=_VOLATILITY_SHRINKAGE,
            long_run=float(np.sqrt(np.mean(changes**2))) if len(changes) else 0.0,
        ),
        drift=float(np.mean(changes)) if len(changes) else 0.0,
        quantiles=quantiles,
        intervals=IntervalRecipe(is_symmetric=True, scores=((0.0,),) * spec.horizon),
        hyperparameters=hyperparameters,
        seed=spec.seed,
    )
    if not quantiles:
        return recipe
    features = spec.features or default_features(columns, spec.target, is_log=is_positive)
    scaled = tuple(_with_scaler(feature, columns, seen) for feature in features)
    return msgspec.structs.replace(recipe, features=scaled, has_volatility_input=True)


def _seen(panel: Panel, part: Part, horizon: int) -> FloatArray:
    """Return the rows that the fit part of a series sees, targets included."""
    return panel.values[part.series][: int(part.cutoffs[-1]) + horizon + 1]


def default_features(columns: Sequence[str], target: str, *, is_log: bool) -> tuple[FeatureRecipe, ...]:
    """Return one input for each raw column: how it moves, never its level alone where a ratio says more."""
    return tuple(_default_feature(name, target, is_log=is_log) for name in columns)


def _default_feature(name: str, target: str, *, is_log: bool) -> FeatureRecipe:
    if name == target:
        return FeatureRecipe(name="log-return" if is_log else "difference", columns=(name,), scaling="volatility")
    if name == "adj_close" and is_log:
        return FeatureRecipe(name="ratio-change", columns=(name, target), scaling="volatility")
    if name in _PRICES:
        return FeatureRecipe(name="log-ratio" if is_log else "spread", columns=(name, target), scaling="volatility")
    if name in _AMOUNTS:
        return FeatureRecipe(name="log-change", columns=(name,), scaling="standard")
    return FeatureRecipe(name="level", columns=(name,), scaling="standard")


def _with_scaler(feature: FeatureRecipe, columns: Sequence[str], seen: Sequence[FloatArray]) -> FeatureRecipe:
    if feature.scaling == "volatility":
        return feature
    compute = feature_of(feature).transform
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.concatenate([compute({n: rows[:, i] for i, n in enumerate(columns)}) for rows in seen])
    known = values[np.isfinite(values)]
    scale = float(np.std(known)) if len(known) else 0.0
    return msgspec.structs.replace(
        feature, mean=float(np.mean(known)) if len(known) else 0.0, scale=scale if scale > 0 else 1.0
    )


def examples_of(recipe: Recipe, panel: Panel, part: Sequence[Part]) -> Examples:
    """Return the examples of one part, windows as the served model will see them.

    Raises:
        InvalidWindow: A row that a feature is not defined for, e.g. a negative volume.
    """
    builder = InputBuilder(recipe)
    root = np.sqrt(np.arange(1, recipe.horizon + 1))
    target = recipe.columns.index(recipe.target)
    inputs, targets, units = [], [], []
    for series, cutoffs in part:
        values = panel.values[series]
        working = builder.working(values[:, target])
        for cutoff in cutoffs:
            window = values[cutoff - recipe.window_size + 1 : cutoff + 1]
            volatility = builder.volatility(window)
            unit = volatility.recent * root
            inputs.append(builder.build(window, volatility))
            targets.append((working[cutoff + 1 : cutoff + 1 + recipe.horizon] - working[cutoff]) / unit)
            units.append(unit)
    with np.errstate(over="ignore"):  # an outcome beyond float32 becomes infinite, and the fit says that it diverged
        return Examples(np.stack(inputs), np.array(targets).astype(np.float32), np.array(units))


def require_seasonal_window(spec: TrainingSpec, season: int) -> None:
    """Refuse a seasonal-naive model whose window is shorter than one season.

    Raises:
        InvalidTraining: ``invalid-training``.
    """
    if spec.algorithm == SEASONAL_NAIVE and spec.window_size < season:
        raise InvalidTraining(
            "invalid-training",
            field="window_size",
            expected=f"at least {season}, one season, for {SEASONAL_NAIVE}",
            found=str(spec.window_size),
        )
