"""What `foretopic audit leakage` looks at: series and model versions from the log, or a series from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from forecasting.audit import PRODUCT, Audit, Code, audit_model, spec_of
from forecasting.audit_fits import audit_choice, audit_fit
from forecasting.errors import ForecastingError
from forecasting.panel import Observations, SeriesHistory
from forecasting.selection import is_choice
from forecasting.serving import LoadedModel
from forecasting.training import TrainingSpec, train
from foretopic.errors import ForetopicError
from foretopic.log_access import read_range, read_to_end, topic_partitions
from ingestor.cleaning import clean
from ingestor.errors import SourceFault
from ingestor.files import FileSource
from ingestor.sources import Wanted
from predictor.refusals import Refused
from predictor.releases import Releases
from runtime.broker import Broker, partition_for
from runtime.clock import Clock
from schemas.codec import decode
from schemas.forecasts import AsOf
from schemas.models import Deployment, ModelReleased
from schemas.observations import ObservationBatch
from schemas.topics import DEPLOYMENTS, MODELS, OBSERVATIONS

_EVERYTHING = 2**62


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model version to audit, and how it was trained.

    Attributes:
        name: As it is told.
        model: Loaded.
        spec: Its training.
        series: What it was trained on, the audited one first.
    """

    name: str
    model: LoadedModel
    spec: TrainingSpec
    series: Sequence[Observations]


def audited(subject: Subject, *, cutoffs: int, seed: int, code: Code = PRODUCT) -> Audit:
    """Return what the audit finds of a subject.

    Args:
        subject: The version.
        cutoffs: How many to try.
        seed: Of cutoffs and wild values.
        code: What is audited beside the version.

    Raises:
        ForetopicError: It cannot be audited.
    """
    audit, rng = Audit(), np.random.default_rng(seed)
    try:
        audit_model(audit, subject.model, subject.series[0], cutoffs=cutoffs, rng=rng, code=code)
        chosen = subject.spec
        if is_choice(chosen):
            chosen = audit_choice(audit, chosen, subject.series, rng=rng, code=code)
        audit_fit(audit, chosen, subject.series, rng=rng, code=code)
    except ForecastingError as error:
        raise ForetopicError(f"{subject.name} cannot be audited: {error}") from error
    return audit


def trained(spec: TrainingSpec, series: Observations) -> Subject:
    """Return a version that is trained now.

    Raises:
        ForetopicError: It cannot be trained.
    """
    try:
        found = train(spec, [series])
        return Subject(
            name=spec.algorithm, model=LoadedModel.load(found.recipe, found.graph), spec=spec, series=[series]
        )
    except ForecastingError as error:
        raise ForetopicError(f"{spec.algorithm} cannot be trained on {series.series_id}: {error}") from error


def released(reference: str, releases: Releases, series: Callable[[str], Observations], series_id: str) -> Subject:
    """Return a version of the log.

    Args:
        reference: Model name, or name:version; a name alone means its champion.
        releases: Of the log.
        series: Gives a series of the log.
        series_id: The one to audit forecasts on.

    Raises:
        ForetopicError: There is no such version.
    """
    try:
        release = releases.choose(
            reference, AsOf(observations=_EVERYTHING, models=_EVERYTHING, deployments=_EVERYTHING)
        ).release
        model = LoadedModel.load(release.recipe, release.graph)
    except (Refused, ForecastingError) as error:
        raise ForetopicError(f"there is no model to audit: {error}") from error
    others = [name for name in release.series_ids if name != series_id]
    return Subject(
        name=f"{release.model}:{release.version}",
        model=model,
        spec=replace(spec_of(model.recipe), levels=release.levels),
        series=[series(name) for name in (series_id, *others)],
    )


def releases_of(broker: Broker, prefix: str, clock: Clock) -> Releases:
    """Return every model version and deployment of the log."""
    found = Releases()
    for topic in (MODELS, DEPLOYMENTS):
        for message in read_to_end(broker, topic_partitions(broker, topic, prefix), clock=clock):
            record = decode(topic, message.value, message.headers).record
            if isinstance(record, ModelReleased):
                found.learn_release(message.offset, record)
            elif isinstance(record, Deployment):
                found.learn_deployment(message.offset, record)
    return found


def series_of(broker: Broker, prefix: str, clock: Clock, series_id: str) -> Observations:
    """Return a series as the log knows it now.

    Raises:
        ForetopicError: The log has no such series.
    """
    partitions = topic_partitions(broker, OBSERVATIONS, prefix)
    own = [partitions[partition_for(series_id.encode(), len(partitions))]]
    history = SeriesHistory(series_id)
    for message in read_range(broker, broker.begin_offsets(own), broker.end_offsets(own), clock=clock):
        record = decode(OBSERVATIONS, message.value, message.headers).record
        if isinstance(record, ObservationBatch) and record.series_id == series_id:
            history.append(message.offset, record)
    if not len(history):
        raise ForetopicError(f"the log has no series {series_id}; `foretopic series` names them")
    return history.view()


def series_from_file(path: Path, series_id: str, calendar: str, clock: Clock) -> Observations:
    """Return the series of a CSV or Parquet file, as it would be ingested.

    Raises:
        ForetopicError: The file cannot be used.
    """
    freq = series_id.rpartition("@")[2] if "@" in series_id else "1d"
    wanted = Wanted(symbol=path.name, freq=freq, calendar=calendar, now=clock.now())
    try:
        frame = clean(FileSource(path.parent).fetch(wanted), wanted)
    except (SourceFault, ForecastingError) as error:
        raise ForetopicError(f"{path} cannot be used: {error}") from error
    return Observations(
        series_id=series_id,
        freq=freq,
        calendar=calendar,
        unit=frame.unit,
        source=frame.source,
        time=frame.time,
        columns=dict(frame.columns),
        newest_offset=0,
    )


def told(audits: Mapping[str, Audit]) -> list[dict[str, object]]:
    """Return audits as documents."""
    return [
        {
            "model": name,
            "compared": dict(audit.compared),
            "findings": [
                {
                    "check": finding.check,
                    "part": finding.part,
                    "cutoff": finding.cutoff,
                    "future": finding.world,
                    "expected": finding.expected,
                    "found": finding.found,
                }
                for finding in audit.findings
            ],
        }
        for name, audit in audits.items()
    ]
