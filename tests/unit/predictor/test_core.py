from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.core import Predictor
from runtime.broker import TopicPartition
from runtime.errors import InvalidMessage
from schemas.forecasts import AsOf, ForecastIssued, ForecastRefused, ForecastRequestBatch, ForecastRequested
from schemas.identity import digest_of
from schemas.topics import DEPLOYMENTS, FORECAST_REQUESTS, FORECASTS, MODELS, OBSERVATIONS, PARTITIONS
from tests import factories
from tests.predictor_world import (
    WINDOW,
    World,
    champion,
    content,
    contents,
    day_after,
    deploy,
    observed,
    recipe,
    release,
)

HOME = factories.message(OBSERVATIONS, factories.observation_batch()).partition
SOURCE = TopicPartition("observations", HOME)


@pytest.fixture
def world() -> World:
    world = World()
    observed(world)
    return world


def pinned(request_id: str = "request-1", observations: int = 1, models: int = 1, deployments: int = 1, **changes):
    as_of = AsOf(observations=observations, models=models, deployments=deployments)
    return factories.forecast_request(request_id, as_of=as_of, **changes)


def window_request(request_id: str, rows: int = WINDOW, **changes) -> ForecastRequested:
    window = tuple((100.0 + row,) for row in range(rows))
    changes.setdefault("as_of", AsOf(observations=0, models=1, deployments=1))
    return factories.forecast_request(request_id, window=window, model="shop/apples-1d", **changes)


def test_pinned_request_is_answered_with_a_forecast(world: World) -> None:
    answer = world.answer(pinned())

    assert isinstance(answer, ForecastIssued)
    assert answer.request_id == "request-1"
    assert answer.cutoff == factories.START + timedelta(days=29)
    assert [step.time for step in answer.steps] == [factories.START + timedelta(days=29 + step) for step in (1, 2, 3)]
    assert list(answer.steps[0].quantiles) == ["0.025", "0.1", "0.9", "0.975"]
    assert answer.model.role == "champion"
    assert set(answer.baselines) == {"last-value", "drift", "seasonal-naive"}
    assert (answer.lineage.observation_partition, answer.lineage.observation_offset) == (HOME, 0)
    assert (answer.lineage.model_offset, answer.lineage.deployment_offset) == (0, 0)


def test_request_without_offsets_is_written_again_with_those_that_were_read(world: World) -> None:
    (decision,) = world.ask(factories.forecast_request())

    assert decision.outcome == "pinned"
    assert decision.outgoing is not None
    assert decision.outgoing.topic is FORECAST_REQUESTS
    assert decision.outgoing.partition == HOME
    assert decision.outgoing.record == pinned()


def test_trace_goes_from_the_request_to_its_answer(world: World) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    batch = ForecastRequestBatch(requests=(pinned("one"), pinned("two")), traceparents=(trace, ""))

    decisions = world.ask(batch)

    assert [decision.outgoing.traceparent for decision in decisions if decision.outgoing] == [trace, None]


def test_redelivered_request_is_answered_again_with_the_same_bytes_until_its_answer_was_seen(world: World) -> None:
    request = world.write(FORECAST_REQUESTS, pinned())
    first, again = world.predictor.handle([request]), world.predictor.handle([request])
    assert [content(outgoing.record) for outgoing in first] == [content(outgoing.record) for outgoing in again]

    world.write(FORECASTS, first[0].record, first[0].partition)
    world.read(FORECASTS)

    assert world.predictor.handle([request]) == []


def test_second_request_under_an_answered_id_is_a_repeat_whatever_it_pins(world: World) -> None:
    world.answer(pinned())
    world.learn(OBSERVATIONS, day_after(30))

    outcomes = [d.outcome for d in world.ask(pinned(observations=2), factories.forecast_request(), pinned(horizon=1))]

    assert outcomes == ["repeat", "repeat", "repeat"]


def test_two_requests_under_one_id_in_one_batch_have_one_answer(world: World) -> None:
    decisions = world.ask(pinned(), ForecastRequestBatch(requests=(pinned(horizon=1), pinned(horizon=2))))

    assert [decision.outcome for decision in decisions] == ["issued", "repeat", "repeat"]


def test_memory_of_answers_is_rebuilt_from_the_forecasts(world: World) -> None:
    world.answer(pinned())
    world.restart()
    world.read(OBSERVATIONS, MODELS, DEPLOYMENTS, FORECASTS)

    assert [decision.outcome for decision in world.ask(pinned())] == ["repeat"]


