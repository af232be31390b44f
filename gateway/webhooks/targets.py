"""Where a webhook may lead: judged when it is made, and again with every connection."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from runtime.addresses import ForbiddenAddress, is_public, look_up

Networks = Sequence[IPv4Network | IPv6Network]
EXPECTED = "an address such as https://hooks.example.com/forecasts: https, a public host, no user and no fragment"
#: Nothing that two readers of a URL could read in two ways: no user, no backslash, no space, no fragment.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)"
    r"(?P<port>:[0-9]{1,5})?(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?P<query>\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
#: A host that ends so is read as an IPv4 address by some, in octal, hexadecimal or as one number.
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")
#: Never of the internet (RFC 6761, RFC 6762, RFC 8375, the name that clouds and ICANN set aside).
_INNER = ("localhost", "local", "internal", "home.arpa", "onion", "invalid", "test")
_PORTS = {"http": 80, "https": 443}


class BadTarget(ValueError):
    """Say why a URL cannot be that of a webhook."""


@dataclass(frozen=True)
class Target:
    """A URL in its parts; ``host`` is lower case, an IPv6 address without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        """Return the value of the header ``Host``."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return shown if self.port == _PORTS[self.scheme] else f"{shown}:{self.port}"


def parse(url: str) -> Target:
    """Return the parts of ``url``.

    Raises:
        BadTarget: It is no URL that everybody reads alike.
    """
    found = _URL.fullmatch(url) if len(url) <= 2000 else None  # noqa: PLR2004  # as long as its column
    if found is None:
        raise BadTarget(f"it must be {EXPECTED}")
    port = int(found["port"][1:]) if found["port"] else _PORTS[found["scheme"]]
    if not 1 <= port <= 65535:  # noqa: PLR2004
        raise BadTarget(f"the port must be from 1 to 65535, was {port}")
    path = (found["path"] or "/") + (found["query"] or "")
    return Target(found["scheme"], _host(found["host"].lower()), port, path)


def _host(text: str) -> str:
    try:
        if text.startswith("["):
            return str(IPv6Address(text[1:-1]))
        if _NUMBER.fullmatch(text.rpartition(".")[2]):
            return str(IPv4Address(text))
    except AddressValueError as error:
        raise BadTarget(f"the host must be a name or an address as it is usually written: {error}") from error
    if not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise BadTarget("the host must be a name of letters, digits and hyphens, with dots between")
    return text


@dataclass(frozen=True)
class Rules:
    """Which addresses are let through: public ones over https, and those in networks that the operator allows."""

    networks: Networks = ()

    def allows(self, scheme: str, address: str) -> bool:
        """Return whether a connection for a URL with this scheme may go to an IP address."""
        ip = ip_address(address.partition("%")[0])
        mapped = getattr(ip, "ipv4_mapped", None) or ip
        if any(mapped in network for network in self.networks):
            return True
        return scheme == "https" and is_public(address)

    def parsed(self, url: str) -> Target:
        """Return the parts of a URL that a webhook may have as far as the URL itself tells.

        Raises:
            BadTarget: It may not.
        """
        target = parse(url)
        is_inner = any(f".{target.host}".endswith(f".{name}") for name in _INNER) or (
            "." not in target.host and ":" not in target.host
        )
        if is_inner and not self.networks:
            raise BadTarget(f"the host {target.host} is a name within a network, a public one was expected")
        if target.scheme == "http" and not self.networks:
            raise BadTarget("the URL must begin with https://")
        return target

    def require(self, url: str) -> Target:
        """Return the parts of a URL that a webhook may have; a name that has no address now is judged when it has.

        Raises:
            BadTarget: It may not.
        """
        target = self.parsed(url)
        try:
            look_up(target.host, target.port, lambda address: self.allows(target.scheme, address))
        except ForbiddenAddress as error:
            raise BadTarget(f"the host {target.host} lies at an address that is not public") from error
        except (OSError, UnicodeError):
            return target
        return target
