"""Models that read columns known in the future: from the request, or from rows of the log after the cutoff."""

from __future__ import annotations

from datetime import timedelta

import pytest
from onnx import TensorProto, helper

from forecasting.artefact import FeatureRecipe, StepFeatureRecipe
from schemas.forecasts import AsOf, ForecastIssued, ForecastRefused, KnownFuture
from schemas.topics import DEPLOYMENTS, MODELS, OBSERVATIONS
from tests import factories
from tests.predictor_world import WINDOW, World, champion, deploy, recipe, release

ROWS = 30
HORIZON = 3


def promoted_graph() -> bytes:
    """A graph whose median is what is known of each step."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["future"], ["quantiles"])],
        "promoted",
        [
            helper.make_tensor_value_info("window", TensorProto.FLOAT, ["batch", WINDOW, 1]),
            helper.make_tensor_value_info("future", TensorProto.FLOAT, ["batch", HORIZON, 1]),
        ],
        [helper.make_tensor_value_info("quantiles", TensorProto.FLOAT, ["batch", HORIZON, 1])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()  # type: ignore[no-any-return]


def promoted_recipe(**changes: object):
    settings = {
        "algorithm": "linear",
        "horizon": HORIZON,
        "columns": ("close", "promo", "visitors"),
        "transform": "difference",
        "quantiles": (0.5,),
        "features": (FeatureRecipe(name="level", columns=("visitors",), scaling="standard"),),
        "step_features": (StepFeatureRecipe(name="known", columns=("promo",)),),
        "future_columns": ("promo",),
    }
    return recipe(**(settings | changes))


def columns(rows: int, **changes) -> dict[str, tuple[float | None, ...]]:
    return {
        "close": tuple(100.0 + day % 7 for day in range(rows)),
        "promo": tuple(float(day % 2) for day in range(rows)),
        "visitors": tuple(10.0 + day for day in range(rows)),
        **changes,
    }


def world_with(*batches) -> World:
    world = World()
    for batch in batches:
        world.learn(OBSERVATIONS, batch)
    made = release(promoted_recipe(), promoted_graph(), levels=(80.0,))
    world.learn(MODELS, made)
    deploy(world, champion(made))
    return world


def history(rows: int = ROWS, **changes):
    return factories.observation_batch(rows=rows, columns=columns(rows, **changes))


def asked(request_id: str = "request-1", observations: int = 1, **changes):
    pins = AsOf(observations=observations, models=1, deployments=1)
    return factories.forecast_request(request_id, levels=(80.0,), as_of=pins, **changes)


def changes_of(answer: ForecastIssued) -> list[float]:
    """The medians less the last value, in units of what the model's volatility makes of 1."""
    moves = [step.median - answer.baselines["last-value"][0] for step in answer.steps]
    return [round(move / moves[0], 9) if moves[0] else move for move in moves]


def test_values_known_of_the_steps_come_with_the_request() -> None:
    world = world_with(history())

    answer = world.answer(asked(future=KnownFuture(columns={"promo": (1.0, 0.0, 2.0)})))

    assert isinstance(answer, ForecastIssued)
    assert changes_of(answer) == [1.0, 0.0, pytest.approx(2 * 3**0.5)]


def test_rows_after_the_cutoff_without_a_target_are_the_known_future() -> None:
    later = factories.observation_batch(
        start=factories.START + timedelta(days=ROWS + 2),
        rows=HORIZON,
        kind="append",
        columns={"close": (None,) * 3, "promo": (1.0, 3.0, 0.0), "visitors": (None,) * 3},
    )
    world = world_with(history(), later)

    answer = world.answer(asked(observations=2))

    assert isinstance(answer, ForecastIssued)
    assert answer.cutoff == factories.START + timedelta(days=ROWS - 1)
    assert changes_of(answer) == [1.0, pytest.approx(3 * 2**0.5), 0.0]
    # The steps are the days that the log knows, not the next ones by the calendar.
    assert [step.time for step in answer.steps] == [
        factories.START + timedelta(days=ROWS + 2 + step) for step in range(3)
    ]


