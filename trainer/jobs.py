"""One training as a job: what is asked of a runner, what it reports, and the port that runners keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from schemas.models import ModelReleased
from schemas.trainings import TrainingRequested


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Train what is requested or, where its release stands in the log, only record the run."""

    request: TrainingRequested
    #: Offset in `models` of the release that this training has already made.
    release_offset: int | None = None


class Progressed(msgspec.Struct, frozen=True, kw_only=True, tag="progressed"):
    """The training got further; ``index`` counts from 0 in each run and names the same moment in each."""

    training_id: str
    index: int
    stage: str
    fraction: float
    epoch: int | None = None
    losses: dict[str, float] = {}


class Trained(msgspec.Struct, frozen=True, kw_only=True, tag="trained"):
    """The version is ready to be released; the job goes on and records the run."""

    training_id: str
    release: ModelReleased


class Recorded(msgspec.Struct, frozen=True, kw_only=True, tag="recorded"):
    """The job is done. ``run_id`` is null where no run was recorded; ``warning`` says why if one should have been."""

    training_id: str
    run_id: str | None = None
    warning: str = ""


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """The request can never be trained: the same request over the same prefixes fails in the same way."""

    training_id: str
    reason: str


class Died(msgspec.Struct, frozen=True, kw_only=True, tag="died"):
    """The job ended without a result; another attempt may succeed."""

    training_id: str
    reason: str


JobEvent = Progressed | Trained | Recorded | Refused | Died


class TrainingRunner(Protocol):
    """Runs jobs beside the poll loop, or within it.

    Adapters may not vary in this:

    - ``start`` and ``poll`` return at once, save for a runner that trains within the call, for tests and simulations.
    - The events of a job come in order: any number of ``Progressed``, then ``Trained`` and ``Recorded``, or
      ``Refused``. ``Died`` may stand in place of each; nothing follows ``Recorded``, ``Refused`` or ``Died``.
    - After ``cancel`` or ``close`` no event of the job comes any more, and nothing of it is left running.
    """

    def start(self, job: Job) -> None:
        """Begin a job; its training must not be running in this runner."""
        ...

    def poll(self) -> Sequence[JobEvent]:
        """Return what happened since the last call."""
        ...

    def cancel(self, training_id: str) -> None:
        """End a job without a result; one that is not running is left as it is."""
        ...

    def close(self) -> None:
        """End all jobs."""
        ...
