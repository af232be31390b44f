"""Records survive the wire, and any bytes at all are a record or an InvalidRecord."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.appends import AppendRequested, SeriesRows
from schemas.codec import decode, encode, record_id, record_type_name
from schemas.dead_letters import DeadLetter, DeadLetterDecided
from schemas.errors import IdentityMismatch, InvalidRecord, MalformedRecord, UnknownRecordType
from schemas.forecasts import (
    AsOf,
    ForecastIssued,
    ForecastRefused,
    ForecastRequestBatch,
    ForecastRequested,
    ForecastStep,
    Lineage,
    ModelUsed,
)
from schemas.golden import golden_messages
from schemas.ingests import IngestEvent, IngestRequested
from schemas.models import Deployment, ModelReleased
from schemas.observations import ObservationBatch
from schemas.quarantine import ObservationsQuarantined, QuarantineDecided, RuleBroken
from schemas.schedules import RetrainRule, RunPlanned, SeriesScheduled
from schemas.topics import FORECAST_REQUESTS, MODELS, TOPIC_BY_NAME, TOPICS
from schemas.trainings import TrainingCancelRequested, TrainingEvent, TrainingRequested

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

# --- one strategy a record type -------------------------------------------------------------------------------------
text = st.text(max_size=12)
finite = st.floats(allow_nan=False, allow_infinity=False)
natural = st.integers(0, 2**63 - 1)
seeds = st.integers(0, 2**32 - 1)
times = st.integers(-(2**33), 2**33).map(lambda second: EPOCH + timedelta(seconds=second))
freqs = st.sampled_from(["1d", "1h", "15min", "1w", "1mo", "1q", "1y"])
names = st.from_regex(r"[A-Za-z0-9._-]{1,5}/[^\s/@:\x00-\x1f\x7f]{1,6}", fullmatch=True)
ids = st.from_regex(r"[A-Za-z0-9._~-]{1,20}", fullmatch=True)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
versions = st.from_regex(r"[0-9a-f]{16}", fullmatch=True)
roles = st.sampled_from(["champion", "challenger", "shadow"])
levels = st.lists(st.floats(0.01, 99.99), min_size=1, max_size=5, unique=True).map(lambda found: tuple(sorted(found)))
series_ids = st.builds(lambda name, freq: f"{name}@{freq}", names, freqs)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | finite | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
as_of = st.builds(AsOf, observations=natural, models=natural, deployments=natural)
offsets = st.dictionaries(st.integers(0, 99).map(str), natural, max_size=3)


@st.composite
def batches(draw):
    time = tuple(sorted(draw(st.lists(times, min_size=1, max_size=5, unique=True))))
    values = st.lists(st.none() | finite, min_size=len(time), max_size=len(time)).map(tuple)
    kind = draw(st.sampled_from(["history", "append", "restatement"]))
    freq = draw(freqs)
    return ObservationBatch.of(
        series_id=f"{draw(names)}@{freq}",
        freq=freq,
        calendar=draw(st.sampled_from(["XNYS", "24/7"])),
        kind=kind,
        source=draw(text),
        received_at=draw(times),
        time=time,
        columns=draw(st.dictionaries(text.map("c".__add__), values, min_size=1, max_size=3)),
        unit=draw(text),
        reason="changed" if kind == "restatement" else "",
    )


@st.composite
def ingest_requests(draw):
    freq = draw(freqs)
    start, end = sorted(draw(st.tuples(st.dates(), st.dates())))
    return IngestRequested(
        ingest_id=draw(ids),
        series_id=f"{draw(names)}@{freq}",
        sources=tuple(draw(st.lists(text, min_size=1, max_size=3))),
        symbol=draw(text),
        freq=freq,
        calendar=draw(text),
        start=draw(st.sampled_from([None, start])),
        end=draw(st.sampled_from([None, end])),
        adjust=draw(st.booleans()),
        cause=draw(text),
    )


@st.composite
def appends(draw):
    series = []
    for series_id in draw(st.lists(series_ids, min_size=1, max_size=3, unique=True)):
        time = tuple(sorted(draw(st.lists(times, min_size=1, max_size=3, unique=True))))
        values = st.tuples(*[st.none() | finite] * len(time))
        columns = draw(st.dictionaries(text.map("c".__add__), values, min_size=1, max_size=2))
        series.append(SeriesRows(series_id=series_id, unit=draw(text), time=time, columns=columns))
    return AppendRequested(ingest_id=draw(ids), series=tuple(series), cause=draw(text))


@st.composite
def requests(draw):
    rest = {
        "request_id": draw(ids),
        "horizon": draw(st.integers(1, 1000)),
        "levels": draw(levels),
        "as_of": draw(st.none() | as_of),
        "cause": draw(text),
    }
    if draw(st.booleans()):
        return ForecastRequested(series_id=draw(series_ids), model=draw(st.none() | names), **rest)
    width = draw(st.integers(1, 3))
    row = st.lists(finite, min_size=width, max_size=width).map(tuple)
    window = tuple(draw(st.lists(row, min_size=1, max_size=4)))
    return ForecastRequested(window=window, model=draw(names), cutoff=draw(st.none() | times), **rest)


@st.composite
def steps(draw):
    probabilities = sorted(draw(st.lists(st.sampled_from(["0.025", "0.1", "0.5", "0.9"]), unique=True)))
    values = sorted(draw(st.lists(finite, min_size=len(probabilities), max_size=len(probabilities))))
    return ForecastStep(
        time=draw(st.none() | times),
        median=draw(finite),
        quantiles=dict(zip(probabilities, values, strict=True)),
        direction_probability=draw(st.none() | st.floats(0, 1)),
    )


@st.composite
def issued(draw):
    found = tuple(draw(st.lists(steps(), min_size=1, max_size=3)))
    values = st.lists(finite, min_size=len(found), max_size=len(found)).map(tuple)
    lineage = st.builds(
        Lineage,
        observation_partition=st.none() | st.integers(0, 11),
        observation_offset=st.none() | natural,
        model_offset=natural,
        deployment_offset=st.none() | natural,
        input_digest=digests,
        model_digest=digests,
    )
    return ForecastIssued(
        forecast_id=draw(ids),
        request_id=draw(ids),
        series_id=draw(st.none() | series_ids),
        cutoff=draw(st.none() | times),
        target=draw(text),
        unit=draw(text),
        steps=found,
        model=draw(st.builds(ModelUsed, name=names, version=versions, role=roles, algorithm=text)),
        lineage=draw(lineage),
        baselines=draw(st.dictionaries(text, values, max_size=2)),
        cause=draw(text),
    )


metrics = st.dictionaries(text, finite, max_size=3)
STRATEGIES = {
    ObservationBatch: batches(),
    IngestRequested: ingest_requests(),
    AppendRequested: appends(),
    RunPlanned: st.builds(
        RunPlanned,
        schedule_id=ids,
        series_id=series_ids,
        next_run=st.none() | times,
        late_from=st.none() | times,
        reason=text,
    ),
    SeriesScheduled: st.builds(
        lambda series_id, **fields: SeriesScheduled(
            series_id=series_id, freq=series_id.rpartition("@")[2], after_close_minutes=None, **fields
        ),
        schedule_id=ids,
        series_id=series_ids,
        sources=st.lists(text, min_size=1, max_size=3).map(tuple),
        symbol=text,
        calendar=text,
        adjust=st.booleans(),
        known_future=st.lists(text, max_size=2).map(tuple),
        cron=st.text(min_size=1, max_size=12),
        timezone=text,
        jitter_seconds=st.floats(0, 3600),
        is_paused=st.booleans(),
        retrain=st.lists(
            st.builds(RetrainRule, model=names, every_observations=st.integers(1, 1_000_000), cron=text), max_size=2
        ).map(tuple),
        cause=text,
    ),
    ObservationsQuarantined: st.builds(
        lambda batch, **fields: ObservationsQuarantined(series_id=batch.series_id, batch=batch, **fields),
        quarantine_id=ids,
        ingest_id=ids,
        batch=batches(),
        broken=st.lists(
            st.builds(
                RuleBroken,
                rule=st.just("unit-error"),
                column=text,
                times=st.lists(times, max_size=3).map(tuple),
                rows=st.integers(0, 10_000),
                reason=text,
            ),
            min_size=1,
            max_size=2,
        ).map(tuple),
    ),
    QuarantineDecided: st.builds(
        QuarantineDecided,
        decision_id=ids,
        quarantine_id=ids,
        series_id=series_ids,
        decision=st.sampled_from(["release", "reject"]),
        decided_by=text,
        reason=text,
    ),
    IngestEvent: st.builds(
        IngestEvent,
        ingest_id=ids,
        series_id=series_ids,
        state=st.sampled_from(["running", "succeeded", "failed"]),
        source=st.none() | text,
        rows_received=natural,
        rows_published=natural,
        first_time=st.none() | times,
        last_time=st.none() | times,
        reason=text,
    ),
    TrainingRequested: st.builds(
        TrainingRequested,
        training_id=ids,
        model=names,
        series_ids=st.lists(series_ids, min_size=1, max_size=3, unique=True).map(tuple),
        target=text,
        columns=st.lists(text, max_size=3).map(tuple),
        algorithm=text,
        horizon=st.integers(1, 1000),
        window_size=st.integers(1, 10_000),
        levels=levels,
        hyperparameters=st.dictionaries(text, st.booleans() | st.integers(-9, 9) | finite | text, max_size=3),
        seed=seeds,
        as_of=offsets,
        cause=text,
    ),
    TrainingCancelRequested: st.builds(TrainingCancelRequested, training_id=ids, series_id=series_ids, reason=text),
    TrainingEvent: st.builds(
        TrainingEvent,
        training_id=ids,
        model=names,
        series_id=series_ids,
        sequence=natural,
        state=st.sampled_from(["queued", "running", "progress", "succeeded", "failed", "cancelled"]),
        fraction=st.floats(0, 1),
        stage=text,
        epoch=st.none() | natural,
        losses=metrics,
        metrics=metrics,
        reason=text,
        version=st.none() | versions,
        mlflow_run_id=st.none() | text,
    ),
    ModelReleased: st.builds(
        ModelReleased,
        model=names,
        version=versions,
        training_id=ids,
        algorithm=text,
        series_ids=st.lists(series_ids, min_size=1, max_size=3).map(tuple),
        target=text,
        columns=st.lists(text, min_size=1, max_size=3).map(tuple),
        freq=freqs,
        calendar=text,
        unit=text,
        window_size=st.integers(1, 99),
        horizon=st.integers(1, 99),
        levels=levels,
        recipe=st.dictionaries(text, json_values, max_size=3),
        graph=st.none() | st.binary(max_size=50),
        artefact_digest=digests,
        metrics=st.dictionaries(text, metrics, max_size=2),
        skill=metrics,
        folds=st.integers(1, 99),
        as_of=offsets,
        data_digest=digests,
        seed=seeds,
        code_version=text,
    ),
    Deployment: st.builds(
        Deployment,
        deployment_id=ids,
        model=names,
        version=versions,
        role=roles,
        previous=st.none() | versions,
        only_if_first=st.booleans(),
        cause=text,
        reason=text,
    ),
    ForecastRequested: requests(),
    ForecastRequestBatch: st.lists(requests(), min_size=1, max_size=3).flatmap(
        lambda found: st.sampled_from([(), (TRACEPARENT,) * len(found)]).map(
            lambda parents: ForecastRequestBatch(requests=tuple(found), traceparents=parents)
        )
    ),
    ForecastIssued: issued(),
    ForecastRefused: st.builds(
        ForecastRefused,
        request_id=ids,
        series_id=st.none() | series_ids,
        code=st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True),
        reason=text,
        field=text,
        expected=text,
        found=text,
        cause=text,
    ),
    DeadLetter: st.builds(
        DeadLetter,
        topic=text,
        partition=natural,
        offset=natural,
        key=st.none() | st.binary(max_size=20),
        value=st.none() | st.binary(max_size=20),
        headers=st.dictionaries(text, st.binary(max_size=9), max_size=3),
        reason=text,
        service=text,
        attempts=st.integers(1, 99),
        code_version=text,
    ),
    DeadLetterDecided: st.booleans().flatmap(
        lambda is_replay: st.builds(
            DeadLetterDecided,
            decision_id=ids,
            topic=text,
            partition=natural,
            offset=natural,
            decision=st.just("replay" if is_replay else "drop"),
            decided_by=text,
            reason=text,
            replayed_partition=natural if is_replay else st.none(),
            replayed_offset=natural if is_replay else st.none(),
        )
    ),
}
CARRIED = [(topic, record) for topic in TOPICS for record in topic.records]
CARRIED_IDS = [f"{topic.name}-{record.__name__}" for topic, record in CARRIED]


def headers_of(topic, record_type, **changes):
    """Return good headers of a record type; ``ce_id`` is that of no content."""
    found = {
        "ce_specversion": b"1.0",
        "ce_id": b"0" * 32,
        "ce_type": record_type_name(record_type, topic.records[record_type]).encode(),
        "ce_source": b"/foretopic/test",
        "ce_time": b"2025-01-02T03:04:05Z",
    } | changes
    return tuple((name, value) for name, value in found.items() if value is not None)


def golden_of(record_type):
    return next(message for message in golden_messages() if f".{record_type.__name__}." in message.type_name)


@pytest.mark.parametrize(("topic", "record_type"), CARRIED, ids=CARRIED_IDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_record_comes_back_as_it_was_sent(topic, record_type, data):
    record = data.draw(STRATEGIES[record_type])

    sent = encode(topic, record, source="/foretopic/test", time=NOW, code_version="1", traceparent=TRACEPARENT)
    back = decode(topic, sent.value, sent.headers)

    assert back.record == record
    assert (back.envelope.time, back.envelope.traceparent) == (NOW, TRACEPARENT)
    again = encode(topic, back.record, source="/foretopic/test", time=NOW, code_version="1", traceparent=TRACEPARENT)
    assert again == sent


def record_or_invalid(topic, value, headers):
    """Decode; whatever is raised beside InvalidRecord fails the test."""
    try:
        return decode(topic, value, headers).record
    except InvalidRecord:
        return None


@pytest.mark.parametrize(("topic", "record_type"), CARRIED, ids=CARRIED_IDS)
@settings(max_examples=60, deadline=None)
@given(value=st.none() | st.binary(max_size=200))
def test_any_bytes_are_a_record_or_invalid(topic, record_type, value):
    assert record_or_invalid(topic, value, headers_of(topic, record_type)) is None


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_message_is_a_record_or_invalid(data):
    """One byte changed, a piece cut out or doubled: near misses reach further into the decoder than noise."""
    message = data.draw(st.sampled_from(list(golden_messages())))
    value = message.value
    start, stop = sorted(data.draw(st.tuples(st.integers(0, len(value)), st.integers(0, len(value)))))
    middle = data.draw(st.sampled_from([b"", value[start:stop] * 2, b"null", b"1e999", b"-1", b"[[]]"]) | st.binary())

    record_or_invalid(TOPIC_BY_NAME[message.topic], value[:start] + middle + value[stop:], message.headers)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_value_of_any_field_is_a_record_or_invalid(data):
    message = data.draw(st.sampled_from(list(golden_messages())))
    content = json.loads(message.value)
    content[data.draw(st.sampled_from(sorted(content)))] = data.draw(json_values)

    record_or_invalid(TOPIC_BY_NAME[message.topic], json.dumps(content).encode(), message.headers)


@settings(max_examples=200, deadline=None)
@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from(["ce_id", "ce_type", "ce_source", "ce_time", "traceparent"]) | text,
            st.none() | st.binary(max_size=20) | text.map(str.encode),
        )
    )
)
def test_any_headers_are_an_envelope_or_invalid(headers):
    record_or_invalid(MODELS, b"{}", headers)


HOSTILE = {
    # Without `except RecursionError` in decode these two end the process that reads them.
    "nested-in-a-free-field": b'"recipe":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested-in-an-ignored-field": b'"ignored":' + b"[" * 1_000_000,
    "number-beyond-floats": b'"skill":{"a":1e400}',
    "number-beyond-floats-in-a-free-field": b'"recipe":{"a":1e400}',
    "integer-of-5000-digits": b'"seed":' + b"9" * 5000,
    "integer-of-5000-digits-in-a-free-field": b'"recipe":{"a":' + b"9" * 5000 + b"}",
    "integer-of-100-digits": b'"seed":' + b"9" * 100,
    "integer-beyond-kafka": b'"as_of":{"0":9223372036854775808}',
    "lone-surrogate": b'"target":"\\ud800"',
    "surrogate-in-utf8": b'"target":"\xed\xa0\x80"',
    "not-utf8": b'"target":"\xff"',
    "nan": b'"skill":{"a":NaN}',
    "line-feed-at-the-end-of-an-id": b'"training_id":"a\\n"',
    "line-feed-at-the-end-of-a-name": b'"model":"a/b\\n"',
    "nul-in-a-name": b'"model":"a/\\u0000"',
}


@pytest.mark.parametrize("field", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_json_is_a_malformed_record(field):
    good = golden_of(ModelReleased)
    value = good.value[:-1] + b"," + field + b"}"  # a repeated key: the last one counts

    with pytest.raises(MalformedRecord):
        decode(MODELS, value, good.headers)


@pytest.mark.parametrize(
    "time",
    [b"", b"yesterday", b"2025-01-02T03:04:05", b"2025-13-01T00:00:00Z", b"0001-01-01T00:00:00+23:00", b"1e400"],
)
def test_time_header_that_names_no_moment_is_malformed(time):
    with pytest.raises(MalformedRecord, match="ce_time"):
        decode(MODELS, b"{}", headers_of(MODELS, ModelReleased, ce_time=time))


def test_time_header_in_another_zone_is_read_as_utc():
    golden = golden_of(ModelReleased)
    headers = [(name, b"2025-01-02T03:04:05+02:00" if name == "ce_time" else value) for name, value in golden.headers]

    envelope = decode(MODELS, golden.value, headers).envelope

    assert envelope.time == datetime(2025, 1, 2, 1, 4, 5, tzinfo=UTC)
    assert envelope.time.utcoffset() == timedelta(0)


@pytest.mark.parametrize("name", ["ce_id", "ce_type", "ce_source", "ce_time"])
def test_message_without_a_cloudevents_header_is_of_unknown_type(name):
    with pytest.raises(UnknownRecordType, match=name):
        decode(MODELS, b"{}", headers_of(MODELS, ModelReleased, **{name: None}))


@pytest.mark.parametrize("ce_type", [b"foretopic.ModelReleased.v2", b"foretopic.Deployment.v1", b"", b"x"])
def test_type_that_the_topic_does_not_carry_is_unknown(ce_type):
    with pytest.raises(UnknownRecordType, match=r"foretopic\.ModelReleased\.v1"):
        decode(MODELS, b"{}", headers_of(MODELS, ModelReleased, ce_type=ce_type))


def test_id_of_other_content_is_a_mismatch():
    golden = golden_of(ModelReleased)
    with pytest.raises(IdentityMismatch, match=record_id(decode(MODELS, golden.value, golden.headers).record)):
        decode(MODELS, golden.value, headers_of(MODELS, ModelReleased))


def test_unknown_fields_are_ignored():
    golden = golden_of(ForecastRequested)
    newer = golden.value[:-1] + b',"from_the_future":{"a":[1]}}'

    assert decode(FORECAST_REQUESTS, newer, golden.headers) == decode(FORECAST_REQUESTS, golden.value, golden.headers)


def test_encode_refuses_a_record_that_the_topic_does_not_carry():
    record = decode(MODELS, golden_of(ModelReleased).value, golden_of(ModelReleased).headers).record
    with pytest.raises(ValueError, match="carries no ModelReleased"):
        encode(FORECAST_REQUESTS, record, source="/x", time=NOW)
