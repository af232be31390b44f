"""The events behind a position: first what the log has, then what comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import structlog

from gateway import positions
from gateway.events import EVENT_TOPICS, Event, event_of
from gateway.feed import Listener
from gateway.service import GatewayService
from gateway.streams import BEAT, BEGIN, HEARTBEAT_SECONDS, LIFETIME_SECONDS, block
from gateway.told import Wish
from runtime.broker import TopicPartition
from runtime.errors import TransientError
from runtime.follower import Follower
from runtime.incoming import Incoming

#: Name of the event that says only how far the reader is.
POSITION = "position"
_BEATS_A_POSITION = 4
_POLL_SECONDS = 0.5
_LOG = structlog.get_logger("gateway")


class BeyondLog(ValueError):
    """Say that a position lies beyond the end of the log: it is of another one."""


class EventStream:
    """One reader's events. Its position moves with every event that it was told, and with what it had no part in.

    Args:
        service: The gateway.
        wish: What is wanted.
        after: The position to begin behind; empty: now.

    Raises:
        ValueError: ``after`` is no position of this log.
        TransientError: The log cannot say now.
    """

    def __init__(self, service: GatewayService, wish: Wish, after: str) -> None:
        self._service = service
        self._wish = wish
        self._listener = service.feed.listen(wish)
        # What is written from here on is told to the listener, so what was written before is all that is missing.
        try:
            self._until = self._written()
            self._positions = dict(self._until) if not after else self._decoded(after)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go; may be called more than once."""
        self._service.feed.leave(self._listener)

    def chunks(self) -> Iterator[bytes]:
        """Yield the text of the stream until the reader must come again."""
        # Who is cut off before the first event comes again with the place where this stream began.
        yield b"id: %s\n%s" % (self._text().encode(), BEGIN)
        try:
            yield from self._replayed()
            yield from self._live(self._listener)
        except TransientError as error:
            # The reader connects again and goes on behind the last event that it has.
            _LOG.warning("stream-ended", reason=str(error))

    @cached_property
    def _places(self) -> list[list[TopicPartition]]:
        service = self._service
        return [
            [service.projection.place(topic, number) for number in range(service.partitions(topic))]
            for topic in EVENT_TOPICS
        ]

    def _written(self) -> dict[TopicPartition, int]:
        written = self._service.projection.written()
        return {
            place: written[place].next_offset if place in written else 0
            for of_topic in self._places
            for place in of_topic
        }

    def _decoded(self, after: str) -> dict[TopicPartition, int]:
        found = positions.decode(after, self._places)
        if any(offset > self._until[place] for place, offset in found.items()):
            # Another gateway may be further than this one; nobody can be further than the log.
            ends = self._service.end_offsets(found)
            if any(offset > ends[place] for place, offset in found.items()):
                raise BeyondLog("beyond the end of the log")
        return found

    def _text(self) -> str:
        return positions.encode(self._positions, self._places)

    def _take(self, events: Sequence[Event]) -> Iterator[bytes]:
        """Yield what of ``events`` was not told yet."""
        for event in events:
            if event.offset >= self._positions[event.place]:
                self._positions[event.place] = event.offset + 1
                yield block(event.type, self._text(), event.document())

    def _replayed(self) -> Iterator[bytes]:
        """Yield what stands in the log between the position and what the listener is told."""
        service = self._service
        missing = {place: offset for place, offset in self._positions.items() if offset < self._until[place]}
        if not missing:
            return
        collected: list[Incoming] = []
        follower = Follower(
            service.broker,
            topics=EVENT_TOPICS,
            topic_prefix=service.settings.topic_prefix,
            apply=collected.append,
            on_invalid=lambda _message, _error: None,
        )
        try:
            follower.assign(missing)
            began = service.clock.monotonic()
            while missing and not service.projection.is_stopping:
                follower.poll(_POLL_SECONDS)
                reached = follower.positions()
                yield from self._take(self._told(collected))
                collected.clear()
                for place in missing:
                    self._positions[place] = max(self._positions[place], min(reached[place], self._until[place]))
                read = [place for place in missing if reached[place] >= self._until[place]]
                if read:
                    follower.remove(read)
                    missing = {place: offset for place, offset in missing.items() if place not in read}
                if service.clock.monotonic() - began > HEARTBEAT_SECONDS:
                    began = service.clock.monotonic()
                    yield block(POSITION, self._text(), b"{}")
        finally:
            follower.close()

    def _told(self, messages: Sequence[Incoming]) -> list[Event]:
        found = [event for event in map(event_of, messages) if event is not None and self._wish.covers(event)]
        within = [event for event in found if event.offset < self._until[event.place]]
        return [event for event, asker in self._service.told.first(within) if self._wish.may_know(event, asker)]

    def _live(self, listener: Listener) -> Iterator[bytes]:
        service = self._service
        began = beat = service.clock.monotonic()
        beats = 0
        while not (service.projection.is_stopping or listener.is_cut):
            events, behind = listener.take(1.0)
            yield from self._take(events)
            for place in self._positions.keys() & behind.keys():
                self._positions[place] = max(self._positions[place], behind[place])
            now = service.clock.monotonic()
            if now - beat > HEARTBEAT_SECONDS:
                beat, beats = now, beats + 1
                # A reader of rare events would otherwise come again with an old position, and read far back.
                yield BEAT if beats % _BEATS_A_POSITION else block(POSITION, self._text(), b"{}")
            if now - began > LIFETIME_SECONDS:
                return
