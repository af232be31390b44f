"""Signing in, up and out; organisations, keys, users; each change in the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, update

from gateway.access import Role
from gateway.accounts.passwords import Passwords
from gateway.accounts.sign_in import invitation_of, take
from gateway.accounts.tables import API_KEYS, INVITATIONS, LOGINS, REFRESH_TOKENS, USERS
from gateway.problems import Problem
from tests.unit.gateway.tenants import Caller, Tenants, add_tenant, add_user, tenants

PASSWORD = "four random words"
AUTH = "/api/v1/auth"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with tenants(tmp_path_factory.mktemp("tenants")) as found:
        yield found


def with_password(two: Tenants, email: str, password: str = PASSWORD, **columns: Any) -> Caller:
    return add_user(two.world, email, password_hash=two.world.service.sign_in.passwords.hash(password), **columns)


def log_in(two: Tenants, email: str, password: str = PASSWORD) -> Any:
    return two.world.client.post(f"{AUTH}/login", json={"email": email, "password": password})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def audited(two: Tenants, action: str) -> list[dict[str, Any]]:
    lines = two.world.client.get("/api/v1/audit?limit=1000", headers=two.operator.headers).get_json()["audit"]
    return [line for line in lines if line["action"] == action]


def test_a_password_gives_tokens_that_can_be_refreshed(two: Tenants) -> None:
    with_password(two, "ana@example.org")

    signed = log_in(two, " Ana@Example.org ").get_json()
    again = two.world.client.post(f"{AUTH}/refresh", json={"refresh_token": signed["refresh_token"]}).get_json()

    for tokens in (signed, again):
        me = two.world.client.get("/api/v1/me", headers=bearer(tokens["access_token"])).get_json()
        assert (me["email"], me["kind"]) == ("ana@example.org", "user")
    assert again["refresh_token"] != signed["refresh_token"]


def test_a_refresh_token_that_comes_again_ends_the_whole_login(two: Tenants) -> None:
    with_password(two, "bia@example.org")
    first = log_in(two, "bia@example.org").get_json()
    second = two.world.client.post(f"{AUTH}/refresh", json={"refresh_token": first["refresh_token"]}).get_json()
    assert two.world.client.get("/api/v1/me", headers=bearer(second["access_token"])).status_code == 200

    stolen = two.world.client.post(f"{AUTH}/refresh", json={"refresh_token": first["refresh_token"]})

    # Goes red without `end_login` in `logins.exchange`.
    assert stolen.status_code == 401
    assert two.world.client.get("/api/v1/me", headers=bearer(second["access_token"])).status_code == 401
    newest = two.world.client.post(f"{AUTH}/refresh", json={"refresh_token": second["refresh_token"]})
    assert newest.status_code == 401


@pytest.mark.parametrize("what", ["token", "login", "account"])
def test_a_refresh_token_ends_with_its_time_its_login_and_its_account(two: Tenants, what: str) -> None:
    """Red without `expires_us` of either table, or `is_disabled`, in `logins.exchange`."""
    caller = with_password(two, f"refresh-{what}@example.org")
    first = log_in(two, caller.email).get_json()["refresh_token"]
    second = two.world.client.post(f"{AUTH}/refresh", json={"refresh_token": first}).get_json()["refresh_token"]
    of_user = LOGINS.c.user_id == caller.user_id
    with two.world.accounts.change() as connection:
        past = two.world.accounts.now_us() - 1
        logins = connection.execute(select(LOGINS.c.login_id, LOGINS.c.expires_us).where(of_user)).all()
        of_logins = REFRESH_TOKENS.c.login_id.in_([login.login_id for login in logins])
        ends = set(connection.scalars(select(REFRESH_TOKENS.c.expires_us).where(of_logins)))
        connection.execute(
            {
                "token": update(REFRESH_TOKENS).where(of_logins).values(expires_us=past),
                "login": update(LOGINS).where(of_user).values(expires_us=past),
                "account": update(USERS).where(USERS.c.user_id == caller.user_id).values(is_disabled=True),
            }[what]
        )

    assert two.world.client.post(f"{AUTH}/refresh", json={"refresh_token": second}).status_code == 401
    # However often it is exchanged, it is never good for longer than the login.
    assert ends <= {login.expires_us for login in logins}


def test_signing_out_ends_access_and_refresh_tokens_at_once(two: Tenants) -> None:
    with_password(two, "caio@example.org")
    signed = log_in(two, "caio@example.org").get_json()
    assert two.world.client.get("/api/v1/me", headers=bearer(signed["access_token"])).status_code == 200

    assert two.world.client.post(f"{AUTH}/logout", headers=bearer(signed["access_token"])).status_code == 204

    # Goes red without the generation in `AccountsDatabase.change`.
    assert two.world.client.get("/api/v1/me", headers=bearer(signed["access_token"])).status_code == 401
    refreshed = two.world.client.post(f"{AUTH}/refresh", json={"refresh_token": signed["refresh_token"]})
    assert refreshed.status_code == 401


def test_nobody_a_wrong_password_and_a_closed_account_are_told_the_same(two: Tenants) -> None:
    with_password(two, "duda@example.org")
    with_password(two, "closed@example.org", is_disabled=True)

    told = [
        log_in(two, email, password).get_json() | {"x_request_id": ""}
        for email, password in (
            ("duda@example.org", "wrong"),
            ("nobody@example.org", "x"),
            ("closed@example.org", PASSWORD),
        )
    ]

    assert told[0] == told[1] == told[2]
    assert told[0]["status"] == 401


def test_nobody_takes_as_long_as_a_wrong_password() -> None:
    passwords, judged = Passwords(memory_kibibytes=8, rounds=1), []
    verify = passwords._verify
    passwords._verify = lambda password, kept: judged.append(kept) or verify(password, kept)  # type: ignore[method-assign]

    # Goes red when `is_right` answers before it has hashed.
    assert not passwords.is_right("x", None)
    assert judged == [passwords._nobodys]
    assert not passwords.is_right("x", passwords.hash("y"))


def test_guessing_is_stopped_whether_or_not_the_account_exists(two: Tenants) -> None:
    with_password(two, "eva@example.org")
    for email in ("eva@example.org", "ghost@example.org"):
        statuses = [log_in(two, email, f"guess {number}").status_code for number in range(11)]
        # Goes red without `Throttle.attempt`.
        assert statuses == [401] * 10 + [429]
    answer = log_in(two, "eva@example.org")
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0


def test_who_holds_a_token_does_not_guess_the_password_with_it(two: Tenants) -> None:
    """Red without `Throttle.attempt` in `SignIn.change_password`."""
    caller = with_password(two, "gil@example.org")
    statuses = [
        two.world.client.post(
            f"{AUTH}/password",
            headers=caller.headers,
            json={"password": f"guess {number}", "new_password": "five other random words"},
        ).status_code
        for number in range(11)
    ]
    assert statuses == [401] * 10 + [429]


def test_a_password_that_is_changed_meanwhile_stays_changed(two: Tenants, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red without the hash that was judged in the update of `SignIn.with_password`."""
    caller = add_user(
        two.world, "gina@example.org", password_hash=Passwords(memory_kibibytes=16, rounds=2).hash(PASSWORD)
    )
    passwords = two.world.service.sign_in.passwords
    new = passwords.hash("another one")
    hash_of = passwords.hash

    def changed_meanwhile(password: str) -> str:
        with two.world.accounts.change() as connection:
            connection.execute(update(USERS).where(USERS.c.user_id == caller.user_id).values(password_hash=new))
        return hash_of(password)

    monkeypatch.setattr(passwords, "hash", changed_meanwhile)
    log_in(two, "gina@example.org")

    with two.world.accounts.read() as connection:
        assert connection.scalar(select(USERS.c.password_hash).where(USERS.c.user_id == caller.user_id)) == new


