"""Removes from the disk what has arrived in the log.

The files of an upload go once each of its series has ended well: their rows are in the log or in quarantine then. What
is known of it stays for some days longer, so that its address still answers. An upload of which one series has failed
stays as it is, and so does one that nobody has loaded. Whatever was cut off by a crash is done again: nothing that is
removed is needed any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Literal

import structlog

from gateway.uploads.shelf import Shelf, Upload
from runtime.clock import Clock
from runtime.errors import TransientError

PAUSE_SECONDS = 5.0
#: So many series are asked about at once.
_ASKED = 500
_LOG = structlog.get_logger("gateway")

#: Newest state of an ingest in the log, by its id; those without an event are absent.
States = Callable[[Sequence[str]], Mapping[str, Literal["running", "succeeded", "failed"]]]


class Tidying:
    """Looks through the shelf; belongs to one thread.

    Args:
        shelf: The uploads.
        ingest_ids: The ids under which the series of an upload are loaded, in their order.
        states: What the log says of ingests.
        clock: Tells how old something is.
        keep: How long what is known of an upload stays after its files have gone.
    """

    def __init__(
        self,
        shelf: Shelf,
        *,
        ingest_ids: Callable[[Upload], Sequence[str]],
        states: States,
        clock: Clock,
        keep: timedelta,
    ) -> None:
        self._shelf = shelf
        self._ingest_ids = ingest_ids
        self._states = states
        self._clock = clock
        self._keep = keep
        #: Of each upload, how many of its series are known to have ended well.
        self._arrived: dict[str, int] = {}

    def run(self, is_stopping: Callable[[], bool], wait: Callable[[float], None]) -> None:
        """Tidy up again and again; ``wait`` returns after some seconds, or earlier."""
        while not is_stopping():
            try:
                self.turn()
            except (OSError, TransientError) as error:
                _LOG.warning("uploads-not-tidied", reason=str(error))
            next_turn = self._clock.monotonic() + PAUSE_SECONDS
            while not is_stopping() and (left := next_turn - self._clock.monotonic()) > 0:
                wait(left)

    def turn(self) -> None:
        """Look at every upload once."""
        for upload in self._shelf.loaded():
            if upload.arrived_at is not None:
                if self._clock.now() - upload.arrived_at >= self._keep:
                    self._shelf.forget(upload.upload_id)
            elif self._has_arrived(upload):
                self._shelf.put_away(upload.upload_id, self._clock.now())
                self._arrived.pop(upload.upload_id, None)
                _LOG.info("upload-arrived", upload_id=upload.upload_id)

    def _has_arrived(self, upload: Upload) -> bool:
        ids = self._ingest_ids(upload)
        first = self._arrived.get(upload.upload_id, 0)
        while first < len(ids):
            asked = ids[first : first + _ASKED]
            states = self._states(asked)
            well = next((n for n, one in enumerate(asked) if states.get(one) != "succeeded"), len(asked))
            first += well
            self._arrived[upload.upload_id] = first
            if well < len(asked):
                return False
        return True
