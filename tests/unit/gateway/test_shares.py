"""What an organisation, a user and a project may have at once: nobody uses up what others need."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import g
from sqlalchemy import Connection, func, insert, select
from werkzeug.test import TestResponse

from gateway.access import Principal
from gateway.accounts.logins import MOST_LOGINS, MOST_USED_TOKENS, exchange, new_refresh_token, start_login
from gateway.accounts.projects import LOCAL_ORGANISATION
from gateway.accounts.tables import LOGINS, PROJECTS, REFRESH_TOKENS
from gateway.problems import Problem
from gateway.uploads.child_processes import Readers
from gateway.uploads.rooms import Owner, Rooms, draft_name
from schemas.topics import OBSERVATIONS
from tests import factories
from tests.unit.gateway.tenants import Tenant, Tenants, tenants
from tests.unit.gateway.test_repeats import require_problem
from tests.unit.gateway.uploaded import shops
from tests.unit.gateway.world import World

SHARE = len(shops()) * 3


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    """Tenants who may have little beside what they have: one project, three members and their keys."""
    folder = tmp_path_factory.mktemp("shares")
    with tenants(
        folder,
        files_directory=folder / "files",
        signup="open",
        projects_an_organisation=2,
        api_keys_an_organisation=4,
        members_an_organisation=4,
        organisations_a_user=2,
        series_a_project=2,
        schedules_a_project=1,
        upload_bytes_an_organisation=SHARE,
    ) as found:
        found.world.settle()
        yield found


def post(people: Tenants, headers: dict[str, str], path: str, body: dict[str, Any]) -> TestResponse:
    return people.world.client.post(f"/api/v1/{path}", json=body, headers=headers)


def quotas(people: Tenants, tenant: Tenant) -> dict[str, Any]:
    path = f"/api/v1/organisations/{tenant.organisation_id}/quotas"
    answer = people.world.client.get(path, headers=tenant.viewer.headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def raise_quotas(people: Tenants, tenant: Tenant, **given: int | None) -> None:
    path = f"/api/v1/organisations/{tenant.organisation_id}/quotas"
    answer = people.world.client.patch(path, json=given, headers=people.operator.headers)
    assert answer.status_code == 200, answer.text


def require_limit(answer: TestResponse, field: str) -> None:
    require_problem(answer, 409, "limit-reached")
    assert [fault["field"] for fault in answer.get_json()["errors"]] == [field]


def path_of(tenant: Tenant, kind: str) -> str:
    return f"organisations/{tenant.organisation_id}/invitations" if kind == "members" else kind


BODIES: dict[str, Callable[[Tenant], dict[str, Any]]] = {
    "projects": lambda _: {"name": "one more"},
    "keys": lambda tenant: {"name": "one more", "organisation_id": tenant.organisation_id},
    "members": lambda _: {"email": "one-more@example.org", "role": "viewer"},
}


@pytest.mark.parametrize(("kind", "name"), [("projects", "projects"), ("keys", "api_keys"), ("members", "members")])
def test_an_organisation_has_so_many_and_no_more(shared: Tenants, kind: str, name: str) -> None:
    """Red without the `shares.require` of the route; two others find room."""
    tenant, path = shared.apples, path_of(shared.apples, kind)
    body = BODIES[kind](tenant)
    before = quotas(shared, tenant)["in_use"][name]

    assert post(shared, tenant.admin.headers, path, body).status_code == 201
    over = post(shared, tenant.admin.headers, path, body)

    require_limit(over, name)
    assert quotas(shared, tenant)["in_use"][name] == before + 1
    other = shared.pears
    assert post(shared, other.admin.headers, path_of(other, kind), BODIES[kind](other)).status_code == 201
    # Red without the look at operators in `Shares.require`: they are held back by nothing.
    if kind == "projects":
        more = {**body, "organisation_id": tenant.organisation_id}
        assert post(shared, shared.operator.headers, path, more).status_code == 201
    raise_quotas(shared, tenant, **{name: 100})
    assert post(shared, tenant.admin.headers, path, body).status_code == 201
    raise_quotas(shared, tenant, **{name: None})
    require_limit(post(shared, tenant.admin.headers, path, body), name)


def test_a_key_that_is_revoked_counts_for_the_day(shared: Tenants) -> None:
    """Red without ``created_us`` among the keys that count: making and revoking would fill the table."""
    tenant = shared.pears
    raise_quotas(shared, tenant, api_keys=quotas(shared, tenant)["in_use"]["api_keys"] + 1)
    made = post(shared, tenant.admin.headers, "keys", BODIES["keys"](tenant)).get_json()
    ended = shared.world.client.delete(f"/api/v1/keys/{made['key_id']}", headers=tenant.admin.headers)

    assert ended.status_code == 204
    require_limit(post(shared, tenant.admin.headers, "keys", BODIES["keys"](tenant)), "api_keys")


def test_two_requests_at_once_do_not_get_past_a_limit_together(shared: Tenants) -> None:
    """Red without the `update` of the owner in `Shares.require`: the second would count before the first has added."""
    tenant, world = shared.pears, shared.world
    raise_quotas(shared, tenant, projects=quotas(shared, tenant)["in_use"]["projects"] + 1)
    principal = Principal(name="user/racing", organisation_id=tenant.organisation_id)

    @contextmanager
    def let_in() -> Iterator[Connection]:
        with world.app.test_request_context(), world.accounts.change() as connection:
            g.principal = principal
            world.service.shares.require(connection, "projects", tenant.organisation_id)
            yield connection

    def second() -> None:
        with let_in():
            pass

    row = {"project_id": "raced", "name": "", "description": "", "created_by": "", "created_us": 0}
    with ThreadPoolExecutor(1) as pool:
        with let_in() as connection:
            waits = pool.submit(second)
            with pytest.raises(TimeoutError):
                waits.result(0.3)
            connection.execute(insert(PROJECTS), {**row, "organisation_id": tenant.organisation_id})
        with pytest.raises(Problem, match="projects of an organisation"):
            waits.result(60)


def test_a_user_makes_so_many_organisations(shared: Tenants) -> None:
    """Red without `shares.require` in `organisations.create`: each would have a share of its own."""
    caller = shared.apples.admin
    statuses = [post(shared, caller.headers, "organisations", {"name": "mine"}).status_code for _ in range(2)]

    assert statuses == [201, 409]
    require_limit(post(shared, caller.headers, "organisations", {"name": "mine"}), "organisations")
    assert post(shared, shared.pears.viewer.headers, "organisations", {"name": "theirs"}).status_code == 201


def test_only_operators_change_the_quotas_of_an_organisation(shared: Tenants) -> None:
    client, tenant = shared.world.client, shared.apples
    path = f"/api/v1/organisations/{tenant.organisation_id}/quotas"

    own = client.patch(path, json={"projects": 0}, headers=tenant.admin.headers)
    foreign = client.get(path, headers=shared.pears.admin.headers)
    missing = client.get("/api/v1/organisations/org_none/quotas", headers=shared.pears.admin.headers)
    bad = client.patch(path, json={"upload_bytes": -1}, headers=shared.operator.headers)
    raise_quotas(shared, tenant, upload_bytes=5 * 2**40)

    require_problem(own, 403, "forbidden")
    require_problem(foreign, 404, "unknown-organisation")
    require_problem(missing, 404, "unknown-organisation")
    require_problem(bad, 422, "invalid-body")
    audited = client.get("/api/v1/audit?limit=1", headers=shared.operator.headers).get_json()["audit"][0]
    assert (audited["action"], audited["details"]) == ("organisation.quotas", {"upload_bytes": 5 * 2**40})
    assert quotas(shared, tenant)["in_force"]["upload_bytes"] == 5 * 2**40
    raise_quotas(shared, tenant, upload_bytes=None)
    assert quotas(shared, tenant)["in_force"]["upload_bytes"] == SHARE


# --- series and schedules of a project ---


@pytest.fixture(scope="module")
def full(shared: Tenants) -> str:
    """A project that has as many series as it may."""
    project_id = shared.apples.project_id
    for name in ("one", "two"):
        shared.world.publish(OBSERVATIONS, factories.observation_batch(series_id=f"{project_id}/{name}@1d"))
    shared.world.settle()
    return project_id


def rows_of(series_id: str) -> dict[str, Any]:
    return {"series": [{"series_id": series_id, "time": ["2026-01-05T00:00:00Z"], "columns": {"y": [1.0]}}]}


def test_a_project_gets_no_further_series(shared: Tenants, full: str) -> None:
    """Red without the `require_series` of each route."""
    headers, new = shared.apples.editor.headers, f"{full}/three@1d"
    ingest = {"symbol": "X", "source": "mock", "series_id": new}

    require_limit(post(shared, headers, "ingests", ingest), "series")
    require_limit(post(shared, headers, "observations", rows_of(new)), "series")
    put = shared.world.client.put(f"/api/v1/sources/{new}", json=schedule(), headers=headers)
    require_limit(put, "series")
    # What is there goes on, and so do others.
    assert post(shared, headers, "observations", rows_of(f"{full}/two@1d")).status_code == 202
    pears = shared.pears
    ingest = {"symbol": "X", "source": "mock", "series_id": f"{pears.project_id}/three@1d"}
    assert post(shared, pears.editor.headers, "ingests", ingest).status_code == 202
    told = shared.world.client.get(f"/api/v1/projects/{full}/quotas", headers=headers).get_json()
    assert (told["in_force"]["series"], told["in_use"]["series"]) == (2, 2)


def test_a_file_brings_no_further_series(shared: Tenants, full: str) -> None:
    """Red without the `require_series` of `ask_for_ingests`."""
    answer = upload(shared, shared.apples, f"project={full}&load=true")

    require_limit(answer, "series")
    for path in (shared.world.folder / "files" / "uploads").iterdir():
        shared.world.client.delete(f"/api/v1/uploads/{path.name}", headers=shared.apples.editor.headers)


def schedule(**more: Any) -> dict[str, Any]:
    return {"symbol": "X", "source": "mock", "cron": "0 3 * * *", **more}


def test_a_project_gets_so_many_schedules(shared: Tenants, full: str) -> None:
    """Red without `require_schedule`; a schedule that is there can be changed."""
    client, headers = shared.world.client, shared.apples.editor.headers
    first, second = (f"/api/v1/sources/{full}/{name}@1d" for name in ("one", "two"))

    assert client.put(first, json=schedule(), headers=headers).status_code == 200
    require_limit(client.put(second, json=schedule(), headers=headers), "schedules")
    assert client.put(first, json=schedule(is_paused=True), headers=headers).status_code == 200


# --- two people who change one schedule ---


def test_a_schedule_that_somebody_else_has_changed_stays(shared: Tenants) -> None:
    """Red without `require_unchanged` in `sources._write`."""
    client, headers = shared.world.client, shared.pears.editor.headers
    path = f"/api/v1/sources/{shared.pears.project_id}/pears@1d"
    new = {**headers, "If-None-Match": "*"}
    first = client.put(path, json=schedule(), headers=new)
    assert first.status_code == 200, first.text
    seen = {**headers, "If-Match": client.get(path, headers=headers).headers["ETag"]}
    assert seen["If-Match"] == first.headers["ETag"]

    theirs = client.put(path, json=schedule(cron="0 4 * * *"), headers=seen)
    mine = client.put(path, json=schedule(cron="0 5 * * *"), headers=seen)

    assert theirs.status_code == 200
    require_problem(mine, 412, "precondition-failed")
    require_problem(client.post(f"{path}/pause", headers=seen), 412, "precondition-failed")
    require_problem(client.put(path, json=schedule(cron="0 6 * * *"), headers=new), 412, "precondition-failed")
    assert client.get(path, headers=headers).get_json()["schedule"]["cron"] == "0 4 * * *"
    # What holds already can be said again, and who says nothing of what they saw changes it as ever.
    assert client.put(path, json=schedule(cron="0 4 * * *"), headers=seen).status_code == 200
    assert client.put(path, json=schedule(cron="0 7 * * *"), headers=headers).status_code == 200
    nothing = client.put(path.replace("pears@", "none@"), json=schedule(), headers=seen | shared.operator.headers)
    require_problem(nothing, 412, "precondition-failed")


# --- the room of uploads ---


def upload(people: Tenants, tenant: Tenant, query: str = "", content: bytes | None = None) -> TestResponse:
    given = query or f"project={tenant.project_id}"
    return people.world.client.post(
        f"/api/v1/uploads?filename=sales.csv&{given}",
        data=shops() if content is None else content,
        content_type="application/octet-stream",
        headers=tenant.editor.headers,
    )


def test_one_tenant_does_not_take_the_room_of_the_others(shared: Tenants) -> None:
    """Red without the share in `Rooms._left`."""
    tenant, client = shared.apples, shared.world.client
    too_large = upload(shared, tenant, content=shops() + b"Berlin,2024-02-01,1,0,fine\n" * 200)
    made = upload(shared, tenant)
    assert made.status_code == 201, made.text
    over = next(answer for _ in range(5) if (answer := upload(shared, tenant)).status_code != 201)

    for answer in (too_large, over):
        require_problem(answer, 507, "upload-share-full")
        assert tenant.organisation_id in answer.get_json()["detail"]
    # What is known of the last one is written behind its file.
    assert 0 < quotas(shared, tenant)["in_use"]["upload_bytes"] < SHARE + len(shops())
    load = client.post(f"/api/v1/uploads/{made.get_json()['upload_id']}/load", json={}, headers=tenant.editor.headers)
    require_problem(load, 507, "upload-share-full")
    # A project that is made of a file takes the same room.
    form = {"data": {"file": (BytesIO(shops()), "sales.csv")}, "content_type": "multipart/form-data"}
    raise_quotas(shared, tenant, projects=1000)
    require_problem(client.post("/api/v1/projects", headers=tenant.editor.headers, **form), 507, "upload-share-full")
    assert upload(shared, shared.pears).status_code == 201
    operator = {**form, "data": {"file": (BytesIO(shops()), "sales.csv"), "organisation_id": tenant.organisation_id}}
    made = client.post("/api/v1/projects", headers=shared.operator.headers, **operator)
    assert made.status_code == 201, made.text


def rooms(folder: Path, sizes: dict[str, int], share: int = 100, most: int = 250) -> Rooms:
    for number, (organisation_id, size) in enumerate(sizes.items()):
        draft = folder / draft_name(str(number), Owner(organisation_id=organisation_id))
        draft.mkdir()
        (draft / "file").write_bytes(b"x" * size)
    return Rooms(most, lambda _: share)


def test_many_uploads_at_once_share_what_is_left(tmp_path: Path) -> None:
    """Red without `_received`: each of them would be let have the 70 bytes that were left when it began."""
    shelf = rooms(tmp_path, {"org_1": 30})
    first, second = shelf.open(tmp_path, "org_1"), shelf.open(tmp_path, "org_1")
    written = tmp_path / draft_name("9", Owner(organisation_id="org_1"))
    written.mkdir()
    first(60)
    (written / "file").write_bytes(b"x" * 60)

    with pytest.raises(Problem) as refused:
        second(20)
    assert refused.value.code == "upload-share-full"
    shelf.open(tmp_path, "org_2")(90)
    # What has gone meanwhile is room again.
    (written / "file").unlink()
    second(20)


def test_nothing_is_received_where_there_is_no_room(tmp_path: Path) -> None:
    """Red without the comparison in `Rooms._left`."""
    shelf = rooms(tmp_path, {"org_1": 100})

    with pytest.raises(Problem, match="100 are taken"):
        shelf.open(tmp_path, "org_1")


def test_draft_of_a_gateway_that_died_goes(tmp_path: Path) -> None:
    """Red without `_DRAFT_SECONDS` in `Rooms.taken`: it would take room for ever, or another gateway's would go."""
    shelf = rooms(tmp_path, {"org_1": 100, "org_2": 30})
    old, _ = sorted(tmp_path.iterdir())
    os.utime(old, (0, 0))

    assert shelf.left(tmp_path, "org_1") == 100
    assert [entry.name for entry in tmp_path.iterdir()] == [draft_name("1", Owner(organisation_id="org_2"))]


