"""Tokens that somebody made up, changed, kept too long, or was never given: every one is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from sqlalchemy import update

from gateway.accounts.keyring import rotate
from gateway.accounts.logins import end_login, start_login
from gateway.accounts.tables import SIGNING_KEYS
from gateway.accounts.tokens import AUDIENCE
from tests.unit.gateway.tenants import Tenants, add_user, tenants

PATH = "/api/v1/me"
DAY = 86_400


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with tenants(tmp_path_factory.mktemp("tenants"), public_url="https://forecasts.example.org") as found:
        yield found


def encoded(part: Any) -> str:
    content = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class Forger:
    """Knows everything but the private key; `ours` has that too, to show that the rest is judged by itself."""

    def __init__(self, two: Tenants) -> None:
        self.caller = two.apples.admin
        self.ours = two.world.service.keyring.signing()
        self.theirs = OKPKey.generate_key("Ed25519")
        self.now = two.world.accounts.now_us() // 1_000_000
        self.public = self.ours.key.as_dict(private=False)
        self.good = two.world.service.tokens.issue(self.caller.user_id, self.caller.login_id)

    def claims(self, **changed: Any) -> dict[str, Any]:
        claims = {
            "iss": "https://forecasts.example.org",
            "aud": AUDIENCE,
            "sub": self.caller.user_id,
            "sid": self.caller.login_id,
            "iat": self.now,
            "nbf": self.now,
            "exp": self.now + 600,
            "jti": "at_1",
        }
        return {name: value for name, value in (claims | changed).items() if value is not None}

    def header(self, **changed: Any) -> dict[str, Any]:
        header = {"alg": "Ed25519", "typ": "at+jwt", "kid": self.ours.key_id}
        return {name: value for name, value in (header | changed).items() if value is not None}

    def signed(self, header: dict[str, Any] | None = None, claims: Any = None, key: Any = None) -> str:
        """Return a token that is signed rightly, whatever stands in its header."""
        head, body = encoded(header or self.header()), encoded(self.claims() if claims is None else claims)
        key = key or self.ours.key
        signature = key.raw_value.sign(f"{head}.{body}".encode())
        return f"{head}.{body}.{encoded(signature)}"

    def hmac(self, secret: bytes, algorithm: str = "HS256") -> str:
        signed = f"{encoded(self.header(alg=algorithm))}.{encoded(self.claims())}"
        return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"

    def by(self, algorithm: str, key: Any, **header: Any) -> str:
        return jwt.encode(self.header(alg=algorithm, **header), self.claims(), key, algorithms=[algorithm])


def forged(forger: Forger) -> dict[str, str]:
    """Return name -> token; but for its fault each would be good."""
    one, now = forger, forger.now
    head, body, signature = one.good.split(".")
    rsa, elliptic = RSAKey.generate_key(2048), ECKey.generate_key("P-256")
    bare = f"{encoded(one.header(alg='none'))}.{encoded(one.claims())}."
    by_header = {
        "crit": {"crit": ["exp"], "exp": now + 60},
        "crit-b64": {"crit": ["b64"], "b64": True},
        "embedded-jwk": {"jwk": one.theirs.as_dict(private=False)},
        "jku": {"jku": "https://evil.example/keys"},
        "x5u": {"x5u": "https://evil.example/cert"},
        "x5c": {"x5c": ["MIIB"]},
        "zip": {"zip": "DEF"},
        "cty": {"cty": "JWT"},
        "typ-jwt": {"typ": "JWT"},
        "typ-missing": {"typ": None},
        "typ-case": {"typ": "AT+JWT"},
        "kid-missing": {"kid": None},
        "kid-empty": {"kid": ""},
        "kid-path": {"kid": "../../../../dev/null"},
        "kid-file": {"kid": "file:///etc/hostname"},
        "kid-sql": {"kid": "x' UNION SELECT 'a' --"},
        "kid-wildcard": {"kid": "%"},
        "kid-prefix": {"kid": one.ours.key_id[:-1]},
        "kid-number": {"kid": 1},
        "kid-list": {"kid": [one.ours.key_id]},
        "alg-lower-case": {"alg": "ed25519"},
        "alg-eddsa": {"alg": "EdDSA"},
    }
    by_claim = {
        "expired": {"exp": now - 6},
        "exp-missing": {"exp": None},
        "exp-text": {"exp": str(now + 600)},
        "exp-infinite": {"exp": float("inf")},
        "not-yet": {"nbf": now + 3600},
        "nbf-missing": {"nbf": None},
        "issued-in-future": {"iat": now + 3600},
        "iat-missing": {"iat": None},
        "aud-other": {"aud": "another-api"},
        "aud-missing": {"aud": None},
        "aud-list": {"aud": [AUDIENCE, "another-api"]},
        "iss-other": {"iss": "https://evil.example"},
        "iss-missing": {"iss": None},
        "sub-missing": {"sub": None},
        "sub-other": {"sub": "user_" + "0" * 24},
        "sub-list": {"sub": [forger.caller.user_id]},
        "jti-missing": {"jti": None},
        "sid-missing": {"sid": None},
        "sid-number": {"sid": 5},
        "sid-list": {"sid": [forger.caller.login_id]},
        "too-long": {"note": "x" * 2048},
        "sid-unknown": {"sid": "login_" + "0" * 24},
    }
    return {
        "none": bare,
        "none-signed": bare + signature,
        "None": f"{encoded(one.header(alg='None'))}.{encoded(one.claims())}.",
        "no-signature": f"{head}.{body}.",
        "two-parts": f"{head}.{body}",
        "one-part": head,
        "five-parts": f"{one.good}.{body}.{signature}",
        "cut": one.good[:-4],
        "signature-changed": f"{head}.{body}.{'A' * len(signature)}",
        "claims-changed": f"{head}.{encoded(one.claims(sub='user_1'))}.{signature}",
        "header-changed": f"{encoded(one.header(kid='x'))}.{body}.{signature}",
        "garbled": "not.a.token",
        "not-base64": f"{head}.***.{signature}",
        "not-json": f"{encoded(b'{')}.{encoded(b'{')}.{signature}",
        "claims-no-object": one.signed(claims=["sub"]),
        "very-long": one.good + "A" * 5000,
        "deep": f"{encoded(b'[' * 900)}.{body}.{signature}",
        "other-key": one.signed(key=one.theirs),
        "hs256-public-x": one.hmac(one.public["x"].encode()),
        "hs256-public-raw": one.hmac(base64.urlsafe_b64decode(one.public["x"] + "=")),
        "hs256-public-jwk": one.hmac(json.dumps(one.public).encode()),
        "hs256-public-pem": one.hmac(one.ours.key.as_pem(private=False)),
        "hs256-empty": one.hmac(b""),
        "rs256": one.by("RS256", rsa),
        "es256": one.by("ES256", elliptic),
        "rs256-embedded": one.by("RS256", rsa, jwk=rsa.as_dict(private=False)),
        "refresh-like": jws.serialize_compact(one.header(), b"sub", one.ours.key, algorithms=["Ed25519"]),
        **{name: one.signed(one.header(**changed)) for name, changed in by_header.items()},
        **{name: one.signed(claims=one.claims(**changed)) for name, changed in by_claim.items()},
    }


def test_every_forged_token_is_refused(two: Tenants) -> None:
    forger = Forger(two)
    tokens = forged(forger)
    assert len(tokens) >= 40
    # What the forger makes is good where nothing is wrong with it.
    for good in (forger.good, forger.signed()):
        assert two.world.client.get(PATH, headers={"Authorization": f"Bearer {good}"}).status_code == 200

    statuses = {
        name: two.world.client.get(PATH, headers={"Authorization": f"Bearer {token}"}).status_code
        for name, token in tokens.items()
    }

    # Goes red for `embedded-jwk`, `crit-b64`, `typ-*` without the comparison of the header in `Tokens._key_of`, for
    # `kid-*` when a key is looked up by anything but its exact id, for `aud-list`, `sid-list` and `too-long` without the
    # comparisons in `check`.
    assert {name: status for name, status in statuses.items() if status != 401} == {}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "bearer\tx",
        "Token x",
        "Bearer ftp_",
        "Bearer ftp_" + "A" * 43,
        "Bearer ftp_' OR 1=1 --",
        "Bearer \xff\xfe",
        "Bearer a b c",
    ],
)
def test_other_credentials_are_refused(two: Tenants, header: str) -> None:
    assert two.world.client.get(PATH, headers={"Authorization": header}).status_code == 401
    # A route that is open to all does not take bad credentials for none.
    assert two.world.client.get("/health", headers={"Authorization": header}).status_code == 401


def test_a_key_that_was_changed_or_cut_is_refused(two: Tenants) -> None:
    key = two.apples.admin.key
    for changed in (key[:-1], key + "A", key.swapcase(), key[4:], "ftp_" + key):
        assert two.world.client.get(PATH, headers={"Authorization": f"Bearer {changed}"}).status_code == 401


def test_tokens_end_with_their_login_and_with_their_user(two: Tenants) -> None:
    caller = add_user(two.world, "ended@example.org")
    disabled = add_user(two.world, "disabled@example.org")
    gone = add_user(two.world, "expired@example.org")
    with two.world.accounts.change() as connection:
        now = two.world.accounts.now_us()
        end_login(connection, caller.login_id, now)
        connection.exec_driver_sql(f"UPDATE users SET is_disabled = true WHERE user_id = '{disabled.user_id}'")
        connection.exec_driver_sql(f"UPDATE logins SET expires_us = {now} WHERE login_id = '{gone.login_id}'")
        # A login of a browser is good in its cookie only.
        browser = start_login(connection, caller.user_id, "browser", now_us=now, expires_us=now + DAY * 1_000_000)

    for token in (caller.token, disabled.token, gone.token, two.world.service.tokens.issue(caller.user_id, browser)):
        assert two.world.client.get(PATH, headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_keys_are_rotated_and_the_old_one_is_good_as_long_as_its_tokens(two: Tenants) -> None:
    client, old = two.world.client, two.world.service.keyring.signing().key_id
    rotate(two.world.accounts)

    fresh = two.world.service.tokens.issue(two.apples.editor.user_id, two.apples.editor.login_id)
    for token in (two.apples.editor.token, fresh):
        assert client.get(PATH, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    published = [key["kid"] for key in client.get("/.well-known/jwks.json").get_json()["keys"]]
    assert old in published
    assert len(published) == 2

    with two.world.accounts.change() as connection:
        long_ago = two.world.accounts.now_us() - 901_000_000
        # Red when `rotate` retires nothing: what it signed would be good for ever.
        same = (SIGNING_KEYS.c.key_id == old) & SIGNING_KEYS.c.retired_us.is_not(None)
        connection.execute(update(SIGNING_KEYS).where(same).values(retired_us=long_ago))
    assert client.get(PATH, headers=two.apples.editor.headers).status_code == 401
    assert len(client.get("/.well-known/jwks.json").get_json()["keys"]) == 1


def test_published_keys_have_no_private_half_and_verify_tokens(two: Tenants) -> None:
    published = two.world.client.get("/.well-known/jwks.json").get_json()["keys"]
    assert all("d" not in key for key in published)
    token = two.world.service.tokens.issue("user_1", "login_1")
    kid = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["kid"]
    (key,) = [key for key in published if key["kid"] == kid]

    assert jwt.decode(token, OKPKey.import_key(key), algorithms=["Ed25519"]).claims["sub"] == "user_1"
