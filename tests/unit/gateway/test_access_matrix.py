"""Every operation of the OpenAPI document x who may not call it: nobody sees or changes a thing of another tenant.

The document says which operations there are and what they take; `possessions` has a real object of a tenant for each
path parameter. An operation, a parameter or a field that the matrix does not know turns it red and says what to add.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.access import Permission, Role
from gateway.guard import permissions
from gateway.openapi.operation import Operation
from gateway.openapi.operations import OPERATIONS
from gateway.openapi.parameters import PARAMETERS
from schemas.topics import OBSERVATIONS
from tests import factories
from tests.unit.gateway.matrix import (
    BODY_REFERENCES,
    LOOKS_LIKE_A_NAME,
    PLAIN_FIELDS,
    PLAIN_QUERIES,
    QUERY_REFERENCES,
    Matrix,
    body_fields,
    example_naming,
    examples_with,
    is_page,
    is_stream,
    plain,
    variables,
)
from tests.unit.gateway.possessions import plant, possessions, series_of
from tests.unit.gateway.tenants import add_user, tenants

BY_ID = {operation.id: operation for operation in OPERATIONS}
GUARDED = [operation.id for operation in OPERATIONS if not operation.is_open]
OF_AN_OBJECT = [name for name in GUARDED if variables(BY_ID[name])]
LISTS = [
    name
    for name, one in BY_ID.items()
    if name in GUARDED and one.method == "get" and not (variables(one) or is_stream(one) or is_page(one))
]
NAMED_IN_BODIES = [
    (name, field) for name in GUARDED for field in sorted(body_fields(BY_ID[name]) & set(BODY_REFERENCES))
]
NAMED_IN_QUERIES = [(name, query) for name in GUARDED for query in BY_ID[name].parameters if query in QUERY_REFERENCES]
_IN_MATRIX = "tests/unit/gateway/matrix.py"


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    folder = tmp_path_factory.mktemp("gateway")
    with tenants(folder, files_directory=folder / "files", default_wait_seconds=0.0) as both:
        both.world.publish(OBSERVATIONS, factories.observation_batch(series_id="market/AAPL@1d"))
        plant(both, both.apples)
        plant(both, both.pears)
        apples, pears = both.apples.organisation_id, both.pears.organisation_id
        second = both.world.service.projects.create(
            organisation_id=apples, name="second", description="", created_by=both.apples.admin.user_id
        )
        roles = {role: {apples: role, pears: Role.ADMIN} for role in (Role.VIEWER, Role.EDITOR)}
        yield Matrix(
            both=both,
            ids=possessions(both, both.apples),
            own=possessions(both, both.pears),
            needed=permissions(both.world.app),
            other_project=both.key(both.apples, Role.ADMIN, project_id=second),
            guests={role: add_user(both.world, f"{role}@guests.example", roles[role]).headers for role in roles},
        )


def test_the_matrix_knows_every_path_parameter(matrix: Matrix) -> None:
    unknown = {name for operation in OPERATIONS for name in variables(operation)} - set(matrix.ids)
    assert not unknown, f"add {unknown} to tests/unit/gateway/possessions.py: one real object of the tenant each"


def test_the_matrix_knows_every_query_parameter() -> None:
    used = {name for operation in OPERATIONS for name in operation.parameters if PARAMETERS[name]["in"] == "query"}
    unknown = used - set(QUERY_REFERENCES) - PLAIN_QUERIES
    assert not unknown, (
        f"add {unknown} in {_IN_MATRIX} to QUERY_REFERENCES where it names a thing of a tenant, else to PLAIN_QUERIES"
    )


def test_the_matrix_knows_every_field_that_names_a_thing() -> None:
    named = {name for operation in OPERATIONS for name in body_fields(operation) if LOOKS_LIKE_A_NAME.search(name)}
    unknown = named - set(BODY_REFERENCES) - PLAIN_FIELDS
    assert not unknown, (
        f"add {unknown} in {_IN_MATRIX} to BODY_REFERENCES where it names a thing of a tenant, else to PLAIN_FIELDS"
    )


def test_the_document_says_what_the_guard_asks_for(matrix: Matrix) -> None:
    """Red when a view is open without being `is_open` in gateway/openapi, or the document tells another permission than the mark."""
    served = matrix.world.client.get("/openapi.json").get_json()
    for operation in OPERATIONS:
        described, needed = served["paths"][operation.path][operation.method], matrix.permission(operation)
        assert described.get("x-permission") == (None if needed is None else str(needed)), operation.id
        assert (described.get("security") == []) is (needed is None), operation.id
        if operation.id != "getMetrics":  # a setting says
            assert operation.is_open is (needed is None), f"{operation.id}: see `is_open` in gateway/openapi"


@pytest.mark.parametrize("name", GUARDED)
def test_nobody_who_has_not_signed_in(matrix: Matrix, name: str) -> None:
    """Red without the check of `is_anonymous` in `gateway.guard.install`."""
    operation = BY_ID[name]
    answers = [plain(matrix.call(operation, {}, ids), ids) for ids in (matrix.ids, matrix.missing)]
    status, headers, text = answers[0]
    assert (status, json.loads(text)["type"]) == (401, "/problems/unauthenticated")
    assert headers["WWW-Authenticate"].startswith("Bearer")
    assert answers[0] == answers[1]


@pytest.mark.parametrize("name", OF_AN_OBJECT)
def test_another_tenant_sees_no_difference_to_what_does_not_exist(matrix: Matrix, name: str) -> None:
    """Red where a route uses an object without asking `gateway.tenancy` about its project."""
    operation, pears = BY_ID[name], matrix.both.pears
    before = matrix.ends()
    expected = 403 if matrix.permission(operation) is Permission.OPERATE else 404
    for caller in (pears.admin.headers, pears.admin.key_headers):
        foreign = plain(matrix.call(operation, caller, matrix.ids), matrix.ids)
        missing = plain(matrix.call(operation, caller, matrix.missing), matrix.missing)
        assert foreign[0] == expected, foreign
        assert foreign == missing
        assert matrix.marks_in(foreign[2]) == []
        if expected == 404:  # red where the problem names a thing by another word than the path
            assert {fault["field"] for fault in json.loads(foreign[2])["errors"]} <= set(variables(operation)), foreign
            assert json.loads(foreign[2])["errors"]
    assert matrix.ends() == before


@pytest.mark.parametrize("name", GUARDED)
def test_a_lower_role(matrix: Matrix, name: str) -> None:
    """Red without the last line of `Access.require`, or where a route asks it for less than its mark says."""
    operation = BY_ID[name]
    permission = matrix.permission(operation)
    if permission in (None, Permission.READ):
        return  # every member may read
    before = matrix.ends()
    for caller in _too_low(matrix, operation):
        answer = matrix.call(operation, caller, matrix.ids, **_about_own(matrix, operation))
        document = answer.get_json()
        problems = [line["problem"] for line in document["answers"]] if "answers" in document else [document]
        assert [(problem["status"], problem["type"]) for problem in problems] == [(403, "/problems/forbidden")] * len(
            problems
        ), document
    assert matrix.ends() == before


def _too_low(matrix: Matrix, operation: Operation) -> list[dict[str, str]]:
    """Return members whose role is too low; a guest is an admin elsewhere, so the mark of a view lets them through."""
    permission, apples = matrix.permission(operation), matrix.both.apples
    is_for_admins = permission in (Permission.DEPLOY, Permission.MANAGE)
    if permission is Permission.FORECAST and not variables(operation) and not _about_own(matrix, operation):
        return []  # it forecasts what is public
    if permission is Permission.OPERATE:
        return [apples.viewer.headers, apples.editor.headers, apples.admin.headers]
    callers = [apples.viewer.headers] + [apples.editor.headers] * is_for_admins
    if variables(operation):
        callers += [matrix.guests[Role.VIEWER]] + [matrix.guests[Role.EDITOR]] * is_for_admins
    return callers


def _about_own(matrix: Matrix, operation: Operation) -> dict[str, Any]:
    """Return a body about what the tenant has, where the first example is about what is public."""
    fields = sorted(body_fields(operation) & set(BODY_REFERENCES))
    if matrix.permission(operation) is not Permission.FORECAST or not fields:
        return {}
    body = next(iter(operation.examples.values()))
    for field in fields:
        body = example_naming(body, field, matrix.ids[BODY_REFERENCES[field]])
    return {"json": body}


@pytest.mark.parametrize("name", [name for name in OF_AN_OBJECT if BY_ID[name].method == "get"])
def test_a_member_sees_what_the_others_are_not_told_of(matrix: Matrix, name: str) -> None:
    """The ids of the matrix name things: else it would compare what is missing with what is missing."""
    operation = BY_ID[name]
    if matrix.permission(operation) is not Permission.OPERATE:
        answer = matrix.call(operation, matrix.both.apples.admin.headers, matrix.ids, buffered=False)
        status = answer.status_code
        answer.close()
        assert status in (200, 202)


@pytest.mark.parametrize("name", GUARDED)
def test_a_key_with_too_small_a_scope(matrix: Matrix, name: str) -> None:
    """Red without `in_scope` in `Principal.anywhere`."""
    operation = BY_ID[name]
    permission = matrix.permission(operation)
    assert permission is not None
    answer = matrix.call(operation, matrix.without(permission), matrix.ids)
    assert (answer.status_code, answer.get_json()["type"]) == (403, "/problems/forbidden"), answer.text


@pytest.mark.parametrize("name", OF_AN_OBJECT)
def test_a_key_of_another_project(matrix: Matrix, name: str) -> None:
    """Red without the check of `project_ids` in `Access.permissions`."""
    operation = BY_ID[name]
    before = matrix.ends()
    foreign = plain(matrix.call(operation, matrix.other_project, matrix.ids), matrix.ids)
    missing = plain(matrix.call(operation, matrix.other_project, matrix.missing), matrix.missing)
    if foreign[0] != 403:  # what belongs to the organisation is not for keys of one project at all
        assert foreign[0] == 404, foreign
        assert foreign == missing
    assert set(matrix.marks_in(foreign[2])) <= {matrix.both.apples.organisation_id}
    assert matrix.ends() == before


@pytest.mark.parametrize("name", LISTS)
def test_a_list_shows_nothing_of_another_tenant(matrix: Matrix, name: str) -> None:
    """Red where a list is not filtered by `Access.visible`."""
    operation, pears = BY_ID[name], matrix.both.pears
    if matrix.permission(operation) is Permission.OPERATE:
        return  # tenants are refused
    own = matrix.call(operation, matrix.both.apples.admin.headers, {}).get_data(as_text=True)
    assert matrix.marks_in(own) or "{" in operation.path, (
        f"{name} shows nothing of the tenant who asks, so that it shows nothing of others proves nothing: plant something "
        "that it shows in tests/unit/gateway/possessions.py"
    )
    for caller in (pears.admin.headers, pears.viewer.headers, pears.admin.key_headers):
        answer = matrix.call(operation, caller, {})
        assert answer.status_code in (200, 403, 404), answer.text
        assert matrix.marks_in(answer.get_data(as_text=True)) == []


@pytest.mark.parametrize(("name", "field"), NAMED_IN_BODIES)
def test_a_body_that_names_a_thing_of_another_tenant(matrix: Matrix, name: str, field: str) -> None:
    """Red where a route uses what a body names without asking `gateway.tenancy`."""
    operation = BY_ID[name]
    if matrix.permission(operation) is Permission.OPERATE:
        return  # tenants are refused
    before = matrix.ends()
    for body in examples_with(operation, field):
        answers = []
        for ids in (matrix.ids, matrix.missing):
            sent = example_naming(body, field, ids[BODY_REFERENCES[field]])
            answer = matrix.call(operation, matrix.both.pears.admin.headers, matrix.own, json=sent)
            answers.append(plain(answer, ids))
        assert answers[0] == answers[1]
        assert answers[0][0] >= 400 or '"status":4' in answers[0][2], answers[0]
        assert matrix.marks_in(answers[0][2]) == []
    assert matrix.ends() == before


@pytest.mark.parametrize(("name", "parameter"), NAMED_IN_QUERIES)
def test_a_query_that_names_a_thing_of_another_tenant(matrix: Matrix, name: str, parameter: str) -> None:
    """Red where a filter reaches beyond `Access.visible`."""
    operation = BY_ID[name]
    answers = []
    for ids in (matrix.ids, matrix.missing):
        sent = {"filename": "any.csv"} if operation.takes_file else {}
        sent[PARAMETERS[parameter]["name"]] = ids[QUERY_REFERENCES[parameter]]
        answer = matrix.call(
            operation, matrix.both.pears.admin.headers, matrix.own, query_string=sent, buffered=not is_stream(operation)
        )
        if is_stream(operation) and answer.status_code == 200:
            answer.close()
            raise AssertionError(f"{name} begins a stream for a {parameter} of another tenant")
        answers.append(plain(answer, ids))
    assert answers[0] == answers[1]
    assert matrix.marks_in(answers[0][2]) == []


def test_a_series_is_shown_to_its_own(matrix: Matrix) -> None:
    apples = matrix.both.apples
    answer = matrix.world.client.get(f"/api/v1/series/{series_of(apples)}", headers=apples.viewer.headers)
    assert answer.get_json()["rows"] == 30
