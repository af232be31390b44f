"""Series, trainings, models, ingests and how the system is, over HTTP."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from schemas import topics
from schemas.ingests import IngestRequested
from schemas.models import LeaderboardEntry
from schemas.trainings import FeatureRequested, StepFeatureRequested, TrainingCancelRequested, TrainingRequested
from tests import factories
from tests.unit.gateway.test_gateway_bad_input import assert_problem
from tests.unit.gateway.world import World, partition_of, wait_until

MODEL = factories.model_release().model
OTHER_VERSION = "fedcba9876543210"


def records(world: World, topic: topics.Topic) -> list[Any]:
    from schemas.codec import decode

    places = {world.service.projection.place(topic, number): 0 for number in range(topic.partitions)}
    messages = world.broker.reader(places).poll(0.05)
    return [decode(topic, message.value, message.headers).record for message in messages]


# --- series -----------------------------------------------------------------------------------------------------------


def test_series_are_listed_with_their_extent(world: World) -> None:
    world.publish(topics.OBSERVATIONS, factories.observation_batch(start=factories.START, rows=40, kind="append"))
    world.settle()

    (line,) = world.client.get("/api/v1/series").json["series"]

    assert line == {
        "series_id": factories.SERIES,
        "freq": "1d",
        "calendar": "24/7",
        "unit": "",
        "source": "mock",
        "rows": 40,
        "first_time": "2024-01-01T00:00:00Z",
        "last_time": "2024-02-09T00:00:00Z",
    }
    assert world.client.get(f"/api/v1/series/{factories.SERIES}").json == line
    assert_problem(world.client.get("/api/v1/series/a/b@1d"), 404, "unknown-series")


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_pages_of_observations_give_every_row_once(shared_world: World, order: str) -> None:
    url, times = f"/api/v1/series/{factories.SERIES}/observations?limit=7&order={order}", []
    while url:
        page = shared_world.client.get(url).json
        times += page["observations"]["time"]
        assert len(page["observations"]["columns"]["close"]) == len(page["observations"]["time"])
        url = page["next"]

    assert len(times) == 30
    assert times == sorted(set(times), reverse=order == "newest")


def test_a_series_id_may_be_percent_encoded(shared_world: World) -> None:
    assert shared_world.client.get("/api/v1/series/shop%2Fapples%401d/observations").status_code == 200


def test_the_newest_forecast_of_a_series(world: World) -> None:
    url = f"/api/v1/series/{factories.SERIES}/forecasts/latest"
    assert_problem(world.client.get(url), 404, "no-forecast-yet")
    for name in ("r-1", "r-2"):
        world.publish(topics.FORECASTS, factories.forecast_issued(name))
    world.publish(topics.FORECASTS, factories.forecast_refused("r-3"))
    world.settle()

    assert world.client.get(url).json["request_id"] == "r-2"
    assert_problem(world.client.get("/api/v1/series/a/b@1d/forecasts/latest"), 404, "unknown-series")


# --- trainings --------------------------------------------------------------------------------------------------------


def test_a_training_is_asked_for_once_a_key(world: World) -> None:
    body = {"series_id": factories.SERIES, "horizon": 5, "hyperparameters": {"units": 3}}
    headers = {"Idempotency-Key": "train-1"}

    def post() -> Any:
        return world.app.test_client().post("/api/v1/trainings", json=body, headers=headers)

    with ThreadPoolExecutor(4) as pool:
        answers = [answer.result() for answer in [pool.submit(post) for _ in range(4)]]

    assert {answer.status_code for answer in answers} == {202}
    assert answers[0].json == {"training_id": "train-1", "state": "queued", "model": MODEL}
    assert answers[0].headers["Location"] == "/api/v1/trainings/train-1"
    # Goes red without the lock in `send_once`.
    (request,) = records(world, topics.TRAINING_REQUESTS)
    assert isinstance(request, TrainingRequested)
    assert (request.horizon, request.hyperparameters) == (5, {"units": 3})
    assert request.as_of == {str(partition_of(factories.SERIES)): 1}
    other = world.client.post("/api/v1/trainings", json={**body, "horizon": 6}, headers=headers)
    document = assert_problem(other, 422, "idempotency-key-reused")
    assert document["errors"] == [{"field": "horizon", "expected": "5", "found": "6"}]


def test_features_and_covariates_reach_the_topic_and_come_again_under_their_key(world: World) -> None:
    sold = {"close": (1.0, 2.0), "promo": (0.0, 1.0)}
    later = factories.START + timedelta(days=100)
    world.publish(topics.OBSERVATIONS, factories.observation_batch(start=later, rows=2, columns=sold, kind="append"))
    world.settle()
    body = {
        "series_id": factories.SERIES,
        "covariates": {"promo": "known-future"},
        "features": [{"name": "lag", "window_size": 7}, {"name": "fourier-sin", "parameters": {"option": "year"}}],
        "step_features": [{"name": "holiday", "option": "US"}, {"name": "seasonal-lag", "period": 6, "order": 2}],
        "season_length": 6,
        "gaps": "interpolate",
        "candidates": ["theta", "ets"],
        "budget_seconds": 60,
        "search_trials": 5,
        "fallback": False,
        "intervals": "split",
    }
    answers = [
        world.client.post("/api/v1/trainings", json=body, headers={"Idempotency-Key": "train-1"}) for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [202, 202]
    (request,) = records(world, topics.TRAINING_REQUESTS)
    assert isinstance(request, TrainingRequested)
    assert request.features == (
        FeatureRequested(name="lag", window_size=7),
        FeatureRequested(name="fourier-sin", parameters={"option": "year"}),
    )
    assert request.step_features == (
        StepFeatureRequested(name="holiday", option="US"),
        StepFeatureRequested(name="seasonal-lag", period=6.0, order=2),
    )
    named = set(body) - {"series_id", "features", "step_features"}
    sent = msgspec.json.decode(msgspec.json.encode(request))
    assert {name: sent[name] for name in named} == {name: body[name] for name in named}


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        ({"features": [{"name": "lag"}, {"window_size": 7}]}, "features[1].name", "a value"),
        ({"features": [{"name": "lag", "window_size": 0}]}, "features[0].window_size", "`int` >= 1"),
        ({"features": [{"name": "lag", "window": 7}]}, "features[0].window", "one of the fields name, columns"),
        ({"features": [{"name": "lag", "parameters": {"log": [1]}}]}, "features[0].parameters.log", "`bool"),
        ({"step_features": [{"name": "step"}, {"name": "month", "order": -1}]}, "step_features[1].order", "`int` >= 0"),
        ({"covariates": {"promo": "future"}}, "covariates.promo", "one of known-future, past-only, static"),
        ({"covariates": {"close": "static"}}, "covariates", "must not name the target close"),
        ({"gaps": "guess"}, "gaps", "one of skip, forward-fill, interpolate, zero, refuse"),
        # A pattern says little to people: red without `_in_words`.
        ({"series_id": "AAPL"}, "series_id", "`project/name@freq`, e.g. `market/AAPL@1d`"),
        ({"model": "AAPL"}, "model", "`project/name`, e.g. `market/AAPL-1d`"),
    ],
)
def test_a_fault_of_a_feature_is_told_with_its_place(
    shared_world: World, body: dict[str, Any], field: str, expected: str
) -> None:
    answer = shared_world.client.post("/api/v1/trainings", json={"series_id": factories.SERIES, **body})

    (fault,) = assert_problem(answer, 422, "invalid-body")["errors"]
    assert fault["field"] == field
    assert expected in fault["expected"]


def test_a_fault_deep_in_a_field_shows_what_stands_there(shared_world: World) -> None:
    """Red without `gateway.faults._within`: of a long window its beginning would be shown."""
    rows = [[1.0, 2.0]] * 50
    body = {"window": [*rows, [1.0, "x"]], "horizon": 1}
    answer = shared_world.client.post("/api/v1/forecasts", json=body)

    (fault,) = assert_problem(answer, 422, "invalid-body")["errors"]
    assert (fault["field"], fault["found"]) == ("window[50][1]", '"x"')


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        ({"target": "sales"}, "target", "a column of shop/apples@1d, which has close"),
        ({"columns": ["close", "open"]}, "columns[1]", "a column of shop/apples@1d, which has close"),
        ({"covariates": {"promo": "past-only"}}, "covariates.promo", "a column of shop/apples@1d, which has close"),
        ({"columns": ["close", "close"]}, "columns", "without repeats"),
        ({"columns": ["open"]}, "columns", "such that the target close is among them"),
        ({"window_size": 1}, "window_size", "at least 2"),
        ({"series_ids": [factories.SERIES, "shop/hours@1h"]}, "series_ids[1]", "a series of freq 1d"),
        ({"series_ids": [factories.SERIES, "shop/stocks@1d"]}, "series_ids[1]", "a series of the calendar 24/7"),
    ],
)
def test_what_the_gateway_knows_to_be_impossible_is_refused_at_once(
    world: World, body: dict[str, Any], field: str, expected: str
) -> None:
    # Goes red without `require_trainable`.
    for series_id, calendar in (("shop/hours@1h", "24/7"), ("shop/stocks@1d", "XNYS")):
        batch = factories.observation_batch(series_id=series_id, calendar=calendar)
        world.publish(topics.OBSERVATIONS, batch)
    world.settle()
    asked = body if "series_ids" in body else {"series_id": factories.SERIES, **body}

    faults = assert_problem(world.client.post("/api/v1/trainings", json=asked), 422, "invalid-body")["errors"]

    assert faults[0]["field"] == field
    assert expected in faults[0]["expected"]
    assert not records(world, topics.TRAINING_REQUESTS)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"series_id": factories.SERIES, "series_ids": [factories.SERIES]}, 422),
        ({"series_id": "shop/pears@1d"}, 404),
        ({"series_id": factories.SERIES, "horizon": 0}, 422),
        ({"series_id": factories.SERIES, "levels": [101]}, 422),
        ({"series_id": factories.SERIES, "epochs": 3}, 422),
        ({"series_ids": [factories.SERIES, factories.SERIES]}, 422),
    ],
)
def test_a_training_that_cannot_be_is_refused(shared_world: World, body: Any, status: int) -> None:
    answer = shared_world.client.post("/api/v1/trainings", json=body)

    assert_problem(answer, status, "unknown-series" if status == 404 else "invalid-body")


def test_how_a_training_goes(world: World) -> None:
    world.publish(topics.TRAINING_REQUESTS, factories.training_request())
    world.settle()
    assert world.client.get("/api/v1/trainings/training-1").json["state"] == "queued"
    event = factories.training_event(sequence=1, state="progress", fraction=0.5, epoch=3, losses={"train": 0.25})
    world.publish(topics.TRAINING_EVENTS, event)
    world.settle()

    document = world.client.get("/api/v1/trainings/training-1").json

    assert (document["state"], document["fraction"], document["epoch"]) == ("progress", 0.5, 3)
    assert document["losses"] == {"train": 0.25}
    assert [each["training_id"] for each in world.client.get("/api/v1/trainings").json["trainings"]] == ["training-1"]


def test_a_training_is_cancelled_in_its_own_partition(world: World) -> None:
    world.publish(topics.TRAINING_REQUESTS, factories.training_request())
    world.settle()

    answer = world.client.delete("/api/v1/trainings/training-1")

    assert (answer.status_code, answer.json["is_cancel_requested"]) == (202, True)
    cancellation = records(world, topics.TRAINING_REQUESTS)[-1]
    assert isinstance(cancellation, TrainingCancelRequested)
    world.publish(topics.TRAINING_EVENTS, factories.training_event(sequence=2, state="cancelled", reason="asked for"))
    world.settle()
    assert_problem(world.client.delete("/api/v1/trainings/training-1"), 409, "training-ended")


def test_events_are_streamed_and_resumed_behind_the_last_one_seen(world: World) -> None:
    world.publish(topics.TRAINING_REQUESTS, factories.training_request())
    for sequence, state in enumerate(("queued", "running", "progress")):
        world.publish(topics.TRAINING_EVENTS, factories.training_event(sequence=sequence, state=state))
    world.settle()
    finish = threading.Timer(
        0.05,
        lambda: world.publish(topics.TRAINING_EVENTS, factories.training_event(sequence=3, state="succeeded")),
    )
    finish.start()

    answer = world.client.get("/api/v1/trainings/training-1/events", headers={"Last-Event-ID": "0"})
    stream = answer.get_data(as_text=True)

    finish.join()
    assert answer.content_type.startswith("text/event-stream")
    lines = stream.splitlines()
    assert [line for line in lines if line.startswith("id:")] == ["id: 1", "id: 2", "id: 3"]
    assert [line for line in lines if line.startswith("event:")] == [
        "event: running",
        "event: progress",
        "event: succeeded",
    ]


# --- what is told only once its consequences are here -------------------------------------------------------------


def test_an_ingest_has_succeeded_only_once_its_observations_are_here(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish(topics.INGEST_REQUESTS, factories.ingest_request())
    world.publish(topics.INGEST_EVENTS, factories.ingest_event(state="succeeded", rows_published=30))
    world.settle()
    place = world.service.observation_place(factories.ingest_event().series_id)
    end = world.broker.end_offsets([place])[place]
    # The reader takes partitions in no order: here it has the event, and an observation is still to come.
    monkeypatch.setattr(world.service.settled, "_end_offsets", lambda _: {place: end + 1})

    # Goes red without `Settled`.
    assert world.client.get("/api/v1/ingests/ingest-1").json["state"] == "running"

    world.publish(topics.OBSERVATIONS, factories.observation_batch(series_id=factories.SERIES, rows=31))
    world.settle()
    document = world.client.get("/api/v1/ingests/ingest-1").json
    assert (document["state"], document["rows_published"]) == ("succeeded", 30)


def test_a_training_has_succeeded_only_once_its_release_is_here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish(topics.TRAINING_REQUESTS, factories.training_request())
    world.publish(topics.TRAINING_EVENTS, factories.training_event(state="succeeded"))
    world.settle()
    place = world.service.projection.place(topics.MODELS, 0)
    monkeypatch.setattr(world.service.settled, "_end_offsets", lambda _: {place: 2})

    assert world.client.get("/api/v1/trainings/training-1").json["state"] == "running"

    world.publish(topics.MODELS, factories.model_release(version=OTHER_VERSION))
    world.settle()
    assert world.client.get("/api/v1/trainings/training-1").json["state"] == "succeeded"


# --- models -----------------------------------------------------------------------------------------------------------


def test_models_show_versions_roles_and_skill(world: World) -> None:
    world.publish(topics.MODELS, factories.model_release(version=OTHER_VERSION))
    world.settle()

    (model,) = world.client.get("/api/v1/models").json["models"]

    assert (model["model"], model["champion"]) == (MODEL, factories.VERSION)
    assert [(line["version"], line["role"]) for line in model["versions"]] == [
        (OTHER_VERSION, None),
        (factories.VERSION, "champion"),
    ]
    assert model["versions"][0]["skill"]
    assert "graph" not in model["versions"][0]
    assert world.client.get(f"/api/v1/models/{MODEL}").json == model


def test_a_version_shows_what_it_was_chosen_from(world: World) -> None:
    board = (
        LeaderboardEntry(algorithm="ets", state="chosen", rung=1, folds=60, skill={"drift": 0.1}, reason="the best"),
        LeaderboardEntry(algorithm="nhits", state="not-reached"),
    )
    world.publish(topics.MODELS, factories.model_release(version=OTHER_VERSION, leaderboard=board))
    world.settle()

    chosen, given = world.client.get(f"/api/v1/models/{MODEL}").json["versions"]

    assert [(entry["algorithm"], entry["state"]) for entry in chosen["leaderboard"]] == [
        ("ets", "chosen"),
        ("nhits", "not-reached"),
    ]
    assert chosen["leaderboard"][0]["skill"] == {"drift": 0.1}
    assert given["leaderboard"] == []


def test_a_version_shows_its_folds_and_one_of_before_shows_none(world: World) -> None:
    world.publish(topics.MODELS, factories.model_release(version=OTHER_VERSION, **factories.folds_of_a_release()))
    world.settle()

    told, before = world.client.get(f"/api/v1/models/{MODEL}").json["versions"]

    assert told["fold_metrics"][0] == {
        "cutoff": "2025-01-02T00:00:00Z",
        "first_time": "2025-01-03T00:00:00Z",
        "last_time": "2025-01-12T00:00:00Z",
        "forecasts": 1,
        "metrics": {"model": {"mae": 1.5, "coverage-80": 90.0}, "last-value": {"mae": 2.0}},
    }
    assert told["fold_spread"]["model"]["mae"] == {"mean": 2.0, "deviation": 0.75, "folds": 250}
    assert (before["fold_metrics"], before["fold_spread"]) == ([], {})


def test_a_deployment_is_answered_once_it_is_read_back(world: World) -> None:
    world.publish(topics.MODELS, factories.model_release(version=OTHER_VERSION))
    world.settle()
    headers = {"Idempotency-Key": "deploy-1"}

    answers = [
        world.client.post(f"/api/v1/models/{MODEL}/deploy", json={"version": OTHER_VERSION}, headers=headers)
        for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json["previous"] == factories.VERSION
    assert len(records(world, topics.DEPLOYMENTS)) == 2
    assert world.client.get(f"/api/v1/models/{MODEL}").json["champion"] == OTHER_VERSION


@pytest.mark.parametrize(
    ("model", "body", "status", "code"),
    [
        ("shop/pears-1d", {"version": OTHER_VERSION}, 404, "unknown-model"),
        (MODEL, {"version": OTHER_VERSION}, 404, "unknown-version"),
        (MODEL, {"version": "latest"}, 422, "invalid-body"),
        (MODEL, {}, 422, "invalid-body"),
        (MODEL, {"version": factories.VERSION, "role": "king"}, 422, "invalid-body"),
    ],
)
def test_a_deployment_that_cannot_be_is_refused(
    shared_world: World, model: str, body: Any, status: int, code: str
) -> None:
    assert_problem(shared_world.client.post(f"/api/v1/models/{model}/deploy", json=body), status, code)


def test_a_later_first_release_does_not_replace_the_champion(world: World) -> None:
    world.publish(topics.MODELS, factories.model_release(version=OTHER_VERSION))
    late = factories.deployment(deployment_id="late", version=OTHER_VERSION, only_if_first=True)
    world.publish(topics.DEPLOYMENTS, late)
    world.settle()

    assert world.client.get(f"/api/v1/models/{MODEL}").json["champion"] == factories.VERSION


# --- ingests ----------------------------------------------------------------------------------------------------------


def test_an_ingest_names_columns_that_are_known_in_the_future(world: World) -> None:
    body = {"symbol": "berlin.csv", "source": "file", "series_id": "shop/berlin@1d", "known_future": ["promo"]}
    assert world.client.post("/api/v1/ingests", json=body).status_code == 202

    (request,) = records(world, topics.INGEST_REQUESTS)
    assert request.known_future == ("promo",)


def test_an_ingest_is_asked_for_with_defaults(world: World) -> None:
    answer = world.client.post("/api/v1/ingests", json={"symbol": "MSFT", "source": "sample", "start": "2020-01-02"})

    assert (answer.status_code, answer.json["state"]) == (202, "queued")
    (request,) = records(world, topics.INGEST_REQUESTS)
    assert isinstance(request, IngestRequested)
    assert (request.series_id, request.sources, request.freq, request.calendar) == (
        "market/MSFT@1d",
        ("sample",),
        "1d",
        "XNYS",
    )
    assert request.known_future == ()
    assert world.client.get(answer.headers["Location"]).json["state"] == "queued"
    (line,) = world.client.get("/api/v1/ingests").json["ingests"]
    assert line["ingest_id"] == answer.json["ingest_id"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"symbol": ""},
        {"symbol": "A B"},
        {"symbol": "A", "source": "x", "sources": ["y"]},
        {"symbol": "A", "start": "2024-02-01", "end": "2024-01-01"},
        {"symbol": "A", "series_id": "market/A@1d", "freq": "1h"},
        {"symbol": "A", "start": "yesterday"},
    ],
)
def test_an_ingest_that_cannot_be_is_refused(shared_world: World, body: Any) -> None:
    assert_problem(shared_world.client.post("/api/v1/ingests", json=body), 422, "invalid-body")


# --- the system -------------------------------------------------------------------------------------------------------


def test_ready_waits_for_a_champion(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tests.unit.gateway.world import running

    with running(tmp_path_factory.mktemp("empty")) as world:
        wait_until(lambda: world.service.projection.is_caught_up)
        answer = world.client.get("/ready")
        assert answer.status_code == 503
        assert "champion" in answer.json["waiting_for"][0]
        world.publish(topics.MODELS, factories.model_release())
        world.publish(topics.DEPLOYMENTS, factories.deployment())
        world.settle()
        assert world.client.get("/ready").status_code == 200


def test_status_tells_backlog_members_and_last_records(world: World) -> None:
    world.publish(topics.TRAINING_REQUESTS, factories.training_request())
    with_member = world.broker.consumer(group="trainer", topics=[topics.TRAINING_REQUESTS.name])
    with_member.poll(0.0, 0)
    world.settle()

    status = world.client.get("/status").json

    by_name = {service["name"]: service for service in status["services"]}
    assert set(by_name) == {"gateway", "ingestor", "trainer", "predictor"}
    assert (by_name["trainer"]["state"], by_name["trainer"]["members"], by_name["trainer"]["backlog"]) == ("up", 1, 1)
    assert (by_name["predictor"]["state"], by_name["predictor"]["backlog"]) == ("down", 1)
    assert by_name["ingestor"]["last_record_time"] is not None
    assert by_name["gateway"]["backlog"] == 0
    assert status["is_ready"] is True
    assert status["trainings"][0]["training_id"] == "training-1"
    assert {topic["topic"] for topic in status["topics"]} == {
        topic.name for topic in topics.TOPICS if "gateway" in topic.consumers
    }


def test_metrics_count_requests_by_route(shared_world: World) -> None:
    shared_world.client.get(f"/api/v1/series/{factories.SERIES}")

    text = shared_world.client.get("/metrics").text

    assert 'foretopic_http_requests_total{route="/api/v1/series/<path:series_id>",status="200"}' in text
    assert "foretopic_waiting_requests 0.0" in text
