"""Each operation of the OpenAPI document as docs/api.md shows it: what the client sends is what the document says, and what
the document says comes back is what the client reads; and those that change nothing are asked of a live gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest

from foretopic import Client
from foretopic.api_page import WITHOUT_METHOD, body_of, ids_of, method_of, operations, python_of
from foretopic.client import Problem
from foretopic.client.clients import Operations
from gateway.openapi import document
from tests.unit.client.conftest import Slept
from tests.unit.gateway.possessions import possessions
from tests.unit.gateway.tenants import Tenants

DOCUMENT = document()
#: Where a reader that waits would wait for ever: how the example of something that goes on is once it has ended.
ENDED = {"queued": "succeeded", "running": "succeeded", "progress": "succeeded", "pending": "done"}
#: Of these the live gateway has nothing, or asks for an operator.
NOT_THERE = {
    "getDeadLetter",
    "getQuarantined",
    "getSource",
    "getSymbol",
    "getUpload",
    "getUser",
    "getWebhook",
    "listDeadLetters",
    "listDeliveries",
    "listUsers",
}


def all_operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


CALLED = [one for one in all_operations() if method_of(one[2]["operationId"]) is not None]


def ended(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: None
            if name == "next"
            else ENDED.get(held, held)
            if name == "state" and isinstance(held, str)
            else ended(held)
            for name, held in value.items()
        }
    return [ended(one) for one in value] if isinstance(value, list) else value


class Described:
    """Answers with the examples of the document."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        operation = self._operation(request)
        status, response = next(one for one in operation["responses"].items() if one[0].startswith("2"))
        if not response.get("content"):
            return httpx.Response(int(status))
        media_type, content = next(iter(response["content"].items()))
        if media_type == "text/event-stream":
            # A second time it would begin anew, for ever.
            return httpx.Response(404) if len(self.requests) > 1 else httpx.Response(200, text=content["example"])
        return httpx.Response(int(status), json=ended(content["example"]))

    def _operation(self, request: httpx.Request) -> dict[str, Any]:
        for method, path, operation in all_operations():
            ids = ids_of(DOCUMENT, operation)
            if request.method.lower() == method and request.url.path == filled(path, ids):
                return operation
        # What follows is asked with an id that came in an answer.
        for method, path, operation in all_operations():
            start, _, end = path.partition("{")
            if request.method.lower() == method and end.endswith("}") and request.url.path.startswith(start):
                return operation
        raise AssertionError(request.url)


def filled(path: str, ids: dict[str, str]) -> str:
    for name, value in ids.items():
        path = path.replace(f"{{{name}}}", value)
    return path


@pytest.mark.parametrize(("method", "path", "operation"), CALLED, ids=[one[2]["operationId"] for one in CALLED])
def test_client_speaks_as_the_document(
    method: str, path: str, operation: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sales.csv").write_text("date,sales\n2025-01-01,1\n")
    (tmp_path / "body.json").write_text(json.dumps(body_of(operation)))
    monkeypatch.chdir(tmp_path)
    described, ids = Described(), ids_of(DOCUMENT, operation)
    snippet = python_of(operation, ids)
    assert snippet is not None

    transport = httpx.MockTransport(described)
    with (
        Client("http://gateway.example", api_key="", transport=transport, sleep=Slept().sleep) as client,
        # A stream is asked for again and again, until there is none.
        pytest.raises(Problem) if "text/event-stream" in str(operation["responses"]) else nullcontext(),
    ):
        exec(snippet, {"client": client, "Path": Path, "json": json})

    first = described.requests[0]
    assert (first.method.lower(), first.url.path) == (method, filled(path, ids))
    if first.headers.get("Content-Type") == "application/json":
        assert json.loads(first.content) == (body_of(operation) or {})
    elif "requestBody" in operation:
        assert first.content == (tmp_path / "sales.csv").read_bytes()


READ = [
    one
    for one in CALLED
    if one[0] == "get" and one[2]["operationId"] not in NOT_THERE | {"followEvents", "followTraining"}
]


@pytest.mark.parametrize("operation", [one[2] for one in READ], ids=[one[2]["operationId"] for one in READ])
def test_what_changes_nothing_is_asked_of_a_live_gateway(
    both: Tenants, ids: dict[str, str], operation: dict[str, Any]
) -> None:
    shown = ids_of(DOCUMENT, operation)
    snippet = python_of(operation, {name: ids.get(name, value) for name, value in shown.items()})
    assert snippet is not None

    transport = httpx.WSGITransport(both.world.app)
    with Client("http://localhost", api_key=both.apples.admin.token, transport=transport) as client:
        exec(snippet, {"client": client})


@pytest.fixture(scope="module")
def ids(both: Tenants) -> dict[str, str]:
    return possessions(both, both.apples)


def test_every_operation_of_the_api_has_a_method() -> None:
    for _, path, operation in all_operations():
        name = method_of(operation["operationId"])
        assert (name is not None and hasattr(Operations, name)) or not path.startswith("/api/"), operation[
            "operationId"
        ]
    known = {operation["operationId"] for _, _, operation in all_operations()}
    assert {one for one in WITHOUT_METHOD if one not in known} == set()


def test_the_page_has_every_operation() -> None:
    page = operations()
    assert all(f"### {operation['operationId']}\n" in page for _, _, operation in all_operations())
