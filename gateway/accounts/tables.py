"""The tables of the accounts database. Ids are random; times are microseconds since the epoch, UTC (`*_us`)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

METADATA = MetaData()
_ID = 40


def _id(name: str, *more: ForeignKey, **options: Any) -> Column[str]:
    return Column(name, String(_ID), *more, **options)


USERS = Table(
    "users",
    METADATA,
    _id("user_id", primary_key=True),
    #: Lower case; unique.
    Column("email", String(320), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    #: Argon2id in PHC form; null for somebody who signs in elsewhere only.
    Column("password_hash", String(400)),
    #: A one-time password: it must be changed at the first sign-in.
    Column("must_change_password", Boolean, nullable=False),
    Column("is_operator", Boolean, nullable=False),
    Column("is_disabled", Boolean, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("last_login_us", BigInteger),
)
#: Who a user is at an OpenID provider.
IDENTITIES = Table(
    "identities",
    METADATA,
    Column("issuer", String(400), primary_key=True),
    Column("subject", String(400), primary_key=True),
    _id("user_id", ForeignKey("users.user_id", ondelete="CASCADE"), nullable=False),
    Column("created_us", BigInteger, nullable=False),
)
ORGANISATIONS = Table(
    "organisations",
    METADATA,
    _id("organisation_id", primary_key=True),
    Column("name", String(200), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    #: What it may have at once; null: as the settings say.
    Column("projects", Integer),
    Column("upload_bytes", BigInteger),
    Column("api_keys", Integer),
    Column("members", Integer),
    #: What it may use in a day over all its projects; likewise.
    Column("forecasts_a_day", Integer),
    Column("trainings_a_day", Integer),
    Column("rows_a_day", Integer),
)
MEMBERSHIPS = Table(
    "memberships",
    METADATA,
    _id("organisation_id", ForeignKey("organisations.organisation_id", ondelete="CASCADE"), primary_key=True),
    _id("user_id", ForeignKey("users.user_id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(20), nullable=False),
    #: The oldest is the organisation that a user asks for where nothing says which.
    Column("created_us", BigInteger, nullable=False),
)
INVITATIONS = Table(
    "invitations",
    METADATA,
    _id("invitation_id", primary_key=True),
    #: SHA-256 of the token.
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    _id("organisation_id", ForeignKey("organisations.organisation_id", ondelete="CASCADE"), nullable=False),
    Column("email", String(320), nullable=False),
    Column("role", String(20), nullable=False),
    _id("invited_by", nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("accepted_us", BigInteger),
)
PROJECTS = Table(
    "projects",
    METADATA,
    #: The first part of the ids of its series and models: of the name, and random characters.
    Column("project_id", String(80), primary_key=True),
    _id("organisation_id", ForeignKey("organisations.organisation_id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(200), nullable=False),
    Column("description", Text, nullable=False),
    _id("created_by", nullable=False),
    Column("created_us", BigInteger, nullable=False),
    #: How the columns of the file that it was made from were read, a JSON object; null where it was made without one.
    Column("mapping", Text),
    #: Requests a minute, what may be used in a day, and what it may have at once; null: as the settings say.
    Column("requests_a_minute", Integer),
    Column("forecasts_a_day", Integer),
    Column("trainings_a_day", Integer),
    Column("series", Integer),
    Column("schedules", Integer),
    Column("rows_a_day", Integer),
)
API_KEYS = Table(
    "api_keys",
    METADATA,
    _id("key_id", primary_key=True),
    #: SHA-256 of the whole key: it has 256 random bits, so nothing slower is needed.
    Column("key_hash", LargeBinary(32), nullable=False, unique=True),
    #: The first characters, to tell keys apart.
    Column("shown", String(20), nullable=False),
    Column("name", String(200), nullable=False),
    _id("organisation_id", ForeignKey("organisations.organisation_id", ondelete="CASCADE"), nullable=False, index=True),
    #: Null: every project of the organisation.
    Column("project_id", String(80)),
    #: A role in the organisation, and permissions that it is limited to (JSON array; null: no further limit).
    Column("role", String(20), nullable=False),
    Column("scopes", Text),
    _id("created_by", ForeignKey("users.user_id", ondelete="CASCADE"), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
    Column("last_used_us", BigInteger),
    Column("requests_a_minute", Integer),
)
#: One sign-in: a family of refresh tokens, or a session of a browser.
LOGINS = Table(
    "logins",
    METADATA,
    _id("login_id", primary_key=True),
    _id("user_id", ForeignKey("users.user_id", ondelete="CASCADE"), nullable=False, index=True),
    #: `token` or `browser`.
    Column("kind", String(20), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("revoked_us", BigInteger),
)
REFRESH_TOKENS = Table(
    "refresh_tokens",
    METADATA,
    Column("token_hash", LargeBinary(32), primary_key=True),
    _id("login_id", ForeignKey("logins.login_id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    #: Set once it was exchanged: a token that comes again after that was stolen, and its whole login ends.
    Column("used_us", BigInteger),
)
#: Ed25519 keys that sign access tokens, and the secret of cookies.
SIGNING_KEYS = Table(
    "signing_keys",
    METADATA,
    _id("key_id", primary_key=True),
    #: `token` (a private JWK) or `cookie` (random bytes, base64url).
    Column("kind", String(20), nullable=False),
    Column("secret", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    #: From then on it signs nothing; what it signed stays good until it expires.
    Column("retired_us", BigInteger),
)
#: Every change that a person or a key made: who, what, to what, never a secret.
AUDIT = Table(
    "audit",
    METADATA,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("time_us", BigInteger, nullable=False),
    Column("organisation_id", String(_ID), nullable=False),
    #: `user/ID`, `key/ID`, `command-line`, or empty for the one user of a machine of one's own.
    Column("actor", String(80), nullable=False),
    #: Such as `key.created`.
    Column("action", String(60), nullable=False),
    Column("subject", String(400), nullable=False),
    #: What changed, a JSON object.
    Column("details", Text, nullable=False),
    Column("x_request_id", String(128), nullable=False),
    Index("audit_by_organisation", "organisation_id", "sequence"),
)
#: Answers to requests with an Idempotency-Key, for what is not written to the log.
STORED_ANSWERS = Table(
    "stored_answers",
    METADATA,
    #: Of whom the key is: an organisation or a user.
    Column("owner", String(80), primary_key=True),
    Column("idempotency_key", String(128), primary_key=True),
    #: SHA-256 of method, path and body.
    Column("wish", LargeBinary(32), nullable=False),
    #: Null as long as the first request is being worked on.
    Column("status", Integer),
    Column("headers", Text),
    Column("body", LargeBinary),
    Column("created_us", BigInteger, nullable=False),
)
#: What was used, a row a day.
USED = Table(
    "used",
    METADATA,
    Column("project_id", String(80), primary_key=True),
    #: As in records: `organisation/user/ID`, `organisation/key/ID`, or empty on a machine of one's own.
    Column("requester", String(80), primary_key=True),
    #: `forecast`, `training` or `row`.
    Column("kind", String(20), primary_key=True),
    #: Days since the epoch, UTC.
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
    #: The owner of the project, also once that is removed; of a public one who asks. Empty: nobody's.
    Column("organisation_id", String(_ID), nullable=False, server_default=""),
    Index("used_by_day", "day"),
)
WEBHOOKS = Table(
    "webhooks",
    METADATA,
    _id("webhook_id", primary_key=True),
    Column("project_id", String(80), nullable=False, index=True),
    Column("url", String(2000), nullable=False),
    #: `whsec_` and base64 of the key that signs (Standard Webhooks).
    Column("secret", String(200), nullable=False),
    #: Event types, a JSON array; and only of this series or model where given.
    Column("events", Text, nullable=False),
    Column("series_id", String(200)),
    Column("model", String(200)),
    Column("is_enabled", Boolean, nullable=False),
    #: Why it was disabled by itself; empty otherwise.
    Column("disabled_reason", String(200), nullable=False),
    #: Since when every attempt has failed; null after one that did not.
    Column("failing_since_us", BigInteger),
    #: The secret before the newest, which signs beside it until then.
    Column("previous_secret", String(200)),
    Column("previous_until_us", BigInteger),
    _id("created_by", nullable=False),
    Column("created_us", BigInteger, nullable=False),
)
DELIVERIES = Table(
    "deliveries",
    METADATA,
    #: Of webhook and record: a record that is read again makes no second one.
    Column("delivery_id", String(64), primary_key=True),
    _id("webhook_id", ForeignKey("webhooks.webhook_id", ondelete="CASCADE"), nullable=False),
    Column("event", String(60), nullable=False),
    Column("body", LargeBinary, nullable=False),
    #: `waiting`, `delivered` or `failed`.
    Column("state", String(20), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    #: When it is tried next; while an attempt runs, when another gateway may take it over.
    Column("due_us", BigInteger),
    Column("last_status", Integer),
    Column("last_error", String(400), nullable=False),
    Column("delivered_us", BigInteger),
    Index("deliveries_due", "state", "due_us"),
    Index("deliveries_by_webhook", "webhook_id", "created_us"),
)