def test_a_request_overrules_the_log_and_may_name_the_days() -> None:
    later = factories.observation_batch(
        start=factories.START + timedelta(days=ROWS),
        rows=HORIZON,
        kind="append",
        columns={"close": (None,) * 3, "promo": (1.0, 1.0, 1.0), "visitors": (None,) * 3},
    )
    world = world_with(history(), later)
    days = tuple(factories.START + timedelta(days=ROWS + step) for step in (0, 2, 4))

    answer = world.answer(asked(observations=2, future=KnownFuture(columns={"promo": (1.0, 0.0, 0.0)}, time=days)))

    assert isinstance(answer, ForecastIssued)
    assert changes_of(answer) == [1.0, 0.0, 0.0]
    assert tuple(step.time for step in answer.steps) == days


def test_another_known_future_is_another_forecast_id() -> None:
    world = world_with(history())

    ids = {
        world.answer(asked(f"request-{promo}", future=KnownFuture(columns={"promo": (promo, 0.0, 0.0)}))).forecast_id
        for promo in (0.0, 1.0)
    }

    # Red without `add(source.future.values, ...)` in `predictor.windows.digest_of`.
    assert len(ids) == 2


def test_what_is_past_only_cannot_reach_a_step() -> None:
    """Visitors after the cutoff change nothing: a row that has no target is not part of any window."""
    quiet, wild = (
        factories.observation_batch(
            start=factories.START + timedelta(days=ROWS),
            rows=HORIZON,
            kind="append",
            columns={"close": (None,) * 3, "promo": (1.0, 0.0, 1.0), "visitors": (visitors,) * 3},
        )
        for visitors in (None, 1e9)
    )

    first, second = (world_with(history(), later).answer(asked(observations=2)) for later in (quiet, wild))

    assert first.steps == second.steps


@pytest.mark.parametrize(
    ("future", "code", "field"),
    [
        (None, "future-missing", "future"),
        (KnownFuture(columns={"weather": (1.0, 1.0, 1.0)}), "unknown-column", "future.columns.weather"),
        (KnownFuture(columns={"visitors": (1.0, 1.0, 1.0)}), "unknown-column", "future.columns.visitors"),
    ],
)
def test_a_future_that_the_model_cannot_use_is_refused(future: KnownFuture | None, code: str, field: str) -> None:
    answer = world_with(history()).answer(asked(future=future))

    assert isinstance(answer, ForecastRefused)
    assert (answer.code, answer.field) == (code, field)


def test_a_shorter_horizon_needs_fewer_steps() -> None:
    world = world_with(history())

    whole = world.answer(asked("whole", future=KnownFuture(columns={"promo": (1.0, 0.5, 2.0)})))
    short = world.answer(asked("short", horizon=2, future=KnownFuture(columns={"promo": (1.0, 0.5)})))

    assert short.steps == whole.steps[:2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"columns": {"promo": (1.0,), "price": (1.0, 2.0)}}, "must have 1 steps, had 2"),
        ({"columns": {"promo": ()}}, "at least one step"),
        ({"columns": {"promo": (float("nan"),)}}, "finite"),
        ({"columns": {"promo": (1.0, 2.0)}, "time": (factories.START, factories.START)}, "ascend"),
        ({"columns": {"promo": (1.0, 2.0)}, "time": (factories.START,)}, "empty or have 2 steps"),
    ],
)
def test_a_known_future_that_cannot_be_is_refused_where_it_is_read(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        KnownFuture(**changes)


def test_a_request_for_more_steps_than_are_known_is_refused() -> None:
    with pytest.raises(ValueError, match="must reach 3 steps"):
        asked(future=KnownFuture(columns={"promo": (1.0, 2.0)}))


def test_topics_hold_it_for_every_predictor() -> None:
    world = world_with(history())
    request = asked(future=KnownFuture(columns={"promo": (1.0, 0.0, 2.0)}))
    first = world.answer(request)
    world.restart()
    world.read(OBSERVATIONS, MODELS, DEPLOYMENTS)

    assert world.answer(request).steps == first.steps
