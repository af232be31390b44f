"""The inputs that suit models over table rows, where a request names none.

A **price** (bars beside the target, or a session calendar, or a target that is called like one) is told by its recent
moves: the change is measured from the last value, and a row holds returns, how the other columns move, some indicators
and where the value stands in its window. Anything else is told by its **season**: a row holds recent levels, the values
one and more seasons before the step, means, what the calendar says of the step, and the mean of the rows of the window
that agree with the step in its weekday and its known columns. Its change is measured from the mean of the window where
columns are known in the future (they say more than the row a season ago), else from the value a season before.
"""

from __future__ import annotations

from typing import Literal

from forecasting.artefact import FeatureRecipe, StepFeatureRecipe
from forecasting.calendars import MONTHS, SECONDS, parse_freq
from forecasting.errors import InvalidTraining
from forecasting.features import feature_of
from forecasting.models.default_inputs import covariate_steps, default_features
from forecasting.models.fitting import InputPlan, SeriesView
from forecasting.models.hyperparameters import Hyperparameter
from forecasting.sessions import ALWAYS, WEEKDAYS

ANCHOR = Hyperparameter(
    name="anchor",
    default="auto",
    choices=("auto", "last", "mean", "seasonal"),
    description="What the change is measured from: the last value, the mean of the window or one season before; auto: "
    "last for prices, mean where columns are known in the future, else seasonal",
)

_PRICE_NAMES = frozenset({"open", "high", "low", "close", "adj_close", "price"})
_BAR = ("high", "low", "close")
#: Rows of the means and extremes of a window, as far as it has them.
_MEAN_ROWS = (5, 10, 20, 60, 120)
#: Indicators of bars, over so many rows.
_INDICATORS = (("relative-strength-index", ("close",)), ("stochastic-k", _BAR), ("simple-average-ratio", ("close",)))
_INDICATOR_ROWS = 10
#: Seasons back that a row holds.
_SEASONS = 4
_DAY, _WEEK = SECONDS["d"], SECONDS["w"]
_DAYS_OF_WEEK = 7
_HOURS_OF_DAY, _HOURS_OF_WEEK = 24, 168


def plan_table(view: SeriesView) -> InputPlan:
    """Return the inputs and the anchor of a model over table rows."""
    if _is_price(view):
        return InputPlan(features=_price_features(view), step_features=_price_steps(view), anchor=anchor_of(view))
    return InputPlan(
        features=_level_features(view),
        step_features=_season_steps(view),
        anchor=anchor_of(view),
        has_volatility=False,
    )


def anchor_of(view: SeriesView) -> Literal["last", "mean", "seasonal"]:
    """Return the anchor that the hyperparameters ask for, or by `auto` the one that suits the series.

    Raises:
        InvalidTraining: ``invalid-training``: it is one season before, and the window is shorter than a season.
    """
    asked = view.hyperparameters["anchor"]
    if asked == "seasonal" and view.window_size < view.season_length:
        raise InvalidTraining(
            "invalid-training",
            field="window_size",
            expected=f"at least {view.season_length}, one season, as the anchor is one season before",
            found=str(view.window_size),
        )
    for anchor in ("last", "mean", "seasonal"):
        if asked == anchor:
            return anchor
    if _is_price(view):
        return "last"
    if view.future_columns:
        return "mean"
    return "seasonal" if 1 < view.season_length <= view.window_size // 2 else "last"


def _is_price(view: SeriesView) -> bool:
    return view.target in _PRICE_NAMES or view.calendar not in (ALWAYS, WEEKDAYS) or set(_BAR) <= set(view.columns)


def _price_features(view: SeriesView) -> tuple[FeatureRecipe, ...]:
    moves = default_features(view.past_columns, view.target, is_log=view.is_log)
    rows = view.window_size - int(view.hyperparameters["lags"]) + 1
    indicators = (
        FeatureRecipe(name=name, columns=columns, window_size=_INDICATOR_ROWS, scaling="standard")
        for name, columns in _INDICATORS
        if set(columns) <= set(view.columns)
    )
    # An indicator takes its rows from the lags of all features: one that leaves too few is left out.
    return (*moves, *(part for part in indicators if feature_of(part).lookback <= rows))


def _price_steps(view: SeriesView) -> tuple[StepFeatureRecipe, ...]:
    rows = _rows_of(view)
    return (
        *(StepFeatureRecipe(name="window-mean", order=order, scaling="window") for order in (*rows, 0)),
        *(StepFeatureRecipe(name=name, scaling="window") for name in ("window-min", "window-max")),
        *covariate_steps(view),
    )


def _rows_of(view: SeriesView) -> tuple[int, ...]:
    return tuple(rows for rows in _MEAN_ROWS if rows < view.window_size)


def _level_features(view: SeriesView) -> tuple[FeatureRecipe, ...]:
    """Return the level of the target and of the columns that only the window knows."""
    level = FeatureRecipe(name="log-level" if view.is_log else "level", columns=(view.target,), scaling="window")
    others = tuple(name for name in view.past_columns if name not in (view.target, *view.future_columns))
    return (level, *default_features(others, view.target, is_log=view.is_log))


def _season_steps(view: SeriesView) -> tuple[StepFeatureRecipe, ...]:
    found = [StepFeatureRecipe(name="window-mean", order=order, scaling="anchor") for order in (*_rows_of(view), 0)]
    for season in _seasons(view):
        back = min(view.window_size // season, _SEASONS)
        found += [
            StepFeatureRecipe(name="seasonal-lag", period=season, order=order, scaling="anchor")
            for order in range(1, back + 1)
        ]
        if back > 1:
            found.append(StepFeatureRecipe(name="seasonal-mean", period=season, order=back, scaling="anchor"))
    found += [StepFeatureRecipe(name=name) for name in _terms(view)]
    found += [
        StepFeatureRecipe(name="matched-mean", columns=columns, order=order, scaling="anchor")
        for columns in _matches(view)
        for order in (_SEASONS, 0)
    ]
    return (*found, *covariate_steps(view))


def _seasons(view: SeriesView) -> list[int]:
    """Return the seasons that the window holds: that of the series and, by the hour, the week."""
    seasons = [view.season_length]
    if view.season_length == _HOURS_OF_DAY:
        seasons.append(_HOURS_OF_WEEK)
    return [season for season in seasons if 1 < season <= view.window_size]


def _terms(view: SeriesView) -> tuple[str, ...]:
    count, unit = parse_freq(view.freq)
    if unit in MONTHS:
        return ("month",)
    if count * SECONDS[unit] >= _WEEK:
        return ("week-of-year",)
    if count * SECONDS[unit] >= _DAY:
        return ("day-of-week", "day-of-month", "days-to-month-end", "day-of-year")
    return ("hour-of-day", "day-of-week")


def _matches(view: SeriesView) -> list[tuple[str, ...]]:
    """Return what rows of the window are matched by: the weekday or the hour of the week, with each known column."""
    count, unit = parse_freq(view.freq)
    length = count * SECONDS.get(unit, _WEEK)
    if length >= _WEEK:
        return [(name,) for name in view.future_columns]
    clock = "day-of-week" if length >= _DAY else "hour-of-week"
    found: list[tuple[str, ...]] = [(clock,)] if view.window_size >= _DAYS_OF_WEEK * max(_DAY // length, 1) else []
    return found + [(clock, name) for name in view.future_columns]
