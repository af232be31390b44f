"""Where webhooks may not lead: when they are made, and when they are sent."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest

from gateway.webhooks.sending import Sender
from gateway.webhooks.targets import BadTarget, Rules, parse

_LOOK_UP = socket.getaddrinfo
_TLS = ssl.create_default_context()
PUBLIC = "93.184.215.14"
#: Name -> what it is looked up to.
NAMES = {
    "rebind.example.com": ["10.0.0.7"],
    "both.example.com": [PUBLIC, "127.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
    "localhost": ["127.0.0.1"],
    "localtest.example.com": ["127.0.0.1"],
    "six.example.com": ["::1"],
    "mapped.example.com": ["::ffff:10.0.0.1"],
    "nat64.example.com": ["64:ff9b::a00:1"],
}
FORBIDDEN = [
    # this machine
    "https://127.0.0.1/", "https://127.0.0.1:9092/", "https://127.1.2.3/", "https://0.0.0.0/", "https://localhost/",
    "https://localhost:5000/", "https://localhost./", "https://LOCALHOST/", "https://a.localhost/", "https://[::1]/", "https://[::]/",
    "https://[0:0:0:0:0:0:0:1]/", "https://localtest.example.com/", "https://six.example.com/",
    # networks of one's own
    "https://10.0.0.1/", "https://10.255.255.255/", "https://172.16.0.1/", "https://172.31.255.1/", "https://192.168.0.1/",
    "https://100.64.0.1/", "https://100.100.100.200/", "https://198.18.0.1/", "https://[fc00::1]/", "https://[fd12:3456::1]/",
    "https://[fec0::1]/", "https://rebind.example.com/", "https://both.example.com/", "https://mapped.example.com/",
    # link-local and metadata
    "https://169.254.169.254/latest/meta-data/", "https://169.254.170.2/", "https://168.63.129.16/", "https://[fe80::1]/",
    "https://[fd00:ec2::254]/", "https://metadata.google.internal/", "https://metadata/", "https://printer.local/",
    # groups, reserved, documentation
    "https://224.0.0.1/", "https://239.255.255.250/", "https://240.0.0.1/", "https://255.255.255.255/", "https://192.0.0.8/",
    "https://192.0.2.1/", "https://203.0.113.9/", "https://[ff02::1]/", "https://[2001:db8::1]/", "https://[100::1]/",
    # IPv4 inside IPv6
    "https://[::ffff:127.0.0.1]/", "https://[::ffff:a9fe:a9fe]/", "https://[::127.0.0.1]/", "https://[2002:7f00:1::]/",
    "https://[2002:a00:1::1]/", "https://[64:ff9b::7f00:1]/", "https://[64:ff9b:1::a00:1]/", "https://nat64.example.com/",
    # other ways to write an address
    "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0177.0.0.1/", "https://127.1/", "https://127.0.1/",
    "https://0/", "https://00000000177.0.0.1/", "https://10.0.0.1./", "https://1.1.1.0x1/", "https://\uff11\uff12\uff17.0.0.1/", "https://\u24dbocalhost/",
    # what two readers of a URL read in two ways
    "https://example.com@127.0.0.1/", "https://user:secret@example.com/", "https://example.com#@127.0.0.1/",
    "https://example.com\\@127.0.0.1/", "https://127.0.0.1\\.example.com/", "https://example.com:443@10.0.0.1/", "https://exa mple.com/",
    "https://example.com/\r\nHost: 10.0.0.1", "https://example.com:0/", "https://example.com:99999/", "https:///etc/passwd",
    "https://[::1/", "https://[fe80::1%25eth0]/", "https://%31%32%37.0.0.1/", "https://example..com/", "https://-example.com/",
    # other schemes
    "http://example.com/", "http://93.184.215.14/", "file:///etc/passwd", "gopher://127.0.0.1:25/", "ftp://example.com/",
    "//example.com/", "example.com", "", "https://" + "a" * 2100 + ".com/", "https://example.com/" + "a" * 1981,
]  # fmt: skip


def looked_up(answers: Callable[[str], list[str]]) -> Callable[..., Any]:
    def getaddrinfo(host: str, port: int, *_: Any, **options: Any) -> Any:
        try:
            return _LOOK_UP(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            found = answers(host.rstrip("."))
            families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in found]
            if not found:
                raise
            return [
                (family, socket.SOCK_STREAM, 6, "", (address, port))
                for family, address in zip(families, found, strict=True)
            ]

    return getaddrinfo


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give every host a look-up, and note instead of making connections."""
    places: list[str] = []

    def create_connection(place: tuple[str, int], *_: Any, **__: Any) -> Any:
        places.append(place[0])
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", looked_up(lambda host: NAMES.get(host, [PUBLIC])))
    monkeypatch.setattr(socket, "create_connection", create_connection)
    return places