def test_an_outdated_hash_is_replaced_at_sign_in(two: Tenants) -> None:
    old = Passwords(memory_kibibytes=16, rounds=2).hash(PASSWORD)
    caller = add_user(two.world, "fabi@example.org", password_hash=old)

    assert log_in(two, "fabi@example.org").status_code == 200

    with two.world.accounts.read() as connection:
        kept = connection.scalar(select(USERS.c.password_hash).where(USERS.c.user_id == caller.user_id))
    assert kept != old
    assert "m=8,t=1" in kept
    assert log_in(two, "fabi@example.org").status_code == 200


@pytest.mark.parametrize("password", ["short", "Password1234", "gabi@example.org", "abababababab", "x" * 501])
def test_weak_passwords_are_refused_and_not_repeated(two: Tenants, password: str) -> None:
    caller = two.world.service.people
    answer = two.world.client.post(
        f"{AUTH}/signup", json={"invitation": invite(two, "gabi@example.org")["token"], "password": password}
    )

    assert answer.status_code == 422
    assert password not in answer.text or password == "short"
    assert caller is not None


def invite(two: Tenants, email: str, role: str = "editor") -> dict[str, Any]:
    answer = two.world.client.post(
        f"/api/v1/organisations/{two.apples.organisation_id}/invitations",
        headers=two.apples.admin.headers,
        json={"email": email, "role": role},
    )
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def test_an_invitation_makes_a_user_and_a_member_once(two: Tenants) -> None:
    invited = invite(two, "hugo@example.org")
    assert invited["link"] == f"http://localhost/join#{invited['token']}"

    body = {"invitation": invited["token"], "password": PASSWORD, "name": "Hugo"}
    answer = two.world.client.post(f"{AUTH}/signup", json=body)
    again = two.world.client.post(f"{AUTH}/signup", json=body)

    me = two.world.client.get("/api/v1/me", headers=bearer(answer.get_json()["access_token"])).get_json()
    assert me["organisations"] == [{"organisation_id": two.apples.organisation_id, "name": "apples", "role": "editor"}]
    assert again.status_code == 404
    assert log_in(two, "hugo@example.org").status_code == 200