def test_memory_of_answers_is_bounded_and_what_it_forgot_is_answered_with_the_same_bytes() -> None:
    world = World(answered_limit=2)
    observed(world)
    first = world.answer(pinned("request-1"))
    world.answers(pinned("request-2"), pinned("request-3"))

    assert world.predictor.answered.count(HOME) == 2
    assert content(world.answer(pinned("request-1"))) == content(first)


def test_restatement_at_or_after_as_of_is_not_used(world: World) -> None:
    before = world.answer(pinned("request-1"))
    world.learn(
        OBSERVATIONS,
        factories.observation_batch(kind="restatement", reason="wrong", columns={"close": (7.0,) * 30}),
        day_after(30),
    )

    same, new = world.answers(pinned("request-2"), pinned("request-3", observations=3))

    assert content(before).replace(b"request-1", b"request-2") == content(same)
    assert new.cutoff == before.cutoff + timedelta(days=1)
    assert new.lineage.observation_offset == 2
    assert new.baselines["last-value"] != before.baselines["last-value"]


def test_champion_of_later_deployments_does_not_answer(world: World) -> None:
    first = release()
    second = release(recipe(drift=0.5))
    world.learn(MODELS, second)
    deploy(world, champion(second, "deployment-2"))

    old, new = world.answers(pinned("request-1"), pinned("request-2", models=2, deployments=2))

    assert old.model.version == first.version
    assert new.model.version == second.version
    assert (new.lineage.model_offset, new.lineage.deployment_offset) == (1, 1)


def test_deployment_of_a_version_beyond_the_pinned_models_leaves_the_champion_before_it(world: World) -> None:
    second = release(recipe(drift=0.5))
    world.learn(MODELS, second)
    deploy(world, champion(second, "deployment-2"))

    answer = world.answer(pinned(models=1, deployments=2))

    assert answer.model.version == release().version


def test_first_release_deploys_itself_only_where_there_is_no_champion(world: World) -> None:
    second = release(recipe(drift=0.5))
    world.learn(MODELS, second)
    deploy(world, champion(second, "deployment-2", only_if_first=True))

    assert world.answer(pinned(models=2, deployments=2)).model.version == release().version


def test_repeated_deployment_does_not_bring_an_old_champion_back(world: World) -> None:
    second = release(recipe(drift=0.5))
    world.learn(MODELS, second)
    deploy(world, champion(second, "deployment-2"), champion(release(), "deployment-1"))

    assert world.answer(pinned(models=2, deployments=3)).model.version == second.version


def test_what_is_learned_again_changes_nothing(world: World) -> None:
    """Red without `_deployment_ids` in `Releases`: the first champion would stand behind the second again."""
    second = release(recipe(drift=0.5))
    world.learn(MODELS, second)
    deploy(world, champion(second, "deployment-2"))
    world.learn(OBSERVATIONS, factories.observation_batch(rows=31))

    def told(name: str) -> list[object]:
        last = pinned(f"{name}-2", observations=2, models=2, deployments=2)
        return [(answer.model, answer.cutoff, answer.steps) for answer in world.answers(pinned(f"{name}-1"), last)]

    before = told("before")
    for source, entries in world.log.items():
        if source.topic != FORECAST_REQUESTS.name:
            for entry in reversed(entries):
                world.predictor.apply(entry)

    assert told("after") == before


def test_named_version_answers_in_its_role(world: World) -> None:
    second = release(recipe(drift=0.5))
    world.learn(MODELS, second)
    name = f"{second.model}:{second.version}"
    deploy(world, champion(second, "deployment-2", role="challenger"))

    before, after, mine = world.answers(
        pinned("request-1", models=2, deployments=1, model=name),
        pinned("request-2", models=2, deployments=2, model=name),
        pinned("request-3", model=f"{second.model}:{release().version}"),
    )

    assert [answer.model.role for answer in (before, after, mine)] == ["shadow", "challenger", "champion"]
    assert after.lineage.deployment_offset is None


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        (pinned(observations=0, series_id="shop/pears@1d", model="shop/apples-1d"), "unknown-series", "series_id"),
        (pinned(model="shop/pears"), "unknown-model", "model"),
        (pinned(model="shop/apples-1d:00ff"), "unknown-model", "model"),
        (pinned(models=0), "unknown-model", "model"),
        (pinned(deployments=0), "no-champion", "model"),
        (pinned(horizon=11), "horizon-too-long", "horizon"),
        (pinned(levels=(99.9,)), "level-not-calibrated", "levels"),
        (pinned(observations=0), "unknown-series", "series_id"),
        (pinned(observations=2), "as-of-beyond-log", "as_of.observations"),
        (pinned(models=2), "as-of-beyond-log", "as_of.models"),
        (pinned(deployments=2), "as-of-beyond-log", "as_of.deployments"),
        (window_request("request-1", rows=WINDOW + 1), "window-shape", "window"),
        (window_request("request-1", rows=1), "window-shape", "window"),
    ],
)
def test_request_that_cannot_be_answered_is_refused(
    world: World, request_: ForecastRequested, code: str, field: str
) -> None:
    answer = world.answer(request_)

    assert isinstance(answer, ForecastRefused)
    assert (answer.code, answer.field) == (code, field)
    assert answer.expected
    assert answer.found
    assert answer.expected in answer.reason


