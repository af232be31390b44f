"""Whatever comes over HTTP, the answer is a problem document that names what was expected and what was found."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from schemas.forecasts import ForecastRequested
from tests import factories
from tests.unit.gateway.world import DEADLINE_SECONDS, Responder, World, running

URL = "/api/v1/forecasts"
GOOD = {"series_id": factories.SERIES, "horizon": 3}
ASK = f"POST {URL}"
PUT_SOURCE = f"PUT /api/v1/sources/{factories.SERIES}"
#: What else a body needs to be asked for.
GOOD_OF = {
    "POST /api/v1/trainings": {"series_id": factories.SERIES},
    PUT_SOURCE: {"symbol": "A", "source": "mock"},
    "PUT /api/v1/sources/shop/apples": {"symbol": "A", "source": "mock"},
}


@pytest.fixture
def client(shared_world: World) -> FlaskClient:
    return shared_world.client


def assert_problem(answer: TestResponse, status: int, code: str) -> dict[str, Any]:
    """Every error is RFC 9457, carries the request id and says nothing of the inside."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    document = answer.json
    assert document["type"] == f"/problems/{code}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["instance"].startswith("/")
    assert document["x_request_id"] == answer.headers["X-Request-ID"]
    assert "Traceback" not in answer.text
    for fault in document["errors"]:
        assert set(fault) == {"field", "expected", "found"}
    return document


@pytest.mark.parametrize(
    ("body", "field", "expected", "found"),
    [
        ({**GOOD, "horizon": 0}, "horizon", "`int` >= 1", "0"),
        ({**GOOD, "horizon": 10_000}, "horizon", "`int` <= 1000", "10000"),
        ({**GOOD, "horizon": "3"}, "horizon", "`int`", '"3"'),
        ({**GOOD, "horizon": 2.5}, "horizon", "`int`", "2.5"),
        ({**GOOD, "horizon": True}, "horizon", "`int`", "true"),
        ({"series_id": factories.SERIES}, "horizon", "a value", "nothing"),
        ({**GOOD, "levels": [80, 101]}, "levels[1]", "`float` < 100.0", "101"),
        ({**GOOD, "levels": []}, "levels", "`array` of length >= 1", "[]"),
        ({**GOOD, "levels": [95, 80]}, "levels", "ascend", "[95.0,80.0]"),
        ({**GOOD, "series_id": "AAPL"}, "series_id", "`project/name@freq`", '"AAPL"'),
        ({**GOOD, "horizont": 3}, "horizont", "one of the fields", "3"),
        ({**GOOD, "as_of": None}, "as_of", "one of the fields", "null"),
        ({**GOOD, "model": "a b"}, "model", "a model name", '"a b"'),
        ({**GOOD, "window": [[1.0]]}, "series_id", "exactly one of series_id and window", factories.SERIES),
        ({"horizon": 3}, "series_id", "exactly one of series_id and window", "null"),
        ({"window": [[1.0]], "horizon": 3}, "model", "model must be given with a window", "null"),
        ({"window": [[1.0], [1.0, 2.0]], "model": "a/b", "horizon": 3}, "window", "equal length", "[[1.0],[1.0,2.0]]"),
        ({"window": [1.0], "model": "a/b", "horizon": 3}, "window[0]", "`array`", "1.0"),
        ({"window": [["x"]], "model": "a/b", "horizon": 3}, "window[0][0]", "`float`", '"x"'),
        ({**GOOD, "cutoff": "2025-01-02T00:00:00Z"}, "cutoff", "only be given with a window", "2025-01-02"),
        ([], "", "a JSON object", "[]"),
    ],
)
def test_each_fault_of_a_body_is_named(client: FlaskClient, body: Any, field: str, expected: str, found: str) -> None:
    document = assert_problem(client.post(URL, json=body), 422, "invalid-body")

    fault = document["errors"][0]
    assert fault["field"] == field
    assert expected in fault["expected"]
    assert found in fault["found"]


