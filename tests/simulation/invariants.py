"""What must hold at every step, judged from the log alone and without the product's own state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from predictor.core import Predictor
from runtime.broker import Message, TopicPartition
from runtime.incoming import Incoming, decode_message
from runtime.memory_broker import MemoryBroker
from schemas.codec import Envelope, decode, encode
from schemas.dead_letters import DeadLetter
from schemas.errors import InvalidRecord
from schemas.forecasts import (
    ForecastIssued,
    ForecastRefused,
    ForecastRequestBatch,
    ForecastRequested,
    default_model_name,
)
from schemas.ingests import IngestEvent, IngestRequested
from schemas.models import Deployment, ModelReleased
from schemas.observations import ObservationBatch
from schemas.record import Record
from schemas.topics import (
    DEPLOYMENTS,
    FORECAST_REQUESTS,
    FORECASTS,
    INGEST_EVENTS,
    INGEST_REQUESTS,
    MODELS,
    OBSERVATIONS,
    TOPIC_BY_NAME,
    TRAINING_REQUESTS,
)
from schemas.trainings import FINAL_TRAINING_STATES, TrainingEvent, TrainingRequested
from tests.simulation.market import START, Market
from tests.simulation.series import PARTITIONS, home, home_of

_GROUPS = {"ingestor": INGEST_REQUESTS, "trainer": TRAINING_REQUESTS, "predictor": FORECAST_REQUESTS}
_REPLAYED = frozenset(topic.name for topic in (OBSERVATIONS, MODELS, DEPLOYMENTS, FORECAST_REQUESTS))


class Violation(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: str, facts: str) -> None:
        super().__init__(invariant, facts)  # both, so that it can be pickled
        self.invariant = invariant


def hold(condition: bool, invariant: str, facts: str) -> None:
    """Raise `Violation` unless ``condition`` holds."""
    if not condition:
        raise Violation(invariant, facts)


@dataclass
class Ledger:
    """What the log says, read once, in order."""

    #: All ids that stand in `forecast-requests`; in the partitions where they belong, all requests and the first pinned
    #: request of each id.
    asked: set[str] = field(default_factory=set)
    at_home: set[ForecastRequested] = field(default_factory=set)
    asked_at_home: set[str] = field(default_factory=set)
    pinned: dict[str, ForecastRequested] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)
    contents: dict[str, tuple[object, ...]] = field(default_factory=dict)
    bytes_of_id: dict[tuple[str, str], bytes] = field(default_factory=dict)
    #: (partition, series) -> (offset, batch), and the same for releases and champions.
    batches: defaultdict[str, list[tuple[int, ObservationBatch]]] = field(default_factory=lambda: defaultdict(list))
    releases: dict[tuple[str, str], int] = field(default_factory=dict)
    versions_of_training: dict[str, str] = field(default_factory=dict)
    champions: defaultdict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    deployed: set[str] = field(default_factory=set)
    trainings: dict[str, str] = field(default_factory=dict)
    #: Training -> its first final state, which counts; what was told, and what was told after the end.
    endings: dict[str, str] = field(default_factory=dict)
    told: list[tuple[object, ...]] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    ingests: set[str] = field(default_factory=set)
    ingested: dict[str, IngestEvent] = field(default_factory=dict)
    buried: set[tuple[str, int, int]] = field(default_factory=set)


class Invariants:
    """Reads what was appended since the last `check` and judges it."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        # Requests before answers, observations before what is told of them.
        later = (FORECASTS.name, INGEST_EVENTS.name)
        self._logs = sorted(broker.logs.items(), key=lambda item: (item[0].topic in later, item[0]))
        self._consumed = {
            group: [place for place in broker.logs if place.topic == topic.name] for group, topic in _GROUPS.items()
        }
        self._positions: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        #: What must have ended before a message may be committed: a name, or a request that must stand at home.
        self._messages: defaultdict[TopicPartition, dict[int, tuple[str | ForecastRequested, ...]]] = defaultdict(dict)
        self.ledger = Ledger()
        #: Requests that were pinned again, and differently; requests that stood in the wrong partition.
        self.repeated_pins = 0
        self.misplaced = 0

    def check(self) -> None:
        """Judge every new message, then what was committed.

        Raises:
            Violation: With the name of the invariant.
        """
        for partition, message in self._new_messages():
            topic = TOPIC_BY_NAME[message.topic]
            try:
                decoded = decode(topic, message.value, message.headers)
            except InvalidRecord:
                self._messages[partition][message.offset] = ("junk",)
                continue
            self._same_id_same_bytes(message, decoded.envelope)
            self._take(partition, message, decoded.record)
        self._nothing_committed_is_unfinished()

    def check_end(self, acknowledged: set[str], *, has_zombies: bool) -> None:
        """Judge the end, when nothing is on its way any more.

        A trainer that hung while its partition moved on may tell another end than its successor: the first one counts.
        """
        book = self.ledger
        for given_id in sorted(acknowledged):
            is_kept = given_id in book.asked or given_id in book.trainings or given_id in book.ingests
            hold(is_kept, "acknowledged-is-kept", f"{given_id} is not in the log")
        for ingest_id in book.ingests:
            hold(ingest_id in book.ingested, "every-ingest-ends", f"{ingest_id} has no final event")
        for request_id in sorted(book.asked):
            hold(request_id in book.answers, "every-request-ends", f"{request_id} has no answer")
        for training_id in book.trainings:
            hold(training_id in book.endings, "every-training-ends", f"{training_id} has no final event")
        hold(has_zombies or not book.contradictions, "one-ending-a-training", "; ".join(book.contradictions))
        for training_id, state in book.endings.items():
            is_released = training_id in book.versions_of_training
            facts = f"{training_id} ended as {state}, released: {is_released}"
            hold(has_zombies or (state == "succeeded") == is_released, "success-means-release", facts)
        for partition, entries in self._messages.items():
            for offset, ids in entries.items():
                if ids == ("junk",) and partition.topic != FORECASTS.name:
                    hold(
                        (partition.topic, partition.partition, offset) in book.buried,
                        "junk-is-buried",
                        f"{partition} {offset} has no dead letter",
                    )

    def check_series(self, *, has_zombies: bool) -> None:
        """Every day that was ever reported as ingested stands in the log, with the market's value, and only once.

        An ingestor that hung may have messages on their way that arrive after its successor's: then the same rows may
        come again in another batch, with the same values.
        """
        for series_id, batches in self.ledger.batches.items():
            rows: dict[datetime, float | None] = {}
            for _, batch in batches:
                hold(batch.kind != "restatement", "nothing-is-restated", f"{series_id}: {batch.reason}")
                for time, close in zip(batch.time, batch.columns["close"], strict=True):
                    hold(has_zombies or time not in rows, "rows-once", f"{series_id} {time} was published again")
                    hold(rows.setdefault(time, close) == close, "rows-agree", f"{series_id} {time}")
            days = np.array([(time - START).days for time in sorted(rows)])
            hold(bool((days == np.arange(len(days))).all()), "no-gaps", f"{series_id}: {len(days)} rows")
            hold(
                [rows[time] for time in sorted(rows)] == Market.close(days).tolist(), "values-are-kept", f"{series_id}"
            )

    def check_replay(self) -> None:
        """Answer every pinned request once more, a year later: the same bytes, however much more the log has by now."""
        positions = {place: log.end for place, log in self._broker.logs.items()}
        predictor = Predictor(partitions=PARTITIONS, positions=lambda: positions)
        requests: list[Incoming] = []
        for place, log in self._broker.logs.items():
            for message in log.read(0, log.end) if place.topic in _REPLAYED else ():
                try:
                    incoming = decode_message(TOPIC_BY_NAME[place.topic], message)
                except InvalidRecord:
                    continue
                if place.topic == FORECAST_REQUESTS.name:
                    requests.append(incoming)
                else:
                    predictor.apply(incoming)
        for outgoing in predictor.handle(requests):
            answer = outgoing.record
            if isinstance(answer, ForecastIssued | ForecastRefused):
                again = encode(FORECASTS, answer, source="", time=datetime.now(UTC)).value
                first = self.ledger.answers[answer.request_id]
                hold(again == first, "replay-is-byte-equal", f"{answer.request_id}: {first!r}, then {again!r}")

    # --- reading -------------------------------------------------------------------------------------------------

    def _new_messages(self) -> Iterator[tuple[TopicPartition, Message]]:
        for partition, log in self._logs:
            position = self._positions.get(partition, 0)
            if position < log.end:
                for message in log.read(position, log.end):
                    yield partition, message
                self._positions[partition] = log.end

    def _take(self, partition: TopicPartition, message: Message, record: Record) -> None:
        book = self.ledger
        match record:
            case ForecastRequested() | ForecastRequestBatch() | TrainingRequested() | IngestRequested():
                self._messages[partition][message.offset] = self._asked(partition, record)
            case ObservationBatch() | ModelReleased() | Deployment():
                self._fact(message.offset, record)
            case TrainingEvent():
                self._event(record)
            case IngestEvent() if record.state != "running":
                book.ingested.setdefault(record.ingest_id, record)
                last = max((batch.time[-1] for _, batch in book.batches[record.series_id]), default=START)
                hold(last >= (record.last_time or START), "told-rows-are-in-the-log", f"{record}, log has {last}")
            case ForecastIssued() | ForecastRefused():
                self._answer(message, record)
            case DeadLetter():
                book.buried.add((record.topic, record.partition, record.offset))

    def _asked(self, partition: TopicPartition, record: Record) -> tuple[str | ForecastRequested, ...]:
        """Take in a wish; return the names of what must have ended before it may be committed."""
        book = self.ledger
        match record:
            case ForecastRequested():
                return (self._request(partition, record),)
            case ForecastRequestBatch():
                return tuple(self._request(partition, request) for request in record.requests)
            case TrainingRequested():
                book.trainings.setdefault(record.training_id, record.model)
                return (f"training:{record.training_id}",)
            case IngestRequested():
                book.ingests.add(record.ingest_id)
                return (f"ingest:{record.ingest_id}",)
        return ()

    def _fact(self, offset: int, record: ObservationBatch | ModelReleased | Deployment) -> None:
        book = self.ledger
        match record:
            case ObservationBatch():
                if all(known.digest != record.digest for _, known in book.batches[record.series_id]):
                    book.batches[record.series_id].append((offset, record))  # a repeat adds nothing
            case ModelReleased():
                book.releases.setdefault((record.model, record.version), offset)
                known = book.versions_of_training.setdefault(record.training_id, record.version)
                facts = f"{record.training_id}: {known}, {record.version}"
                hold(known == record.version, "one-version-a-training", facts)
            case Deployment():
                self._deployment(offset, record)

    def _request(self, partition: TopicPartition, request: ForecastRequested) -> str | ForecastRequested:
        book = self.ledger
        book.asked.add(request.request_id)
        if home_of(request) != partition.partition:
            self.misplaced += 1
            return request
        book.at_home.add(request)
        book.asked_at_home.add(request.request_id)
        if request.as_of is not None:
            first = book.pinned.setdefault(request.request_id, request)
            self.repeated_pins += first.as_of != request.as_of
            return request.request_id
        return f"unpinned:{request.request_id}"

    def _deployment(self, offset: int, record: Deployment) -> None:
        book = self.ledger
        if record.deployment_id not in book.deployed:
            book.deployed.add(record.deployment_id)
            if not (record.only_if_first and book.champions[record.model]):
                book.champions[record.model].append((offset, record.version))

    def _event(self, event: TrainingEvent) -> None:
        """After its end nothing more is told of a training, save repeats of what was told."""
        book = self.ledger
        end = book.endings.get(event.training_id)
        if end is not None and event.identity() not in book.told:
            book.contradictions.append(f"{event.training_id}: {end}, then {event.state}")
        elif event.state in FINAL_TRAINING_STATES:
            book.endings[event.training_id] = event.state
        book.told.append(event.identity())

    # --- judging -------------------------------------------------------------------------------------------------

    def _same_id_same_bytes(self, message: Message, envelope: Envelope) -> None:
        """One ``ce_id`` never stands over two contents. Excepted are what the identity leaves out on purpose: a request
        may be pinned twice (the first one counts), and a batch of observations says when it was received.
        """
        if message.topic in (FORECAST_REQUESTS.name, OBSERVATIONS.name):
            return
        known = self.ledger.bytes_of_id.setdefault((message.topic, envelope.id), message.value or b"")
        facts = f"{message.topic} {envelope.id}: {known!r}, {message.value!r}"
        hold(known == message.value, "one-id-one-content", facts)

    def _answer(self, message: Message, answer: ForecastIssued | ForecastRefused) -> None:
        book, request_id = self.ledger, answer.request_id
        known = book.answers.setdefault(request_id, message.value or b"")
        hold(known == message.value, "one-answer-a-request", f"{request_id}: {known!r}, then {message.value!r}")
        hold(request_id in book.asked_at_home, "no-answer-unasked", request_id)
        belongs = home(answer.series_id or request_id)
        hold(
            message.partition == belongs, "answers-stand-at-home", f"{request_id} in {message.partition}, not {belongs}"
        )
        if isinstance(answer, ForecastIssued):
            hold(request_id in book.pinned, "answers-are-pinned", f"{request_id} was answered without a pinned request")
            content = book.contents.setdefault(answer.forecast_id, answer.content())
            hold(content == answer.content(), "one-forecast-id-one-content", answer.forecast_id)
            self._nothing_beyond(book.pinned[request_id], answer)

    def _nothing_beyond(self, request: ForecastRequested, forecast: ForecastIssued) -> None:
        """Recompute from the log what a forecast may have seen."""
        assert request.as_of is not None
        book, as_of, lineage = self.ledger, request.as_of, forecast.lineage
        facts = f"{request.request_id} pinned {as_of}, lineage {lineage}"
        hold(lineage.model_offset < as_of.models, "nothing-beyond-as-of", facts)
        name, _, version = (request.model or default_model_name(request.series_id or "")).partition(":")
        if not version:
            allowed = [
                version
                for offset, version in book.champions[name]
                if offset < as_of.deployments and book.releases[name, version] < as_of.models
            ]
            hold(
                bool(allowed) and forecast.model.version == allowed[-1],
                "champion-as-of",
                f"{facts}, champions {allowed}",
            )
        if request.series_id is None:
            return
        rows: dict[datetime, float | None] = {}
        newest = -1
        for offset, batch in book.batches[request.series_id]:
            if offset < as_of.observations:
                rows.update(zip(batch.time, batch.columns["close"], strict=True))
                newest = offset
        hold(lineage.observation_offset == newest, "nothing-beyond-as-of", f"{facts}, newest allowed {newest}")
        cutoff = max(rows)
        hold(forecast.cutoff == cutoff, "cutoff-as-of", f"{facts}: cutoff {forecast.cutoff}, should be {cutoff}")
        hold(forecast.baselines["last-value"][0] == rows[cutoff], "values-as-of", facts)

    def _nothing_committed_is_unfinished(self) -> None:
        """What a group has committed is answered, pinned, ended or buried: else a crash now would lose it."""
        for group, places in self._consumed.items():
            for place, offset in self._broker.committed(group, places).items():
                for number in range(self._committed.get(place, 0), offset):
                    for name in self._messages[place].get(number, ()):
                        self._finished(place, number, name)
                self._committed[place] = max(offset, self._committed.get(place, 0))

    def _finished(self, place: TopicPartition, offset: int, name: str | ForecastRequested) -> None:
        book = self.ledger
        facts = f"{place.topic}-{place.partition} {offset}: {name}"
        if isinstance(name, ForecastRequested):
            # The same request, offsets and all: any other one under its id may be a repeat of somebody else.
            hold(name in book.at_home, "committed-is-finished", facts)
            return
        kind, _, identity = name.rpartition(":")
        if name == "junk":
            hold((place.topic, place.partition, offset) in book.buried, "committed-is-finished", facts)
        elif kind == "training":
            hold(identity in book.endings, "committed-is-finished", facts)
        elif kind == "ingest":
            hold(identity in book.ingested, "committed-is-finished", facts)
        elif kind == "unpinned":
            hold(identity in book.pinned or identity in book.answers, "committed-is-finished", facts)
        else:
            hold(name in book.answers, "committed-is-finished", facts)
