"""The features of the steps by name: a `StepFeatureRecipe` names one.

Each is a pure function of what `StepContext` holds: the window up to the cutoff, the times of the steps and the columns
that were declared known in the future.
"""

from __future__ import annotations

from collections.abc import Mapping

from forecasting.artefact import Recipe, StepFeatureRecipe
from forecasting.errors import InvalidTraining
from forecasting.step_features_calendar import CALENDAR_KINDS
from forecasting.step_features_context import StepContext, StepFeature, StepKind, Unfit, at_each_step, contexts_of
from forecasting.step_features_matched import MATCHED_KINDS
from forecasting.step_features_target import TARGET_KINDS

__all__ = ["STEP_FEATURES", "StepContext", "StepFeature", "StepKind", "contexts_of", "step_feature_of", "step_kind_of"]


def _known(part: StepFeatureRecipe, recipe: Recipe) -> StepFeature:
    name = _one_column(part, recipe.future_columns, "known in the future")
    return StepFeature(compute=lambda context: context.future[name])


def _static(part: StepFeatureRecipe, recipe: Recipe) -> StepFeature:
    name = _one_column(part, recipe.static_columns, "static")
    return StepFeature(compute=lambda context: at_each_step(context.columns[name][..., -1], context))


def _one_column(part: StepFeatureRecipe, allowed: tuple[str, ...], what: str) -> str:
    if len(part.columns) != 1 or part.columns[0] not in allowed:
        expected = f"one column that is declared {what}: {', '.join(allowed) or 'there is none'}"
        raise Unfit("columns", expected, ", ".join(part.columns) or "none")
    return part.columns[0]


STEP_FEATURES: Mapping[str, StepKind] = {
    **CALENDAR_KINDS,
    "known": StepKind(
        takes=frozenset({"columns"}), says="the value of a column that is declared known in the future", build=_known
    ),
    "static": StepKind(takes=frozenset({"columns"}), says="the value of a static column", build=_static),
    **TARGET_KINDS,
    **MATCHED_KINDS,
}


def _require_taken(part: StepFeatureRecipe, kind: StepKind) -> None:
    for parameter in ("columns", "period", "order", "option"):
        given = getattr(part, parameter)
        if given and parameter not in kind.takes:
            raise Unfit(parameter, "left out, the feature takes none", given)


def step_kind_of(name: str, field: str) -> StepKind:
    """Return what a name stands for.

    Raises:
        InvalidTraining: ``unknown-feature``.
    """
    if name not in STEP_FEATURES:
        raise InvalidTraining("unknown-feature", field=field, expected=", ".join(STEP_FEATURES), found=repr(name))
    return STEP_FEATURES[name]


def step_feature_of(part: StepFeatureRecipe, recipe: Recipe, field: str = "") -> StepFeature:
    """Return the step feature that a part of a recipe names.

    Args:
        part: Name and parameters.
        recipe: Its columns, season, window_size and horizon.
        field: How the caller names it; `step_features.` and its name unless given.

    Raises:
        InvalidTraining: ``unknown-feature`` or ``invalid-feature``: also for a past-only column that is named as known
            in the future, and for more rows than the window has.
    """
    kind = step_kind_of(part.name, f"{field}.name" if field else "step_features")
    try:
        _require_taken(part, kind)
        feature = kind.build(part, recipe)
    except Unfit as error:
        raise InvalidTraining(
            "invalid-feature",
            field=f"{field or f'step_features.{part.name}'}.{error.parameter}",
            expected=error.expected,
            found=error.found,
        ) from error
    if feature.rows > recipe.window_size:
        raise InvalidTraining(
            "invalid-feature",
            field="window_size",
            expected=f"at least {feature.rows}, the rows that {part.name} needs",
            found=str(recipe.window_size),
        )
    return feature