def test_series_of_another_frequency_is_refused(world: World) -> None:
    series_id = "shop/apples@1h"
    world.learn(OBSERVATIONS, factories.observation_batch(series_id=series_id))

    assert world.answer(pinned(series_id=series_id, model="shop/apples-1d")).code == "freq-mismatch"


def test_series_shorter_than_the_window_is_refused() -> None:
    world = World()
    observed(world, rows=WINDOW - 1)

    assert world.answer(pinned()).code == "too-little-history"


ELSEWHERE = (HOME + 1) % PARTITIONS


@pytest.mark.parametrize("as_of", [None, AsOf(observations=1, models=1, deployments=1)])
def test_request_in_the_wrong_partition_is_moved_as_it_is_and_answered_at_home(world: World, as_of: AsOf) -> None:
    """Red without `Predictor._move`: it would be answered where nobody looks for repeats."""
    request = factories.forecast_request(as_of=as_of)
    (decision,) = world.predictor.decide([world.write(FORECAST_REQUESTS, request, ELSEWHERE)])

    assert decision.outcome == "moved"
    assert decision.outgoing is not None
    assert (decision.outgoing.topic, decision.outgoing.record) == (FORECAST_REQUESTS, request)
    assert decision.outgoing.partition == HOME
    assert isinstance(world.answer(decision.outgoing.record), ForecastIssued)


def test_request_that_is_moved_twice_is_answered_once(world: World) -> None:
    placed = world.write(FORECAST_REQUESTS, pinned(), ELSEWHERE)
    moved = [decision for _ in range(2) for decision in world.predictor.decide([placed])]
    outcomes = [world.ask(decision.outgoing.record)[0].outcome for decision in moved if decision.outgoing]

    assert outcomes == ["issued", "repeat"]


def test_request_with_a_window_is_moved_by_its_id(world: World) -> None:
    request = window_request("request-1")
    home = factories.message(FORECAST_REQUESTS, request).partition
    (decision,) = world.predictor.decide([world.write(FORECAST_REQUESTS, request, (home + 1) % PARTITIONS)])

    assert decision.outgoing is not None
    assert decision.outgoing.partition == home


def test_of_a_batch_only_what_is_misplaced_is_moved(world: World) -> None:
    """Red without the trace of each request in `Ask.moved`."""
    stranger = "shop/pears@1d"
    assert factories.message(OBSERVATIONS, factories.observation_batch(series_id=stranger)).partition != HOME
    requests = (pinned("a"), pinned("b", series_id=stranger), factories.forecast_request("c"))
    traces = tuple(f"00-{digit * 32}-{digit * 16}-01" for digit in "abc")
    batch = world.write(FORECAST_REQUESTS, ForecastRequestBatch(requests=requests, traceparents=traces))
    decisions = world.predictor.decide([batch])

    assert [decision.outcome for decision in decisions] == ["issued", "moved", "pinned"]
    assert [decision.outgoing.traceparent for decision in decisions if decision.outgoing] == list(traces)


def test_misplaced_request_waits_for_nothing(world: World) -> None:
    """Red when `needs` looks at requests that are only moved: the offsets are those of another partition."""
    placed = world.write(FORECAST_REQUESTS, pinned(observations=10**6), ELSEWHERE)

    assert world.predictor.needs([placed]) == {}


