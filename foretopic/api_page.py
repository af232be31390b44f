"""The operations in docs/api.md: each with curl and Python, made from the OpenAPI document and the client."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from foretopic.client.clients import Operations
from foretopic.client.offered import following, listing, work
from gateway.openapi import document
from gateway.openapi.operations import TAGS

#: Operations that are for browsers, or for scrapers: no method of the client has them.
WITHOUT_METHOD = frozenset(
    {
        "getPage",
        "getLoginPage",
        "submitLogin",
        "logOutBrowser",
        "getJoinPage",
        "submitJoin",
        "getPasswordPage",
        "submitPassword",
        "getSwaggerUi",
        "getReDoc",
        "getMetrics",
        "reloadByGet",
    }
)
#: Methods that are called otherwise than their operation.
_METHODS = {
    "askForecast": "forecast",
    "askForecasts": "batch",
    "getUsage": "usage",
    "followEvents": "events",
    "trainProject": "train",
    "predictProject": "predict",
    "getOpenApi": "get_open_api",
    "getAsyncApi": "get_async_api",
    "predictLast60Days": "predict_last_60_days",
}
_FILE = 'Path("sales.csv")'
#: Of methods whose arguments are no path parameters and fields of the body.
_ARGUMENTS = {
    "uploadFile": [_FILE],
    "createProject": ['"Shops"', f"file={_FILE}"],
}
_FIRST_PROBLEM = 400
#: A longer body stands in a file.
_LONGEST_BODY = 1000


def method_of(operation_id: str) -> str | None:
    """Return the client's method for an operation; ``None``: there is none."""
    if operation_id in WITHOUT_METHOD:
        return None
    return _METHODS.get(operation_id, re.sub(r"(?<!^)(?=[A-Z])", "_", operation_id).lower())


def operations() -> str:
    """Return every operation, by tag, with what is sent and what is answered."""
    found = document()
    by_tag: defaultdict[str, list[str]] = defaultdict(list)
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            by_tag[operation["tags"][0]].append(_operation(found, method, path, operation))
    return "\n".join(
        f"## {tag.capitalize()}\n\n{description}\n\n" + "\n".join(by_tag[tag])
        for tag, description in TAGS.items()
        if by_tag[tag]
    )


def _operation(found: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [f"### {operation['operationId']}\n\n`{method.upper()} {path}`: {operation['summary']}.\n"]
    if told := operation.get("description"):
        parts.append(f"{told}\n")
    ids = ids_of(found, operation)
    parts.append(f"```sh\n{_curl(method, path, operation, ids)}\n```\n")
    if (python := python_of(operation, ids)) is not None:
        parts.append(f"```python\n{python}\n```\n")
    return "\n".join((*parts, _answers(operation)))


def ids_of(found: dict[str, Any], operation: dict[str, Any]) -> dict[str, str]:
    """Return path parameter -> its example, in the order of the path."""
    names = (parameter["$ref"].rpartition("/")[2] for parameter in operation["parameters"])
    known = (found["components"]["parameters"][name] for name in names)
    return {one["name"]: one["example"] for one in known if one["in"] == "path"}


def body_of(operation: dict[str, Any]) -> dict[str, Any] | None:
    """Return the first example of a JSON body; ``None``: there is none."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return None if content is None else dict(next(iter(content["examples"].values()))["value"])


def _curl(method: str, path: str, operation: dict[str, Any], ids: dict[str, str]) -> str:
    words = ["curl"]
    content = operation.get("requestBody", {}).get("content", {})
    body = body_of(operation)
    sends_file = "multipart/form-data" in content
    if method != ("post" if body is not None or sends_file else "get"):
        words.append(f"-X {method.upper()}")
    if operation.get("security") != []:
        needs_person = "person-needed" in _problems(operation["responses"].get("403", {}))
        words.append(f'-H "Authorization: Bearer ${"ACCESS_TOKEN" if needs_person else "FORETOPIC_API_KEY"}"')
    if sends_file:
        words += ["-F file=@sales.csv"]
    elif body is not None:
        sent = "@body.json" if _is_long(body) else json.dumps(body, ensure_ascii=False)
        words += ["-H 'Content-Type: application/json'", f"-d '{sent}'"]
    if any("text/event-stream" in one.get("content", {}) for one in operation["responses"].values()):
        words.append("-N")
    words.append("'localhost:5000" + re.sub(r"{(\w+)}", lambda one: ids[one[1]], path) + "'")
    return " \\\n  ".join(words)


def python_of(operation: dict[str, Any], ids: dict[str, str]) -> str | None:
    """Return how the client calls an operation; ``None``: it does not."""
    name = method_of(operation["operationId"])
    if name is None:
        return None
    arguments = _ARGUMENTS.get(operation["operationId"])
    if arguments is None:
        fields = body_of(operation) or {}
        named = [f"{key}={value!r}" for key, value in fields.items()]
        if _is_long(fields):
            named = ['**json.loads(Path("body.json").read_text())']
        arguments = [*(json.dumps(one) for one in ids.values()), *named]
    kind = getattr(Operations, name)
    call = f"client.{name}({', '.join(_quoted(arguments))})"
    if isinstance(kind, listing | following):
        return f"for line in {call}:\n    print(line)"
    return f"print({call}.wait())" if isinstance(kind, work) else f"print({call})"


def _is_long(body: dict[str, Any]) -> bool:
    return len(json.dumps(body)) > _LONGEST_BODY


def _quoted(arguments: list[str]) -> Iterator[str]:
    """Yield arguments with the quotes that the rest of the code has."""
    for one in arguments:
        yield one if '"' in one else one.replace("'", '"')


def _answers(operation: dict[str, Any]) -> str:
    good = [
        f"{status} {_kind(one)}".strip()
        for status, one in operation["responses"].items()
        if int(status) < _FIRST_PROBLEM
    ]
    kinds = {status: _problems(one) for status, one in operation["responses"].items() if int(status) >= _FIRST_PROBLEM}
    refused = [
        f"| {status} {HTTPStatus(int(status)).phrase} | {', '.join(f'`{kind}`' for kind in found)} |"
        for status, found in kinds.items()
        if found
    ]
    told = f"Answers {', '.join(good)}."
    head = [f"{told}\n", "<details><summary>Refused with</summary>\n", "| status | `code` |", "|---|---|"]
    return "\n".join([*head, *refused, "\n</details>\n"])


def _problems(response: dict[str, Any]) -> list[str]:
    return list(response.get("content", {}).get("application/problem+json", {}).get("examples", {}))


def _kind(response: dict[str, Any]) -> str:
    shown = []
    for media_type, content in response.get("content", {}).items():
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        if media_type != "application/problem+json":
            shown.append(f"`{name}`" if name else f"as `{media_type}`")
    return " or ".join(shown)
