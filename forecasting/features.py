"""The features of the rows by name, technical indicators among them; a `FeatureRecipe` names one.

Each is a pair: `transform` for a whole history, `update` for its last value only; see `forecasting.features_kind`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from forecasting.artefact import TIME_COLUMN, FeatureRecipe, Setting
from forecasting.errors import InvalidTraining
from forecasting.features_kind import Columns, Feature, Kind, Settings, Unfit
from forecasting.features_plain import PLAIN_KINDS
from forecasting.features_rolling import ROLLING_KINDS
from forecasting.features_time import TIME_KINDS
from forecasting.indicators import INDICATORS
from forecasting.indicators_window import Indicator

__all__ = ["FEATURES", "FEATURE_KINDS", "Columns", "Feature", "feature_of", "parameters_of"]


def _indicator_kind(indicator: Indicator) -> Kind:
    """Return the kind of a technical indicator, which has its window and burn-in in its lookback."""

    def build(names: Sequence[str], window_size: int, settings: Settings) -> Feature:
        lookback, compute = indicator.make(window_size, **settings)
        return Feature(
            lookback=lookback,
            compute=lambda columns: compute(*(np.ascontiguousarray(columns[column]) for column in names)),
        )

    says = " ".join((indicator.make.__doc__ or "").split()).removeprefix("Return ")
    return Kind(
        columns=indicator.columns, least=indicator.least, parameters=indicator.parameters, says=says, build=build
    )


#: Everything that is no indicator.
FEATURES: tuple[str, ...] = (*PLAIN_KINDS, *ROLLING_KINDS, *TIME_KINDS)
FEATURE_KINDS: Mapping[str, Kind] = {
    **PLAIN_KINDS,
    **ROLLING_KINDS,
    **TIME_KINDS,
    **{name: _indicator_kind(indicator) for name, indicator in INDICATORS.items()},
}


def _refusal(field: str, expected: str, found: object) -> InvalidTraining:
    return InvalidTraining("invalid-feature", field=field, expected=expected, found=str(found))


def kind_of(name: str, field: str) -> Kind:
    """Return what a name stands for.

    Raises:
        InvalidTraining: ``unknown-feature``.
    """
    if name not in FEATURE_KINDS:
        raise InvalidTraining("unknown-feature", field=field, expected=", ".join(FEATURE_KINDS), found=repr(name))
    return FEATURE_KINDS[name]


def parameters_of(kind: Kind, given: Mapping[str, Setting], field: str) -> dict[str, Setting]:
    """Return the given parameters in the kinds of number that they have.

    Raises:
        InvalidTraining: ``invalid-feature``.
    """
    known = {parameter.name: parameter for parameter in kind.parameters}
    parsed: dict[str, Setting] = {}
    for name, found in given.items():
        if name not in known:
            expected = f"one of {', '.join(known)}" if known else "absent: the feature has none"
            raise _refusal(f"{field}.parameters.{name}", expected, repr(found))
        value = known[name].parse(found)
        if value is None:
            raise _refusal(f"{field}.parameters.{name}", known[name].expected, repr(found))
        parsed[name] = value
    return parsed


def feature_of(recipe: FeatureRecipe, field: str = "") -> Feature:
    """Return the feature that a recipe names.

    Args:
        recipe: Name, columns, window and parameters.
        field: How the caller names it; `features.` and its name unless given.

    Raises:
        InvalidTraining: ``unknown-feature`` or ``invalid-feature``.
    """
    kind = kind_of(recipe.name, f"{field}.name" if field else "features")
    field = field or f"features.{recipe.name}"
    if len(recipe.columns) != len(kind.columns) or (TIME_COLUMN in recipe.columns) != kind.is_of_time:
        expected = "time alone" if kind.is_of_time else f"{len(kind.columns)} raw names ({', '.join(kind.columns)})"
        raise _refusal(f"{field}.columns", expected, ", ".join(recipe.columns))
    if recipe.window_size < (kind.least or 1) or (kind.least is None and recipe.window_size != 1):
        expected = "1, it takes none" if kind.least is None else f"at least {kind.least}"
        raise _refusal(f"{field}.window_size", expected, recipe.window_size)
    settings = {parameter.name: parameter.default for parameter in kind.parameters}
    settings |= parameters_of(kind, recipe.parameters, field)
    try:
        return kind.build(recipe.columns, recipe.window_size, settings)
    except Unfit as error:
        found = settings.get(error.parameter, recipe.window_size)
        raise _refusal(f"{field}.parameters.{error.parameter}", error.expected, repr(found)) from error
