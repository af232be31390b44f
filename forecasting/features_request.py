"""From the features that a training asks for to those of its recipe: columns, scaling and parameters filled in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from forecasting.artefact import TIME_COLUMN, FeatureRecipe, Recipe, Setting, StepFeatureRecipe
from forecasting.errors import InvalidTraining
from forecasting.features import feature_of, kind_of, parameters_of
from forecasting.features_kind import Kind
from forecasting.features_plain import OF_LOG
from forecasting.step_features import step_feature_of, step_kind_of
from schemas.trainings import FeatureRequested, StepFeatureRequested

#: Columns of a kind that stand for whatever is forecast, where a caller names none.
_ANY_COLUMN = frozenset({"value", "price"})


def raw_columns_of(asked: Sequence[FeatureRequested | FeatureRecipe], target: str) -> Iterator[str]:
    """Yield the raw columns that features are made from, repeats among them.

    Raises:
        InvalidTraining: ``unknown-feature`` or ``invalid-feature``.
    """
    for index, one in enumerate(asked):
        columns = one.columns or _default_columns(kind_of(one.name, f"features[{index}].name"), target, index)
        yield from (name for name in columns if name != TIME_COLUMN)


def features_of(asked: Sequence[FeatureRequested | FeatureRecipe], recipe: Recipe) -> tuple[FeatureRecipe, ...]:
    """Return the features of a recipe; what is one already stays as it is.

    Args:
        asked: By name, with what differs from the defaults.
        recipe: Its columns and target; its features are not read.

    Raises:
        InvalidTraining: ``unknown-feature`` or ``invalid-feature``, with the number of the feature in the field.
    """
    return tuple(
        one if isinstance(one, FeatureRecipe) else _feature(one, index, recipe) for index, one in enumerate(asked)
    )


def _feature(asked: FeatureRequested, index: int, recipe: Recipe) -> FeatureRecipe:
    field = f"features[{index}]"
    kind = kind_of(asked.name, f"{field}.name")
    columns = asked.columns or _default_columns(kind, recipe.target, index)
    unknown = [name for name in columns if name not in (*recipe.columns, TIME_COLUMN)]
    if unknown:
        raise InvalidTraining(
            "invalid-feature",
            field=f"{field}.columns",
            expected=f"columns of the model: {', '.join(recipe.columns)}",
            found=", ".join(unknown),
            advice="name them in columns",
        )
    given: dict[str, Setting] = dict(asked.parameters)
    is_log, is_of_target = recipe.transform == "log-return", columns[0] == recipe.target
    if OF_LOG in kind.parameters and is_of_target and is_log:
        given = {OF_LOG.name: True} | given
    parameters = parameters_of(kind, given, field)
    found = FeatureRecipe(
        name=asked.name,
        columns=columns,
        window_size=asked.window_size,
        parameters={name: value for name, value in parameters.items() if value != _default(kind, name)},
        scaling=_scaling(kind, columns, recipe, is_of_log=bool(parameters.get(OF_LOG.name))),
    )
    feature_of(found, field)
    return found


def _default(kind: Kind, name: str) -> Setting:
    return next(parameter.default for parameter in kind.parameters if parameter.name == name)


def _default_columns(kind: Kind, target: str, index: int) -> tuple[str, ...]:
    if "other" in kind.columns:
        raise InvalidTraining(
            "invalid-feature", field=f"features[{index}].columns", expected=f"{len(kind.columns)} names", found="none"
        )
    return tuple(target if name in _ANY_COLUMN else name for name in kind.columns)


def _scaling(
    kind: Kind, columns: tuple[str, ...], recipe: Recipe, *, is_of_log: bool
) -> Literal["volatility", "standard", "window"]:
    """Return how values are made comparable: in units of the target where they are in such units."""
    is_log = recipe.transform == "log-return"
    if kind.unit == ("log-move" if is_log else "move") and recipe.target in columns:
        return "volatility"
    unit = "log-level" if is_of_log else kind.unit
    if unit == ("log-level" if is_log else "level") and kind.unit != "other" and columns[0] == recipe.target:
        return "window"
    return "standard"


def step_features_of(
    asked: Sequence[StepFeatureRequested | StepFeatureRecipe], recipe: Recipe
) -> tuple[StepFeatureRecipe, ...]:
    """Return the step features of a recipe; what is one already stays as it is.

    Args:
        asked: By name, with what differs from the defaults.
        recipe: Its columns, season, window and horizon; its step features are not read.

    Raises:
        InvalidTraining: ``unknown-feature`` or ``invalid-feature``, with the number of the feature in the field.
    """
    return tuple(
        one if isinstance(one, StepFeatureRecipe) else _step_feature(one, index, recipe)
        for index, one in enumerate(asked)
    )


def _step_feature(asked: StepFeatureRequested, index: int, recipe: Recipe) -> StepFeatureRecipe:
    field = f"step_features[{index}]"
    kind = step_kind_of(asked.name, f"{field}.name")
    found = StepFeatureRecipe(**msgspec.structs.asdict(asked), scaling=kind.scaling)
    step_feature_of(found, recipe, field)
    return found
