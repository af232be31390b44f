"""Records and messages for tests: valid by default, each field may be given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from runtime.broker import Message, OutgoingMessage, partition_for
from runtime.incoming import Incoming, decode_message
from schemas.codec import encode
from schemas.dead_letters import DeadLetter, DeadLetterDecided
from schemas.forecasts import (
    AsOf,
    ForecastIssued,
    ForecastRefused,
    ForecastRequested,
    ForecastStep,
    Lineage,
    ModelUsed,
    default_model_name,
    forecast_id_of,
)
from schemas.identity import digest_of
from schemas.ingests import IngestEvent, IngestRequested
from schemas.models import Deployment, FoldMetrics, MetricSpread, ModelReleased
from schemas.observations import ObservationBatch
from schemas.quarantine import ObservationsQuarantined, QuarantineDecided, RuleBroken
from schemas.record import Record
from schemas.schedules import SeriesScheduled
from schemas.topics import Topic
from schemas.trainings import TrainingCancelRequested, TrainingEvent, TrainingRequested

START = datetime(2024, 1, 1, tzinfo=UTC)
SERIES = "shop/apples@1d"
VERSION = "0123456789abcdef"


def observation_batch(
    *,
    series_id: str = SERIES,
    start: datetime = START,
    rows: int = 30,
    columns: dict[str, tuple[float | None, ...]] | None = None,
    **changes: Any,
) -> ObservationBatch:
    """Return ``rows`` daily rows from ``start`` on; without columns, a gently moving close."""
    values: dict[str, Any] = {
        "freq": series_id.rpartition("@")[2],
        "calendar": "24/7",
        "kind": "history",
        "source": "mock",
        "received_at": START + timedelta(days=10_000),
        "time": tuple(start + timedelta(days=day) for day in range(rows)),
    }
    values.update(changes)
    if columns is None:
        columns = {"close": tuple(100.0 + day % 7 + 0.25 * day for day in range(len(values["time"])))}
    return ObservationBatch.of(series_id=series_id, columns=columns, **values)


def as_of(observations: int = 1, models: int = 1, deployments: int = 1) -> AsOf:
    return AsOf(observations=observations, models=models, deployments=deployments)


def forecast_request(request_id: str = "request-1", **changes: Any) -> ForecastRequested:
    """Return a request for a series; with ``window`` given, for that window."""
    values: dict[str, Any] = {"request_id": request_id, "horizon": 3}
    if "window" not in changes:
        values["series_id"] = SERIES
    values.update(changes)
    return ForecastRequested(**values)


def model_release(**changes: Any) -> ModelReleased:
    values: dict[str, Any] = {
        "model": default_model_name(SERIES),
        "version": VERSION,
        "training_id": "training-1",
        "algorithm": "last-value",
        "series_ids": (SERIES,),
        "target": "close",
        "columns": ("close",),
        "freq": "1d",
        "calendar": "24/7",
        "window_size": 20,
        "horizon": 10,
        "levels": (80.0, 95.0),
        "recipe": {"algorithm": "last-value"},
        "artefact_digest": digest_of(["artefact", VERSION]),
        "metrics": {"model": {"mae": 1.0}, "last-value": {"mae": 1.0}},
        "skill": {"last-value": 0.0},
        "folds": 5,
        "as_of": {"0": 1},
        "data_digest": digest_of("data"),
        "seed": 0,
        "code_version": "0.1.0",
    }
    values.update(changes)
    return ModelReleased(**values)


def folds_of_a_release() -> dict[str, Any]:
    """Two folds of the test part, for `model_release`."""
    folds = tuple(
        FoldMetrics(
            cutoff=cutoff,
            first_time=cutoff + timedelta(days=1),
            last_time=cutoff + timedelta(days=10),
            forecasts=1,
            metrics={"model": {"mae": mae, "coverage-80": 90.0}, "last-value": {"mae": 2.0}},
        )
        for cutoff, mae in ((datetime(2025, 1, 2, tzinfo=UTC), 1.5), (datetime(2025, 1, 7, tzinfo=UTC), 2.5))
    )
    spread = {"model": {"mae": MetricSpread(mean=2.0, deviation=0.75, folds=250)}}
    return {"fold_metrics": folds, "fold_spread": spread}


def deployment(**changes: Any) -> Deployment:
    values: dict[str, Any] = {
        "deployment_id": "deployment-1",
        "model": default_model_name(SERIES),
        "version": VERSION,
        "role": "champion",
    }
    values.update(changes)
    return Deployment(**values)


def training_request(training_id: str = "training-1", **changes: Any) -> TrainingRequested:
    values: dict[str, Any] = {
        "training_id": training_id,
        "model": default_model_name(SERIES),
        "series_ids": (SERIES,),
        "algorithm": "last-value",
        "as_of": {"0": 1},
    }
    values.update(changes)
    return TrainingRequested(**values)


def training_cancel_request(training_id: str = "training-1", **changes: Any) -> TrainingCancelRequested:
    return TrainingCancelRequested(**{"training_id": training_id, "series_id": SERIES, **changes})


def training_event(training_id: str = "training-1", **changes: Any) -> TrainingEvent:
    values: dict[str, Any] = {
        "training_id": training_id,
        "model": default_model_name(SERIES),
        "series_id": SERIES,
        "sequence": 0,
        "state": "queued",
    }
    values.update(changes)
    return TrainingEvent(**values)


def ingest_request(ingest_id: str = "ingest-1", **changes: Any) -> IngestRequested:
    values: dict[str, Any] = {
        "ingest_id": ingest_id,
        "series_id": SERIES,
        "sources": ("mock",),
        "symbol": "APPLES",
        "freq": "1d",
        "calendar": "24/7",
    }
    values.update(changes)
    return IngestRequested(**values)


def ingest_event(ingest_id: str = "ingest-1", **changes: Any) -> IngestEvent:
    return IngestEvent(**{"ingest_id": ingest_id, "series_id": SERIES, "state": "running", **changes})


def schedule(schedule_id: str = "schedule-1", **changes: Any) -> SeriesScheduled:
    """Return a schedule at every midnight; with ``after_close_minutes`` given, by the calendar."""
    values: dict[str, Any] = {
        "schedule_id": schedule_id,
        "series_id": SERIES,
        "sources": ("mock",),
        "symbol": "APPLES",
        "freq": "1d",
        "calendar": "24/7",
    }
    if "after_close_minutes" not in changes:
        values["cron"] = "0 0 * * *"
    values.update(changes)
    return SeriesScheduled(**values)


def observations_quarantined(quarantine_id: str = "held-1", **changes: Any) -> ObservationsQuarantined:
    batch = observation_batch(rows=2, kind="append", **changes.pop("batch", {}))
    values: dict[str, Any] = {
        "series_id": batch.series_id,
        "ingest_id": "ingest-1",
        "batch": batch,
        "broken": (RuleBroken(rule="unit-error", times=batch.time[:1], rows=1, reason="in pence"),),
    }
    return ObservationsQuarantined(quarantine_id=quarantine_id, **(values | changes))


def quarantine_decided(quarantine_id: str = "held-1", **changes: Any) -> QuarantineDecided:
    values: dict[str, Any] = {"decision_id": "decision-1", "series_id": SERIES, "decision": "release"}
    return QuarantineDecided(quarantine_id=quarantine_id, **(values | changes))


def forecast_issued(request_id: str = "request-1", *, horizon: int = 3, **changes: Any) -> ForecastIssued:
    """Return the answer to `forecast_request`: flat, with one level."""
    cutoff = START + timedelta(days=29)
    lineage = Lineage(
        observation_partition=0,
        observation_offset=0,
        model_offset=0,
        deployment_offset=0,
        input_digest=digest_of("input"),
        model_digest=digest_of(["artefact", VERSION]),
    )
    values: dict[str, Any] = {
        "forecast_id": forecast_id_of(
            series_id=SERIES,
            cutoff=cutoff,
            horizon=horizon,
            levels=(80.0,),
            model_digest=lineage.model_digest,
            input_digest=lineage.input_digest,
        ),
        "request_id": request_id,
        "series_id": SERIES,
        "cutoff": cutoff,
        "target": "close",
        "steps": tuple(
            ForecastStep(time=cutoff + timedelta(days=step), median=100.0, quantiles={"0.1": 99.0, "0.9": 101.0})
            for step in range(1, horizon + 1)
        ),
        "model": ModelUsed(name=default_model_name(SERIES), version=VERSION, role="champion", algorithm="last-value"),
        "lineage": lineage,
        "baselines": {"last-value": (100.0,) * horizon},
    }
    values.update(changes)
    return ForecastIssued(**values)


def forecast_refused(request_id: str = "request-1", **changes: Any) -> ForecastRefused:
    values: dict[str, Any] = {
        "request_id": request_id,
        "series_id": SERIES,
        "code": "unknown-series",
        "reason": "no observations of this series are known; ingest it first",
    }
    values.update(changes)
    return ForecastRefused(**values)


def dead_letter(**changes: Any) -> DeadLetter:
    values: dict[str, Any] = {
        "topic": "observations",
        "partition": 0,
        "offset": 0,
        "value": b"junk",
        "reason": "not JSON",
        "service": "predictor",
        "code_version": "0.1.0",
    }
    values.update(changes)
    return DeadLetter(**values)


def dead_letter_decided(**changes: Any) -> DeadLetterDecided:
    values: dict[str, Any] = {
        "decision_id": "decision-1",
        "topic": "observations",
        "partition": 0,
        "offset": 0,
        "decision": "replay",
    }
    values.update(changes)
    if values["decision"] == "replay":
        values = {"replayed_partition": 0, "replayed_offset": 9} | values
    return DeadLetterDecided(**values)


def outgoing_message(
    topic: Topic,
    record: Record,
    *,
    prefix: str = "",
    service: str = "test",
    time: datetime = START,
    traceparent: str | None = None,
    partition: int | None = None,
) -> OutgoingMessage:
    """Return a record as the message that a producer sends."""
    encoded = encode(topic, record, source=f"/foretopic/{service}", time=time, traceparent=traceparent)
    return OutgoingMessage(
        topic=topic.full_name(prefix),
        key=encoded.key,
        value=encoded.value,
        headers=encoded.headers,
        partition=partition,
    )


def message(
    topic: Topic, record: Record, *, offset: int = 0, partition: int | None = None, prefix: str = "", **changes: Any
) -> Message:
    """Return a record as it stands in the log; without ``partition``, in the one of its key."""
    sent = outgoing_message(topic, record, prefix=prefix, **changes)
    assert sent.key is not None
    return Message(
        topic=sent.topic,
        partition=partition_for(sent.key, topic.partitions) if partition is None else partition,
        offset=offset,
        key=sent.key,
        value=sent.value,
        headers=sent.headers,
        timestamp_ms=int(START.timestamp() * 1000) + offset,
    )


def incoming(
    topic: Topic, record: Record, *, offset: int = 0, partition: int | None = None, **changes: Any
) -> Incoming:
    """Return a record as a handler or a follower gets it."""
    return decode_message(topic, message(topic, record, offset=offset, partition=partition, **changes))
