"""The inputs of many windows at once are those of each window alone, to the bit."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from forecasting import features_history
from forecasting.artefact import FeatureRecipe, Recipe, StepFeatureRecipe
from forecasting.errors import InvalidWindow
from forecasting.features_history import History, HistoryBuilder
from forecasting.features_request import features_of, step_features_of
from forecasting.inputs import InputBuilder, Inputs
from forecasting.panel import Future, Window
from schemas.trainings import FeatureRequested, StepFeatureRequested
from tests.unit.forecasting.series import bars
from tests.unit.forecasting.test_artefact import recipe_of

ROWS, WINDOW, HORIZON = 260, 100, 5
TIME = 1_577_836_800 + 86_400 * np.flatnonzero(np.arange(ROWS * 5 // 4) % 5 != 3)[:ROWS]
COLUMNS = ("close", "high", "low", "volume", "promo", "size")
CUTOFFS = np.array([WINDOW - 1, 120, 121, 200, ROWS - HORIZON - 1])


def recipe(**changes: object) -> Recipe:
    fields: dict[str, object] = {
        "algorithm": "linear",
        "columns": COLUMNS,
        "future_columns": ("promo",),
        "static_columns": ("size",),
        "window_size": WINDOW,
        "horizon": HORIZON,
        "intervals": msgspec.structs.replace(recipe_of().intervals, scores=((0.0,),) * HORIZON),
        "has_volatility_input": True,
    }
    drafted = recipe_of(**(fields | changes))
    asked = (
        FeatureRequested(name="log-return"),
        FeatureRequested(name="log-level"),
        FeatureRequested(name="average-directional-index", window_size=5),
        FeatureRequested(name="macd-signal", window_size=13),
        FeatureRequested(name="rolling-rank", columns=("volume",), window_size=9),
        FeatureRequested(name="rolling-quantile", window_size=9, parameters={"quantile": 0.2}),
        FeatureRequested(name="lag", window_size=30),
        FeatureRequested(name="day-of-week"),
        FeatureRequested(name="gap"),
    )
    steps = [
        StepFeatureRequested(name="step"),
        StepFeatureRequested(name="month"),
        StepFeatureRequested(name="fourier-sin", option="year"),
        StepFeatureRequested(name="static", columns=("size",)),
        StepFeatureRequested(name="seasonal-mean", order=3),
        StepFeatureRequested(name="window-deviation", order=20),
        StepFeatureRequested(name="matched-mean", columns=("day-of-week",), order=3),
    ]
    if drafted.future_columns:
        steps.append(StepFeatureRequested(name="known", columns=("promo",)))
        steps.append(StepFeatureRequested(name="matched-mean", columns=("promo", "day-of-week")))
    features = tuple(
        msgspec.structs.replace(one, mean=0.3, scale=1.7) if one.scaling == "standard" else one
        for one in features_of(asked, drafted)
    )
    named = step_features_of(steps, drafted)
    before = StepFeatureRecipe(name="seasonal-lag", order=2, scaling="anchor")
    return msgspec.structs.replace(drafted, features=features, step_features=(*named[:1], before, *named[1:]))


def values() -> np.ndarray:
    known = bars(ROWS) | {"promo": (np.arange(ROWS) % 3 == 0).astype(np.float64), "size": np.full(ROWS, 4.0)}
    return np.column_stack([known[name] for name in COLUMNS])


def alone(chosen: Recipe, history: History) -> Inputs:
    """The inputs as serving makes them, window by window."""
    builder = InputBuilder(chosen)
    found = []
    for cutoff in CUTOFFS:
        steps = slice(cutoff + 1, cutoff + 1 + HORIZON)
        future = Future(
            history.time[steps] if history.step_time is None else history.step_time[cutoff],
            history.values[steps][:, [COLUMNS.index(name) for name in chosen.future_columns]],
        )
        rows = slice(cutoff - WINDOW + 1, cutoff + 1)
        time = datetime.fromtimestamp(int(history.time[cutoff]), UTC)
        window = Window(history.values[rows].copy(), time, history.time[rows], future)
        found.append(builder.build(window, builder.scale(window.values)))
    return Inputs(np.stack([one.window for one in found]), np.stack([one.future for one in found]))


def together(chosen: Recipe, history: History) -> Inputs:
    many = HistoryBuilder(chosen)
    return many.build(history, CUTOFFS, many.scale(history, CUTOFFS))


@pytest.mark.parametrize("transform", ["log-return", "difference"])
@pytest.mark.parametrize("anchor", ["last", "mean", "seasonal"])
@pytest.mark.parametrize("chunk", [4_000_000, 300])
def test_many_windows_at_once_have_the_bits_of_each_alone(
    transform: str, anchor: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_history, "_CHUNK", chunk)
    chosen, history = recipe(transform=transform, anchor=anchor), History(values(), TIME)

    expected, found = alone(chosen, history), together(chosen, history)
    np.testing.assert_array_equal(found.window, expected.window)
    np.testing.assert_array_equal(found.future, expected.future)
    assert np.isfinite(found.window).all()
    assert len(np.unique(found.future[:, :, -1])) > 1

    builder, scale = InputBuilder(chosen), HistoryBuilder(chosen).scale(history, CUTOFFS)
    for index, cutoff in enumerate(CUTOFFS):
        one = builder.scale(history.values[cutoff - WINDOW + 1 : cutoff + 1])
        for each, many in zip(one[:3], scale[:3], strict=True):
            np.testing.assert_array_equal(many[index], each)
        assert [each[index] for each in scale.volatility] == list(one.volatility)


def test_a_value_measured_from_the_anchor_of_its_own_step() -> None:
    """A season before the anchor: what changed from one season to the next, in units of the window."""
    season = recipe().season_length
    lags = tuple(StepFeatureRecipe(name="seasonal-lag", order=order, scaling="anchor") for order in (1, 2))
    chosen = msgspec.structs.replace(recipe(anchor="seasonal"), step_features=lags)
    history = History(values(), TIME)

    found = together(chosen, history).future

    builder = InputBuilder(chosen)
    for index, cutoff in enumerate(CUTOFFS):
        window = history.values[cutoff - WINDOW + 1 : cutoff + 1]
        logs, phase = np.log(window[:, 0]), np.arange(HORIZON) % season
        newest, before = logs[WINDOW - season + phase], logs[WINDOW - 2 * season + phase]
        np.testing.assert_array_equal(found[index, :, 0], 0)
        np.testing.assert_allclose(
            found[index, :, 1], (before - newest) / builder.scale(window).unit, rtol=1e-5, atol=1e-6
        )


def test_steps_of_the_calendar_may_lie_beyond_the_rows() -> None:
    chosen = recipe(future_columns=())
    step_time = TIME[:, np.newaxis] + 86_400 * np.arange(1, HORIZON + 1)
    whole = History(values(), TIME, step_time)
    short = History(whole.values[: CUTOFFS[-1] + 1], TIME[: CUTOFFS[-1] + 1], step_time)

    expected = alone(chosen, whole)
    np.testing.assert_array_equal(together(chosen, whole).future, expected.future)
    np.testing.assert_array_equal(together(chosen, short).future, expected.future)


def test_rows_after_the_cutoffs_change_nothing_but_what_is_known_there() -> None:
    # Red when a feature of the rows is cut one row late, or a step reads a column that is not declared.
    chosen, known = recipe(), values()
    wild = known.copy()
    wild[CUTOFFS[-1] + 1 :, [COLUMNS.index(name) for name in COLUMNS if name != "promo"]] = 1e9

    before, after = (together(chosen, History(one, TIME)) for one in (known, wild))
    np.testing.assert_array_equal(before.window, after.window)
    np.testing.assert_array_equal(before.future, after.future)


def test_a_window_in_which_a_feature_has_no_value_is_refused_and_others_are_not() -> None:
    negative = values()
    negative[100, COLUMNS.index("volume")] = -5.0
    change = FeatureRecipe(name="volume-momentum", columns=("volume",), window_size=5, scaling="standard")
    chosen = msgspec.structs.replace(recipe(), features=(change,))

    with pytest.raises(InvalidWindow, match="volume-momentum of volume is defined"):
        together(chosen, History(negative, TIME))
    many, history = HistoryBuilder(chosen), History(negative, TIME)
    scale = many.scale(history, CUTOFFS[-1:])
    assert many.build(history, CUTOFFS[-1:], scale).window.shape == (1, 95, 2)


def test_no_cutoffs_have_no_inputs() -> None:
    step = StepFeatureRecipe(name="step")
    chosen = msgspec.structs.replace(recipe(), step_features=(step,))
    many, history, none = HistoryBuilder(chosen), History(values(), TIME), np.array([], dtype=np.int64)
    found = many.build(history, none, many.scale(history, none))

    assert (found.window.shape[0], found.future.shape) == (0, (0, HORIZON, 1))
