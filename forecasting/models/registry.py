"""Every algorithm by name. A fitted one is imported when it is asked for: serving never is."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from forecasting.artefact import Setting
from forecasting.errors import InvalidTraining
from forecasting.models.baselines import BASELINES
from forecasting.models.fitting import Algorithm
from forecasting.models.hyperparameters import Hyperparameter, resolve
from forecasting.models.statistical_settings import SETTINGS, STATISTICAL

#: Name -> module and class.
_FITTED: Mapping[str, tuple[str, str]] = {
    "lstm": ("forecasting.models.recurrent", "Lstm"),
    "gru": ("forecasting.models.recurrent", "Gru"),
    "tcn": ("forecasting.models.tcn", "Tcn"),
    "nhits": ("forecasting.models.nhits", "NHits"),
    "dlinear": ("forecasting.models.linear_nets", "DLinear"),
    "nlinear": ("forecasting.models.linear_nets", "NLinear"),
    "patchtst": ("forecasting.models.patchtst", "PatchTst"),
    "linear": ("forecasting.models.linear", "Linear"),
    "ridge": ("forecasting.models.linear", "RidgeRegression"),
    "lightgbm": ("forecasting.models.lightgbm_model", "LightGbm"),
    "gradient-boosting": ("forecasting.models.boosting", "GradientBoosting"),
    "random-forest": ("forecasting.models.forest", "RandomForest"),
    "direction-logistic": ("forecasting.models.direction_logistic", "DirectionLogistic"),
    "direction-forest": ("forecasting.models.direction_trees", "DirectionForest"),
    "direction-boosting": ("forecasting.models.direction_trees", "DirectionBoosting"),
}
#: What can be set about every fitted algorithm.
_COMMON = (
    Hyperparameter(
        name="refits",
        default=3,
        minimum=0,
        maximum=50,
        description="Fits in the calibration part of the backtest; 0: one before it, which forecasts the test too",
    ),
    Hyperparameter(
        name="embargo",
        default=0,
        minimum=0,
        maximum=10_000,
        description="Rows left out between what a fit knows and the folds that judge it",
    ),
)
ALGORITHMS: tuple[str, ...] = (*_FITTED, *STATISTICAL, *BASELINES)
#: Those that are made of others: several combined, and the best of several.
ENSEMBLE, AUTO = "ensemble", "auto"
_MADE_OF_OTHERS: Mapping[str, tuple[Hyperparameter, ...]] = {
    ENSEMBLE: (
        Hyperparameter(
            name="combination",
            default="mean",
            choices=("mean", "median", "stacking"),
            description="Of the members' quantiles; stacking learns weights on the calibration folds",
        ),
        *_COMMON,
    ),
    AUTO: (),
}


def algorithm(name: str) -> Algorithm | None:
    """Return the algorithm of a name, ``None`` for one whose model is no graph: a baseline or a statistical one.

    Raises:
        InvalidTraining: ``unknown-algorithm``.
    """
    if name in BASELINES or name in STATISTICAL:
        return None
    if name not in _FITTED:
        raise InvalidTraining(
            "unknown-algorithm",
            field="algorithm",
            expected=f"one of {', '.join((*ALGORITHMS, *_MADE_OF_OTHERS))}",
            found=repr(name),
        )
    module, kind = _FITTED[name]
    found: Algorithm = getattr(import_module(module), kind)()
    return found


def hyperparameters_of(name: str, given: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return all hyperparameters of an algorithm, the given ones checked.

    Raises:
        InvalidTraining: ``unknown-algorithm``, ``unknown-hyperparameter`` or ``invalid-hyperparameter``.
    """
    if name not in _MADE_OF_OTHERS:
        return resolve(declared_hyperparameters(name), given, name)
    # Those of a member carry its name before a dot; they are checked where the members are known.
    own = {key: value for key, value in given.items() if "." not in key}
    return resolve(declared_hyperparameters(name), own, name) | {k: v for k, v in given.items() if k not in own}


def declared_hyperparameters(name: str) -> tuple[Hyperparameter, ...]:
    """Return what can be set about an algorithm.

    Raises:
        InvalidTraining: ``unknown-algorithm``.
    """
    if name in STATISTICAL:
        return (*SETTINGS[name], *_COMMON)
    if name in _MADE_OF_OTHERS:
        return _MADE_OF_OTHERS[name]
    found = algorithm(name)
    return () if found is None else (*found.hyperparameters, *_COMMON)