def test_an_invitation_is_for_one_address(two: Tenants) -> None:
    invited = invite(two, "admin@pears.example")
    path = "/api/v1/invitations/accept"

    other = two.world.client.post(path, headers=two.pears.viewer.headers, json={"invitation": invited["token"]})
    right = two.world.client.post(path, headers=two.pears.admin.headers, json={"invitation": invited["token"]})

    # Goes red without the comparison in `_accept`.
    assert other.status_code == 403
    assert right.get_json() == {"organisation_id": two.apples.organisation_id, "role": "editor"}
    members = f"/api/v1/organisations/{two.apples.organisation_id}/members"
    left = two.world.client.delete(f"{members}/{two.pears.admin.user_id}", headers=two.pears.admin.headers)
    assert left.status_code == 204


def test_an_invitation_runs_out(two: Tenants) -> None:
    """Red without `expires_us` in `invitation_of`."""
    invited = invite(two, "inge@example.org")
    with two.world.accounts.change() as connection:
        same = INVITATIONS.c.invitation_id == invited["invitation_id"]
        connection.execute(update(INVITATIONS).where(same).values(expires_us=two.world.accounts.now_us()))

    signed = two.world.client.post(f"{AUTH}/signup", json={"invitation": invited["token"], "password": PASSWORD})

    assert signed.status_code == 404


def test_of_two_who_take_an_invitation_at_once_one_is_refused(two: Tenants) -> None:
    """Red without `accepted_us` in the update of `take`: both have read that it is open."""
    invited = invite(two, "ines@example.org")
    people = [with_password(two, f"ines-{number}@example.org") for number in range(2)]
    with two.world.accounts.change() as connection:
        now = two.world.accounts.now_us()
        row = invitation_of(connection, invited["token"], now)
        take(connection, row, people[0].user_id, now)
        with pytest.raises(Problem) as refused:
            take(connection, row, people[1].user_id, now)
    assert refused.value.status == 404


