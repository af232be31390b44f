"""The forecast requests that somebody waits for, and the answers that the SQL store does not have yet.

An answer goes from the reader of `forecasts` to the waiting HTTP request as the bytes of its record: nothing is
encoded again and no SQL is on the way. An entry leaves only when the store can take over, so that at every moment
one of the two knows about a request.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from runtime.errors import TransientError
from schemas.forecasts import ForecastRequested


class OpenRequest:
    """One request by its id.

    Attributes:
        request_id: Names it in the log.
        wish: Digest of what was asked, or ``None`` where only the answer is known.
        asked: What was asked, or ``None`` likewise.
        answer: The record that ended it as JSON, once it has.
        is_refused: Whether ``answer`` is a `ForecastRefused`.
        is_logged: Whether the request is acknowledged by the log: from then on its answer will come.
        failure: Why it could not be brought into the log.
    """

    __slots__ = (
        "answer",
        "answer_latches",
        "asked",
        "failure",
        "is_logged",
        "is_refused",
        "is_stored",
        "log_latches",
        "request_id",
        "waiting",
        "wish",
    )

    def __init__(self, request_id: str, wish: str | None = None, asked: ForecastRequested | None = None) -> None:
        self.request_id = request_id
        self.wish = wish
        self.asked = asked
        self.answer: bytes | None = None
        self.is_refused = False
        self.is_logged = False
        self.is_stored = False
        self.failure: TransientError | ValueError | None = None
        self.answer_latches: list[threading.Lock] = []
        self.log_latches: list[threading.Lock] = []
        self.waiting = 0


class OpenRequests:
    """The open requests of this gateway; shared by the HTTP requests, the dispatcher and the projection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_id: dict[str, OpenRequest] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, request_id: str) -> OpenRequest | None:
        """Return the entry of a request, if it is open or its answer is not in the store yet."""
        return self._by_id.get(request_id)

    def join(
        self, request_id: str, wish: str | None, asked: ForecastRequested | None = None
    ) -> tuple[OpenRequest, bool]:
        """Return the entry of ``request_id`` and whether it was made now; count the caller as one who waits."""
        with self._lock:
            entry = self._by_id.get(request_id)
            is_new = entry is None
            if entry is None:
                entry = self._by_id[request_id] = OpenRequest(request_id, wish, asked)
            entry.waiting += 1
            return entry, is_new

    def leave(self, entry: OpenRequest) -> None:
        """Say that one who joined waits no longer."""
        with self._lock:
            entry.waiting -= 1
            self._drop_if_done(entry)

    def wait(self, entry: OpenRequest, timeout_seconds: float) -> None:
        """Return once the request is answered or has failed, or after ``timeout_seconds``."""
        self._await(entry, entry.answer_latches, timeout_seconds, until_logged=False)

    def wait_until_logged(self, entry: OpenRequest, timeout_seconds: float) -> None:
        """Return once the log has acknowledged the request or it has failed, or after ``timeout_seconds``."""
        self._await(entry, entry.log_latches, timeout_seconds, until_logged=True)

    def answered(self, request_id: str, answer: bytes, *, is_refused: bool) -> None:
        """Hand the record that ended a request to everybody who waits for it; a repeat changes nothing."""
        with self._lock:
            entry = self._by_id.get(request_id)
            if entry is None:
                entry = self._by_id[request_id] = OpenRequest(request_id)
            if entry.answer is not None:
                return
            entry.is_refused = is_refused
            entry.is_logged = True
            entry.answer = answer
            self._wake(entry)

    def logged(self, entries: Iterable[OpenRequest]) -> None:
        """Note that the log has acknowledged these requests."""
        with self._lock:
            for entry in entries:
                entry.is_logged = True
                if entry.log_latches:
                    _release(entry.log_latches)

    def failed(self, entries: Iterable[OpenRequest], failure: TransientError | ValueError) -> None:
        """Tell everybody who waits that these requests did not surely reach the log, and forget them."""
        with self._lock:
            for entry in entries:
                if entry.answer is None:
                    entry.failure = failure
                    self._by_id.pop(entry.request_id, None)
                    self._wake(entry)

    def discard(self, entry: OpenRequest) -> None:
        """Forget a new entry that was not sent after all; who joined meanwhile is told to come again."""
        self.failed([entry], TransientError("the same key came with another body at the same time"))

    def stored_requests(self, request_ids: Iterable[str]) -> None:
        """Note that the store knows these requests; entries that nobody waits for may go."""
        with self._lock:
            for request_id in request_ids:
                entry = self._by_id.get(request_id)
                if entry is not None:
                    entry.is_logged = entry.is_stored = True
                    self._drop_if_done(entry)

    def stored_answers(self, request_ids: Iterable[str]) -> None:
        """Forget these requests: the store has their answers. Who still waits holds the entry and was woken."""
        with self._lock:
            for request_id in request_ids:
                self._by_id.pop(request_id, None)

    def _await(
        self, entry: OpenRequest, latches: list[threading.Lock], timeout_seconds: float, *, until_logged: bool
    ) -> None:
        # A bare lock is the cheapest thing that one thread can wait on and another can release.
        latch = threading.Lock()
        latch.acquire()
        with self._lock:
            if entry.answer is not None or entry.failure is not None or (until_logged and entry.is_logged):
                return
            latches.append(latch)
        latch.acquire(timeout=max(0.0, timeout_seconds))

    def _wake(self, entry: OpenRequest) -> None:
        _release(entry.answer_latches)
        _release(entry.log_latches)

    def _drop_if_done(self, entry: OpenRequest) -> None:
        if entry.is_stored and entry.waiting == 0 and entry.answer is None:
            self._by_id.pop(entry.request_id, None)


def _release(latches: list[threading.Lock]) -> None:
    for latch in latches:
        latch.release()
    latches.clear()
