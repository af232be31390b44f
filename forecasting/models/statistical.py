"""Fits of the statistical models by statsforecast, in training alone; serving needs nothing but their recipes.

AutoETS, AutoTheta, AutoARIMA and AutoCES choose the form by the corrected information criterion of Akaike (theta: by
the mean squared error) and estimate its parameters: Hyndman and Khandakar, J. Statistical Software 27 (2008).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Literal

import numpy as np

from forecasting.artefact import Setting
from forecasting.errors import DivergedTraining, InvalidTraining, TooLittleHistory
from forecasting.models.ets_states import EtsStates
from forecasting.models.mapa_fit import fit_mapa
from forecasting.models.statistical_recipe import (
    AggregateRecipe,
    ArimaRecipe,
    CesRecipe,
    EtsRecipe,
    MapaRecipe,
    StatisticalRecipe,
    ThetaRecipe,
)
from forecasting.models.statistical_settings import ARIMA, CES, CES_SEASONS, ETS, MAPA, THETA, THETA_FORMS
from forecasting.panel import FloatArray, IntArray

#: Fewer rows than this say nothing about any form.
LEAST_ROWS = 12
#: A damped trend needs more than this.
_TREND_ROWS = 9
#: A season is only estimated from so many of them; a shorter history is fitted without.
_LEAST_SEASONS = 2
#: A covariance of the filter below this is the zero that it tends to.
_SETTLED = 1e-12
_SEASONS: Mapping[str, Literal["none", "additive", "multiplicative"]] = {
    "N": "none",
    "A": "additive",
    "M": "multiplicative",
}
_CES_SEASONS: Mapping[str, Literal["none", "simple", "partial", "full"]] = {
    "N": "none",
    "S": "simple",
    "P": "partial",
    "F": "full",
}


def fit(
    name: str,
    target: FloatArray,
    time: IntArray | None,
    season_length: int,
    hyperparameters: Mapping[str, Setting],
    *,
    window_size: int | None = None,
) -> StatisticalRecipe:
    """Return a fitted model with its states after the last row. Deterministic.

    Args:
        name: ``theta``, ``ets``, ``arima``, ``ces`` or ``mapa``.
        target: Raw values that the fit may see, oldest first, finite, shape (n,).
        time: Their UTC starts in seconds since 1970; ``None`` where the rows have none.
        season_length: Rows of one season; 1 is none. Under two seasons of rows none is estimated.
        hyperparameters: Every declared one.
        window_size: Rows that serving will see; ARIMA takes no differences that are longer. ``None``: all.

    Raises:
        TooLittleHistory: Fewer than `LEAST_ROWS` rows.
        InvalidTraining: ``invalid-hyperparameter``: logarithms or factors of a target that is not always positive.
        DivergedTraining: No form could be fitted.
    """
    if len(target) < LEAST_ROWS:
        raise TooLittleHistory(
            "too-little-history",
            field="observations",
            expected=f"at least {LEAST_ROWS} complete rows for {name}",
            found=str(len(target)),
            advice="load more history",
        )
    _require_defined(target, hyperparameters)
    transform = hyperparameters["transform"]
    is_log = transform == "log" or (transform == "auto" and bool((target > 0).all()))
    newest = int(hyperparameters["newest_rows"])
    rows = np.ascontiguousarray(np.log(target[-newest:]) if is_log else target[-newest:])
    season = season_length if len(rows) >= _LEAST_SEASONS * season_length else 1
    common: dict[str, Any] = {
        "is_log": is_log,
        "season_length": season,
        "state_time": None if time is None else int(time[-1]),
    }
    if name == ARIMA and window_size is not None:
        hyperparameters = {**hyperparameters, **_differences(season, window_size, int(hyperparameters["max_d"]))}
    if (rows == rows[0]).all():
        return _constant(name, float(rows[0]), len(rows), common | {"season_length": 1})
    try:
        # A form that the search tries and drops may overflow; what counts is the form that it ends with.
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _FITS[name](rows, season, hyperparameters, common)
    except (ArithmeticError, ValueError, np.linalg.LinAlgError, NotImplementedError) as error:
        raise _diverged(name, f"{error}") from error
    except Exception as error:
        # statsforecast raises the bare class where every form has failed; anything more special is a mistake of ours.
        if type(error) is not Exception:
            raise
        raise _diverged(name, f"{error}") from error


def _differences(season: int, window_size: int, max_d: int) -> dict[str, Setting]:
    """Return the most differences whose reach, and one row more, a window shows."""
    max_d = min(max_d, window_size - 1)
    return {"max_d": max_d, "max_seasonal_d": int(season + max_d < window_size)}


def _library(module: str, name: str) -> Callable[..., Any]:
    """Return a function of statsforecast: it is imported by the first fit, and never by serving."""
    found: Callable[..., Any] = getattr(import_module(f"statsforecast.{module}"), name)
    return found


def _diverged(name: str, found: str) -> DivergedTraining:
    return DivergedTraining(
        "diverged-training", field="algorithm", expected=f"a form of {name} that can be fitted", found=f"none: {found}"
    )


def _require_defined(target: FloatArray, hyperparameters: Mapping[str, Setting]) -> None:
    model = str(hyperparameters.get("model", ""))
    if hyperparameters["transform"] == "log" and "M" in model:
        raise InvalidTraining(
            "invalid-hyperparameter",
            field="hyperparameters.model",
            expected="one without M where transform is log: factors of the target are sums of its logarithms",
            found=repr(model),
        )
    if (target > 0).all():
        return
    for setting, refused in (("transform", "log"), ("model", "M")):
        found = str(hyperparameters.get(setting, ""))
        if refused in found:
            raise InvalidTraining(
                "invalid-hyperparameter",
                field=f"hyperparameters.{setting}",
                expected="one without logarithms or factors for a target that is 0 or below in some row",
                found=repr(found),
            )


def _ets(rows: FloatArray, season: int, hyperparameters: Mapping[str, Setting], common: dict[str, Any]) -> EtsRecipe:
    model = str(hyperparameters["model"])
    if season == 1:
        model = f"{model[:2]}N"
    damped = {"auto": None, "yes": True, "no": False}[str(hyperparameters["damped"])]
    found = _library("ets", "ets_f")(
        rows,
        season,
        model=model,
        damped=False if model[1] == "N" else damped,
        # Factors of the target are sums of its logarithms.
        additive_only=True if common["is_log"] else None,
    )
    return _ets_recipe(found, season, common)


def _ets_recipe(found: Mapping[str, Any], season: int, common: dict[str, Any]) -> EtsRecipe:
    error, trend, kind, damping = found["components"]
    alpha, beta, gamma, phi = (float(value) for value in found["par"][:4])
    states = found["states"][-1]
    seasonal = [] if kind == "N" else states[-season:][::-1].tolist()
    residuals = np.asarray(found["residuals"], dtype=np.float64)
    return EtsRecipe(
        **common | {"season_length": 1 if kind == "N" else season},
        error="additive" if error == "A" else "multiplicative",
        has_trend=trend != "N",
        season=_SEASONS[kind],
        alpha=alpha,
        beta=0.0 if trend == "N" else beta,
        gamma=0.0 if kind == "N" else gamma,
        phi=phi if damping == "D" else 1.0,
        level=float(states[0]),
        slope=0.0 if trend == "N" else float(states[1]),
        seasonal=tuple(seasonal),
        variance=float(np.mean(residuals**2)),
    )


def _mapa(rows: FloatArray, season: int, _: Mapping[str, Setting], common: dict[str, Any]) -> MapaRecipe:
    plain = {"is_log": common["is_log"], "season_length": 1}

    def fit_trend(means: FloatArray) -> tuple[EtsRecipe, EtsStates]:
        has_trend = len(means) > _TREND_ROWS
        found = _library("ets", "ets_f")(means, 1, model="AAN" if has_trend else "ANN", damped=has_trend)
        level, slope = (*found["states"][0][:2].tolist(), 0.0)[:2]
        return _ets_recipe(found, 1, plain), EtsStates(level, slope, ())

    return fit_mapa(rows, season, common, fit_trend)


def _theta(
    rows: FloatArray, season: int, hyperparameters: Mapping[str, Setting], common: dict[str, Any]
) -> ThetaRecipe:
    found = _library("theta", "auto_theta")(
        rows,
        season,
        model=THETA_FORMS.get(str(hyperparameters["form"])),
        # Factors of the target are sums of its logarithms.
        decomposition_type="additive" if common["is_log"] else str(hyperparameters["season"]),
    )
    kind: Literal["none", "additive", "multiplicative"] = "none"
    seasonal: tuple[float, ...] = ()
    if found.get("decompose", False):
        kind = "additive" if found["decomposition_type"] == "additive" else "multiplicative"
        seasonal = tuple(np.asarray(found["seas_forecast"]["mean"], dtype=np.float64).tolist())
    level, mean, intercept, slope, _ = found["states"][-1].tolist()
    return ThetaRecipe(
        **common | {"season_length": season if seasonal else 1},
        is_dynamic=found["modeltype"] in ("DSTM", "DOTM"),
        alpha=float(found["par"]["alpha"]),
        theta=float(found["par"]["theta"]),
        rows=len(rows),
        level=level,
        mean=mean,
        intercept=intercept,
        slope=slope,
        season=kind,
        seasonal=seasonal,
    )


def _ces(rows: FloatArray, season: int, hyperparameters: Mapping[str, Setting], common: dict[str, Any]) -> CesRecipe:
    asked = CES_SEASONS.get(str(hyperparameters["season"]), "Z")
    found = _library("ces", "auto_ces")(rows, season, model="N" if season == 1 else asked)
    letter = str(found["seasontype"])
    count, parameters = len(rows), {name: float(value) for name, value in found["par"].items()}
    # Rows before the first one hold its seasonal states: the state of row i stands at i + lag.
    states = np.asarray(found["states"], dtype=np.float64)
    lag = 1 if letter == "N" else season
    levels = states[count : count + lag] if letter == "S" else states[count + lag - 1 : count + lag]
    # A partial season has no potential.
    newest = states[count : count + lag, 2:]
    seasonal = [] if letter in "NS" else np.column_stack([newest, np.zeros((lag, 2 - newest.shape[1]))]).tolist()
    return CesRecipe(
        **common | {"season_length": lag},
        season=_CES_SEASONS[letter],
        alpha=(parameters["alpha_0"], parameters["alpha_1"]),
        beta=(parameters["beta_0"] if letter in "PF" else 0.0, parameters["beta_1"] if letter == "F" else 0.0),
        level=tuple((level, potential) for level, potential in levels[:, :2].tolist()),
        seasonal=tuple((index, potential) for index, potential in seasonal),
    )


def _arima(
    rows: FloatArray, season: int, hyperparameters: Mapping[str, Setting], common: dict[str, Any]
) -> ArimaRecipe:
    found = _library("arima", "auto_arima_f")(
        rows,
        period=season,
        max_p=int(hyperparameters["max_p"]),
        max_q=int(hyperparameters["max_q"]),
        max_d=int(hyperparameters["max_d"]),
        max_D=int(hyperparameters.get("max_seasonal_d", 1)),
        max_P=int(hyperparameters["max_seasonal_p"]),
        max_Q=int(hyperparameters["max_seasonal_q"]),
        seasonal=bool(hyperparameters["seasonal"]) and season > 1,
        approximation=False,
    )
    p, q, seasonal_p, seasonal_q, length, d, seasonal_d = (int(part) for part in found["arma"])
    model, coefficients = found["model"], found["coef"]
    mean, drift = (float(coefficients.get(name, 0.0)) for name in ("intercept", "drift"))
    ar, ma = (np.asarray(model[name], dtype=np.float64) for name in ("phi", "theta"))
    size = max(len(ar), len(ma) + 1)
    covariance = np.asarray(model["P"], dtype=np.float64)[:size, :size]
    reach = d + length * seasonal_d
    line = mean + drift * np.arange(1, len(rows) + 1)
    return ArimaRecipe(
        **common | {"season_length": length},
        order=(p, d, q),
        seasonal_order=(seasonal_p, seasonal_d, seasonal_q),
        ar=tuple(ar.tolist()),
        ma=tuple(ma.tolist()),
        mean=mean,
        drift=drift,
        rows=len(rows),
        values=tuple((rows - line)[len(rows) - reach :].tolist()),
        state=tuple(np.asarray(model["a"], dtype=np.float64)[:size].tolist()),
        covariance=tuple(map(tuple, covariance.tolist())) if np.abs(covariance).max() >= _SETTLED else (),
    )


def _constant(name: str, value: float, count: int, common: dict[str, Any]) -> StatisticalRecipe:
    """Return the model of rows that are all the same: it forecasts this value, and learns from the next rows."""
    if name == ETS:
        return EtsRecipe(
            **common, error="additive", has_trend=False, season="none", alpha=0.9999, level=value, variance=0
        )
    if name == THETA:
        return ThetaRecipe(
            **common, is_dynamic=False, alpha=0.5, theta=2, rows=count, level=value, mean=value, intercept=0, slope=0
        )
    if name == CES:
        # Potential (1, 1) of a level that never missed is not fed by anything: the level stands.
        return CesRecipe(**common, season="none", alpha=(1.3, 1.0), level=((value, value / 1.3),))
    if name == MAPA:
        level = EtsRecipe(error="additive", has_trend=False, season="none", alpha=0.9999, level=value, variance=0)
        return MapaRecipe(**common, levels=(AggregateRecipe(rows=1, model=level),), newest=(value,))
    return ArimaRecipe(**common, order=(0, 1, 0), rows=count, values=(value,), state=(0.0,))


_FITS: Mapping[str, Callable[[FloatArray, int, Mapping[str, Setting], dict[str, Any]], StatisticalRecipe]] = {
    THETA: _theta,
    ETS: _ets,
    ARIMA: _arima,
    CES: _ces,
    MAPA: _mapa,
}