def test_a_withdrawn_invitation_is_not_good(two: Tenants) -> None:
    invited = invite(two, "iara@example.org")
    path = f"/api/v1/organisations/{two.apples.organisation_id}/invitations"
    assert invited["invitation_id"] in two.world.client.get(path, headers=two.apples.admin.headers).text

    answer = two.world.client.delete(f"{path}/{invited['invitation_id']}", headers=two.apples.admin.headers)

    assert answer.status_code == 204
    signed = two.world.client.post(f"{AUTH}/signup", json={"invitation": invited["token"], "password": PASSWORD})
    assert signed.status_code == 404


def test_sign_up_is_shut_unless_the_setting_opens_it(two: Tenants) -> None:
    answer = two.world.client.post(f"{AUTH}/signup", json={"email": "joao@example.org", "password": PASSWORD})

    assert answer.status_code == 403
    assert answer.get_json()["type"] == "/problems/invitation-needed"


def test_open_sign_up_gives_an_organisation_of_ones_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    with tenants(tmp_path_factory.mktemp("open"), signup="open") as found:
        body = {"email": "Kika@Example.org", "password": PASSWORD, "organisation": "Kika & co"}
        signed = found.world.client.post(f"{AUTH}/signup", json=body)
        taken = found.world.client.post(f"{AUTH}/signup", json=body)
        me = found.world.client.get("/api/v1/me", headers=bearer(signed.get_json()["access_token"])).get_json()

    assert signed.status_code == 201
    assert taken.status_code == 409
    assert [(one["name"], one["role"]) for one in me["organisations"]] == [("Kika & co", "admin")]


def test_another_password_ends_the_other_logins(two: Tenants) -> None:
    with_password(two, "lia@example.org")
    here, there = (log_in(two, "lia@example.org").get_json()["access_token"] for _ in range(2))
    body = {"password": PASSWORD, "new_password": "five quite random words"}

    assert two.world.client.post(f"{AUTH}/password", headers=bearer(here), json=body).status_code == 204

    assert two.world.client.get("/api/v1/me", headers=bearer(here)).status_code == 200
    assert two.world.client.get("/api/v1/me", headers=bearer(there)).status_code == 401
    assert log_in(two, "lia@example.org").status_code == 401
    assert log_in(two, "lia@example.org", body["new_password"]).status_code == 200


def test_a_one_time_password_is_good_for_changing_it_only(two: Tenants) -> None:
    made = two.world.client.post(
        "/api/v1/users", headers=two.operator.headers, json={"email": "max@example.org"}
    ).get_json()
    signed = log_in(two, "max@example.org", made["password"]).get_json()
    headers = bearer(signed["access_token"])
    assert signed["must_change_password"]

    refused = two.world.client.get("/api/v1/series", headers=headers)
    # Goes red without `_principal` in the authenticator.
    assert (refused.status_code, refused.get_json()["type"]) == (403, "/problems/password-change-required")

    body = {"password": made["password"], "new_password": PASSWORD}
    assert two.world.client.post(f"{AUTH}/password", headers=headers, json=body).status_code == 204
    assert two.world.client.get("/api/v1/series", headers=headers).status_code == 200


def test_the_last_admin_can_neither_be_removed_nor_made_less(two: Tenants) -> None:
    tenant = add_tenant(two.world, "cherries")
    path = f"/api/v1/organisations/{tenant.organisation_id}/members"
    admin, editor = tenant.admin, tenant.editor

    # Goes red without `_require_an_admin`.
    assert two.world.client.delete(f"{path}/{admin.user_id}", headers=admin.headers).status_code == 409
    lowered = two.world.client.patch(f"{path}/{admin.user_id}", headers=admin.headers, json={"role": "viewer"})
    assert lowered.status_code == 409

    raised = two.world.client.patch(f"{path}/{editor.user_id}", headers=admin.headers, json={"role": "admin"})
    assert raised.get_json()["role"] == "admin"
    assert two.world.client.delete(f"{path}/{admin.user_id}", headers=editor.headers).status_code == 204
    # What they held is gone at once: the token says who they are, not what they may do.
    assert two.world.client.get(path, headers=admin.headers).status_code == 404
    assert two.world.client.get("/api/v1/me", headers=admin.key_headers).status_code == 401


