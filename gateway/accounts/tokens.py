"""Access tokens: signed JSON Web Tokens (RFC 9068) of one issuer, one audience and one algorithm.

A token says who somebody is and by which login; what they may do is read from the database.
"""

from __future__ import annotations

from dataclasses import dataclass

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import GuestProtocol, OKPKey

from gateway.accounts.database import AccountsDatabase, new_row_id
from gateway.accounts.keyring import Keyring

AUDIENCE = "foretopic-api"
ALGORITHM = "Ed25519"
TYPE = "at+jwt"
_LONGEST = 2048
_LEEWAY_SECONDS = 5
#: Nothing else may stand in the header: no keys, no addresses of keys, nothing critical.
_HEADER = frozenset({"alg", "typ", "kid"})
_MICRO = 1_000_000


class NotGood(Exception):
    """Say that a token is not, or no longer, good."""


@dataclass(frozen=True)
class Claimed:
    """What a good token says."""

    user_id: str
    login_id: str


class Tokens:
    """Issues access tokens and checks them.

    Args:
        database: For its clock.
        keyring: The keys.
        issuer: Stands in every token; all gateways of one accounts database have the same.
        lifetime_seconds: How long a token is good.
    """

    def __init__(self, database: AccountsDatabase, keyring: Keyring, *, issuer: str, lifetime_seconds: int) -> None:
        self._database = database
        self._keyring = keyring
        self._issuer = issuer
        self.lifetime_seconds = lifetime_seconds

    def issue(self, user_id: str, login_id: str) -> str:
        """Return an access token."""
        signing = self._keyring.signing()
        now = self._database.now_us() // _MICRO
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": user_id,
            "sid": login_id,
            "iat": now,
            "nbf": now,
            "exp": now + self.lifetime_seconds,
            "jti": new_row_id("at"),
        }
        header = {"alg": ALGORITHM, "typ": TYPE, "kid": signing.key_id}
        return jwt.encode(header, claims, signing.key, algorithms=[ALGORITHM])

    def check(self, token: str) -> Claimed:
        """Return what a good token says.

        Raises:
            NotGood: It is none of ours, was changed, or is out of time.
        """
        if len(token) > _LONGEST:
            raise NotGood("too long")
        try:
            found = jwt.decode(token, self._key_of, algorithms=[ALGORITHM])
            self._registry().validate(found.claims)
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            # What the library makes of bytes that are no token.
            raise NotGood(type(error).__name__) from error
        claims = found.claims
        if claims["aud"] != AUDIENCE or not isinstance(claims.get("sid"), str):
            raise NotGood("another audience, or no login")
        return Claimed(claims["sub"], claims["sid"])

    def _registry(self) -> jwt.JWTClaimsRegistry:
        return jwt.JWTClaimsRegistry(
            now=self._database.now_us() // _MICRO,
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": AUDIENCE},
            sub={"essential": True},
            jti={"essential": True},
            iat={"essential": True},
            nbf={"essential": True},
            exp={"essential": True},
        )

    def _key_of(self, signature: GuestProtocol) -> OKPKey:
        header = signature.headers()
        if set(header) != _HEADER or header["typ"] != TYPE:
            raise NotGood("another header")
        key = self._keyring.verifying(header["kid"])
        if key is None:
            raise NotGood("an unknown key")
        return key
