"""The inputs that suit most graphs: how each raw column moves."""

from __future__ import annotations

from collections.abc import Sequence

from forecasting.artefact import FeatureRecipe, StepFeatureRecipe
from forecasting.models.fitting import InputPlan, SeriesView

#: Columns that are prices of the same thing as the target.
_PRICES = frozenset({"open", "high", "low", "close"})
_AMOUNTS = frozenset({"volume"})


def moving_columns(view: SeriesView) -> InputPlan:
    """Return one input for each past column, one a step for each covariate that is known there."""
    return InputPlan(
        features=default_features(view.past_columns, view.target, is_log=view.is_log),
        step_features=covariate_steps(view),
    )


def covariate_steps(view: SeriesView) -> tuple[StepFeatureRecipe, ...]:
    """Return the known-future and static columns as inputs of the steps."""
    return (
        *(StepFeatureRecipe(name="known", columns=(name,), scaling="standard") for name in view.future_columns),
        *(StepFeatureRecipe(name="static", columns=(name,), scaling="standard") for name in view.static_columns),
    )


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
