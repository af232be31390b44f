"""Deliveries: tried again with the same id, by one sender at a time, and no dead receiver in the way of others."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from gateway.accounts.database import AccountsDatabase, open_accounts
from gateway.store import StoreUnavailable
from gateway.webhooks.deliverer import JITTER, OF_A_FAILING_ONE, OF_A_WEBHOOK, SCHEDULE, Deliverer
from gateway.webhooks.deliveries import DELIVERED, FAILED, WAITING, Claimed, Deliveries, delivery_id_of
from gateway.webhooks.rows import Webhook, WebhookRows
from gateway.webhooks.sending import Sender
from gateway.webhooks.targets import Rules
from tests.fakes import ManualClock
from tests.unit.gateway.receiver import Receiver, receiver

pytestmark = pytest.mark.loopback
LOOPBACK = Rules((ip_network("127.0.0.0/8"),))
TLS = ssl.create_default_context()
PROJECT = "shop"


class Desk:
    """The table and its sender, with a clock that is moved."""

    def __init__(self, database: AccountsDatabase, clock: ManualClock) -> None:
        self.clock = clock
        self.rows = WebhookRows(database)
        self.deliveries = Deliveries(database, 5.0)
        self.deliverer = Deliverer(
            database,
            webhooks=self.rows,
            deliveries=self.deliveries,
            # Of the clock of the machine, which a receiver here may let wait: no test is about this limit.
            sender=Sender(LOOPBACK, 60.0, TLS),
            disable_after_days=5,
            jitter=lambda: 0.0,
        )

    def webhook(self, url: str) -> tuple[Webhook, str]:
        made = self.rows.create(
            PROJECT,
            url=url,
            events=("forecast.issued",),
            series_id=None,
            model=None,
            created_by="",
            organisation_id="",
            limit=100,
        )
        assert made is not None
        return made

    def enqueue(self, webhook: Webhook, *event_ids: str) -> None:
        self.deliveries.enqueue([(webhook, event_id, "forecast.issued", b'{"type":"x"}') for event_id in event_ids])

    def turn(self) -> int:
        """Try everything that is due."""
        count = 0
        while claimed := self.deliverer.claim():
            for one in claimed:
                self.deliverer.attempt(one)
            count += len(claimed)
            assert count < 1000, "what was tried is due again at once"
        return count

    def states(self, webhook: Webhook) -> list[tuple[str, int]]:
        page = self.deliveries.page(webhook.webhook_id, state=None, before=None, limit=100)
        return [(line.state, line.attempts) for line in page]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AccountsDatabase]:
    database = open_accounts(f"sqlite:///{tmp_path_factory.mktemp('accounts')}/accounts.db", ManualClock())
    yield database
    database.engine.dispose()


@pytest.fixture
def desk(database: AccountsDatabase) -> Desk:
    clock = ManualClock(datetime.now(UTC))
    database.clock = clock
    return Desk(database, clock)


def test_a_delivery_is_signed_with_every_secret_that_is_good(desk: Desk) -> None:
    """Verified by the library that receivers use. Red without `signed`."""
    with receiver() as taker:
        webhook, first = desk.webhook(taker.url)
        desk.enqueue(webhook, "one")
        desk.turn()
        assert taker.verified(first) == {"type": "x"}
        second = desk.rows.rotate(webhook.webhook_id, "")
        desk.enqueue(webhook, "two")
        desk.turn()
        assert taker.verified(first) == taker.verified(second) == {"type": "x"}
        desk.clock.advance(24 * 3600 + 1)
        assert desk.rows.secrets(webhook.webhook_id) == [second]
    assert desk.states(webhook) == [(DELIVERED, 1), (DELIVERED, 1)]


def test_what_stands_in_the_address_of_a_receiver_comes_into_no_log_line(desk: Desk) -> None:
    """Red when `Deliverer._note` logs the URL: for many services it is the secret."""
    with receiver() as taker, capture_logs() as lines:
        webhook, _ = desk.webhook(f"{taker.url}?token=planted")
        desk.enqueue(webhook, "one")
        desk.turn()

    assert "webhook-attempt" in {line["event"] for line in lines}
    assert "planted" not in repr(lines)


def test_it_is_tried_again_later_and_later_with_the_same_id(desk: Desk) -> None:
    """Red without `SCHEDULE` in `_next_us`."""
    with receiver(lambda count: (500 if count < 3 else 204, {}, b"")) as taker:
        webhook, _ = desk.webhook(taker.url)
        desk.enqueue(webhook, "one")
        for number in range(3):
            assert desk.turn() == 1
            desk.clock.advance(SCHEDULE[number] - 1)
            assert desk.turn() == 0
            desk.clock.advance(2)
        assert desk.turn() == 1
    assert len(set(taker.ids)) == 1
    assert desk.states(webhook) == [(DELIVERED, 4)]
    assert desk.rows.of_project(PROJECT)[-1].failing_since_us is None


def test_what_is_never_taken_fails_and_can_be_replayed_under_its_id(desk: Desk) -> None:
    with receiver(lambda _count: (503, {"Retry-After": "7"}, b"")) as taker:
        webhook, _ = desk.webhook(taker.url)
        desk.enqueue(webhook, "one", "two")
        for seconds in (0, *SCHEDULE):
            desk.clock.advance(seconds + 3)
            assert desk.turn() == 2
        assert desk.states(webhook) == [(FAILED, len(SCHEDULE) + 1)] * 2
        (page,) = {
            line.last_error for line in desk.deliveries.page(webhook.webhook_id, state=FAILED, before=None, limit=9)
        }
        assert page == "the receiver answered with HTTP status 503"
        taker.answer = lambda _count: (200, {}, b"")
        assert desk.deliveries.replay(webhook.webhook_id, since_us=desk.rows._database.now_us()) == 0
        assert desk.deliveries.replay(webhook.webhook_id, since_us=0) == 2
        assert desk.turn() == 2
    assert len(set(taker.ids)) == 2
    assert sum(SCHEDULE) > 24 * 3600


def test_one_delivery_is_replayed_and_no_other(desk: Desk) -> None:
    """Red without a condition of `Deliveries.replay`."""
    with receiver(lambda _count: (200, {}, b"")) as taker:
        (webhook, _), (other, _) = desk.webhook(taker.url), desk.webhook(taker.url)
        for one in (webhook, other):
            desk.enqueue(one, "one", "two")
        assert desk.turn() == 4
        again = delivery_id_of(webhook.webhook_id, "one")

        assert desk.deliveries.replay(other.webhook_id, delivery_id=again) == 0
        assert desk.deliveries.replay(webhook.webhook_id, delivery_id=again) == 1
        waits = desk.deliveries.replay(webhook.webhook_id, delivery_id=again)

        assert desk.turn() == 1
    assert waits == 0  # it is on its way already, and its attempts are counted on
    assert taker.ids.count(again) == 2
    assert len(taker.ids) == 5


def test_retry_after_is_heeded_and_a_receiver_that_is_gone_is_left_alone(desk: Desk) -> None:
    """Red without `is_gone` in `Deliverer._note`."""
    answers: list[tuple[int, dict[str, str], bytes]] = [(429, {"Retry-After": "600"}, b""), (410, {}, b"")]
    with receiver(lambda count: answers[count]) as taker:
        webhook, _ = desk.webhook(taker.url)
        desk.enqueue(webhook, "one")
        desk.turn()
        desk.clock.advance(599)
        assert desk.turn() == 0
        desk.enqueue(webhook, "two")
        desk.clock.advance(2)
        claimed = desk.deliverer.claim()
        desk.deliverer.attempt(claimed[0])
        assert desk.turn() == 0
    found = desk.rows.get(PROJECT, webhook.webhook_id)
    assert found is not None
    assert not found.is_enabled
    assert "410" in found.disabled_reason
    assert {state for state, _ in desk.states(webhook)} == {FAILED}


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("7", 7.0), ("9" * 30, 24 * 3600.0), ("soon", None)],
)
def test_a_receiver_is_left_alone_for_a_day_at_most(told: str, seconds: float | None) -> None:
    """Red without `LONGEST_SECONDS` in `runtime.retry_after`: a delivery would wait for ever."""
    with receiver(lambda _count: (503, {"Retry-After": told}, b"")) as taker:
        assert Sender(LOOPBACK, 30, TLS).post(taker.url, {}, b"{}").retry_after_seconds == seconds


def test_a_webhook_that_fails_for_days_is_disabled(desk: Desk) -> None:
    """Red without `disable_after_days`."""
    with receiver(lambda _count: (500, {}, b"")) as taker:
        webhook, _ = desk.webhook(taker.url)
        for day in range(6):
            desk.enqueue(webhook, f"day-{day}")
            claimed = desk.deliverer.claim()
            for one in claimed:
                desk.deliverer.attempt(one)
            desk.clock.advance(24 * 3600)
    found = desk.rows.get(PROJECT, webhook.webhook_id)
    assert found is not None
    assert found.disabled_reason == "every attempt has failed for 5 days"


def test_a_webhook_that_fails_changes_no_other(desk: Desk) -> None:
    """Red where `Deliveries.failed` or `disable` changes more than its own webhook."""
    with receiver(lambda _count: (410, {}, b"")) as gone:
        (other, _), (webhook, _) = desk.webhook(gone.url), desk.webhook(gone.url)
        desk.enqueue(webhook, "one")
        assert desk.turn() == 1
    ended, kept = (desk.rows.get(PROJECT, one.webhook_id) for one in (webhook, other))

    assert ended is not None
    assert (ended.is_enabled, ended.failing_since_us is None) == (False, False)
    assert kept is not None
    assert (kept.is_enabled, kept.failing_since_us, kept.disabled_reason) == (True, None, "")


def test_a_delivery_goes_to_the_whole_address(desk: Desk) -> None:
    """Red where `parse` drops the path or the query."""
    with receiver() as taker:
        for rest in ("/hooks/forecasts?team=1&key=a%20b", "/hooks", "?team=1", ""):
            webhook, _ = desk.webhook(taker.url.removesuffix("/hook") + rest)
            desk.enqueue(webhook, rest)
            assert desk.turn() == 1
    assert taker.paths == ["/hooks/forecasts?team=1&key=a%20b", "/hooks", "/?team=1", "/"]


def test_killed_between_sending_and_noting_it_is_sent_again_with_the_same_id(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red without the lease in `Deliveries.claim`: it would stay taken for ever, or be sent at once by everybody."""
    with receiver() as taker:
        webhook, _ = desk.webhook(taker.url)
        desk.enqueue(webhook, "one")
        with monkeypatch.context() as killed:
            killed.setattr(desk.deliveries, "delivered", _unavailable)
            (claimed,) = desk.deliverer.claim()
            with pytest.raises(StoreUnavailable):
                desk.deliverer.attempt(claimed)
        desk.clock.advance(14)
        assert desk.turn() == 0
        desk.clock.advance(2)
        (again,) = desk.deliverer.claim()
        # Who was slow changes nothing, neither while another is at it (red without `lease_us` in `Deliveries._ours`)
        # nor afterwards.
        desk.deliveries.failed(claimed, status=500, error="too late", next_us=None)
        desk.deliverer.attempt(again)
        desk.deliveries.failed(claimed, status=500, error="too late", next_us=None)
    assert len(taker.ids) == 2
    assert len(set(taker.ids)) == 1
    assert desk.states(webhook) == [(DELIVERED, 2)]