def test_a_role_that_is_lowered_lowers_the_keys_too(two: Tenants) -> None:
    tenant = add_tenant(two.world, "plums")
    path = f"/api/v1/organisations/{tenant.organisation_id}/members/{tenant.editor.user_id}"
    ask = {"series_id": "market/AAPL@1d", "algorithm": "drift"}

    def trains() -> int:
        found: int = two.world.client.post("/api/v1/trainings", headers=tenant.editor.key_headers, json=ask).status_code
        return found

    assert trains() != 403
    two.world.client.patch(path, headers=tenant.admin.headers, json={"role": "viewer"})

    # Goes red without `min` in `KnownKey.principal`.
    assert trains() == 403


def test_organisations_of_others_are_like_those_that_do_not_exist(two: Tenants) -> None:
    client, headers = two.world.client, two.apples.admin.headers
    foreign, missing = two.pears.organisation_id, "org_" + "0" * 24
    calls = [
        ("get", "", None),
        ("patch", "", {"name": "mine"}),
        ("get", "/members", None),
        ("get", "/invitations", None),
        ("post", "/invitations", {"email": "x@example.org"}),
        ("patch", f"/members/{two.pears.viewer.user_id}", {"role": "admin"}),
        ("delete", f"/members/{two.pears.viewer.user_id}", None),
    ]
    for method, rest, body in calls:
        told = []
        for organisation_id in (foreign, missing):
            answer = client.open(
                f"/api/v1/organisations/{organisation_id}{rest}", method=method.upper(), headers=headers, json=body
            )
            assert answer.status_code == 404, (method, rest, answer.text)
            told.append(answer.text.replace(organisation_id, "ID").replace(answer.headers["X-Request-ID"], "REQUEST"))
        assert told[0] == told[1]
    assert two.pears.organisation_id not in client.get("/api/v1/organisations", headers=headers).text


def test_only_admins_manage(two: Tenants) -> None:
    base = f"/api/v1/organisations/{two.apples.organisation_id}"
    for member in (two.apples.viewer, two.apples.editor):
        assert two.world.client.patch(base, headers=member.headers, json={"name": "x"}).status_code == 403
        assert two.world.client.get(f"{base}/invitations", headers=member.headers).status_code == 403
        assert two.world.client.get("/api/v1/keys", headers=member.headers).status_code == 403
        assert two.world.client.get("/api/v1/audit", headers=member.headers).status_code == 403
        assert two.world.client.get("/api/v1/users", headers=member.headers).status_code == 403
        path = f"{base}/members/{two.apples.admin.user_id}"
        assert two.world.client.delete(path, headers=member.headers).status_code == 403


def test_a_key_is_shown_once_used_and_revoked(two: Tenants) -> None:
    client, headers = two.world.client, two.apples.admin.headers
    made = client.post("/api/v1/keys", headers=headers, json={"name": "nightly", "scopes": ["read"]}).get_json()
    used = client.get("/api/v1/me", headers=bearer(made["key"])).get_json()
    assert (used["kind"], used["scopes"]) == ("key", ["read"])

    (line,) = [
        key for key in client.get("/api/v1/keys", headers=headers).get_json()["keys"] if key["key_id"] == made["key_id"]
    ]
    assert "key" not in line
    assert made["key"].startswith(line["shown"])
    assert line["last_used_at"] is not None
    foreign = client.delete(f"/api/v1/keys/{made['key_id']}", headers=two.pears.admin.headers)
    missing = client.delete("/api/v1/keys/key_nothing", headers=two.pears.admin.headers)
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert client.delete(f"/api/v1/keys/{made['key_id']}", headers=headers).status_code == 204
    assert client.get("/api/v1/me", headers=bearer(made["key"])).status_code == 401
    with two.world.accounts.read() as connection:
        kept = connection.execute(select(API_KEYS).where(API_KEYS.c.key_id == made["key_id"])).one()
    assert made["key"] not in repr(kept)


