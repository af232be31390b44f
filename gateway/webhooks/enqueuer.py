"""From the log to the table of deliveries: a consumer group that all gateways share.

A message is committed once its deliveries are in the table, so a crash reads it again, and its rows are there already.
As long as nobody has a webhook nothing is consumed. When somebody has, the group begins just before the oldest webhook
was made: what was before is not theirs, and a group that starts anew would otherwise begin with the whole log.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog
from sqlalchemy.exc import IntegrityError

from gateway.access import project_of
from gateway.events import EVENT_TOPICS, event_of
from gateway.webhooks.deliveries import Deliveries
from gateway.webhooks.rows import CLOCKS_US, Webhook, WebhookRows
from runtime.broker import Broker, Consumer, Message, TopicPartition
from runtime.errors import TransientError
from runtime.incoming import decode_message
from schemas.errors import InvalidRecord
from schemas.topics import FORECASTS

#: Name of the consumer group behind the prefix of the installation.
GROUP = "webhooks"
_POLL_SECONDS = 0.5
_LOOK_SECONDS = 1.0
_BACK_OFF_SECONDS = 1.0
_LOG = structlog.get_logger("gateway")
OffsetsAt = Callable[[Iterable[TopicPartition], int], Mapping[TopicPartition, int]]


class Enqueuer:
    """One member of the group; `run` belongs to one thread.

    Args:
        broker: Where the topics are.
        topic_prefix: The installation's prefix.
        offsets_at: Returns the first offsets at or after a time (ms).
        webhooks: Who wants what.
        deliveries: Takes it.
        on_enqueued: Called when something is there to be sent.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        topic_prefix: str,
        offsets_at: OffsetsAt,
        webhooks: WebhookRows,
        deliveries: Deliveries,
        on_enqueued: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._group = f"{topic_prefix}{GROUP}"
        self._topics = {topic.full_name(topic_prefix): topic for topic in EVENT_TOPICS}
        self._offsets_at = offsets_at
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._on_enqueued = on_enqueued
        self._consumer: Consumer | None = None
        self._begun: frozenset[TopicPartition] = frozenset()
        self.wakeup = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set."""
        while not stop.is_set():
            try:
                self.turn()
            except (TransientError, IntegrityError) as error:
                # IntegrityError: a webhook went away meanwhile. What was read is not committed, and comes again.
                _LOG.warning("webhooks-interrupted", reason=str(error))
                self.close()
                stop.wait(_BACK_OFF_SECONDS)
        self.close()

    def turn(self) -> None:
        """Take what one poll gives.

        Raises:
            TransientError: Nothing was committed of it.
        """
        if not self._webhooks.enabled():
            self.close()
            self.wakeup.wait(_LOOK_SECONDS)
            self.wakeup.clear()
            return
        if self._consumer is None:
            self._consumer = self._broker.consumer(group=self._group, topics=list(self._topics))
        messages = self._consumer.poll(_POLL_SECONDS)
        # After the poll: a webhook that was made before a message was written is among them.
        webhooks = self._webhooks.enabled()
        messages = self._begin(self._consumer, messages, webhooks)
        if not messages:
            return
        self._deliveries.enqueue(self._wanted(messages, webhooks))
        ends: dict[TopicPartition, int] = {}
        for message in messages:
            ends[TopicPartition(message.topic, message.partition)] = message.offset + 1
        self._consumer.commit(ends)
        self._on_enqueued()

    def close(self) -> None:
        """Leave the group."""
        consumer, self._consumer, self._begun = self._consumer, None, frozenset()
        if consumer is not None:
            try:
                consumer.close()
            except TransientError as error:
                # The broker notices our absence without a goodbye.
                _LOG.warning("close-failed", reason=str(error))

    def _begin(self, consumer: Consumer, messages: Sequence[Message], webhooks: Sequence[Webhook]) -> Sequence[Message]:
        """Skip, in partitions that are new here, what was before every webhook; return what is left of ``messages``."""
        assigned = consumer.assignment()
        new = assigned - self._begun
        if new and webhooks:
            oldest_ms = (min(webhook.created_us for webhook in webhooks) - CLOCKS_US) // 1000
            first = self._offsets_at(new, oldest_ms)
            for place in new:
                if consumer.position(place) < first[place]:
                    consumer.seek(place, first[place])
            messages = [
                message
                for message in messages
                if message.offset >= first.get(TopicPartition(message.topic, message.partition), 0)
            ]
        self._begun = assigned
        return messages

    def _wanted(
        self, messages: Sequence[Message], webhooks: Sequence[Webhook]
    ) -> Iterable[tuple[Webhook, str, str, bytes]]:
        projects = {webhook.project_id for webhook in webhooks}
        for message in messages:
            topic = self._topics[message.topic]
            key = (message.key or b"").decode("utf-8", "replace")
            if topic is FORECASTS and "/" in key and project_of(key) not in projects:
                continue  # most of a busy log, and not even decoded
            try:
                event = event_of(decode_message(topic, message))
            except InvalidRecord:
                continue  # the projection tells of it
            if event is None:
                continue
            found = [webhook for webhook in webhooks if webhook.wants(event)]
            body = event.document() if found else b""
            yield from ((webhook, event.id, event.type, body) for webhook in found)