def _unavailable(*_: Any) -> None:
    raise StoreUnavailable("gone")


def test_what_ends_no_attempt_in_an_orderly_way_is_given_up(desk: Desk) -> None:
    """Red without the comparison of `claimed.attempts` in `Deliverer.attempt`: it would kill senders for ever."""
    with receiver() as taker:
        webhook, _ = desk.webhook(taker.url)
        desk.enqueue(webhook, "one")
        for _ in range(len(SCHEDULE) + 1):
            assert len(desk.deliverer.claim()) == 1  # and whoever took it is killed
            desk.deliverer._busy.clear()
            desk.clock.advance(16)
        assert desk.turn() == 1
    assert taker.ids == []
    assert desk.states(webhook) == [(FAILED, len(SCHEDULE) + 2)]


def test_receivers_that_come_back_are_not_asked_by_everybody_at_once(desk: Desk) -> None:
    """Red without `JITTER` in `Deliverer._next_us`."""
    desk.deliverer._jitter = lambda: 1.0
    with receiver(lambda _count: (500, {}, b"")) as taker:
        webhook, _ = desk.webhook(taker.url)
        desk.enqueue(webhook, "one")
        desk.turn()
        desk.clock.advance(SCHEDULE[0] * (1 + JITTER) - 0.1)
        assert desk.turn() == 0
        desk.clock.advance(0.2)
        assert desk.turn() == 1