def test_all_together_take_no_more_than_there_is(tmp_path: Path) -> None:
    shelf = rooms(tmp_path, {"org_1": 90, "org_2": 90})

    with pytest.raises(Problem) as refused:
        shelf.open(tmp_path, "org_3")(80)

    assert refused.value.code == "uploads-full"


def test_one_tenant_keeps_not_every_reader_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red without ``most_of_one`` in `Readers._turn`."""
    monkeypatch.setattr("gateway.uploads.child_processes._WAIT_SECONDS", 0.01)
    readers = Readers(1.0)
    with readers._turn("org_1"):
        with pytest.raises(Problem, match="other uploads"), readers._turn("org_1"):
            pass
        with readers._turn("org_2"), pytest.raises(Problem, match="other uploads"), readers._turn("org_3"):
            pass
    with readers._turn("org_1"):
        pass
    # Red without `_NO_TENANT`: who runs a machine of their own has all of it.
    with readers._turn(LOCAL_ORGANISATION), readers._turn(LOCAL_ORGANISATION):
        pass


# --- logins ---


def count(world: World, table: Any, condition: Any) -> int:
    with world.accounts.read() as connection:
        return int(connection.scalar(select(func.count()).where(condition).select_from(table)) or 0)


def test_a_user_has_so_many_logins_and_the_oldest_end(shared: Tenants) -> None:
    """Red without the `delete` in `start_login`."""
    caller, world = shared.pears.viewer, shared.world
    now = world.accounts.now_us()
    with world.accounts.change() as connection:
        for number in range(MOST_LOGINS + 3):
            start_login(connection, caller.user_id, "browser", now_us=now + number, expires_us=now + 10**12)

    assert count(world, LOGINS, LOGINS.c.user_id == caller.user_id) == MOST_LOGINS
    refused = world.client.get("/api/v1/me", headers=caller.headers)
    require_problem(refused, 401, "unauthenticated")


def test_exchanged_tokens_are_not_kept_for_ever(shared: Tenants) -> None:
    """Red without `_forget_oldest`."""
    world, caller = shared.world, shared.pears.editor
    now = world.accounts.now_us()
    with world.accounts.change() as connection:
        login_id = start_login(connection, caller.user_id, "token", now_us=now, expires_us=now + 10**12)
        token = new_refresh_token(connection, login_id, now_us=now, expires_us=now + 10**12)
        old = [
            {"token_hash": b"%032d" % number, "login_id": login_id, "created_us": now, "expires_us": now + 10**12}
            | {"used_us": now - 10**6 + number}
            for number in range(MOST_USED_TOKENS + 5)
        ]
        connection.execute(REFRESH_TOKENS.insert(), old)

    fresh = exchange(world.accounts, token)

    assert fresh is not None
    assert count(world, REFRESH_TOKENS, REFRESH_TOKENS.c.login_id == login_id) == MOST_USED_TOKENS + 1
    assert exchange(world.accounts, fresh.refresh_token) is not None
    # One that was stolen a moment ago still ends the login.
    assert exchange(world.accounts, token) is None
    assert count(world, LOGINS, (LOGINS.c.login_id == login_id) & LOGINS.c.revoked_us.is_(None)) == 0
