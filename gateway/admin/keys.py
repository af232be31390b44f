"""API keys and the keys that sign access tokens: never the keys themselves, nor their hashes."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Response, request, url_for
from sqlalchemy import select

from gateway.access import Permission
from gateway.accounts.keyring import rotate
from gateway.accounts.tables import API_KEYS, ORGANISATIONS, SIGNING_KEYS, USERS
from gateway.admin.pages import (
    LIMIT,
    Action,
    Cell,
    Choice,
    ConfirmForm,
    Table,
    after,
    asked,
    done,
    given,
    joined,
    listed,
    when_us,
)
from gateway.guard import needs
from gateway.problems import not_found
from gateway.routes.keys import revoke_key
from gateway.service import GatewayService

#: All columns but the hash.
_COLUMNS = tuple(column for column in API_KEYS.c if column.name != "key_hash")


def add(routes: Blueprint, service: GatewayService) -> None:
    """Add the pages of keys."""

    @routes.get("/keys")
    @needs(Permission.OPERATE)
    def keys() -> Response:
        return _list(service)

    @routes.route("/keys/<key_id>/revoke", methods=["GET", "POST"])
    @needs(Permission.OPERATE)
    def revoke(key_id: str) -> Response:
        return _revoke(service, key_id)

    @routes.get("/signing-keys")
    @needs(Permission.OPERATE)
    def signing_keys() -> Response:
        return _signing_keys(service)

    @routes.route("/signing-keys/rotate", methods=["GET", "POST"])
    @needs(Permission.OPERATE)
    def rotate_signing_key() -> Response:
        form, back = ConfirmForm(), url_for("admin.signing_keys")
        if not form.validate_on_submit():
            text = "A new key signs from now on. Tokens that the old one signed are good until they expire."
            return asked(form, title="Rotate the signing key?", text=text, button="Rotate", back=back, is_danger=True)
        return done(f"{rotate(service.accounts)} signs from now on.", back)


def _list(service: GatewayService) -> Response:
    query = (
        select(*_COLUMNS, USERS.c.email, ORGANISATIONS.c.name.label("organisation"))
        .join(USERS, USERS.c.user_id == API_KEYS.c.created_by)
        .join(ORGANISATIONS, ORGANISATIONS.c.organisation_id == API_KEYS.c.organisation_id)
    )
    if (organisation_id := given("organisation_id")) is not None:
        query = query.where(API_KEYS.c.organisation_id == organisation_id)
    if (behind := given("after")) is not None:
        query = query.where(API_KEYS.c.key_id > behind)
    with service.accounts.read() as connection:
        rows = connection.execute(query.order_by(API_KEYS.c.key_id).limit(LIMIT + 1)).mappings().all()
    now = service.accounts.now_us()
    columns = (
        "Key",
        "Name",
        "Organisation",
        "Project",
        "Role",
        "Scopes",
        "Made by",
        "Expires (UTC)",
        "Last use (UTC)",
        "",
    )
    return listed(
        "API keys",
        Table(columns, [_line(row, now) for row in rows[:LIMIT]], "There is no API key."),
        filters=[Choice("organisation_id", "Id of the organisation", value=request.args.get("organisation_id", ""))],
        following=after(after=rows[LIMIT - 1]["key_id"]) if len(rows) > LIMIT else None,
    )


def _line(row: Any, now_us: int) -> tuple[Cell, ...]:
    scopes = "as the role" if row["scopes"] is None else joined(msgspec.json.decode(row["scopes"]))
    if row["revoked_us"] is not None:
        state = Cell("revoked", look="bad")
    elif row["expires_us"] is not None and row["expires_us"] <= now_us:
        state = Cell("expired", look="warn")
    else:
        state = Cell("Revoke", url_for("admin.revoke", key_id=row["key_id"]))
    return (
        Cell(f"{row['shown']}…", look="code"),
        Cell(row["name"]),
        Cell(row["organisation"], url_for("admin.organisation", organisation_id=row["organisation_id"])),
        Cell(row["project_id"] or "all"),
        Cell(row["role"]),
        Cell(scopes),
        Cell(row["email"], url_for("admin.user", user_id=row["created_by"])),
        when_us(row["expires_us"]),
        when_us(row["last_used_us"]),
        state,
    )


def _revoke(service: GatewayService, key_id: str) -> Response:
    form, back = ConfirmForm(), url_for("admin.keys")
    with service.accounts.read() as connection:
        row = connection.execute(select(*_COLUMNS).where(API_KEYS.c.key_id == key_id)).mappings().first()
    if row is None:
        raise not_found("key", key_id[:100], "the list of keys has them")
    if not form.validate_on_submit():
        text = f"{row['shown']}… is refused at once, and cannot be brought back."
        title = f"Revoke the key {row['name']}?"
        return asked(form, title=title, text=text, button="Revoke", back=back, is_danger=True)
    revoke_key(service, key_id)
    return done(f"The key {row['name']} is revoked.", back)


def _signing_keys(service: GatewayService) -> Response:
    columns = (SIGNING_KEYS.c.key_id, SIGNING_KEYS.c.created_us, SIGNING_KEYS.c.retired_us)
    query = select(*columns).where(SIGNING_KEYS.c.kind == "token").order_by(SIGNING_KEYS.c.created_us.desc())
    with service.accounts.read() as connection:
        rows = connection.execute(query.limit(LIMIT)).all()
    lines = [
        (
            Cell(row.key_id, look="code"),
            Cell("signs", look="good") if row.retired_us is None else Cell("retired"),
            when_us(row.created_us),
            when_us(row.retired_us),
        )
        for row in rows
    ]
    table = Table(("Key", "State", "Made (UTC)", "Retired (UTC)"), lines, "The first key is made at the first sign-in.")
    return listed(
        "Signing keys",
        table,
        actions=[Action("Rotate", url_for("admin.rotate_signing_key"), is_danger=True)],
        note="They sign access tokens. A retired one verifies until the last token that it signed has expired.",
    )
