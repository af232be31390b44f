"""When a series is fetched again, and when its models are trained again."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from schemas.record import Freq, Id, ModelName, Record, Requester, SeriesId, UtcTime, require, require_utc

Minutes = Annotated[int, Meta(ge=0, le=7 * 24 * 60)]


class RetrainRule(Record, frozen=True, kw_only=True):
    """When a model is trained again without anybody asking: at least one of the two conditions."""

    model: ModelName
    #: After so many new observations of the series since the last training; 0 is never.
    every_observations: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    #: Cron expression of five fields; empty is never.
    cron: str = ""

    def __post_init__(self) -> None:
        require(
            bool(self.every_observations or self.cron),
            "retrain must name every_observations or cron: without either nothing would be trained",
        )


class SeriesScheduled(Record, frozen=True, kw_only=True):
    """How a series is kept up to date. The latest record of a series in the log is the one that counts."""

    schedule_id: Id
    series_id: SeriesId
    #: Data sources, tried in this order until one can be reached.
    sources: Annotated[tuple[str, ...], Meta(min_length=1)]
    #: What the source calls the series.
    symbol: str
    freq: Freq
    #: Exchange calendar code, or `24/7`.
    calendar: str
    #: As in `IngestRequested`.
    adjust: bool = False
    known_future: tuple[str, ...] = ()
    #: Cron expression of five fields, read in `timezone`; empty when the calendar says when.
    cron: str = ""
    #: IANA name, e.g. `America/New_York`.
    timezone: str = "UTC"
    #: Minutes after the close of each session, or after the end of each observation of a `24/7` calendar.
    after_close_minutes: Minutes | None = None
    #: Each run is put off by up to so much, the same for the same run: many series do not ask at once.
    jitter_seconds: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    is_paused: bool = False
    retrain: tuple[RetrainRule, ...] = ()
    #: Who or what scheduled: `user`, `first-start`.
    cause: str = "user"
    requester: Requester = ""

    def __post_init__(self) -> None:
        require(self.series_id.endswith(f"@{self.freq}"), f"series_id must end in @{self.freq}, was {self.series_id}")
        require(
            bool(self.cron) != (self.after_close_minutes is not None),
            "exactly one of cron and after_close_minutes must be given",
        )

    def identity(self) -> tuple[object, ...]:
        return (self.schedule_id,)


class RunPlanned(Record, frozen=True, kw_only=True):
    """What the ingestor makes of a schedule; the latest record of a series counts. Written when something changes."""

    schedule_id: Id
    series_id: SeriesId
    #: When the next run begins, with its jitter; null while paused, or when the calendar gives none.
    next_run: UtcTime | None = None
    #: The moment at which the observation after the newest one is complete; from then on the series is late.
    late_from: UtcTime | None = None
    #: Why the schedule cannot be followed.
    reason: str = ""

    def __post_init__(self) -> None:
        require_utc("next_run", self.next_run)
        require_utc("late_from", self.late_from)

    def identity(self) -> tuple[object, ...]:
        return (self.schedule_id, self.series_id, self.next_run, self.late_from, self.reason)