def test_there_are_enough_of_them() -> None:
    assert len(set(FORBIDDEN)) == len(FORBIDDEN) > 60


@pytest.mark.parametrize("url", FORBIDDEN, ids=lambda url: url[:60])
def test_a_webhook_is_not_made(connected: list[str], url: str) -> None:
    """Red without `Rules.allows`, or without the strict `_URL` in gateway.webhooks.targets."""
    with pytest.raises(BadTarget):
        Rules().require(url)


@pytest.mark.parametrize("url", FORBIDDEN, ids=lambda url: url[:60])
def test_nothing_is_sent(connected: list[str], url: str) -> None:
    """Red when `_JudgedBackend` connects without `look_up`."""
    outcome = Sender(Rules(), 60.0, _TLS).post(url, {}, b"{}")
    assert outcome.error.startswith("the host does not lie at an address")
    assert connected == []


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hooks?a=1&b=%20", "https://example.com:8443/", "https://93.184.215.14/", "https://EXAMPLE.com",
        "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/", "https://xn--bcher-kva.example.com/", "https://a-b.example.com/~x/(1)",
    ],
)  # fmt: skip
def test_what_is_public_is_connected_to(connected: list[str], url: str) -> None:
    Rules().require(url)
    assert Sender(Rules(), 60.0, _TLS).post(url, {}, b"{}").error == "no connection"
    assert len(connected) == 1


def test_a_name_that_changes_is_connected_to_as_it_was_judged(
    monkeypatch: pytest.MonkeyPatch, connected: list[str]
) -> None:
    """DNS rebinding: public when judged, private at the next look-up. Red when the name is connected to."""
    answers = [[PUBLIC], ["127.0.0.1"]]
    monkeypatch.setattr(
        socket, "getaddrinfo", looked_up(lambda _host: answers.pop(0) if len(answers) > 1 else answers[0])
    )
    sender = Sender(Rules(), 60.0, _TLS)
    assert sender.post("https://rebind.example.com/", {}, b"{}").error == "no connection"
    assert connected == [PUBLIC]
    assert sender.post("https://rebind.example.com/", {}, b"{}").error.startswith("the host does not lie")
    assert connected == [PUBLIC]


def test_networks_of_ones_own_are_let_through_and_no_others(connected: list[str]) -> None:
    rules = Rules((ip_network("10.20.0.0/16"), ip_network("fd12::/16")))
    for url in ("http://10.20.1.1:8080/", "https://10.20.1.1/", "http://[fd12::1]/", "https://example.com/"):
        rules.require(url)
    for url in ("http://[::ffff:10.20.1.1]/", "https://[::ffff:10.20.1.1]/"):  # the same address in the other form
        rules.require(url)
    for url in ("http://10.21.0.1/", "https://127.0.0.1/", "http://example.com/", "https://metadata.google.internal/"):
        with pytest.raises(BadTarget):
            rules.require(url)


def test_a_name_without_an_address_is_judged_when_it_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", looked_up(lambda _host: []))
    assert Rules().require("https://soon.example.com/").host == "soon.example.com"
    with pytest.raises(BadTarget, match="https"):  # red without the scheme in `Rules.parsed`: no address tells it here
        Rules().require("http://soon.example.com/")
    assert Sender(Rules(), 60.0, _TLS).post("https://soon.example.com/", {}, b"{}").error == "no connection"


def test_host_header_names_another_port_and_brackets() -> None:
    assert parse("https://example.com:8443/").host_header == "example.com:8443"
    assert parse("https://[2606:2800::1]/x").host_header == "[2606:2800::1]"


@pytest.mark.parametrize("url", ["http://hooks.internal/x", "http://receiver:8080/", "https://printer.local/"])
def test_names_within_a_network_are_for_who_allows_one(url: str) -> None:
    """Red where `Rules.parsed` does not ask whether networks are allowed: compose files name services so."""
    assert Rules((ip_network("10.0.0.0/8"),)).parsed(url).host in url
    with pytest.raises(BadTarget):
        Rules(()).parsed(url)
