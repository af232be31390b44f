"""Many forecasts asked for by one call: how their ids tell which they are, and what the store knows of them.

The id of a request names its batch, the digest of the body and its place there. So a repeat of the call is the same
requests, another body under the same key gives other ids, and no batch needs a record or a row of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Engine, Select, func, select, true

from gateway.access import PUBLIC_PROJECTS
from gateway.history import ISSUED, PENDING, REFUSED
from gateway.projects_of import ProjectOf
from gateway.queries import Reader
from gateway.store import translated
from gateway.tables import FORECAST_REQUESTS, FORECASTS
from schemas.identity import content_id

MAX_ENTRIES = 1000
_ID = re.compile(r"[0-9a-f]{32}-([0-9]{4})")


def stem_of(batch_id: str, body: object) -> str:
    """Return what the ids of all requests of a batch begin with."""
    return content_id("batch", batch_id, body)


def request_id_of(stem: str, index: int) -> str:
    """Return the id of the request at a place, counted from 0.

    >>> request_id_of("5" * 32, 7)[-5:]
    '-0007'
    """
    return f"{stem}-{index:04d}"


def index_of(request_id: str) -> int | None:
    """Return the place of a request in its batch; ``None`` for one that was written by somebody else."""
    found = _ID.fullmatch(request_id)
    return None if found is None else int(found[1])


def _seen_by(reader: Reader) -> ColumnElement[bool]:
    """Return the condition on the rows of requests that somebody may know of."""
    if reader.projects is None:
        return true()
    table = FORECAST_REQUESTS
    private, public = (sorted(part) for part in (reader.projects - PUBLIC_PROJECTS, reader.projects & PUBLIC_PROJECTS))
    own = table.c.organisation_id.in_(sorted(reader.organisation_ids))
    of_series = table.c.project.in_(private) | (table.c.project.in_(public) & own)
    return of_series & ProjectOf(table.c.model).in_(sorted(reader.projects))


@dataclass(frozen=True)
class Line:
    """One request of a batch; ``answer`` is its record, once there is one."""

    request_id: str
    series_id: str | None
    status: str
    answer: bytes | None


class Batches:
    """Reads batches from the projection. Every method may raise `gateway.store.StoreUnavailable`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def stem(self, batch_id: str) -> str | None:
        """Return what the ids of the requests of a batch begin with; ``None``: none is known."""
        table = FORECAST_REQUESTS
        query = select(table.c.request_id).where(table.c.batch_id == batch_id).limit(1)
        with translated(), self._engine.connect() as connection:
            found = connection.scalar(query)
        return None if found is None else found.rpartition("-")[0]

    def answers(self, batch_id: str) -> dict[str, tuple[bytes, bool]]:
        """Return request id -> answer, and whether that is a refusal, of those that are answered."""
        return {
            line.request_id: (line.answer, line.status == REFUSED)
            for line in self._lines(self._of(batch_id))
            if line.answer is not None
        }

    def request_ids(self, batch_id: str) -> frozenset[str]:
        """Return the ids of the requests of a batch that the store has."""
        table = FORECAST_REQUESTS
        query = select(table.c.request_id).where(table.c.batch_id == batch_id)
        with translated(), self._engine.connect() as connection:
            return frozenset(connection.scalars(query))

    def counts(self, batch_id: str, reader: Reader) -> dict[str, int]:
        """Return how many requests there are, by status."""
        table = FORECAST_REQUESTS
        query = select(table.c.status, func.count()).where(table.c.batch_id == batch_id, _seen_by(reader))
        with translated(), self._engine.connect() as connection:
            rows = connection.execute(query.group_by(table.c.status)).all()
        found = {row[0]: row[1] for row in rows}
        return {status: found.get(status, 0) for status in (PENDING, ISSUED, REFUSED)}

    def page(self, batch_id: str, reader: Reader, after: str, limit: int) -> Sequence[Line]:
        """Return requests of a batch with ids behind ``after``, in order."""
        request_id = FORECAST_REQUESTS.c.request_id
        query = self._of(batch_id).where(_seen_by(reader), request_id > after).order_by(request_id)
        return self._lines(query.limit(limit))

    def _of(self, batch_id: str) -> Select[tuple[str, str | None, str, bytes | None]]:
        asked, answered = FORECAST_REQUESTS, FORECASTS
        joined = asked.outerjoin(answered, answered.c.request_id == asked.c.request_id)
        columns = (asked.c.request_id, asked.c.series_id, asked.c.status, answered.c.answer)
        return select(*columns).select_from(joined).where(asked.c.batch_id == batch_id)

    def _lines(self, query: Select[tuple[str, str | None, str, bytes | None]]) -> list[Line]:
        with translated(), self._engine.connect() as connection:
            return [Line(**row) for row in connection.execute(query).mappings()]
