"""The appends of the partitions that this instance owns: decided together, told one by one.

An append has rows of many series. It is decided from the log as it is then, so it waits while rows of one of its
series are being published, and later appends of that series wait behind it. Where more than one is there, plain rows
(`ingestor.live`) of the later ones join those of the first in one batch: the more come, the less each of them costs.
So a turn is followed by a rest as long as itself: at low rates too short to be noticed, at high ones what comes
meanwhile goes together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from msgspec import structs

from ingestor.live import NAME, Judged, PlainRows
from ingestor.state import IngestLog
from runtime.broker import partition_for
from runtime.errors import InvalidMessage
from runtime.incoming import Incoming, Outgoing
from schemas.appends import AppendRequested
from schemas.ingests import IngestEvent
from schemas.topics import INGEST_EVENTS, OBSERVATIONS, QUARANTINE

_TOLD_REASONS = 20
_MAX_REASON_CHARACTERS = 2000
#: Rows that are published between two looks at everything else, beyond those of one append.
_ROWS_A_TURN = 20_000
_LONGEST_REST_SECONDS = 0.5


@dataclass(frozen=True)
class DecidedAppend:
    """What is to be published of one append: the rows, then its end."""

    incoming: Incoming
    rows: Sequence[Outgoing]
    event: IngestEvent
    series_ids: frozenset[str]

    @property
    def partition(self) -> int:
        """Number of the partition that owns its series."""
        return self.incoming.message.partition

    @property
    def told(self) -> Outgoing:
        """The end, as it is published."""
        return Outgoing(
            topic=INGEST_EVENTS,
            record=self.event,
            traceparent=self.incoming.envelope.traceparent,
            partition=self.partition,
            after_acknowledged=True,
        )

    def failed(self, reason: str) -> DecidedAppend:
        """Return the append without rows, since one of them can never be published."""
        event = structs.replace(self.event, state="failed", rows_published=0, rows_quarantined=0, reason=reason)
        return replace(self, rows=(), event=event)


class Appends:
    """The appends that are not finished, in the order of the log within a partition."""

    def __init__(self, log: IngestLog) -> None:
        self._log = log
        self._waiting: deque[tuple[Incoming, AppendRequested]] = deque()
        #: By the monotonic clock.
        self._began = self._rests_until = float("-inf")

    def due_in(self, at: float) -> float | None:
        """Return after how many seconds some are to be decided, 0 for at once; ``None`` while there are none."""
        return max(self._rests_until - at, 0.0) if self._waiting else None

    def begin(self, at: float) -> None:
        """Note that a turn of them begins."""
        self._began = at

    def end(self, at: float) -> None:
        """Note that all of the turn is acknowledged; what had to wait for it goes on without a rest."""
        if not self._waiting:
            self._rests_until = at + min(at - self._began, _LONGEST_REST_SECONDS)

    def receive(self, incoming: Incoming, append: AppendRequested, partitions: int) -> None:
        """Take in an append.

        Raises:
            InvalidMessage: Rows of another partition's series stand in it.
        """
        for rows in append.series:
            home = partition_for(rows.series_id.encode(), partitions)
            if home != incoming.message.partition:
                raise InvalidMessage(
                    f"wrong-partition: {rows.series_id} belongs to partition {home}, the append stands in "
                    f"{incoming.message.partition}; an append has series of one partition"
                )
        self._waiting.append((incoming, append))

    def drop(self, partitions: Collection[int]) -> None:
        """Forget the appends of partitions that are lost; whoever has them now reads them again."""
        self._waiting = deque(each for each in self._waiting if each[0].message.partition not in partitions)

    def partitions(self) -> set[int]:
        """Return the partitions whose log must be known to its end before `decide`."""
        return {incoming.message.partition for incoming, _ in self._waiting}

    def decide(self, busy: Collection[str], now: datetime) -> tuple[list[DecidedAppend], list[Incoming]]:
        """Return what becomes of the appends whose turn it is, and those that had ended before; the others wait.

        Args:
            busy: Series of which rows are being published that the log does not show yet.
            now: When the rows became known (UTC).
        """
        drafts: list[tuple[Incoming, AppendRequested, Judged]] = []
        ended: list[Incoming] = []
        rest: deque[tuple[Incoming, AppendRequested]] = deque()
        blocked, taken = set(busy), set[str]()
        joinable: dict[str, PlainRows] = {}
        count = 0
        for incoming, append in self._waiting:
            if self._log.has_ended(incoming.message.partition, append.ingest_id):
                ended.append(incoming)
                continue
            names = {rows.series_id for rows in append.series}
            joining = [rows for rows in append.series if rows.series_id in taken]
            # What stands behind a waiting append of the same series waits too: rows are judged in the order of the log.
            if (
                count >= _ROWS_A_TURN
                or not blocked.isdisjoint(names)
                or not all(r.series_id in joinable and joinable[r.series_id].takes(r, now) for r in joining)
            ):
                rest.append((incoming, append))
                blocked |= names
                continue
            drafts.append((incoming, append, self._judged(incoming, append, joinable, now)))
            taken |= names
            count += sum(len(rows.time) for rows in append.series)
        self._waiting = rest
        for _, _, judged in drafts:
            judged.finish(now)
        return [_decided(*draft) for draft in drafts], ended

    def _judged(
        self, incoming: Incoming, append: AppendRequested, joinable: dict[str, PlainRows], now: datetime
    ) -> Judged:
        """Judge an append; its rows join those that are ``joinable``, or begin what is."""
        partition = incoming.message.partition
        judged = Judged()
        for rows in append.series:
            plain = joinable.get(rows.series_id)
            if plain is not None:
                plain.join(rows)
                judged.rows_published += 1
            else:
                known = self._log.known(partition, rows.series_id)
                judged.add(rows, known, self._log.held(partition, rows.series_id), append.ingest_id, now)
        joinable.update({plain.series_id: plain for plain in judged.plain})
        return judged


def together(append: DecidedAppend, others: Sequence[DecidedAppend]) -> list[DecidedAppend]:
    """Return an append with those whose rows stand in its batches, or the other way round."""
    found, names, rest = [append], set(append.series_ids), [each for each in others if each is not append]
    while joined := [each for each in rest if not names.isdisjoint(each.series_ids)]:
        found += joined
        names.update(*(each.series_ids for each in joined))
        rest = [each for each in rest if each not in joined]
    return found


def _decided(incoming: Incoming, append: AppendRequested, judged: Judged) -> DecidedAppend:
    partition, traceparent = incoming.message.partition, incoming.envelope.traceparent
    rows_to_send = [
        Outgoing(topic=QUARANTINE, record=record, traceparent=traceparent, partition=partition)
        for record in judged.held
    ] + [
        Outgoing(topic=OBSERVATIONS, record=batch, traceparent=traceparent, partition=partition)
        for batch in judged.batches
    ]
    names = frozenset(rows.series_id for rows in append.series)
    return DecidedAppend(incoming, rows_to_send, _event(append, judged), names)


def _event(append: AppendRequested, judged: Judged) -> IngestEvent:
    """Return the end of an append: ``failed`` when a series was refused, whatever was published of the others."""
    times = [time for rows in append.series for time in (rows.time[0], rows.time[-1])]
    parts = [f"{len(judged.refused)} of {len(append.series)} series refused"] if judged.refused else []
    told = [*judged.refused, *judged.notes]
    parts += told[:_TOLD_REASONS]
    if len(told) > _TOLD_REASONS:
        parts.append(f"and {len(told) - _TOLD_REASONS} more")
    return IngestEvent(
        ingest_id=append.ingest_id,
        series_id=append.series_id,
        state="failed" if judged.refused else "succeeded",
        source=NAME,
        rows_received=sum(len(rows.time) for rows in append.series),
        rows_published=judged.rows_published,
        rows_quarantined=judged.rows_held,
        flags=tuple(judged.flags[:_TOLD_REASONS]),
        first_time=min(times),
        last_time=max(times),
        reason="; ".join(parts)[:_MAX_REASON_CHARACTERS],
    )
