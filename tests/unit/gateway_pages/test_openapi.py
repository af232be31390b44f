"""The document says what the gateway does: held against its routes, its source and its answers."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway import answers, every_answer, openapi
from gateway.openapi.problem_kinds import PROBLEMS, REFUSALS
from schemas.topics import DEPLOYMENTS, FORECASTS, INGEST_EVENTS, MODELS, OBSERVATIONS, TRAINING_EVENTS
from tests import factories
from tests.unit.gateway.tenants import tenants
from tests.unit.gateway.world import Responder, World, running

ROOT = Path(__file__).parents[3]
METHODS = {"get", "post", "put", "patch", "delete"}
DOCUMENT = openapi.document()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def schema_errors(schema: dict[str, Any], value: object) -> list[str]:
    """Return what is wrong with ``value``; references lead into the document."""
    rooted = {**schema, "components": DOCUMENT["components"]}
    validator = Draft202012Validator(rooted, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("gateway")) as started:
        started.publish(OBSERVATIONS, factories.observation_batch())
        started.publish(MODELS, factories.model_release())
        started.publish(DEPLOYMENTS, factories.deployment())
        started.publish(TRAINING_EVENTS, factories.training_event("t1", state="succeeded", version=factories.VERSION))
        started.publish(INGEST_EVENTS, factories.ingest_event("i1", state="succeeded", source="mock"))
        started.publish(FORECASTS, factories.forecast_issued("known"))
        started.settle()
        yield started


def test_document_is_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_route_is_in_the_document_and_the_reverse(world: World) -> None:
    assert documented() == routed(world.app)


def documented() -> set[tuple[str, str]]:
    return {(method, path) for path, method, _ in operations()}


def routed(app: Flask) -> set[tuple[str, str]]:
    files = {"pages.static", "pages.plotly", "docs.static", "docs.packaged_file"}
    found = set()
    for rule in app.url_map.iter_rules():
        # The pages of operators do what the operations do, and are for people alone.
        if rule.endpoint not in files and not rule.endpoint.startswith("admin."):
            path = re.sub(r"<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", rule.rule)
            found |= {(method.lower(), path) for method in rule.methods or () if method.lower() in METHODS}
    return found


def test_every_path_parameter_is_declared() -> None:
    for path, method, operation in operations():
        declared = {
            DOCUMENT["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]["name"]
            for parameter in operation["parameters"]
        }
        assert set(re.findall(r"{(\w+)}", path)) <= declared, (method, path)


def test_every_example_is_valid() -> None:
    checked = 0
    for path, method, operation in operations():
        bodies = [("request", operation.get("requestBody", {}))]
        for where, part in (*bodies, *operation["responses"].items()):
            for media_type, content in part.get("content", {}).items():
                values = [example["value"] for example in content.get("examples", {}).values()]
                values += [content["example"]] if "example" in content else []
                for value in values:
                    assert schema_errors(content["schema"], value) == [], (method, path, where, media_type)
                    checked += 1
    assert checked > 60


def test_every_body_and_answer_has_an_example() -> None:
    """But for a history as Parquet, which is no text."""
    lacking = [
        (method, path, where, media_type)
        for path, method, operation in operations()
        for where, part in (("request", operation.get("requestBody", {})), *operation["responses"].items())
        for media_type, content in part.get("content", {}).items()
        if "example" not in content and not content.get("examples") and "parquet" not in media_type
    ]
    assert lacking == []


def test_every_operation_and_tag_says_what_it_is_for() -> None:
    lacking = [one["operationId"] for _, _, one in operations() if not one["summary"] or not one["description"]]
    told = {tag["name"]: tag["description"] for tag in DOCUMENT["tags"]}
    assert lacking == []
    assert set(told) == {name for _, _, one in operations() for name in one["tags"]}
    assert all(told.values())


def test_no_two_operations_have_one_summary() -> None:
    """But for the two methods of `/reload`, which are one."""
    summaries = Counter(one["summary"] for path, _, one in operations() if path != "/reload")
    assert [summary for summary, times in summaries.items() if times > 1] == []


def test_every_parameter_shows_a_value_and_only_those_of_paths_are_filled_in() -> None:
    """Swagger UI sends what stands in `example`: red where `_parameter` gives one to a filter or a header."""
    for name, parameter in DOCUMENT["components"]["parameters"].items():
        schema = parameter["schema"]
        assert ("example" in parameter) is (parameter["in"] == "path"), name
        shown = schema.get("enum") or schema.get("examples") or [parameter.get("example", schema.get("default"))]
        assert [schema_errors(schema, value) for value in shown] == [[]] * len(shown), name


def test_every_component_is_used() -> None:
    text = json.dumps(DOCUMENT)
    for kind in ("schemas", "parameters", "headers"):
        assert [name for name in DOCUMENT["components"][kind] if f'"#/components/{kind}/{name}"' not in text] == []


def test_example_of_a_refused_body_names_the_field_and_the_place() -> None:
    """Red without `_faults` or `_place` in `gateway.openapi.refusals`."""
    refused = DOCUMENT["paths"]["/api/v1/projects/{project_id}/quotas"]["patch"]["responses"]["422"]
    example = refused["content"]["application/problem+json"]["examples"]["invalid-body"]["value"]
    assert example["instance"] == "/api/v1/projects/shops-k3m9wz/quotas"
    assert [fault["field"] for fault in example["errors"]] == ["colour"]
    assert "forecasts_a_day" in example["errors"][0]["expected"]
    assert example["errors"][0]["expected"] in example["detail"]


@pytest.mark.parametrize("status", ["401", "403", "429", "500", "503"])
def test_every_operation_of_the_api_says_what_any_may_be_refused_with(status: str) -> None:
    assert [path for path, _, one in operations() if path.startswith("/api/") and status not in one["responses"]] == []


def test_example_of_the_event_stream_has_a_valid_event() -> None:
    stream = DOCUMENT["paths"]["/api/v1/trainings/{training_id}/events"]["get"]["responses"]["200"]
    data = stream["content"]["text/event-stream"]["example"].split("data: ")[1]
    assert schema_errors({"$ref": "#/components/schemas/TrainingEvent"}, json.loads(data)) == []


def test_every_problem_that_the_source_raises_is_in_the_document() -> None:
    kinds = set(answers._STATUS_BY_CODE)
    for file in sorted((ROOT / "gateway").rglob("*.py")):
        for call in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)):
            kinds |= kinds_raised(call)
    assert len(kinds) > 15
    assert kinds - set(PROBLEMS) == set()


def kinds_raised(call: ast.Call) -> set[str]:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    texts = [a.value for a in call.args[:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if name == "Problem":
        return {text for text in texts if len(call.args) > 1 and call.args[1] is not None and text}
    if name == "unavailable":
        return set(texts[:1])
    return {f"unknown-{texts[0]}"} if name == "not_found" and texts else set()


def test_every_refusal_of_the_predictor_is_in_the_document() -> None:
    serving = ("calendars", "inputs", "intervals", "panel", "serving", "artefact")
    files = [ROOT / "forecasting" / f"{name}.py" for name in serving]
    files += [ROOT / "predictor" / f"{name}.py" for name in ("core", "refusals", "releases")]
    codes = set()
    for file in files:
        for call in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)):
            named = call.func.id if isinstance(call.func, ast.Name) else ""
            first = call.args[0] if call.args else None
            if named[:1].isupper() and isinstance(first, ast.Constant) and isinstance(first.value, str):
                codes |= {first.value} if re.fullmatch(r"[a-z]+(-[a-z]+)+", first.value) else set()
    known = set(REFUSALS) | set(answers._STATUS_BY_CODE)
    assert len(codes) > 8
    assert codes - known == set()


#: What any answer over HTTP has, and what `docs/limits.md` says of browsers and of keeping answers.
OF_HTTP = {"content-type", "content-length", "date", "cache-control", "vary"} | {
    name.lower() for name, _ in every_answer.SECURITY_HEADERS
}
#: Not on each answer of which they are told.
WHERE_IT_COUNTS = {"RateLimit", "RateLimit-Policy", "Idempotent-Replayed", "ETag", "Link", "Content-Disposition"}
CALLS: list[tuple[str, str, int, dict[str, Any]]] = [
    ("post", "/api/v1/forecasts", 200, {"json": {"series_id": factories.SERIES, "horizon": 3}}),
    ("post", "/api/v1/forecasts", 400, {"data": b"{", "content_type": "application/json"}),
    ("post", "/api/v1/forecasts", 404, {"json": {"series_id": "shop/pears@1d", "horizon": 3}}),
    ("post", "/api/v1/forecasts", 415, {"data": b"x", "content_type": "text/plain"}),
    ("post", "/api/v1/forecasts", 422, {"json": {"series_id": factories.SERIES, "horizon": 0}}),
    ("get", "/api/v1/forecasts/known", 200, {}),
    ("get", "/api/v1/forecasts?limit=1", 200, {}),
    ("get", "/api/v1/forecasts/nobody", 404, {}),
    ("get", "/api/v1/series", 200, {}),
    ("get", f"/api/v1/series/{factories.SERIES}", 200, {}),
    ("get", "/api/v1/series/shop/pears@1d", 404, {}),
    ("get", f"/api/v1/series/{factories.SERIES}/observations?limit=3", 200, {}),
    ("get", f"/api/v1/series/{factories.SERIES}/observations?limit=0", 422, {}),
    ("get", f"/api/v1/series/{factories.SERIES}/observations?known_at_offset=1&versions=true", 200, {}),
    ("get", f"/api/v1/series/{factories.SERIES}/observations?known_at_offset=99", 422, {}),
    ("get", f"/api/v1/series/{factories.SERIES}/restatements", 200, {}),
    ("get", f"/api/v1/series/{factories.SERIES}/restatements?cursor=1", 422, {}),
    ("get", "/api/v1/series/shop/pears@1d/restatements", 404, {}),
    ("get", "/api/v1/forecasts/known/inputs?versions=true", 200, {}),
    ("get", "/api/v1/forecasts/known/inputs?limit=0", 422, {}),
    ("get", "/api/v1/forecasts/nobody/inputs", 404, {}),
    ("get", f"/api/v1/series/{factories.SERIES}/forecasts/latest", 200, {}),
    ("get", "/api/v1/series/shop/pears@1d/forecasts/latest", 404, {}),
    ("post", "/api/v1/trainings", 202, {"json": {"series_id": factories.SERIES, "algorithm": "drift"}}),
    ("post", "/api/v1/trainings", 422, {"json": {}}),
    ("post", "/api/v1/trainings", 422, {"json": {"series_id": factories.SERIES, "known_at": "2024-01-01T00:00:00Z"}}),
    ("get", "/api/v1/trainings", 200, {}),
    ("get", "/api/v1/trainings/t1", 200, {}),
    ("get", "/api/v1/trainings/nobody", 404, {}),
    ("delete", "/api/v1/trainings/t1", 409, {}),
    ("get", "/api/v1/models", 200, {}),
    ("get", "/api/v1/models/shop/apples-1d", 200, {}),
    ("get", "/api/v1/models/shop/pears-1d", 404, {}),
    ("post", "/api/v1/models/shop/apples-1d/deploy", 200, {"json": {"version": factories.VERSION}}),
    ("post", "/api/v1/models/shop/apples-1d/deploy", 404, {"json": {"version": "f" * 16}}),
    ("post", "/api/v1/ingests", 202, {"json": {"symbol": "AAPL", "source": "sample"}}),
    ("get", "/api/v1/ingests", 200, {}),
    ("get", "/api/v1/ingests/i1", 200, {}),
    ("get", "/health", 200, {}),
    ("get", "/ready", 200, {}),
    ("get", "/status", 200, {}),
    ("get", "/openapi.json", 200, {}),
    ("get", "/asyncapi.json", 200, {}),
    ("get", "/schemas.json", 200, {}),
    ("get", "/schemas/ForecastIssued", 200, {}),
    ("get", "/schemas/Nothing", 404, {}),
]


@pytest.mark.parametrize(("method", "path", "status", "sent"), CALLS, ids=[f"{m}-{p}-{s}" for m, p, s, _ in CALLS])
def test_answers_are_as_documented(world: World, method: str, path: str, status: int, sent: dict[str, Any]) -> None:
    with Responder(world.broker):
        answer = world.client.open(path, method=method.upper(), **sent)

    assert answer.status_code == status, answer.text
    response = operation_of(world.app, method, path)["responses"][str(status)]
    assert answer.mimetype in response["content"]
    assert schema_errors(response["content"][answer.mimetype]["schema"], answer.get_json(force=True)) == []
    if status >= 400:
        kind = answer.get_json(force=True)["type"].removeprefix("/problems/")
        assert kind in response["content"]["application/problem+json"]["examples"]
    # Red where an answer has a header that nobody was told of.
    assert {name.lower() for name, _ in answer.headers} - OF_HTTP <= {name.lower() for name in response["headers"]}
    assert set(response["headers"]) - WHERE_IT_COUNTS <= set(answer.headers.keys())


def test_headers_of_a_gateway_with_accounts_are_in_the_document(tmp_path: Path) -> None:
    with tenants(tmp_path, requests_a_minute=5) as found:
        client, admin = found.world.client, found.apples.admin
        body, key = {"name": "key"}, {"Idempotency-Key": "once"}
        answers = [client.post("/api/v1/keys", json=body, headers=admin.headers | key) for _ in range(2)]
        answers += [client.get("/api/v1/keys"), client.get("/.well-known/jwks.json"), client.get("/models")]

    sent = [{name.lower() for name, _ in answer.headers} for answer in answers]
    assert "idempotent-replayed" in sent[1]
    for answer, names in zip(answers, sent, strict=True):
        described = operation_of(found.world.app, answer.request.method.lower(), answer.request.path)
        # Red without `_ON_EVERY_ANSWER`, and where a refusal or a kept answer has more than it says.
        told = {name.lower() for name in described["responses"][str(answer.status_code)]["headers"]}
        assert names - OF_HTTP <= told


def operation_of(app: Flask, method: str, path: str) -> dict[str, Any]:
    rule, _ = app.url_map.bind("").match(path.partition("?")[0], method=method.upper(), return_rule=True)
    found: dict[str, Any] = DOCUMENT["paths"][re.sub(r"<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", rule.rule)][method]
    return found


def test_schema_of_one_record_stands_alone(world: World) -> None:
    schema = world.client.get("/schemas/ForecastIssued").get_json(force=True)
    Draft202012Validator.check_schema(schema)
    forecast = json.loads(world.client.get("/openapi.json").data)["paths"]["/api/v1/forecasts"]["post"]["responses"]
    example = forecast["200"]["content"]["application/json"]["example"]

    assert list(Draft202012Validator(schema).iter_errors(example)) == []
    assert list(Draft202012Validator(schema).iter_errors({**example, "steps": []})) != []


def test_asyncapi_document_has_the_topics(world: World) -> None:
    document = world.client.get("/asyncapi.json").get_json()
    assert document["asyncapi"].startswith("3.")
    assert "forecasts" in document["channels"]