def test_a_dead_receiver_holds_up_no_other(desk: Desk) -> None:
    """Red without `OF_A_WEBHOOK` in `Deliverer.claim`."""
    dead, _ = desk.webhook("http://127.0.0.1:9/")
    alive, _ = desk.webhook("http://127.0.0.1:10/")
    desk.enqueue(dead, *(f"dead-{number}" for number in range(100)))
    desk.enqueue(alive, "alive-1")
    taken = desk.deliverer.claim()
    assert sum(one.webhook_id == dead.webhook_id for one in taken) == OF_A_WEBHOOK
    assert sum(one.webhook_id == alive.webhook_id for one in taken) == 1
    for one in taken:
        desk.deliverer.attempt(one)
    desk.clock.advance(1)
    again = desk.deliverer.claim()
    assert sum(one.webhook_id == dead.webhook_id for one in again) == OF_A_FAILING_ONE
    for one in again:
        desk.deliverer.attempt(one)
    desk.rows.delete(dead.webhook_id, "")
    desk.rows.delete(alive.webhook_id, "")


def test_senders_of_two_gateways_share_the_work(desk: Desk, database: AccountsDatabase) -> None:
    """Red without the update in `Deliveries.claim`: both would take the same."""
    webhook, _ = desk.webhook("http://127.0.0.1:9/")
    desk.enqueue(webhook, *(f"shared-{number}" for number in range(40)))
    taken: list[Claimed] = []
    lock = threading.Lock()

    def take() -> None:
        mine = Deliveries(database, 5.0)
        while len(taken) < 1000 and (found := mine.claim(webhook.webhook_id, 3)):
            with lock:
                taken.extend(found)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(taken) == len({one.delivery_id for one in taken}) == 40
    desk.rows.delete(webhook.webhook_id, "")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((302, {"Location": "http://127.0.0.1:1/elsewhere"}, b""), "the receiver answered with HTTP status 302"),
        ((200, {}, b"x" * 10_000_000), ""),
        ((200, {"Content-Length": "1000"}, b"half"), ""),
        ((404, {}, b"secret words of the receiver"), "the receiver answered with HTTP status 404"),
    ],
)
def test_answers_are_not_followed_nor_read_nor_told(answer: Any, error: str) -> None:
    """Red when redirects are followed, or the answer is read."""
    with receiver(lambda _count: answer) as taker:
        outcome = Sender(LOOPBACK, 30, TLS).post(taker.url, {"webhook-id": "x"}, b"{}")
        assert outcome.error == error
        assert len(taker.paths) == 1


