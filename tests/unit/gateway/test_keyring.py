"""The keys of access tokens and of cookies, in a database that several gateways share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.accounts.database import AccountsDatabase, open_accounts
from gateway.accounts.keyring import Keyring, cookie_secret, rotate
from gateway.accounts.tables import AUDIT, SIGNING_KEYS
from tests.fakes import ManualClock
from tests.unit.gateway.world import CountedAccounts

TOKEN_SECONDS = 900


@pytest.fixture
def here(tmp_path: Path, clock: ManualClock) -> Iterator[CountedAccounts]:
    opened = open_accounts(f"sqlite:///{tmp_path / 'accounts.db'}", clock)
    yield CountedAccounts(opened.engine, clock)
    opened.engine.dispose()


@pytest.fixture
def there(here: CountedAccounts, clock: ManualClock) -> AccountsDatabase:
    """The same database, as another gateway has it."""
    return AccountsDatabase(here.engine, clock)


@pytest.fixture
def keyring(here: CountedAccounts) -> Keyring:
    return Keyring(here, token_seconds=TOKEN_SECONDS)


def test_the_keys_are_not_read_for_every_token(here: CountedAccounts, keyring: Keyring) -> None:
    """Red without the `return` of `_refresh`, or when an unknown key makes it read each time."""
    known = keyring.signing().key_id
    before = here.reads

    for _ in range(50):
        assert keyring.verifying(known) is not None
        assert keyring.verifying("sig_nobody") is None

    assert here.reads == before


def test_what_another_gateway_signs_with_its_new_key_is_good_within_a_second(
    keyring: Keyring, there: AccountsDatabase, clock: ManualClock
) -> None:
    """Red without the second `_refresh` of `verifying`: it would be refused for up to a minute."""
    keyring.signing()
    new = rotate(there)

    at_once, _ = keyring.verifying(new), clock.advance(1)

    assert at_once is None
    assert keyring.verifying(new) is not None


def test_the_old_key_signs_here_for_a_minute_at_most(
    keyring: Keyring, there: AccountsDatabase, clock: ManualClock
) -> None:
    """Red with a longer `_FRESH_SECONDS`."""
    keyring.signing()
    new = rotate(there)

    clock.advance(60)

    assert keyring.signing().key_id == new


def test_a_retired_key_is_good_as_long_as_what_it_signed(
    here: CountedAccounts, keyring: Keyring, clock: ManualClock
) -> None:
    """Red when `_token_us` is left out, or when a retired key is good for ever."""
    old = keyring.signing().key_id
    rotate(here)

    clock.advance(TOKEN_SECONDS)
    is_good_until_then = keyring.verifying(old) is not None
    clock.advance(1)

    assert is_good_until_then
    assert keyring.verifying(old) is None
    assert old not in [key["kid"] for key in keyring.public()["keys"]]


def test_the_public_keys_are_there_before_the_first_token(keyring: Keyring) -> None:
    """Red without `signing` in `public`, and with `private=True`."""
    [key] = keyring.public()["keys"]

    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "Ed25519", "sig")
    assert "d" not in key


def test_who_rotates_the_keys_is_written_down(here: CountedAccounts) -> None:
    """Red without `audit` in `rotate`."""
    key_id = rotate(here)

    with here.read() as connection:
        told = connection.execute(select(AUDIT.c.action, AUDIT.c.subject)).all()
    assert ("signing-key.rotated", key_id) in [tuple(row) for row in told]


def test_the_secret_of_cookies_is_one_of_its_own_and_stays(
    here: CountedAccounts, there: AccountsDatabase, keyring: Keyring
) -> None:
    """Red where `cookie_secret` reads any row, or takes what is not there for a secret."""
    keyring.signing()

    secret = cookie_secret(here)

    assert len(secret) >= 32
    assert cookie_secret(there) == secret
    with here.read() as connection:
        of_tokens = connection.scalars(select(SIGNING_KEYS.c.secret).where(SIGNING_KEYS.c.kind == "token")).all()
    assert of_tokens
    assert secret not in of_tokens


def test_installations_have_different_secrets(here: CountedAccounts, tmp_path: Path, clock: ManualClock) -> None:
    other = open_accounts(f"sqlite:///{tmp_path / 'other.db'}", clock)

    assert cookie_secret(other) != cookie_secret(here)
    other.engine.dispose()