def test_misplaced_request_that_no_message_can_carry_is_a_dead_letter(world: World) -> None:
    """Red without `_fits` in `Predictor._move`: the broker would refuse it at every try. It has no answer here: at home
    the same id may have one.
    """
    rows = tuple((100.123456789 + row, 1.0) for row in range(50_000))
    request = factories.forecast_request(window=rows, model="shop/apples-1d")
    home = factories.message(FORECAST_REQUESTS, request).partition
    placed = world.write(FORECAST_REQUESTS, request, (home + 1) % PARTITIONS)
    (decision,) = world.predictor.decide([placed])

    assert (decision.outcome, decision.outgoing) == ("wrong-partition", None)
    assert f"belongs to partition {home}" in decision.reason
    with pytest.raises(InvalidMessage, match="too large to be moved"):
        world.predictor.handle([placed])


def test_request_whose_numbers_grow_when_they_are_written_again_is_measured_as_we_write_it(world: World) -> None:
    """Red when `_pin` measures the message that came: ``1e9`` becomes ``1000000000.0``."""
    request = factories.forecast_request(window=((1e9,),) * 80_000, model="shop/apples-1d")
    placed = world.write(FORECAST_REQUESTS, request)
    short = replace(placed, message=replace(placed.message, value=b"1e9," * 80_000))

    assert [decision.code for decision in world.predictor.decide([short])] == ["request-too-large"]


def test_observation_in_the_wrong_partition_is_not_learned(world: World) -> None:
    elsewhere = (HOME + 1) % PARTITIONS
    placed = world.write(OBSERVATIONS, day_after(30), elsewhere)
    world.read(OBSERVATIONS)

    assert [decision.outcome for decision in world.predictor.decide([placed])] == ["wrong-partition"]
    assert world.predictor.series() == 1


def test_forecast_that_no_message_can_carry_is_refused() -> None:
    world = World()
    made = release(recipe(horizon=1000))
    world.learn(OBSERVATIONS, factories.observation_batch())
    world.learn(MODELS, made)
    deploy(world, champion(made))
    levels = tuple(70.0 + level for level in range(20))

    too_large, fits = world.answers(
        pinned("request-1", horizon=1000, levels=levels), pinned("request-2", horizon=1000, levels=levels[:3])
    )

    assert too_large.code == "forecast-too-large"
    assert isinstance(fits, ForecastIssued)


def test_request_that_would_not_fit_once_pinned_is_refused(world: World) -> None:
    rows = tuple((100.123456789 + row, 1.0) for row in range(50_000))
    request = factories.forecast_request(window=rows, model="shop/apples-1d")

    (decision,) = world.ask(request)

    assert decision.code == "request-too-large"


@pytest.mark.parametrize("changes", [{"artefact_digest": digest_of("other")}, {"recipe": {"algorithm": "drift"}}])
def test_damaged_release_is_refused_and_harms_nobody_else(world: World, changes: dict) -> None:
    world.learn(MODELS, release(model="shop/damaged", **changes))
    version = release().version

    damaged, healthy = world.answers(
        pinned("request-1", models=2, model=f"shop/damaged:{version}"), pinned("request-2", models=2)
    )

    assert isinstance(damaged, ForecastRefused)
    assert isinstance(healthy, ForecastIssued)


def test_one_bad_window_in_a_run_is_refused_alone(world: World) -> None:
    negative = tuple((-1.0 + row,) for row in range(WINDOW))
    bad = factories.forecast_request(
        "bad", window=negative, model="shop/apples-1d", as_of=AsOf(observations=0, models=1, deployments=1)
    )

    answers = [decision.outgoing.record for decision in world.ask(window_request("a"), bad, window_request("b"))]

    assert [type(answer) for answer in answers] == [ForecastIssued, ForecastRefused, ForecastIssued]
    assert answers[1].code == "window-not-positive"


def test_window_without_cutoff_has_steps_without_times(world: World) -> None:
    without, dated = world.answers(window_request("a"), window_request("b", cutoff=factories.START))

    assert [step.time for step in without.steps] == [None] * 3
    assert dated.steps[0].time == factories.START + timedelta(days=1)
    assert (without.series_id, without.lineage.observation_offset) == (None, None)


def test_batch_gives_the_bytes_of_singles(world: World) -> None:
    requests = [window_request(f"w{index}", horizon=1 + index % 3) for index in range(9)]
    requests += [pinned(f"s{index}") for index in range(5)]
    together = world.answers(*requests)
    world.restart()
    world.read(OBSERVATIONS, MODELS, DEPLOYMENTS)

    assert contents(together) == contents([world.answer(request) for request in requests])


