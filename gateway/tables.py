"""The SQL tables: a projection of the log, made again from it whenever they are missing.

Records stand as the bytes in which they travelled; columns beside them are what is searched or sorted by.
Times are seconds (`time`), milliseconds (`*_ms`) or microseconds (`*_us`) since the epoch, UTC.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text, text

METADATA = MetaData()
_MAX_WORD = 100
#: How long the words of a series may be; PostgreSQL takes no longer ones.
MAX_FREQ, MAX_CALENDAR, MAX_UNIT, MAX_SOURCE = 20, 40, 40, 80


def _asked() -> tuple[Column[Any], ...]:
    """Return the columns of what was asked for by somebody."""
    return (
        #: When it was asked for, by the broker; where that is not in the log, when it was first told of.
        Column("time_ms", BigInteger, nullable=False),
        Column("project", String(200), nullable=False),
        #: As the record says: `organisation_id/user/ID`, `organisation_id/key/ID` or empty.
        Column("requester", String(128), nullable=False),
        Column("organisation_id", String(128), nullable=False),
        Column("cause", String(_MAX_WORD), nullable=False),
    )


def _partial(name: str, where: str, *columns: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


#: How far each partition is projected: written in the same transaction as the rows.
POSITIONS = Table(
    "positions",
    METADATA,
    Column("topic", String(200), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
    Column("last_record_ms", BigInteger, nullable=False),
)
SERIES = Table(
    "series",
    METADATA,
    Column("series_id", String(200), primary_key=True),
    Column("freq", String(MAX_FREQ), nullable=False),
    Column("calendar", String(MAX_CALENDAR), nullable=False),
    Column("unit", String(MAX_UNIT), nullable=False),
    Column("source", String(MAX_SOURCE), nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("first_time", BigInteger, nullable=False),
    Column("last_time", BigInteger, nullable=False),
)
#: The latest version of each row.
OBSERVATIONS = Table(
    "observations",
    METADATA,
    Column("series_id", String(200), primary_key=True),
    Column("time", BigInteger, primary_key=True, autoincrement=False),
    #: Column name -> value, a JSON object.
    Column("columns", Text, nullable=False),
    #: Of its batch.
    Column("log_offset", BigInteger, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
#: The versions of rows that later ones replaced; beside the latest, so that reading that one costs nothing more.
OBSERVATION_VERSIONS = Table(
    "observation_versions",
    METADATA,
    Column("series_id", String(200), primary_key=True),
    Column("time", BigInteger, primary_key=True, autoincrement=False),
    Column("log_offset", BigInteger, primary_key=True, autoincrement=False),
    Column("columns", Text, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    #: Offset of the batch with the next version.
    Column("replaced_by", BigInteger, nullable=False),
    Index("observation_versions_by_replacement", "series_id", "replaced_by", "time"),
    sqlite_with_rowid=False,
)
#: Every batch that counts, by its `ce_id`: a batch whose id stands here is a repeat and changes nothing.
OBSERVATION_BATCHES = Table(
    "observation_batches",
    METADATA,
    Column("batch_id", String(40), primary_key=True),
    Column("series_id", String(200), nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("source", String(MAX_SOURCE), nullable=False),
    Index("observation_batches_by_series", "series_id", "log_offset"),
    sqlite_with_rowid=False,
)
INGESTS = Table(
    "ingests",
    METADATA,
    Column("ingest_id", String(128), primary_key=True),
    Column("series_id", String(200), nullable=False),
    *_asked(),
    Column("requested_ms", BigInteger),
    Column("request", LargeBinary),
    #: The newest `IngestEvent`, and its state; `queued` before the first.
    Column("event", LargeBinary),
    Column("event_ms", BigInteger),
    Column("state", String(20), nullable=False),
    Index("ingests_by_series", "series_id", "requested_ms"),
    Index("ingests_by_time", "time_ms"),
    Index("ingests_by_project", "project", "time_ms"),
)
#: The newest `SeriesScheduled` of each series.
SCHEDULES = Table(
    "schedules",
    METADATA,
    Column("series_id", String(200), primary_key=True),
    Column("log_offset", BigInteger, nullable=False),
    Column("scheduled_ms", BigInteger, nullable=False),
    Column("schedule", LargeBinary, nullable=False),
)
#: The newest `RunPlanned` of each series.
RUN_PLANS = Table(
    "run_plans",
    METADATA,
    Column("series_id", String(200), primary_key=True),
    Column("log_offset", BigInteger, nullable=False),
    Column("plan", LargeBinary, nullable=False),
)
INGEST_EVENTS = Table(
    "ingest_events",
    METADATA,
    Column("event_id", String(40), primary_key=True),
    Column("ingest_id", String(128), nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
QUARANTINE = Table(
    "quarantine",
    METADATA,
    Column("quarantine_id", String(128), primary_key=True),
    Column("series_id", String(200), nullable=False),
    Column("ingest_id", String(128), nullable=False),
    Column("held_ms", BigInteger, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("source", String(MAX_SOURCE), nullable=False),
    Column("first_time", BigInteger, nullable=False),
    Column("last_time", BigInteger, nullable=False),
    #: The rules broken, a JSON array of `RuleBroken`.
    Column("broken", LargeBinary, nullable=False),
    #: The `ObservationsQuarantined` as it travelled.
    Column("record", LargeBinary, nullable=False),
    Index("quarantine_by_time", "held_ms", "quarantine_id"),
)
#: The first decision about each held batch.
QUARANTINE_DECISIONS = Table(
    "quarantine_decisions",
    METADATA,
    Column("quarantine_id", String(128), primary_key=True),
    Column("decided_ms", BigInteger, nullable=False),
    Column("decision", String(20), nullable=False),
    #: The `QuarantineDecided` as it travelled.
    Column("record", LargeBinary, nullable=False),
)
DEAD_LETTERS = Table(
    "dead_letters",
    METADATA,
    #: Of topic, partition and offset of the message.
    Column("dead_letter_id", String(40), primary_key=True),
    Column("died_ms", BigInteger, nullable=False),
    Column("topic", String(_MAX_WORD), nullable=False),
    #: That gave up.
    Column("service", String(_MAX_WORD), nullable=False),
    Column("reason", Text, nullable=False),
    Column("value_bytes", BigInteger, nullable=False),
    #: The letter whose message was sent again and died again as this one.
    Column("replay_of", String(40)),
    #: The `DeadLetter` as it travelled.
    Column("record", LargeBinary, nullable=False),
    Index("dead_letters_by_time", "died_ms", "dead_letter_id"),
)
#: The first decision about each of them.
DEAD_LETTER_DECISIONS = Table(
    "dead_letter_decisions",
    METADATA,
    Column("dead_letter_id", String(40), primary_key=True),
    Column("decided_ms", BigInteger, nullable=False),
    Column("decision", String(20), nullable=False),
    #: The `DeadLetterDecided` as it travelled.
    Column("record", LargeBinary, nullable=False),
)
TRAININGS = Table(
    "trainings",
    METADATA,
    Column("training_id", String(128), primary_key=True),
    Column("model", String(200), nullable=False),
    Column("series_id", String(200), nullable=False),
    *_asked(),
    Column("requested_ms", BigInteger),
    Column("request", LargeBinary),
    Column("is_cancel_requested", Boolean, nullable=False, default=False),
    #: The newest `TrainingEvent`, and its state; `queued` before the first.
    Column("event", LargeBinary),
    Column("event_ms", BigInteger),
    Column("state", String(20), nullable=False),
    #: Of the release.
    Column("version", String(20)),
    Index("trainings_by_time", "time_ms"),
    Index("trainings_by_project", "project", "time_ms"),
)
TRAINING_EVENTS = Table(
    "training_events",
    METADATA,
    Column("event_id", String(40), primary_key=True),
    Column("training_id", String(128), nullable=False),
    #: Ascends within a training, since all its events stand in one partition.
    Column("log_offset", BigInteger, nullable=False),
    Column("event", LargeBinary, nullable=False),
    Index("training_events_by_training", "training_id", "log_offset"),
)
MODEL_VERSIONS = Table(
    "model_versions",
    METADATA,
    Column("model", String(200), primary_key=True),
    Column("version", String(20), primary_key=True),
    Column("log_offset", BigInteger, nullable=False),
    #: The `ModelReleased` record without its graph.
    Column("release", LargeBinary, nullable=False),
)
DEPLOYMENTS = Table(
    "deployments",
    METADATA,
    Column("deployment_id", String(128), primary_key=True),
    Column("model", String(200), nullable=False),
    Column("version", String(20), nullable=False),
    Column("role", String(20), nullable=False),
    Column("is_only_if_first", Boolean, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Column("deployed_ms", BigInteger, nullable=False),
    Column("deployment", LargeBinary, nullable=False),
    Index("deployments_by_model", "model", "log_offset"),
)
#: One row a request, joined with its answer: what the history is filtered by. Which of the two was read first changes
#: nothing, see `gateway.history`.
FORECAST_REQUESTS = Table(
    "forecast_requests",
    METADATA,
    Column("request_id", String(128), primary_key=True),
    Column("series_id", String(200)),
    *_asked(),
    #: Who may see the row: the project; of a public one, the project and who asked: `market/ORGANISATION_ID`.
    Column("tenant", String(300), nullable=False),
    #: That answered; before, the one that was asked for, or that is named after the series.
    Column("model", String(240), nullable=False),
    Column("version", String(240)),
    Column("horizon", Integer),
    Column("batch_id", String(128)),
    #: `pending`, `issued`, `refused`.
    Column("status", String(20), nullable=False),
    #: Of a refusal.
    Column("code", String(_MAX_WORD)),
    Column("forecast_id", String(128)),
    #: Start of the last observation used.
    Column("cutoff", BigInteger),
    Column("answered_ms", BigInteger),
    #: Digest of what was asked, without `as_of`: the same key with another one is refused. Null, like what follows,
    #: while only the answer is known.
    Column("wish", String(64)),
    Column("is_pinned", Boolean),
    Column("log_partition", Integer),
    Column("log_offset", BigInteger),
    Index("forecast_requests_by_time", "time_ms"),
    Index("forecast_requests_by_series", "series_id", "time_ms"),
    Index("forecast_requests_by_model", "model", "time_ms"),
    Index("forecast_requests_by_version", "version", "time_ms"),
    Index("forecast_requests_by_tenant", "tenant", "time_ms"),
    # The rest is what few rows have: of most installations most rows are issued, and asked for by nobody by name.
    _partial("forecast_requests_by_requester", "requester <> ''", "requester", "time_ms"),
    _partial("forecast_requests_by_status", "status <> 'issued'", "status", "time_ms"),
    _partial("forecast_requests_by_batch", "batch_id IS NOT NULL", "batch_id", "time_ms"),
)
#: How many forecasts were asked for, counted from `forecast_requests`: a year of them is summed without reading it.
USAGE = Table(
    "usage",
    METADATA,
    #: Days since the epoch, UTC.
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("project", String(200), primary_key=True),
    Column("organisation_id", String(128), primary_key=True),
    Column("model", String(240), primary_key=True),
    Column("requester", String(128), primary_key=True),
    Column("forecasts", BigInteger, nullable=False),
    Column("issued", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
FORECASTS = Table(
    "forecasts",
    METADATA,
    Column("request_id", String(128), primary_key=True),
    #: Null for a refusal.
    Column("forecast_id", String(128)),
    Column("series_id", String(200)),
    Column("log_partition", Integer, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    #: The `ForecastIssued` or `ForecastRefused` as it travelled.
    Column("answer", LargeBinary, nullable=False),
    Index("forecasts_by_forecast_id", "forecast_id"),
    Index("forecasts_by_series", "series_id", "log_offset"),
)
#: One row a forecast id: what every record with that id must say.
FORECAST_CONTENTS = Table(
    "forecast_contents",
    METADATA,
    Column("forecast_id", String(128), primary_key=True),
    Column("digest", String(64), nullable=False),
    sqlite_with_rowid=False,
)
#: Broken invariants: one id over two contents.
ALARMS = Table(
    "alarms",
    METADATA,
    Column("topic", String(200), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("log_offset", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(60), nullable=False),
    Column("subject", String(400), nullable=False),
)
