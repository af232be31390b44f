"""Requests made from the OpenAPI document, good and bad, one by one and in chains, against a filled gateway.

Schemathesis makes them and holds each answer against the document with all of its checks: no status 5xx, nothing that
the document does not say, nothing let in against its schema, no operation that can be called without signing in.

`FORETOPIC_FUZZ_EXAMPLES=300` makes that many of each operation, other ones each time, and the smallest that fail; it
takes as long as it takes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from schemas.topics import DEPLOYMENTS, MODELS
from tests import factories
from tests.listening import listening
from tests.unit.gateway.possessions import plant, possessions
from tests.unit.gateway.tenants import Tenants, tenants
from tests.unit.gateway.world import Responder

EXAMPLES = int(os.environ.get("FORETOPIC_FUZZ_EXAMPLES", "0"))
#: Those that go on for minutes: `test_events.py` has them.
STREAMS = {"followEvents", "followTraining"}
#: What would end the sign-in that everything else is asked with; `test_accounts.py` has them.
LAST = {"logOut", "logOutBrowser", "changePassword", "submitPassword"}
#: Tags of what is for operators.
OPERATED = frozenset({"users", "dead-letters"})
#: Beside what a check expects anyway: rules about several fields, and about what is known, are 422 and in no schema.
ACCEPTED = ["2xx", "303", "304", "401", "403", "404", "409", "412", "422", "429"]
#: A body that is too large is told so before anybody looks at what is wrong in it.
REJECTED = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "429"]
#: With a slash in the id of a series or model, these paths are also those of a series or model that cannot be: GET and
#: PUT of `/sources/{series_id}` know `0/pause`, and refuse it.
BELOW_IDS = ["pauseSource", "resumeSource", "runSource", "deployVersion"]
#: Forms of browsers are answered with themselves.
FORMS = {"submitLogin", "submitJoin"}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    folder, files = tmp_path_factory.mktemp("fuzzed"), tmp_path_factory.mktemp("files")
    settings = {"default_wait_seconds": 0.05, "files_directory": files}
    with tenants(folder, **settings) as made, Responder(made.world.broker):
        plant(made, made.apples)
        # Of a project that nobody here may change, so that `/ready` is what the document calls ready, whatever is
        # done to the other champion.
        made.world.publish(MODELS, factories.model_release())
        made.world.publish(DEPLOYMENTS, factories.deployment())
        made.world.settle()
        yield made


@pytest.fixture(scope="module")
def served(both: Tenants) -> Iterator[str]:
    with listening(both.world.app) as url:
        yield url


def schema_of(both: Tenants, served: str, headers: dict[str, str], tags: frozenset[str]) -> Any:
    """Return what of the served document has one of ``tags``, all if there are none, as Schemathesis reads it, with the
    ids of real things as examples."""
    document = both.world.client.get("/openapi.json").get_json()
    for methods in document["paths"].values():
        for method in [one for one, operation in methods.items() if tags and not tags & set(operation["tags"])]:
            del methods[method]
    real = possessions(both, both.apples)
    for parameter in document["components"]["parameters"].values():
        if parameter["in"] == "path" and parameter["name"] in real:
            parameter["example"] = real[parameter["name"]]
        if parameter["name"] == "Idempotency-Key":
            # One key for everything would be one request for everything.
            parameter.pop("example", None)
    generation = {"database": "none"}
    if EXAMPLES:
        generation |= {"max-examples": EXAMPLES}
    else:
        generation |= {"max-examples": 3, "deterministic": True, "no-shrink": True}
    config = SchemathesisConfig.from_dict(
        {
            **({} if EXAMPLES else {"seed": 1}),
            "base-url": served,
            "headers": headers,
            "continue-on-failure": True,
            "request-timeout": 120,
            "generation": generation,
            "phases": {"stateful": {"max-steps": 4}},
            "checks": {
                "positive_data_acceptance": {"expected-statuses": ACCEPTED},
                "negative_data_rejection": {"expected-statuses": REJECTED},
            },
            "operations": [
                {
                    "include-operation-id": BELOW_IDS,
                    "checks": {
                        "unsupported_method": {"enabled": False},
                        "allow_header_conformance": {"enabled": False},
                    },
                }
            ],
        }
    )
    return schemathesis.openapi.from_dict(document, config=config).exclude(operation_id=sorted(STREAMS | LAST | FORMS))


def run(schema: Any) -> tuple[Counter[str], dict[str, str]]:
    """Return how many requests each operation got, and what is wrong -> the first request that shows it."""
    asked: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    for event in from_schema(schema).execute():
        if isinstance(event, events.FatalError):
            raise event.exception
        if isinstance(event, events.NonFatalError):
            wrong[f"{event.label}: {event.value!r}"] = ""
        if isinstance(event, events.ScenarioFinished):
            for case_id, node in event.recorder.cases.items():
                asked[node.value.operation.label] += 1
                for check in event.recorder.checks.get(case_id, ()):
                    if (found := check.failure_info) is not None:
                        label = f"{check.name}: {node.value.operation.label}: {found.failure.title}"
                        wrong.setdefault(label, f"{found.code_sample}\n{found.failure.message[:500]}")
    return asked, wrong


@pytest.mark.slow
@pytest.mark.loopback
@pytest.mark.timeout(0 if EXAMPLES else 1800)
@pytest.mark.parametrize("caller", ["admin", "operator"])
def test_the_gateway_is_as_its_document_says(both: Tenants, served: str, caller: str) -> None:
    """Red when e.g. `repeats.before` judges a key before the method, or a view loses its mark in `guard`."""
    headers = both.apples.admin.headers if caller == "admin" else both.operator.headers
    schema = schema_of(both, served, headers, frozenset() if caller == "admin" else OPERATED)

    asked, wrong = run(schema)

    told = "\n\n".join(f"{label}\n{sample}" for label, sample in sorted(wrong.items()))
    assert not wrong, f"{len(wrong)} things in {asked.total()} requests:\n{told}"
    operations = {operation.ok().label for operation in schema.get_all_operations()}
    assert operations <= asked.keys()