def test_an_answer_that_comes_byte_by_byte_is_not_waited_for() -> None:
    """Red without `_TimedStream`: each byte would begin the time anew."""
    is_over = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            for _ in range(60):  # whoever waits for the end of it waits three seconds, and goes red
                if is_over.wait(0.05):
                    return
                try:
                    connection.sendall(b"X")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        try:
            assert Sender(LOOPBACK, 0.3, TLS).post(url, {}, b"{}").error == "no answer within 0.3 s"
        finally:
            is_over.set()
            thread.join(5)


def test_waiting_is_pruned_by_nobody_and_what_ended_is(desk: Desk) -> None:
    webhook, _ = desk.webhook("http://127.0.0.1:9/")
    desk.enqueue(webhook, "waits")
    desk.clock.advance(400 * 24 * 3600)
    desk.deliveries.prune()
    assert desk.states(webhook) == [(WAITING, 0)]
    desk.deliveries.disable(webhook.webhook_id, "test")
    desk.deliveries.prune()
    assert desk.states(webhook) == []


@contextmanager
def https(folder: Path, name: str) -> Iterator[tuple[Receiver, Path]]:
    """Yield a receiver with a certificate for ``name``, and the file of that."""
    chain = certificate(folder, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    with receiver(tls=context) as taker:
        yield taker, chain


def certificate(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2099, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / f"{name}.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def test_a_certificate_is_verified_for_the_name_though_the_address_is_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when TLS is told the address, or not to verify."""
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *given, **options: real("127.0.0.1", *given, **options))
    with https(tmp_path, "hooks.example.com") as (taker, chain):
        trusting = ssl.create_default_context(cafile=str(chain))
        port = taker.url.rpartition(":")[2]
        assert Sender(LOOPBACK, 30, trusting).post(f"https://hooks.example.com:{port}", {}, b"{}").is_delivered
        for name, context in (("other.example.com", trusting), ("hooks.example.com", TLS)):
            refused = Sender(LOOPBACK, 30, context).post(f"https://{name}:{port}", {}, b"{}")
            assert refused.error == "the certificate could not be verified"
        assert len(taker.bodies) == 1
