"""Observations that a quality rule holds back, and what a person decided about them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from schemas.identity import content_id
from schemas.observations import ObservationBatch
from schemas.record import Id, Record, SeriesId, UtcTime, require, require_utc


def release_id(quarantine_id: str) -> str:
    """Return the id under which `ingest-events` tells that held rows were released."""
    return content_id("release", quarantine_id)


class RuleBroken(Record, frozen=True, kw_only=True):
    """One rule of the gate that rows break."""

    #: Lower-case-with-hyphens, e.g. `unit-error`.
    rule: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]*$(?!\n)")]
    #: The column at fault; empty when it is the row or the series.
    column: str = ""
    #: Times of the first rows at fault (UTC), and how many there are.
    times: Annotated[tuple[UtcTime, ...], Meta(max_length=20)] = ()
    rows: Annotated[int, Meta(ge=0)] = 0
    #: What was expected and what was found, in one sentence.
    reason: str

    def __post_init__(self) -> None:
        for time in self.times:
            require_utc("times", time)


class ObservationsQuarantined(Record, frozen=True, kw_only=True):
    """Rows that are held back from `observations` until a person releases or rejects them."""

    quarantine_id: Id
    series_id: SeriesId
    ingest_id: Id
    #: What would have been published.
    batch: ObservationBatch
    broken: Annotated[tuple[RuleBroken, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        require(
            self.batch.series_id == self.series_id,
            f"batch must be of {self.series_id}, was of {self.batch.series_id}",
        )

    def identity(self) -> tuple[object, ...]:
        return (self.quarantine_id,)


class QuarantineDecided(Record, frozen=True, kw_only=True):
    """A person let held rows in, or threw them away. The first decision in log order counts."""

    decision_id: Id
    quarantine_id: Id
    series_id: SeriesId
    decision: Literal["release", "reject"]
    #: Who decided, and why.
    decided_by: str = ""
    reason: str = ""

    def identity(self) -> tuple[object, ...]:
        return (self.decision_id,)