#: In each body, what stands in a map, a list or an object of it: what is sent, and the field that is at fault.
NESTED: list[tuple[str, dict[str, Any], str]] = [
    ("POST /api/v1/trainings", {"hyperparameters": {"learning_rate": [0.1]}}, "hyperparameters.learning_rate"),
    ("POST /api/v1/trainings", {"hyperparameters": {"dropout": 0.1, "epochs": None}}, "hyperparameters.epochs"),
    ("POST /api/v1/trainings", {"hyperparameters": {"a.b": {}}}, "hyperparameters.a.b"),
    ("POST /api/v1/trainings", {"hyperparameters": []}, "hyperparameters"),
    ("POST /api/v1/trainings", {"covariates": {"price": "static", "promo": "soon"}}, "covariates.promo"),
    ("POST /api/v1/trainings", {"features": [{"nme": "lag", "name": "lag"}]}, "features[0].nme"),
    ("POST /api/v1/trainings", {"features": [{"name": "lag"}, {}]}, "features[1].name"),
    (
        "POST /api/v1/trainings",
        {"features": [{"name": "lag", "parameters": {"k": [1]}}]},
        "features[0].parameters.k",
    ),
    (
        "POST /api/v1/trainings",
        {"features": [{"name": "lag", "parameters": {"k": 10**400}}]},  # no float holds it
        "features[0].parameters",
    ),
    ("POST /api/v1/trainings", {"step_features": [{"name": "month", "order": -1}]}, "step_features[0].order"),
    ("POST /api/v1/trainings", {"seed": 2**32}, "seed"),  # no reader takes it from the log
    ("POST /api/v1/trainings", {"columns": ["close", None]}, "columns[1]"),
    ("POST /api/v1/projects/{project}/train", {"hyperparameters": {"depth": {}}}, "hyperparameters.depth"),
    ("POST /api/v1/projects/{project}/train", {"covariates": {"promo": 1}}, "covariates.promo"),
    ("POST /api/v1/projects/{project}/train", {"series": ["a", 1]}, "series[1]"),
    ("POST /api/v1/projects/{project}/train", {"seed": 2**32}, "seed"),
    ("POST /api/v1/projects/shop/predict", {"rows": [{"date": "2025-01-01"}, {"promo": [1]}]}, "rows[1].promo"),
    ("POST /api/v1/projects/shop/predict", {"rows": [["2025-01-01"]]}, "rows[0]"),
    (ASK, {**GOOD, "future": {"columns": {"price": [1, 2], "promo": [1, "x"]}}}, "future.columns.promo[1]"),
    (ASK, {**GOOD, "future": {"columns": {"price": [1, 2], "promo": [1]}}}, "future.columns.promo"),
    (ASK, {**GOOD, "future": {"columns": {}}}, "future.columns"),
    (ASK, {**GOOD, "future": {"columns": {"promo": [1]}, "tmie": []}}, "future.tmie"),
    (
        ASK,
        {**GOOD, "future": {"columns": {"promo": [1]}, "time": ["2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]}},
        "future.time",
    ),
    (ASK, {**GOOD, "future": {"columns": {"promo": [1]}}}, "future"),  # fewer steps than the horizon
    (
        "POST /api/v1/observations",
        {"series": [{"time": ["2025-01-01T00:00:00Z"], "columns": {"close": [1]}}]},
        "series[0].series_id",
    ),
    (
        "POST /api/v1/observations",
        {"series": [{"series_id": factories.SERIES, "time": ["2025-01-01"], "columns": {"close": [1]}}]},
        "series[0].time[0]",
    ),
    (
        "POST /api/v1/observations",
        {"series": [{"series_id": factories.SERIES, "time": ["2025-01-01T00:00:00Z"], "columns": {"close": [1, 2]}}]},
        "series[0].columns.close",
    ),
    (
        "POST /api/v1/observations",
        {"series": [{"series_id": factories.SERIES, "time": ["2025-01-01T00:00:00Z"], "columns": {"close": ["1"]}}]},
        "series[0].columns.close[0]",
    ),
    (PUT_SOURCE, {"retrain": [{"model": "shop/a", "every_observations": "9"}]}, "retrain[0].every_observations"),
    (PUT_SOURCE, {"retrain": [{"model": "shop/a"}]}, "retrain[0]"),
    (PUT_SOURCE, {"retrain": [{"model": "shop/a", "cron": "0 0 * * *"}, {"model": "b"}]}, "retrain[1].model"),
    (PUT_SOURCE, {"cron": "0 0 * * *", "retrain": [{"model": "shop/a", "cron": "soon"}]}, "retrain[0].cron"),
    (PUT_SOURCE, {"cron": "soon"}, "cron"),
    (PUT_SOURCE, {"after_close_minutes": 5, "timezone": "Mars/Olympus"}, "timezone"),
    ("PUT /api/v1/sources/shop/apples", {"cron": "0 0 * * *"}, "series_id"),
    ("POST /api/v1/ingests", {"symbol": "A", "sources": ["mock", 3]}, "sources[1]"),
    ("POST /api/v1/ingests", {"symbol": "A", "source": "mock", "known_future": ["promo", ""]}, "known_future[1]"),
    ("POST /api/v1/ingests", {"symbol": "A", "source": "mock", "calendar": "MARS"}, "calendar"),
    ("PATCH /api/v1/projects/{project}/quotas", {"series": {"most": 5}}, "series"),
    ("PATCH /api/v1/organisations/local/quotas", {"upload_bytes": 0.5}, "upload_bytes"),
    ("POST /api/v1/projects", {"name": "a", "metadata": {"owner": 1}}, "metadata"),
    ("POST /api/v1/projects/{project}/webhooks", {"url": "https://a.example", "events": ["all"]}, "events[0]"),
    ("POST /predict", {"last_60_days": [[1] * 6] * 59 + [[1, 2, 3, 4, 5, "6"]]}, "last_60_days[59][5]"),
    ("POST /predict", {"last_60_days": [[1] * 6] * 59 + [[1] * 5]}, "last_60_days[59]"),
    ("POST /api/v1/forecasts:batch", {"forecasts": [GOOD], "levels": [80, "95"]}, "levels[1]"),
    ("POST /api/v1/quarantine/any/release", {"reason": {"because": 1}}, "reason"),
    ("POST /api/v1/users", {"email": "a@b.example", "role": "king"}, "role"),
    ("POST /api/v1/projects", {"name": "a\0"}, "name"),
    ("POST /api/v1/trainings", {"hyperparameters": {"loss": "a\0"}}, "hyperparameters.loss"),
    ("POST /api/v1/trainings", {"columns": ["close", "a\0"]}, "columns[1]"),
    ("POST /api/v1/trainings", {"hyperparameters": {"a\0": 1}}, "hyperparameters"),
]


@pytest.fixture(scope="module")
def project(shared_world: World) -> str:
    made = shared_world.client.post("/api/v1/projects", json={"name": "nested"})
    return str(made.json["project_id"])


@pytest.mark.parametrize(("asked", "changes", "field"), NESTED)
def test_a_fault_within_a_field_is_named_by_its_whole_path(
    client: FlaskClient, project: str, asked: str, changes: dict[str, Any], field: str
) -> None:
    method, url = asked.split()

    answer = client.open(url.format(project=project), method=method, json={**GOOD_OF.get(asked, {}), **changes})

    document = assert_problem(answer, 422, "invalid-body")

    assert [fault["field"] for fault in document["errors"]] == [field]
    assert document["errors"][0]["expected"]
    assert document["errors"][0]["found"]
    assert field in document["detail"] or " must " in document["detail"]


def test_an_entry_of_a_batch_names_the_field_of_a_single_request(client: FlaskClient) -> None:
    entries = [{**GOOD, "future": {"columns": {"promo": ["x"]}}}]

    answer = client.post("/api/v1/forecasts:batch", json={"forecasts": entries}).json

    assert [fault["field"] for fault in answer["answers"][0]["problem"]["errors"]] == ["future.columns.promo[0]"]


@pytest.mark.parametrize(
    "body",
    [{f"{number:x}": 1 for number in range(20_000)}, {"horizon": 3, "k" * 500_000: 1}, {"horizon": "9" * 500_000}],
    ids=["fields", "name", "value"],
)
def test_what_is_told_of_a_large_body_is_small(client: FlaskClient, body: dict[str, Any]) -> None:
    # Goes red without `MAX_FAULTS` and `_MAX_SHOWN` in `gateway.faults`: an answer of 10 MB to a body of 200 kB.
    answer = client.post(URL, json=body)

    assert_problem(answer, 422, "invalid-body")
    assert len(answer.data) < 20_000


def test_all_faults_are_told_together(client: FlaskClient) -> None:
    document = assert_problem(client.post(URL, json={"horizon": 0, "levels": [101], "typo": 1}), 422, "invalid-body")

    assert [fault["field"] for fault in document["errors"]] == ["typo", "horizon", "levels[0]"]


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(client: FlaskClient, literal: str) -> None:
    body = f'{{"window": [[{literal}]], "model": "a/b", "horizon": 3}}'

    answer = client.post(URL, data=body, content_type="application/json")

    assert answer.status_code in {400, 422}
    assert_problem(answer, answer.status_code, "malformed-json" if answer.status_code == 400 else "invalid-body")


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b'{"a":1}}', b"[" * 100_000, b'"' + b"a" * 100])
def test_what_is_not_json_is_refused(client: FlaskClient, content: bytes) -> None:
    assert_problem(client.post(URL, data=content, content_type="application/json"), 400, "malformed-json")


def test_an_empty_body_is_refused(client: FlaskClient) -> None:
    assert_problem(client.post(URL, data=b"", content_type="application/json"), 400, "empty-body")


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_another_content_type_is_refused(client: FlaskClient, content_type: str | None) -> None:
    answer = client.post(URL, data=b"{}", content_type=content_type)

    assert_problem(answer, 415, "unsupported-media-type")


def test_a_body_that_says_it_is_too_large_is_refused_unread(client: FlaskClient) -> None:
    class Unread:
        def read(self, *_: Any) -> bytes:
            raise AssertionError("the body must not be read")

        readline = read

    # Goes red without MAX_CONTENT_LENGTH in `create_app`.
    answer = client.post(
        URL,
        content_type="application/json",
        environ_overrides={"wsgi.input": Unread(), "CONTENT_LENGTH": str(50 * 1024 * 1024)},
    )

    document = assert_problem(answer, 413, "body-too-large")
    assert "1048576 bytes" in document["detail"]


def test_a_body_of_unknown_length_is_read_up_to_the_limit_only(client: FlaskClient) -> None:
    class Endless:
        taken = 0

        def read(self, size: int = -1) -> bytes:
            size = 65_536 if size < 0 else size
            self.taken += size
            assert self.taken < 4 * 1024 * 1024, "read far beyond the limit"
            return b" " * size

        def readline(self, size: int = -1) -> bytes:
            return self.read(size)

        def __iter__(self) -> Iterator[bytes]:
            return iter(())

    answer = client.post(
        URL,
        content_type="application/json",
        environ_overrides={
            "wsgi.input": Endless(),
            "wsgi.input_terminated": True,
            "HTTP_TRANSFER_ENCODING": "chunked",
            "CONTENT_LENGTH": "",
        },
    )

    assert_problem(answer, 413, "body-too-large")


class Dripping:
    """A body that comes byte by byte, each in time, and has no end before the test would end as failed."""

    def __init__(self) -> None:
        self._give_up = time.monotonic() + DEADLINE_SECONDS

    def read(self, size: int = -1) -> bytes:
        while time.monotonic() < self._give_up:
            gevent.sleep(0.001)
        return b" " * size


@pytest.mark.parametrize(("path", "kind"), [(URL, "application/json"), ("/api/v1/uploads?filename=a.csv", "text/csv")])
def test_a_body_that_drips_is_cut_off(tmp_path: Path, path: str, kind: str) -> None:
    """Red without `limit_time` in `limits.hooks`, or without the time in `_TimedBody.read`."""
    with running(tmp_path, body_seconds=0.05, files_directory=tmp_path / "files") as world:
        try:
            answer = world.client.post(
                path,
                content_type=kind,
                # As the server of the gateway, which runs requests in green threads, hands a body over.
                environ_overrides={"wsgi.input": Dripping(), "gunicorn.socket": object(), "CONTENT_LENGTH": "1000"},
            )
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    assert_problem(answer, 408, "request-timeout")
    assert answer.headers["Connection"] == "close"


def test_an_unknown_series_is_404_and_reaches_no_log(world: World, predictor: Responder) -> None:
    answer = world.client.post(URL, json={"series_id": "shop/pears@1d", "horizon": 3})

    document = assert_problem(answer, 404, "unknown-series")
    assert document["errors"][0]["found"] == "shop/pears@1d"
    assert predictor.requests == []


@pytest.mark.parametrize(
    ("code", "status"),
    [("unknown-model", 404), ("no-champion", 409), ("horizon-too-long", 422), ("window-shape", 422)],
)
def test_a_refusal_is_a_problem_when_asked_and_when_read_again(world: World, code: str, status: int) -> None:
    def refuse(request: ForecastRequested) -> Any:
        return factories.forecast_refused(
            request.request_id, code=code, reason="because", field="model", expected="x", found="y"
        )

    with Responder(world.broker, refuse):
        answer = world.client.post(URL, json=GOOD, headers={"Idempotency-Key": "key-1"})
        document = assert_problem(answer, status, code)
        assert document["errors"] == [{"field": "model", "expected": "x", "found": "y"}]
        assert document["request_id"] == "key-1"

        again = world.client.get(f"{URL}/key-1")

    assert_problem(again, status, code)


@pytest.mark.parametrize("path", ["/api/v1/forecasts/nobody", "/api/v1/trainings/x", "/api/v1/ingests/x"])
def test_unknown_things_are_404(client: FlaskClient, path: str) -> None:
    answer = client.get(path)

    assert_problem(answer, 404, f"unknown-{path.split('/')[3][:-1]}")


@pytest.mark.parametrize(
    ("asked", "body", "field"),
    [
        ("GET /schemas/nothing", None, "name"),
        ("GET /symbol/NOTHING", None, "symbol"),
        ("GET /api/v1/models/shop/pears-1d", None, "model"),
        ("GET /api/v1/forecasts/nothing/inputs", None, "forecast_or_request_id"),
        ("GET /api/v1/sources/shop/pears@1d", None, "series_id"),
        ("DELETE /api/v1/organisations/local/members/nobody", None, "user_id"),
        (ASK, {"series_id": "shop/pears@1d", "horizon": 3}, "series_id"),
        ("POST /api/v1/trainings", {"series_id": "shop/pears@1d"}, "series_id"),
        ("POST /api/v1/trainings", {"series_ids": [factories.SERIES, "shop/pears@1d"]}, "series_ids[1]"),
        ("POST /api/v1/projects/shop/train", {"series": ["apples", "pears"]}, "series[1]"),
        ("POST /api/v1/projects/shop/predict", {"series": "pears", "horizon": 1}, "series"),
        ("POST /api/v1/projects/{project}/predict", {"horizon": 1}, "project_id"),
    ],
)
def test_what_is_not_there_is_named_by_its_parameter_or_field(
    client: FlaskClient, project: str, asked: str, body: Any, field: str
) -> None:
    """Red without its line in `problems._NAMED_BY`, or where `not_found` is not told the field of the body."""
    method, url = asked.split()

    answer = client.open(url.format(project=project), method=method, json=body)

    assert answer.status_code == 404, answer.text
    assert [fault["field"] for fault in answer.json["errors"]] == [field]


def test_an_unknown_path_is_404(client: FlaskClient) -> None:
    assert_problem(client.get("/api/v2"), 404, "no-such-path")


def test_an_unknown_method_is_405_and_says_which_are_known(client: FlaskClient) -> None:
    answer = client.delete(URL)

    assert_problem(answer, 405, "method-not-allowed")
    assert "POST" in answer.headers["Allow"]


def test_a_bug_is_500_without_its_inside(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise KeyError("secret-inside")

    monkeypatch.setattr(world.service.queries, "series", broken)

    answer = world.client.get("/api/v1/series")

    assert_problem(answer, 500, "internal-server-error")
    assert "secret-inside" not in answer.text


@pytest.mark.parametrize("key", ["", '""', "a b", "a/b", "x" * 129, "ü", '"', "a,b"])
def test_a_key_that_cannot_be_an_id_is_refused(client: FlaskClient, key: str) -> None:
    answer = client.post(URL, json=GOOD, headers={"Idempotency-Key": key})

    assert_problem(answer, 400, "invalid-idempotency-key")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=99999999999999999999999999", "limit"),
        ("limit=ten", "limit"),
        ("after=yesterday", "after"),
        ("after=2025-01-02T00:00:00", "after"),
        ("order=random", "order"),
        ("lim=3", "lim"),
    ],
)
def test_query_parameters_are_judged(client: FlaskClient, query: str, field: str) -> None:
    answer = client.get(f"/api/v1/series/{factories.SERIES}/observations?{query}")

    document = assert_problem(answer, 422, "invalid-parameter")
    assert document["errors"][0]["field"] == field