def test_new_observation_of_a_deployed_series_asks_for_a_forecast(world: World) -> None:
    (placed,) = world.learn(OBSERVATIONS, day_after(30))

    (decision,) = world.predictor.decide([placed])

    assert decision.outcome == "requested"
    assert decision.outgoing is not None
    request = decision.outgoing.record
    assert isinstance(request, ForecastRequested)
    assert (request.cause, request.horizon, request.levels) == ("observation", 10, (80.0, 95.0))
    assert request.as_of == AsOf(observations=2, models=1, deployments=1)
    answer = world.answer(request)
    assert answer.cutoff == factories.START + timedelta(days=30)
    assert answer.cause == "observation"
    assert [decision.outcome for decision in world.predictor.decide([placed])] == ["repeat"]


def test_first_load_and_observations_without_a_model_ask_for_nothing(world: World) -> None:
    placed = world.learn(
        OBSERVATIONS,
        factories.observation_batch(start=factories.START + timedelta(days=30)),
        day_after(30, series_id="shop/pears@1d"),
    )

    assert [decision.outcome for decision in world.predictor.decide(placed)] == ["learned", "learned"]


def test_needs_name_what_a_batch_must_have_read(world: World) -> None:
    placed = world.write(OBSERVATIONS, day_after(30))
    requests = [
        world.write(FORECAST_REQUESTS, request)
        for request in (pinned("a", observations=2, models=3), window_request("b"), factories.forecast_request("c"))
    ]

    assert world.predictor.needs([placed]) == {SOURCE: 2}
    assert world.predictor.needs(requests) == {SOURCE: 2, TopicPartition("models", 0): 3}
    world.read(OBSERVATIONS)
    assert world.predictor.needs([placed]) == {}


def test_nothing_is_handled_before_the_state_of_its_partition_is_rebuilt() -> None:
    positions: dict[TopicPartition, int] = {}
    predictor = Predictor(partitions=PARTITIONS, positions=lambda: positions)
    answers = TopicPartition("forecasts", HOME)
    predictor.require({TopicPartition("models", 0): 1})
    predictor.require({answers: 7}, HOME)
    request = factories.incoming(FORECAST_REQUESTS, pinned(observations=0, models=0, deployments=0))
    assert predictor.needs([request]) == {answers: 7, TopicPartition("models", 0): 1}

    positions.update({answers: 7, TopicPartition("models", 0): 1})
    assert predictor.needs([request]) == {}
    predictor.forget(HOME)
    positions.pop(answers)
    assert predictor.needs([request]) == {}


def test_state_of_a_partition_that_is_given_up_is_dropped(world: World) -> None:
    world.answer(pinned())
    world.predictor.forget(HOME)

    assert world.predictor.series() == 0
    assert world.predictor.answered.count(HOME) == 0


@settings(deadline=None, max_examples=60)
@given(
    facts=st.lists(st.sampled_from(["observe", "restate", "release", "deploy", "redeploy"]), max_size=12),
    cut=st.integers(0, 12),
    ahead=st.integers(0, 12),
)
def test_forecast_depends_on_the_pinned_prefixes_alone(facts: list[str], cut: int, ahead: int) -> None:
    """Red when `_prepare` uses what was learned beyond ``as_of`` (e.g. `history.view()` without its offset)."""
    just, further = World(), World()
    for world, known in ((just, min(cut, len(facts))), (further, min(cut + ahead, len(facts)))):
        observed(world)
        for index, fact in enumerate(facts[:known]):
            _happen(world, fact, index)
    as_of = AsOf(observations=just.end(OBSERVATIONS, HOME), models=just.end(MODELS), deployments=just.end(DEPLOYMENTS))
    request = factories.forecast_request(as_of=as_of)

    assert content(just.answer(request)) == content(further.answer(request))


def _happen(world: World, fact: str, index: int) -> None:
    later = release(recipe(drift=0.01 * (index + 2)))
    match fact:
        case "observe":
            world.learn(OBSERVATIONS, day_after(30 + index))
        case "restate":
            columns = {"close": tuple(50.0 + row + index for row in range(30))}
            world.learn(
                OBSERVATIONS, factories.observation_batch(kind="restatement", reason=f"no {index}", columns=columns)
            )
        case "release":
            world.learn(MODELS, later)
        case "deploy":
            world.learn(MODELS, later)
            deploy(world, champion(later, f"later-{index}"))
        case "redeploy":
            deploy(world, champion(release(), f"again-{index}"))
