"""Reads of dead letters from the SQL store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, func, select

from gateway import tables
from gateway.store import Store, translated

WAITING, REPLAYED, DROPPED = "waiting", "replayed", "dropped"
STATES = (WAITING, REPLAYED, DROPPED)
STATE_OF = {None: WAITING, "replay": REPLAYED, "drop": DROPPED}
_DECISION_OF = {state: decision for decision, state in STATE_OF.items()}
_LETTERS, _DECISIONS = tables.DEAD_LETTERS, tables.DEAD_LETTER_DECISIONS
Mapped = Mapping[str, Any]


class DeadLetterQueries:
    """Answers questions about dead letters. Every method may raise `StoreUnavailable`."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    def page(
        self, *, topic: str | None, service: str | None, state: str | None, after: str | None, limit: int
    ) -> list[Mapped]:
        """Return letters without their bytes, the newest first, each with the decision about it.

        Args:
            topic: Only of messages of this topic.
            service: Only those that this service gave up on.
            state: Only those that are `waiting`, `replayed` or `dropped`.
            after: Only those behind this one.
            limit: At most so many.
        """
        query = _letters(with_record=False)
        for column, wanted in ((_LETTERS.c.topic, topic), (_LETTERS.c.service, service)):
            if wanted is not None:
                query = query.where(column == wanted)
        if state is not None:
            decision = _DECISION_OF[state]
            query = query.where(
                _DECISIONS.c.decision.is_(None) if decision is None else _DECISIONS.c.decision == decision
            )
        if after is not None:
            edge = select(_LETTERS.c.died_ms).where(_LETTERS.c.dead_letter_id == after).scalar_subquery()
            query = query.where(
                (_LETTERS.c.died_ms < edge) | ((_LETTERS.c.died_ms == edge) & (_LETTERS.c.dead_letter_id > after))
            )
        return self._all(query.order_by(_LETTERS.c.died_ms.desc(), _LETTERS.c.dead_letter_id).limit(limit))

    def get(self, dead_letter_id: str) -> Mapped | None:
        """Return one letter as it travelled, with the decision about it."""
        found = self._all(_letters(with_record=True).where(_LETTERS.c.dead_letter_id == dead_letter_id))
        return found[0] if found else None

    def again(self, dead_letter_id: str) -> list[str]:
        """Return the letters that this one became when its message was sent again."""
        query = select(_LETTERS.c.dead_letter_id).where(_LETTERS.c.replay_of == dead_letter_id)
        with translated(), self._engine.connect() as connection:
            return list(connection.scalars(query.order_by(_LETTERS.c.died_ms)))

    def waiting(self) -> int:
        """Return how many wait for a decision."""
        query = select(func.count()).select_from(_JOINED).where(_DECISIONS.c.decision.is_(None))
        with translated(), self._engine.connect() as connection:
            return int(connection.scalar(query) or 0)

    def _all(self, query: Select[Any]) -> list[Mapped]:
        with translated(), self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


_JOINED = _LETTERS.outerjoin(_DECISIONS, _DECISIONS.c.dead_letter_id == _LETTERS.c.dead_letter_id)


def _letters(*, with_record: bool) -> Select[Any]:
    columns = [column for column in _LETTERS.columns if with_record or column.name != "record"]
    return select(*columns, _DECISIONS.c.record.label("decision")).select_from(_JOINED)
