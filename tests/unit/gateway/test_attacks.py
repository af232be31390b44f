"""What somebody with bad intentions tries, inside of an organisation and out of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
from limits.storage import MemoryStorage
from sqlalchemy import select

from gateway.access import Role
from gateway.accounts.tables import API_KEYS
from gateway.accounts.throttle import Throttle
from gateway.events import Event
from gateway.problems import Problem
from gateway.store import StoreUnavailable
from gateway.webhooks.rows import Webhook
from runtime.broker import TopicPartition
from tests.unit.gateway.tenants import Tenants, add_tenant, add_user, tenants
from tests.unit.gateway.test_gateway_bad_input import assert_problem
from tests.unit.gateway.uploaded import shops

PASSWORD = "four random words"
#: No clock in UTC shows it.
BEYOND = "9999-12-31T23:59:59-23:00"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    folder = tmp_path_factory.mktemp("tenants")
    with tenants(folder, trusted_proxies=1, files_directory=folder / "files") as found:
        found.world.settle()
        yield found


def admin(two: Tenants, method: str, path: str, **sent: Any) -> Any:
    return two.world.client.open(path, method=method, headers=two.apples.admin.headers, **sent)


@pytest.mark.parametrize(
    "number", ["0" * 19 + "1" + "9" * 50, "0" * 19 + "1000000", "9" * 5000, "1000000", "٣"], ids=lambda text: text[:25]
)
@pytest.mark.parametrize("path", ["/api/v1/forecasts?limit=", "/api/v1/audit?before=0&limit="])
def test_a_number_is_judged_as_a_whole(two: Tenants, path: str, number: str) -> None:
    """Red without the length in `parameters.integer`: its first digits were judged, and all of them used."""
    assert_problem(admin(two, "GET", path + number), 422, "invalid-parameter")


def test_a_key_does_not_expire_beyond_time(two: Tenants) -> None:
    """Red without `Body.__post_init__`: the key was kept, and no list of keys could be shown again."""
    with two.world.accounts.read() as connection:
        before = len(connection.execute(select(API_KEYS.c.key_id)).all())

    assert_problem(admin(two, "POST", "/api/v1/keys", json={"name": "x", "expires_at": BEYOND}), 422, "invalid-body")

    with two.world.accounts.read() as connection:
        assert len(connection.execute(select(API_KEYS.c.key_id)).all()) == before
    assert admin(two, "GET", "/api/v1/keys").status_code == 200


@pytest.mark.parametrize("name", ["from", "to"])
def test_a_time_beyond_time_is_refused_in_a_query(two: Tenants, name: str) -> None:
    """Red without `_is_in_utc` in `parameters.time`."""
    answer = admin(two, "GET", "/api/v1/forecasts", query_string={name: BEYOND})

    assert_problem(answer, 422, "invalid-parameter")


def test_nul_reaches_no_database(two: Tenants) -> None:
    """Red without the looks for NUL in `guard.install`, `parameters.require_known`, `bodies.read_body` and for forms in
    `project_files`, `login_pages` and `admin.blueprint`."""
    assert_problem(admin(two, "GET", "/api/v1/organisations/a%00b"), 404, "no-such-path")
    assert_problem(admin(two, "GET", "/api/v1/quarantine?series_id=a%00b"), 422, "invalid-parameter")
    assert_problem(admin(two, "GET", "/api/v1/quarantine?series_id=a&series_id=%00"), 422, "invalid-parameter")
    assert_problem(admin(two, "POST", "/api/v1/keys", json={"name": "a\0b"}), 422, "invalid-body")
    for name in ("name", "description"):
        file = (BytesIO(shops()), "sales.csv")
        answer = admin(two, "POST", "/api/v1/projects", data={"series": "shop", name: "a\0b", "file": file})
        assert assert_problem(answer, 422, "invalid-parameter")["errors"][0]["field"] == name
    answer = two.world.client.post("/login", data={"email": "a@b.example", "password": "hunter2\0"})
    assert assert_problem(answer, 422, "invalid-parameter")["errors"][0]["field"] == "password"
    assert "hunter2" not in answer.text
    page = two.world.client.post("/admin/organisations/new", data={"name": "a\0b"}, headers=two.operator.headers)
    assert (page.status_code, "without the character NUL" in page.text) == (422, True)
    # The two characters before `u` are one backslash.
    assert admin(two, "POST", "/api/v1/projects", json={"name": "a\\u0000b"}).status_code == 201


def test_trying_many_names_from_one_address_leaves_nothing_more_in_memory() -> None:
    """Red when the address is not the first thing that `Throttle.attempt` counts."""
    throttle = Throttle()
    storage = throttle._storage
    assert isinstance(storage, MemoryStorage)
    for number in range(100):
        throttle.attempt(f"{number}@example.org", "192.0.2.1")
    kept = len(storage.events)
    for number in range(50):
        with pytest.raises(Problem):
            throttle.attempt(f"more{number}@example.org", "192.0.2.1")

    assert len(storage.events) == kept


def test_the_addresses_of_one_customer_are_one_address() -> None:
    """Red without `network_of` in `Throttle.attempt`: each has more IPv6 addresses than anybody can count."""
    throttle = Throttle()
    for number in range(10):
        throttle.attempt("a@example.org", f"2001:db8::{number:x}")

    with pytest.raises(Problem) as caught:
        throttle.attempt("a@example.org", "2001:db8::ffff")

    assert caught.value.code == "too-many-attempts"
    throttle.attempt("a@example.org", "2001:db8:0:1::1")


def test_guessing_one_account_is_limited_from_everywhere_until_its_owner_knows_the_password() -> None:
    """Red without `_ACCOUNT` in `Throttle.attempt`, or without either line of `Throttle.succeeded`."""
    throttle, email = Throttle(), "a@example.org"
    for _ in range(2):
        for number in range(40):
            throttle.attempt(email, f"198.51.100.{number}")
        for _ in range(10):
            throttle.attempt(email, "192.0.2.1")
        with pytest.raises(Problem):
            throttle.attempt(email, "203.0.113.9")
        throttle.succeeded(email, "192.0.2.1")
    throttle.attempt(email, "192.0.2.1")


def test_bad_invitations_keep_nobody_from_taking_theirs(two: Tenants) -> None:
    """Red where every invitation counts as one account in `SignIn.sign_up`."""
    path = f"/api/v1/organisations/{two.apples.organisation_id}/invitations"
    token = admin(two, "POST", path, json={"email": "late@example.org"}).get_json()["token"]
    for number in range(55):
        body = {"invitation": f"guess{number}", "password": PASSWORD}
        address = {"X-Forwarded-For": f"198.51.100.{number}"}
        assert two.world.client.post("/api/v1/auth/signup", json=body, headers=address).status_code == 404

    body = {"invitation": token, "password": PASSWORD}
    assert two.world.client.post("/api/v1/auth/signup", json=body).status_code == 201


def test_a_made_up_address_gives_no_further_attempts_to_sign_in(two: Tenants) -> None:
    """Red where `ProxyFix` believes more than the last address; the caller writes what stands before it."""
    statuses = []
    for number in range(11):
        # The proxy adds the address that it sees behind all that the caller sent.
        headers = {"X-Forwarded-For": f"192.0.2.{number}, 10.0.0.{number}, 203.0.113.200"}
        body = {"email": "spoofed@example.org", "password": "wrong"}
        statuses.append(two.world.client.post("/api/v1/auth/login", json=body, headers=headers).status_code)

    assert statuses == [401] * 10 + [429]
    from_elsewhere = {"X-Forwarded-For": "203.0.113.200, 203.0.113.201"}
    body = {"email": "spoofed@example.org", "password": "wrong"}
    assert two.world.client.post("/api/v1/auth/login", json=body, headers=from_elsewhere).status_code == 401


@pytest.mark.parametrize("is_removed", [True, False])
def test_who_is_no_admin_any_more_has_left_no_way_back(two: Tenants, is_removed: bool) -> None:
    """Red without `_withdraw_of` in `remove_member` and `change_member`."""
    tenant = add_tenant(two.world, "plums" if is_removed else "figs")
    second = add_user(two.world, f"{tenant.project_id}@example.org", {tenant.organisation_id: Role.ADMIN})
    path = f"/api/v1/organisations/{tenant.organisation_id}"
    body = {"email": f"other-{tenant.project_id}@example.org", "role": "admin"}
    invited = two.world.client.post(f"{path}/invitations", json=body, headers=second.headers).get_json()["token"]

    member = f"{path}/members/{second.user_id}"
    if is_removed:
        answer = two.world.client.delete(member, headers=tenant.admin.headers)
    else:
        answer = two.world.client.patch(member, json={"role": "viewer"}, headers=tenant.admin.headers)
    assert answer.status_code < 300

    back = {"invitation": invited, "password": PASSWORD}
    assert two.world.client.post("/api/v1/auth/signup", json=back).status_code == 404


def test_a_webhook_is_not_told_what_a_model_of_another_project_makes_of_its_series() -> None:
    """Red without `event.projects` in `Webhook.wants`."""
    webhook = Webhook(
        webhook_id="wh_1",
        project_id="shop",
        url="",
        events=("forecast.issued",),
        series_id=None,
        model=None,
        is_enabled=True,
        disabled_reason="",
        failing_since_us=None,
        created_us=0,
    )

    def event(model: str) -> Event:
        return Event(
            id="x",
            type="forecast.issued",
            time=datetime(2025, 1, 2, tzinfo=UTC),
            place=TopicPartition("forecasts", 0),
            offset=0,
            row_key=("x",),
            series_ids=("shop/apples@1d",),
            model=model,
            record=b"{}",
        )

    assert webhook.wants(event("shop/apples-1d"))
    assert webhook.wants(event("market/public-1d"))
    assert not webhook.wants(event("other/apples-1d"))


def test_an_unreachable_database_is_called_by_its_name(two: Tenants, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red without `store_away.install`: it was said that the event log cannot be reached."""

    def away(*_: Any) -> None:
        raise StoreUnavailable("the database at db.internal does not take this now")

    monkeypatch.setattr(two.world.service.people, "login", away)
    answer = admin(two, "GET", "/api/v1/forecasts")

    document = assert_problem(answer, 503, "database-unavailable")
    assert "database" in document["detail"]
    assert "db.internal" not in answer.text
    assert answer.headers["Retry-After"]


def test_rows_are_brought_into_projects_of_ones_own_alone(two: Tenants) -> None:
    """Red without `require_project` in `gateway.routes.observations`."""

    def bring(project: str, headers: dict[str, str]) -> Any:
        series = {"series_id": f"{project}/sales@1d", "time": ["2025-01-01T00:00:00Z"], "columns": {"close": [1.5]}}
        return two.world.client.post("/api/v1/observations", json={"series": [series]}, headers=headers)

    assert_problem(bring(two.pears.project_id, two.apples.admin.headers), 404, "unknown-project")
    assert_problem(bring("market", two.apples.admin.headers), 403, "forbidden")
    assert_problem(bring(two.apples.project_id, two.apples.viewer.headers), 403, "forbidden")
    assert bring(two.apples.project_id, two.apples.editor.headers).status_code < 300