def test_a_key_cannot_make_ways_in(two: Tenants) -> None:
    client, headers = two.world.client, two.apples.admin.key_headers
    base = f"/api/v1/organisations/{two.apples.organisation_id}"
    # Goes red without `require_person` and `require_no_key`.
    for method, path, body in (
        ("post", "/api/v1/keys", {"name": "another"}),
        ("delete", f"/api/v1/keys/{two.apples.admin.key_id}", None),
        ("post", f"{base}/invitations", {"email": "x@example.org"}),
        ("patch", f"{base}/members/{two.apples.viewer.user_id}", {"role": "admin"}),
        ("delete", f"{base}/members/{two.apples.viewer.user_id}", None),
        ("patch", base, {"name": "x"}),
        ("post", "/api/v1/organisations", {"name": "x"}),
        ("post", f"{AUTH}/password", {"password": "x", "new_password": PASSWORD}),
    ):
        answer = client.open(path, method=method.upper(), headers=headers, json=body)
        assert (answer.status_code, answer.get_json()["type"]) == (403, "/problems/person-needed"), path


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, 422),
        ({"name": "x", "scopes": ["operate"]}, 422),
        ({"name": "x", "scopes": []}, 422),
        ({"name": "x", "scopes": ["fly"]}, 422),
        ({"name": "x", "role": "operator"}, 422),
        ({"name": "x", "project_id": "market"}, 404),
        ({"name": "x", "project_id": "nothing-abcdef"}, 404),
        ({"name": "x", "organisation_id": "org_nothing"}, 404),
        ({}, 422),
    ],
)
def test_keys_that_cannot_be_are_refused(two: Tenants, body: dict[str, Any], status: int) -> None:
    assert two.world.client.post("/api/v1/keys", headers=two.apples.admin.headers, json=body).status_code == status


def test_a_key_of_a_foreign_project_is_refused_like_one_of_a_missing_project(two: Tenants) -> None:
    body = {"name": "x", "project_id": two.pears.project_id}
    assert two.world.client.post("/api/v1/keys", headers=two.apples.admin.headers, json=body).status_code == 404


def test_an_operator_disables_a_user_everywhere_at_once(two: Tenants) -> None:
    tenant = add_tenant(two.world, "figs")
    path = f"/api/v1/users/{tenant.editor.user_id}"
    assert two.world.client.get("/api/v1/me", headers=tenant.editor.headers).status_code == 200

    changed = two.world.client.patch(path, headers=two.operator.headers, json={"is_disabled": True})

    assert changed.get_json()["is_disabled"]
    for headers in (tenant.editor.headers, tenant.editor.key_headers):
        assert two.world.client.get("/api/v1/me", headers=headers).status_code == 401
    two.world.client.patch(path, headers=two.operator.headers, json={"is_disabled": False})
    # The logins of before stay ended.
    assert two.world.client.get("/api/v1/me", headers=tenant.editor.headers).status_code == 401


def test_the_last_operator_stays(two: Tenants) -> None:
    answer = two.world.client.patch(
        f"/api/v1/users/{two.operator.user_id}", headers=two.operator.headers, json={"is_operator": False}
    )
    assert answer.status_code == 409
    assert two.world.client.get("/api/v1/users", headers=two.operator.headers).status_code == 200


