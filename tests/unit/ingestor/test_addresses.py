"""Connections go to public addresses alone, whatever a name says and whenever it says it."""

from __future__ import annotations

import socket

import pytest
import stamina

from ingestor.addresses import PublicSession
from ingestor.errors import BadSourceData, SourceUnreachable
from ingestor.web import WebClient
from runtime.addresses import is_public
from tests.unit.ingestor.answers import said, served

PUBLIC = "93.184.215.14"


@pytest.fixture(autouse=True)
def _no_waiting():
    with stamina.set_testing(True, attempts=1):
        yield


def client(*allowed: str) -> WebClient:
    return WebClient(
        source="url", timeout_seconds=60, max_bytes=1000, sessions=PublicSession(allowed), follows_redirects=True
    )


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "192.0.0.8", "198.18.0.1", "192.0.2.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:c0a8:101::1",
        "4000::1",  # of no network yet: red without is_reserved
        # The ends of `_FURTHER`; what this Python knows by itself is red elsewhere.
        "192.0.0.0", "192.0.0.255", "192.88.99.0", "192.88.99.255", "168.63.129.16", "64:ff9b:1::", "64:ff9b:1:ffff::1",
        "100::", "100::ffff:ffff:ffff:ffff", "2001::", "2001:1ff:ffff::1", "3fff::", "3fff:fff:ffff::1", "5f00::",
        "5f00:ffff::1", "fec0::1", "feff:ffff::1",
    ],
)  # fmt: skip
def test_what_is_not_of_the_internet(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [PUBLIC, "8.8.8.8", "192.88.98.255", "192.88.100.0", "168.63.129.15", "168.63.129.17", "2001:200::1",
     "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::808:808"],
)  # fmt: skip
def test_what_is(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://localhost/", "https://127.0.0.1:9/x.csv", "http://[::1]/", "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/latest/meta-data/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/",
    ],
)  # fmt: skip
def test_a_private_address_is_refused_before_anything_is_sent(url):
    """Red without is_public in ingestor.addresses._connect; the closed sockets of the suite would say so too."""
    with pytest.raises(BadSourceData, match="lies at an address that is not public"):
        client().get(url)


def looks_up(monkeypatch, *answers):
    """Let names have these addresses, one list a look-up; return the addresses that were connected to."""
    queue, places = list(answers), []

    def getaddrinfo(host, port, *_, **__):
        found = queue.pop(0) if len(queue) > 1 else queue[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    def connect(self, place):
        places.append(place[0])
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", connect)
    return places


def test_one_private_address_of_several_is_enough(monkeypatch):
    places = looks_up(monkeypatch, [PUBLIC, "10.0.0.7"])

    with pytest.raises(BadSourceData, match=r"rebind\.example lies at an address that is not public"):
        client().get("http://rebind.example/x.csv")
    assert places == []


def test_a_name_that_changes_its_address_is_connected_to_as_it_was_judged(monkeypatch):
    """DNS rebinding: public when judged, private at the next look-up. Red when _connect looks the name up again."""
    places = looks_up(monkeypatch, [PUBLIC], ["127.0.0.1"])

    with pytest.raises(SourceUnreachable, match="Connection refused"):
        client().get("http://rebind.example/x.csv")
    assert places == [PUBLIC]


def test_every_address_of_a_name_is_tried(monkeypatch):
    places = looks_up(monkeypatch, [PUBLIC, "8.8.8.8"])

    with pytest.raises(SourceUnreachable):
        client().get("https://example.test/x.csv")
    assert places == [PUBLIC, "8.8.8.8"]


@pytest.mark.loopback
def test_an_allowed_host_may_lie_anywhere():
    with served(lambda request: said(b"a,b")) as address:
        assert client("127.0.0.1").get(address).body == b"a,b"


@pytest.mark.loopback
def test_a_redirect_into_our_network_is_refused():
    """Red when only the first address is judged."""
    asked = []

    def answer(request):
        asked.append(request.path)
        return 302, {"Location": address.replace("127.0.0.1", "localhost") + "/secret"}, b""

    with served(answer) as address, pytest.raises(BadSourceData, match="localhost lies at an address"):
        client("127.0.0.1").get(f"{address}/start")
    assert asked == ["/start"]


@pytest.mark.loopback
def test_a_proxy_of_the_environment_is_not_used(monkeypatch):
    """Red with trust_env: a proxy would look the name up and connect in our stead."""
    with served(lambda request: said(b"from the proxy")) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        with pytest.raises(BadSourceData, match="not public"):
            client().get("http://169.254.169.254/")
