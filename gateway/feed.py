"""New events to those who listen now.

The writer of the projection hands over what it has written and goes on at once; another thread finds who wants it. With
nobody listening nothing is looked at. A listener whose reader is too slow is cut off: it comes again with the position
that it has, and reads the log from there.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence

import structlog

from gateway.events import Event, event_of
from gateway.told import Told, Wish
from runtime.broker import TopicPartition
from runtime.errors import TransientError
from runtime.incoming import Incoming

#: As many as one transaction of the projection may bring: a reader that keeps up is never cut off by a burst.
MAX_WAITING_EVENTS = 5000
_MAX_WAITING_MESSAGES = 50_000
_LOG = structlog.get_logger("gateway")
_Written = tuple[Sequence[Incoming], Mapping[TopicPartition, int]]


class Listener:
    """What one reader is still to be told.

    Attributes:
        is_cut: Nothing more comes: the reader must come again.
    """

    def __init__(self, wish: Wish, max_waiting_events: int) -> None:
        self.wish = wish
        self.is_cut = False
        self._events: deque[Event] = deque()
        self._positions: dict[TopicPartition, int] = {}
        self._max_waiting_events = max_waiting_events
        self._changed = threading.Condition(threading.RLock())

    def take(self, timeout_seconds: float) -> tuple[list[Event], dict[TopicPartition, int]]:
        """Return the events that wait, and the positions of the log before which there are no others."""
        with self._changed:
            if not self._events and not self.is_cut:
                self._changed.wait(timeout_seconds)
            events = list(self._events)
            self._events.clear()
            return events, dict(self._positions)

    def tell(self, events: Iterable[Event], positions: Mapping[TopicPartition, int]) -> None:
        """Let the reader have these, and know that up to ``positions`` there is nothing else."""
        with self._changed:
            if self.is_cut:
                return
            self._events += events
            self._positions.update(positions)
            if len(self._events) > self._max_waiting_events:
                self.cut()
            if self._events:
                self._changed.notify_all()

    def cut(self) -> None:
        """End it; what waits is read from the log by whoever comes again."""
        with self._changed:
            self.is_cut = True
            self._events.clear()
            self._changed.notify_all()


class Feed:
    """Finds the listeners of each event, in a thread of its own.

    Args:
        told: Knows which events are told.
        max_waiting_events: A listener for whom more wait is cut off.
    """

    def __init__(self, told: Told, *, max_waiting_events: int = MAX_WAITING_EVENTS) -> None:
        self._told = told
        self._max_waiting_events = max_waiting_events
        self._lock = threading.Lock()
        self._wakeup = threading.Condition(self._lock)
        self._waiting: deque[_Written] = deque()
        self._waiting_messages = 0
        self._listeners: set[Listener] = set()
        #: What a listener wants most narrowly -> the listeners: an event is held against few of them.
        self._by_subject: defaultdict[tuple[str, str], set[Listener]] = defaultdict(set)
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """End the thread and every listener."""
        with self._lock:
            self._is_stopping = True
            listeners = list(self._listeners)
            self._wakeup.notify()
        for listener in listeners:
            listener.cut()
        self._thread.join(timeout_seconds)

    def listen(self, wish: Wish) -> Listener:
        """Return a new listener: it is told everything that is written after this."""
        listener = Listener(wish, self._max_waiting_events)
        with self._lock:
            self._listeners.add(listener)
            self._by_subject[_subject(wish)].add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Forget a listener."""
        with self._lock:
            self._listeners.discard(listener)
            subject = _subject(listener.wish)
            self._by_subject[subject].discard(listener)
            if not self._by_subject[subject]:
                del self._by_subject[subject]

    def offer(self, messages: Sequence[Incoming], positions: Mapping[TopicPartition, int]) -> None:
        """Take what has just been written, with the positions behind it; never waits."""
        if not self._listeners:
            return
        with self._lock:
            self._waiting.append((messages, positions))
            self._waiting_messages += len(messages)
            if self._waiting_messages > _MAX_WAITING_MESSAGES:
                _LOG.warning("feed-cut", messages=self._waiting_messages, listeners=len(self._listeners))
                self._waiting.clear()
                self._waiting_messages = 0
                for listener in self._listeners:
                    listener.cut()
            self._wakeup.notify()

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._waiting:
                    if self._is_stopping:
                        return
                    self._wakeup.wait()
                messages, positions = self._waiting.popleft()
                self._waiting_messages -= len(messages)
                listeners = list(self._listeners)
            self._hand_on(listeners, messages, positions)

    def _hand_on(
        self, listeners: Sequence[Listener], messages: Sequence[Incoming], positions: Mapping[TopicPartition, int]
    ) -> None:
        wanted: list[tuple[Event, list[Listener]]] = []
        for incoming in messages:
            event = event_of(incoming)
            if event is not None and (found := self._who_wants(event)):
                wanted.append((event, found))
        news: defaultdict[Listener, list[Event]] = defaultdict(list)
        try:
            askers = dict(self._told.first([event for event, _ in wanted]))
            for event, found in wanted:
                for listener in found:
                    if event in askers and listener.wish.may_know(event, askers[event]):
                        news[listener].append(event)
        except TransientError as error:
            # They come again behind what they were told, and are told this then.
            _LOG.warning("feed-interrupted", reason=str(error))
            for listener in {listener for _, found in wanted for listener in found}:
                listener.cut()
        for listener in listeners:
            listener.tell(news.get(listener, ()), positions)

    def _who_wants(self, event: Event) -> list[Listener]:
        subjects = [("", ""), ("project", event.project), ("model", event.model or "")]
        subjects += [("series", series_id) for series_id in event.series_ids]
        with self._lock:
            found = [listener for subject in subjects for listener in self._by_subject.get(subject, ())]
        return [listener for listener in found if listener.wish.covers(event)]


def _subject(wish: Wish) -> tuple[str, str]:
    if wish.series_id is not None:
        return ("series", wish.series_id)
    if wish.model is not None:
        return ("model", wish.model)
    return ("", "") if wish.project is None else ("project", wish.project)