def test_users_and_audit_come_in_pages(two: Tenants) -> None:
    add_tenant(two.world, "quinces")
    for number in range(8):
        invite(two, f"paged-{number}@example.org")
    for path, name, key in (
        ("/api/v1/users?limit=3", "users", "user_id"),
        ("/api/v1/audit?limit=7", "audit", "sequence"),
    ):
        seen: list[Any] = []
        following: str | None = path
        while following is not None:
            page = two.world.client.get(following, headers=two.operator.headers).get_json()
            seen += [line[key] for line in page[name]]
            following = page["next"]
        assert len(seen) == len(set(seen)) > 7
        assert seen == sorted(seen, reverse=name == "audit")


def test_admins_read_the_audit_log_of_their_own_organisation(two: Tenants) -> None:
    made = two.world.client.post("/api/v1/keys", headers=two.pears.admin.headers, json={"name": "seen"}).get_json()

    own = two.world.client.get("/api/v1/audit", headers=two.pears.admin.headers).get_json()["audit"]
    others = two.world.client.get("/api/v1/audit", headers=two.apples.admin.headers).get_json()["audit"]

    (line,) = [line for line in own if line["subject"] == made["key_id"]]
    assert line["actor"] == f"user/{two.pears.admin.user_id}"
    assert line["action"] == "key.created"
    assert line["x_request_id"]
    assert {line["organisation_id"] for line in own} == {two.pears.organisation_id}
    assert two.pears.organisation_id not in {line["organisation_id"] for line in others}


def test_every_change_of_accounts_is_audited(two: Tenants) -> None:
    tenant = add_tenant(two.world, "grapes")
    client, headers = two.world.client, tenant.admin.headers
    base = f"/api/v1/organisations/{tenant.organisation_id}"
    client.patch(base, headers=headers, json={"name": "Grapes"})
    invited = client.post(f"{base}/invitations", headers=headers, json={"email": "nina@example.org"}).get_json()
    client.delete(f"{base}/invitations/{invited['invitation_id']}", headers=headers)
    client.patch(f"{base}/members/{tenant.viewer.user_id}", headers=headers, json={"role": "editor"})
    client.delete(f"{base}/members/{tenant.viewer.user_id}", headers=headers)
    key = client.post("/api/v1/keys", headers=headers, json={"name": "k"}).get_json()
    client.delete(f"/api/v1/keys/{key['key_id']}", headers=headers)

    lines = client.get("/api/v1/audit", headers=headers).get_json()["audit"]
    assert [line["action"] for line in lines][:7] == [
        "key.revoked",
        "key.created",
        "member.removed",
        "member.changed",
        "invitation.withdrawn",
        "invitation.created",
        "organisation.renamed",
    ]
    with_password(two, "noel@example.org")
    log_in(two, "noel@example.org")
    assert audited(two, "login.started")
    assert key["key"] not in str(lines)
    assert invited["token"] not in str(lines)


def test_nothing_that_signs_somebody_in_is_kept_as_it_is(two: Tenants) -> None:
    with_password(two, "olga@example.org")
    signed = log_in(two, "olga@example.org").get_json()

    with two.world.accounts.read() as connection:
        for table in (USERS, LOGINS, REFRESH_TOKENS, API_KEYS):
            kept = repr(connection.execute(select(table)).all())
            assert signed["refresh_token"] not in kept
            assert PASSWORD not in kept
            assert two.apples.admin.key not in kept


def test_keys_run_out(two: Tenants) -> None:
    headers = two.key(two.apples, Role.VIEWER, expires_us=two.world.accounts.now_us() + 60_000_000)
    assert two.world.client.get("/api/v1/me", headers=headers).status_code == 200
    key_id = two.world.client.get("/api/v1/keys", headers=two.apples.admin.headers).get_json()["keys"][0]["key_id"]

    with two.world.accounts.change() as connection:
        past = two.world.accounts.now_us() - 1
        connection.execute(update(API_KEYS).where(API_KEYS.c.key_id == key_id).values(expires_us=past))

    assert two.world.client.get("/api/v1/me", headers=headers).status_code == 401
