"""Which offsets of one partition may be committed when its messages end out of order."""

from __future__ import annotations


class OffsetTracker:
    """Commits only the contiguous finished prefix: an unfinished message is read again after a restart.

    Offsets are received in ascending order and may skip numbers.

    >>> tracker = OffsetTracker()
    >>> tracker.received(4)
    >>> tracker.received(7)
    >>> tracker.finished(7)
    >>> tracker.committable
    4
    >>> tracker.finished(4)
    >>> tracker.committable
    8
    """

    def __init__(self) -> None:
        self._unfinished: set[int] = set()
        self._next: int | None = None

    def knows(self, offset: int) -> bool:
        """Say whether a message was read before: then this is a redelivery."""
        return self._next is not None and offset < self._next

    def received(self, offset: int) -> None:
        """Note that a message was read that is not known."""
        self._unfinished.add(offset)
        self._next = offset + 1

    def finished(self, offset: int) -> None:
        """Note that nothing is left to do for a message."""
        self._unfinished.remove(offset)

    @property
    def unfinished(self) -> int:
        """Return how many messages were read and are not finished."""
        return len(self._unfinished)

    @property
    def committable(self) -> int | None:
        """Return the next offset to read after a restart; ``None`` before the first message."""
        return min(self._unfinished) if self._unfinished else self._next
