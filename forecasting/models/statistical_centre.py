"""The middle of a statistical model's forecast, in serving: stored states, newer rows, and no fit.

States belong to a row. Where a window shows this row, the rows after it advance the states exactly as if the model had
seen them in its fit. Where it does not - a window without times, an earlier cutoff, more new rows than a window has -
the recursion starts on the window itself, with the same parameters, from the classical heuristic states of
`forecasting.models.seasonal_start`. Either way every season stands where the rows put it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forecasting.errors import InvalidWindow
from forecasting.models import arima_states, ces_states, ets_states, mapa_states, theta_states
from forecasting.models.baselines import Centre
from forecasting.models.statistical_recipe import (
    ArimaRecipe,
    CesRecipe,
    EtsRecipe,
    MapaRecipe,
    StatisticalRecipe,
    ThetaRecipe,
)
from forecasting.panel import FloatArray, IntArray

#: A positive target is not forecast at zero or below: no step falls under this share of the least row of the window.
_LEAST_SHARE = 0.5
_LEAST_SPREAD = 1e-12


class Outlook(NamedTuple):
    """What a model expects, in the unit that it was fitted in: the target, or its logarithm.

    Attributes:
        path: The middle of each step, shape (horizon,).
        spread: Standard deviation of each step over that of a one-step error, shape (horizon,).
    """

    path: FloatArray
    spread: FloatArray


def centre_of(
    model: StatisticalRecipe, target: FloatArray, time: IntArray | None, horizon: int, *, is_log_unit: bool
) -> Centre:
    """Return the middle of the forecast as a change from the last row.

    Args:
        model: Parameters and states.
        target: Raw values up to the cutoff, shape (rows,).
        time: Their UTC starts in seconds since 1970; ``None`` where nobody said.
        horizon: Steps ahead.
        is_log_unit: Whether changes are wanted in logarithms; else in the unit of the target.

    Raises:
        InvalidWindow: ``window-not-positive``, or ``window-shape`` with the rows that the model needs.
    """
    last = float(target[-1])
    if (model.is_log or is_log_unit) and not (target > 0).all():
        row = int(np.flatnonzero(target <= 0)[0])
        raise InvalidWindow(
            "window-not-positive",
            field=f"window[{row}]",
            expected="positive, as the model works on logarithms",
            found=f"{target[row]:g}",
        )
    rows = np.log(target) if model.is_log else target
    outlook = outlook_of(model, rows, time, horizon)
    if model.is_log and is_log_unit:
        change, spread = outlook.path - rows[-1], outlook.spread
    elif model.is_log:
        level = np.exp(outlook.path)
        change, spread = level - last, level * outlook.spread
    elif is_log_unit:
        level = np.maximum(outlook.path, _LEAST_SHARE * float(target.min()))
        change, spread = np.log(level / last), outlook.spread / level
    else:
        change, spread = outlook.path - last, outlook.spread
    first = max(float(spread[0]), _LEAST_SPREAD)
    return Centre(np.full(horizon, last), change, np.maximum(spread / first, _LEAST_SPREAD))


def outlook_of(model: StatisticalRecipe, rows: FloatArray, time: IntArray | None, horizon: int) -> Outlook:
    """Return path and spread of a model from rows in the unit of its fit, their times known or not.

    Raises:
        InvalidWindow: ``window-shape``: the rows are too few to start on.
    """
    require_start(model, rows, time)
    newer = _newer_rows(model, rows, time)
    match model:
        case EtsRecipe():
            ets = ets_states.started(model, rows) if newer is None else ets_states.stored(model)
            ets, _ = ets_states.advanced(model, ets, rows if newer is None else newer)
            return Outlook(ets_states.path(model, ets, horizon), ets_states.spread(model, ets, horizon))
        case ThetaRecipe():
            theta, left = theta_states.started(model, rows) if newer is None else (theta_states.stored(model), newer)
            theta, _ = theta_states.advanced(model, theta, left)
            return Outlook(theta_states.path(model, theta, horizon), theta_states.spread(model, theta, horizon))
        case CesRecipe():
            ces = ces_states.started(model, rows) if newer is None else ces_states.stored(model)
            ces, _ = ces_states.advanced(model, ces, rows if newer is None else newer)
            return Outlook(ces_states.path(model, ces, horizon), ces_states.spread(model, ces, horizon))
        case ArimaRecipe():
            arima, left = arima_states.started(model, rows) if newer is None else (arima_states.stored(model), newer)
            arima, _ = arima_states.advanced(model, arima, left)
            return Outlook(arima_states.path(model, arima, horizon), arima_states.spread(model, arima, horizon))
        case MapaRecipe():
            mapa = mapa_states.started(model, rows) if newer is None else mapa_states.stored(model, newer)
            return Outlook(mapa_states.path(mapa, horizon), mapa_states.spread(mapa, horizon))


def least_rows(model: StatisticalRecipe) -> int:
    """Return the rows that a window must have to start on: one season, or what differencing reaches back."""
    if isinstance(model, ArimaRecipe):
        return arima_states.least_rows(model)
    return max(2, 1 if model.season == "none" else model.season_length)


def require_start(model: StatisticalRecipe, rows: FloatArray, time: IntArray | None) -> None:
    """Refuse rows that the recursion cannot start on and that the stored states do not belong to.

    Raises:
        InvalidWindow: ``window-shape``.
    """
    if len(rows) < least_rows(model) and _newer_rows(model, rows, time) is None:
        raise InvalidWindow(
            "window-shape",
            field="window",
            expected=f"at least {least_rows(model)} rows to start on",
            found=f"{len(rows)} rows",
            advice="give more history",
        )


def _newer_rows(model: StatisticalRecipe, rows: FloatArray, time: IntArray | None) -> FloatArray | None:
    """Return the rows after the one that the stored states belong to, or ``None`` where the window does not show it."""
    if time is None or model.state_time is None:
        return None
    at = int(np.searchsorted(time, model.state_time))
    if at == len(time) or int(time[at]) != model.state_time:
        return None
    return rows[at + 1 :]
