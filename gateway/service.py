"""What the HTTP routes share: the way into the log, the projection out of it, and the counters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from gateway.access import Access
from gateway.accounts.database import AccountsDatabase
from gateway.accounts.keyring import Keyring
from gateway.accounts.people import People
from gateway.accounts.project_rows import ProjectRows
from gateway.accounts.projects import ProjectRegistry
from gateway.accounts.sign_in import SignIn
from gateway.accounts.tokens import Tokens
from gateway.batches import Batches
from gateway.dead_letter_queries import DeadLetterQueries
from gateway.dispatcher import Dispatcher
from gateway.door import Door
from gateway.feed import Feed
from gateway.history_queries import HistoryQueries
from gateway.limits.in_flight import InFlight
from gateway.limits.quotas import Usage
from gateway.limits.rates import RequestRates
from gateway.limits.shares import Shares
from gateway.meters import Meters
from gateway.open_requests import OpenRequests
from gateway.problems import unavailable
from gateway.project_queries import ProjectQueries
from gateway.projection import OWNED, Junk, Projection
from gateway.queries import Queries
from gateway.settings import GatewaySettings
from gateway.settled import Settled
from gateway.store import Alarm, Store
from gateway.streams import Streams
from gateway.told import Told
from gateway.uploads.shelf import Shelf
from gateway.versions import Versions
from gateway.webhooks.worker import Webhooks
from runtime.broker import Broker, TopicPartition, partition_for
from runtime.clock import Clock
from runtime.errors import TransientError
from runtime.publisher import Publisher
from runtime.version import CODE_VERSION
from schemas.dead_letters import DeadLetter
from schemas.record import Record
from schemas.topics import DEAD_LETTERS, DEPLOYMENTS, MODELS, OBSERVATIONS, Topic

SERVICE = "gateway"
_LOG = structlog.get_logger(SERVICE)


@dataclass(frozen=True)
class Placed:
    """Where a record of ours stands in the log."""

    place: TopicPartition
    offset: int

    @property
    def ends(self) -> dict[TopicPartition, int]:
        """Return the position that a reader has once it has read the record."""
        return {self.place: self.offset + 1}


class GatewayService:
    """Everything behind the routes; made after the server process has forked, since it holds connections."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        broker: Broker,
        store: Store,
        accounts: AccountsDatabase,
        clock: Clock,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.broker = broker
        self.clock = clock
        self.meters = Meters()
        self.queries = Queries(store)
        self.history = HistoryQueries(store)
        self.dead_letters = DeadLetterQueries(store)
        self.versions = Versions(store.engine)
        self.project_queries = ProjectQueries(store)
        self.batches = Batches(store.engine)
        self.told = Told(store.engine)
        self.feed = Feed(self.told)
        self.streams = Streams(settings.max_streams, settings.max_streams_per_caller)
        self.accounts = accounts
        self.projects = ProjectRegistry(accounts)
        self.project_rows = ProjectRows(accounts)
        self.access = Access(self.projects)
        self.people = People(accounts)
        self.in_flight = InFlight(most=settings.max_requests, most_a_caller=settings.max_requests_per_caller)
        self.rates = RequestRates(
            caller=settings.limit("requests_a_minute"), address=settings.limit("anonymous_requests_a_minute")
        )
        self.usage = Usage(accounts, settings.limit, self.projects.organisation_of)
        self.shares = Shares(accounts, settings, self.usage.quotas, self.project_queries)
        self.keyring = Keyring(accounts, token_seconds=settings.access_token_seconds)
        self.tokens = Tokens(
            accounts,
            self.keyring,
            issuer=settings.public_url or SERVICE,
            lifetime_seconds=settings.access_token_seconds,
        )
        self.sign_in = SignIn(accounts, settings, self.tokens)
        self.shelf = Shelf(settings, self.shares.upload_bytes)
        self.open_requests = OpenRequests()
        self.publisher = Publisher(broker.producer(), service=SERVICE, clock=clock, topic_prefix=settings.topic_prefix)
        self.dispatcher = Dispatcher(
            self.publisher,
            self.open_requests,
            clock=clock,
            delivery_timeout_seconds=settings.delivery_timeout_seconds,
            stuck_after_seconds=settings.stuck_after_seconds,
        )
        self.door = Door(
            settings.max_waiting_requests,
            dispatcher=self.dispatcher,
            require_caught_up=self.require_caught_up,
            meters=self.meters,
        )
        self.projection = Projection(
            broker=broker,
            store=store,
            open_requests=self.open_requests,
            clock=clock,
            topic_prefix=settings.topic_prefix,
            min_write_interval_seconds=settings.min_write_interval_seconds,
            bury=self._bury,
            on_alarms=self._on_alarms,
            on_written=self.feed.offer,
            on_failure=on_failure,
        )
        self.webhooks = Webhooks(
            settings, broker=broker, accounts=accounts, offsets_at=self._offsets_at, on_failure=on_failure
        )
        self.settled = Settled(self.projection, self.end_offsets)
        self._one_at_a_time = threading.Lock()
        self._broker_lock = threading.Lock()
        self._partitions: dict[str, int] = {}
        self._companions: list[threading.Thread] = []

    def accompany(self, run: Callable[[], None]) -> None:
        """Let ``run`` have a thread from the start on; it must end once the projection is stopping."""
        self._companions.append(threading.Thread(target=run, name="companion", daemon=True))

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Let one request at a time start a training, an ingest, a deployment: a repeated key must see the first.

        Raises:
            Problem: 503; others are in the way for too long.
        """
        # Whoever is in it waits as long for the log.
        if not self._one_at_a_time.acquire(timeout=self.settings.delivery_timeout_seconds):
            raise unavailable("busy", "other requests of this kind are being written; come again")
        try:
            yield
        finally:
            self._one_at_a_time.release()

    def start(self) -> None:
        """Begin to follow the log and to send."""
        self.usage.start()
        self.feed.start()
        self.projection.start()
        self.dispatcher.start()
        self.webhooks.start()
        for companion in self._companions:
            companion.start()

    def stop(self) -> None:
        """Send what waits, stop following, let go of the log."""
        timeout = self.settings.delivery_timeout_seconds
        self.webhooks.stop(timeout)
        self.dispatcher.stop(timeout)
        self.projection.stop(timeout)
        # They work on the databases, which whoever stops us lets go of next.
        for companion in self._companions:
            if companion.is_alive():
                companion.join(timeout)
        self.feed.stop(timeout)
        self.usage.stop(timeout)
        self.publisher.close()
        self.broker.close()

    def partitions(self, topic: Topic) -> int:
        """Return how many partitions a topic has."""
        name = topic.full_name(self.settings.topic_prefix)
        count = self._partitions.get(name)
        if count is None:
            with self._broker_lock:
                count = self.broker.partitions(name)
            if count == 0:
                raise TransientError(f"topic {name} must exist, it does not")
            self._partitions[name] = count
        return count

    def partition_of(self, topic: Topic, key: str) -> int:
        """Return the partition in which records with this key stand."""
        return partition_for(key.encode(), self.partitions(topic))

    def end_offsets(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the ends of partitions as the log has them now."""
        with self._broker_lock:
            return self.broker.end_offsets(places)

    def _offsets_at(self, places: Iterable[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        with self._broker_lock:
            return self.broker.offsets_at(places, timestamp_ms)

    def committed(self, group: str, places: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return what a group has committed."""
        with self._broker_lock:
            return self.broker.committed(group, places)

    def members(self, group: str) -> int:
        """Return how many members a group has."""
        with self._broker_lock:
            return self.broker.members(group)

    def require_caught_up(self) -> None:
        """Refuse what would be answered from a stale view of the log.

        Raises:
            Problem: 503; the gateway still reads what stood in the log when it started.
        """
        if not self.projection.is_caught_up:
            raise unavailable("starting", "the gateway still reads the log; send the same request again later")

    def require_written(self) -> None:
        """Wait until the store has what has been read: what was not found there may be found then.

        Raises:
            Problem: 503; the gateway still reads or stores it, and nobody knows what there is.
        """
        self.require_caught_up()
        if not self.projection.write_what_is_seen(self.settings.delivery_timeout_seconds):
            raise unavailable(
                "starting", "the gateway still stores what it has read; send the same request again later"
            )

    def publish(self, topic: Topic, record: Record, traceparent: str) -> Placed:
        """Write one record and wait until the log has acknowledged it.

        Raises:
            TransientError: It may or may not stand in the log; the same id can be sent again.
        """
        partition = self.partition_of(topic, topic.key(record))
        delivery = self.publisher.send(topic, record, traceparent=traceparent, partition=partition)
        partition, offset = delivery.result(self.settings.delivery_timeout_seconds)
        return Placed(self.projection.place(topic, partition), offset)

    def observation_place(self, series_id: str) -> TopicPartition:
        """Return the partition of `observations` that holds a series."""
        return self.projection.place(OBSERVATIONS, self.partition_of(OBSERVATIONS, series_id))

    def model_places(self) -> tuple[TopicPartition, ...]:
        """Return the partitions of `models` and `deployments`."""
        return (self.projection.place(MODELS, 0), self.projection.place(DEPLOYMENTS, 0))

    def _bury(self, junk: Sequence[Junk]) -> None:
        deliveries = []
        for item in junk:
            message = item.message
            self.meters.junk.labels(item.topic.name).inc()
            _LOG.warning(
                "junk",
                topic=message.topic,
                partition=message.partition,
                offset=message.offset,
                reason=item.error.reason,
                is_dead_lettered=item.topic.name in OWNED,
            )
            if item.topic.name in OWNED:
                letter = DeadLetter(
                    topic=item.topic.name,
                    partition=message.partition,
                    offset=message.offset,
                    key=message.key,
                    value=message.value,
                    headers=dict(message.headers),
                    reason=item.error.reason,
                    service=SERVICE,
                    code_version=CODE_VERSION,
                )
                deliveries.append(self.publisher.send(DEAD_LETTERS, letter))
        for delivery in deliveries:
            delivery.result(self.settings.delivery_timeout_seconds)

    def _on_alarms(self, alarms: Sequence[Alarm]) -> None:
        for alarm in alarms:
            self.meters.alarms.labels(alarm.kind).inc()
            _LOG.error("invariant-broken", **vars(alarm))
