"""What the predictor decides: records in, records out. No I/O, no clock, no logging."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import msgspec

from forecasting.errors import ForecastingError
from forecasting.panel import SeriesHistory
from forecasting.serving import ForecastNumbers
from predictor.answered import AnsweredRequests
from predictor.asks import Ask, Decision, asks_of, home, key_of, requests_of
from predictor.refusals import Refused
from predictor.releases import Releases
from predictor.sessions import Sessions
from predictor.windows import ModelInput, input_from_series, input_from_window, issue
from runtime.broker import TopicPartition
from runtime.errors import InvalidMessage
from runtime.incoming import Incoming, Outgoing
from schemas.forecasts import (
    AsOf,
    ForecastIssued,
    ForecastRefused,
    ForecastRequested,
    default_model_name,
)
from schemas.identity import content_id
from schemas.models import Deployment, ModelReleased
from schemas.observations import ObservationBatch
from schemas.topics import DEPLOYMENTS, FORECAST_REQUESTS, FORECASTS, MODELS, OBSERVATIONS

#: Room for headers, key and offsets beside the value of a message, in bytes.
ENVELOPE_BYTES = 2048


class Predictor:
    """Learn from the log, answer requests as of the prefixes that they pin.

    Args:
        partitions: How many partitions `observations`, `forecast-requests` and `forecasts` have.
        positions: Gives the next offset to be learned of each followed partition; asked at each ``handle``.
        topic_prefix: Prefix of the topic names in the broker.
        answered_limit: How many request ids a partition are remembered as answered; see `answered`.
        session_limit: How many loaded models are kept.
    """

    def __init__(
        self,
        *,
        partitions: int,
        positions: Callable[[], Mapping[TopicPartition, int]],
        topic_prefix: str = "",
        answered_limit: int = 20_000,
        session_limit: int = 32,
    ) -> None:
        self.partitions = partitions
        self.answered = AnsweredRequests(answered_limit)
        self.releases = Releases()
        self.sessions = Sessions(session_limit)
        self._positions = positions
        self._prefix = topic_prefix
        self._models = TopicPartition(MODELS.full_name(topic_prefix), 0)
        self._deployments = TopicPartition(DEPLOYMENTS.full_name(topic_prefix), 0)
        self._histories: defaultdict[int, dict[str, SeriesHistory]] = defaultdict(dict)
        self._rebuild: dict[int | None, dict[TopicPartition, int]] = {}

    # --- state -------------------------------------------------------------------------------------------------

    def apply(self, incoming: Incoming) -> None:
        """Learn one message of `observations`, `models`, `deployments` or `forecasts`; a repeat changes nothing."""
        message, record = incoming.message, incoming.record
        match record:
            case ObservationBatch():
                if self._is_at_home(record.series_id, message.partition):
                    self._learn_observations(message.partition, message.offset, record)
            case ModelReleased():
                self.releases.learn_release(message.offset, record)
            case Deployment():
                self.releases.learn_deployment(message.offset, record)
            case ForecastIssued() | ForecastRefused():
                self.answered.see(message.partition, record.request_id)
            case _:
                raise ValueError(f"nothing is learned from a {type(record).__name__} of {message.topic}")

    def require(self, until: Mapping[TopicPartition, int], partition: int | None = None) -> None:
        """Handle nothing (of ``partition``; of any for ``None``) before these next offsets have been reached."""
        self._rebuild.setdefault(partition, {}).update(until)

    def forget(self, partition: int) -> None:
        """Drop all state of a partition that is given up."""
        self._histories.pop(partition, None)
        self.answered.forget(partition)
        self._rebuild.pop(partition, None)

    def series(self) -> int:
        """Return how many series are known."""
        return sum(len(histories) for histories in self._histories.values())

    def needs(self, batch: Sequence[Incoming]) -> Mapping[TopicPartition, int]:
        """Return the next offsets that must have been reached before ``handle(batch)``; reached ones are left out.

        An offset beyond the end of the log is never reached: go as far as the log goes, then ``handle`` refuses.
        """
        needed = dict(self._rebuild.get(None, {}))

        def need(partition: TopicPartition, offset: int) -> None:
            needed[partition] = max(needed.get(partition, 0), offset)

        for incoming in batch:
            own = incoming.message.partition
            for partition, offset in self._rebuild.get(own, {}).items():
                need(partition, offset)
            if isinstance(incoming.record, ObservationBatch):
                need(self._observations(own), incoming.message.offset + 1)
            for request in requests_of(incoming):
                if request.as_of is not None and self._is_at_home(key_of(request), own):
                    need(self._models, request.as_of.models)
                    need(self._deployments, request.as_of.deployments)
                    if request.series_id is not None:
                        need(self._observations(own), request.as_of.observations)
        positions = self._positions()
        return {partition: offset for partition, offset in needed.items() if offset > positions.get(partition, 0)}

    # --- decisions ---------------------------------------------------------------------------------------------

    def handle(self, batch: Sequence[Incoming]) -> list[Outgoing]:
        """Return what is to be published for messages of `forecast-requests` and `observations`.

        Raises:
            InvalidMessage: Something stands in a partition that is not its own and cannot be moved.
        """
        decisions = self.decide(batch)
        for decision in decisions:
            if decision.outcome == "wrong-partition":
                raise InvalidMessage(decision.reason)
        return [decision.outgoing for decision in decisions if decision.outgoing is not None]

    def decide(self, batch: Sequence[Incoming]) -> list[Decision]:
        """Decide on each request and each batch of observations, in log order a partition.

        All requests that ask the same of one model version are given to the model together. Calling it again with
        the same messages, because publishing failed, gives the same answers.
        """
        positions = self._positions()
        decisions: list[Decision] = []
        inputs: list[tuple[int, Ask, ModelInput]] = []
        for incoming in batch:
            if isinstance(incoming.record, ObservationBatch):
                decisions.extend(self._on_observations(incoming, incoming.record, positions))
            for ask in asks_of(incoming):
                found = self._on_request(ask, positions)
                if isinstance(found, ModelInput):
                    inputs.append((len(decisions), ask, found))
                    decisions.append(Decision(incoming, "issued"))
                else:
                    decisions.append(found)
        for index, decision in self._forecast(inputs):
            decisions[index] = decision
        return decisions

    def _on_request(self, ask: Ask, positions: Mapping[TopicPartition, int]) -> Decision | ModelInput:
        request = ask.request
        if not self._is_at_home(key_of(request), ask.partition):
            return self._move(ask)
        if self.answered.is_repeat(ask.partition, request.request_id, ask.place):
            return ask.decided("repeat")
        try:
            if request.as_of is None:
                return self._pin(ask, positions)
            # From here on a later request under this id is a repeat, also one in the same batch.
            self.answered.give(ask.partition, request.request_id, ask.place)
            return self._prepare(ask, request.as_of, positions)
        except (Refused, ForecastingError) as error:
            return self._refuse(ask, error)

    def _move(self, ask: Ask) -> Decision:
        """Write the request again where it belongs: whoever has that partition knows whether it was answered.

        It is not answered here, not even by a refusal: under the same id it may have been asked there, too.
        """
        belongs = home(key_of(ask.request), self.partitions)
        if _fits(ask.request):
            return ask.decided("moved", ask.moved(belongs))
        reason = (
            f"request {ask.request.request_id} belongs to partition {belongs}, stands in {ask.partition}, "
            "and is too large to be moved; produce it with Kafka's default partitioner"
        )
        return ask.decided("wrong-partition", reason=reason)

    def _pin(self, ask: Ask, positions: Mapping[TopicPartition, int]) -> Decision:
        """Write the request again with the offsets that have been read; it is answered when that comes by."""
        if not _fits(ask.request):
            raise Refused(
                "request-too-large",
                expected=f"at most {FORECAST_REQUESTS.max_message_bytes - ENVELOPE_BYTES} bytes",
                found=f"{_size(ask.request)}",
                advice="send it with as_of",
            )
        as_of = self._as_of(positions, None if ask.request.series_id is None else ask.partition)
        pinned = msgspec.structs.replace(ask.request, as_of=as_of)
        return ask.decided("pinned", ask.outgoing(FORECAST_REQUESTS, pinned))

    def _prepare(self, ask: Ask, as_of: AsOf, positions: Mapping[TopicPartition, int]) -> ModelInput:
        request = ask.request
        self._check_as_of(ask, as_of, positions)
        reference = request.model or default_model_name(request.series_id or "")
        chosen = self.releases.choose(reference, as_of)
        model = self.sessions.of(chosen.release)
        if request.window is not None:
            return input_from_window(request, chosen, model)
        history = self._histories[ask.partition].get(request.series_id or "")
        return input_from_series(
            request, chosen=chosen, model=model, history=history, as_of=as_of, partition=ask.partition
        )

    def _check_as_of(self, ask: Ask, as_of: AsOf, positions: Mapping[TopicPartition, int]) -> None:
        limits = [("models", as_of.models, self._models), ("deployments", as_of.deployments, self._deployments)]
        if ask.request.series_id is not None:
            limits.append(("observations", as_of.observations, self._observations(ask.partition)))
        for name, offset, partition in limits:
            if offset > positions.get(partition, 0):
                raise Refused(
                    "as-of-beyond-log",
                    field=f"as_of.{name}",
                    expected="at most the end of the log",
                    found=str(offset),
                )

    def _forecast(self, inputs: Sequence[tuple[int, Ask, ModelInput]]) -> list[tuple[int, Decision]]:
        groups: defaultdict[object, list[tuple[int, Ask, ModelInput]]] = defaultdict(list)
        for entry in inputs:
            groups[entry[2].group].append(entry)
        decisions: list[tuple[int, Decision]] = []
        for entries in groups.values():
            numbers = _run([source for _, _, source in entries])
            for (index, ask, source), result in zip(entries, numbers, strict=True):
                decisions.append((index, self._answer(ask, source, result)))
        return decisions

    def _answer(self, ask: Ask, source: ModelInput, numbers: ForecastNumbers | ForecastingError) -> Decision:
        if isinstance(numbers, ForecastingError):
            return self._refuse(ask, numbers)
        try:
            record = issue(source, numbers)
            _check_size(record)
        except (Refused, ForecastingError) as error:
            return self._refuse(ask, error)
        return ask.decided("issued", ask.outgoing(FORECASTS, record), model_version=record.model.version)

    def _refuse(self, ask: Ask, error: Refused | ForecastingError) -> Decision:
        self.answered.give(ask.partition, ask.request.request_id, ask.place)
        record = ForecastRefused(
            request_id=ask.request.request_id,
            series_id=ask.request.series_id,
            code=error.code,
            reason=str(error),
            field=error.field,
            expected=error.expected,
            found=error.found,
            cause=ask.request.cause,
        )
        return ask.decided("refused", ask.outgoing(FORECASTS, record), code=error.code)

    def _on_observations(
        self, incoming: Incoming, batch: ObservationBatch, positions: Mapping[TopicPartition, int]
    ) -> list[Decision]:
        """Ask for a forecast of each model that waits for this series; a first load (`history`) asks for none.

        The request is pinned to the batch itself, so that a backlog of observations gives one forecast each.
        """
        partition, offset = incoming.message.partition, incoming.message.offset
        if not self._is_at_home(batch.series_id, partition):
            reason = f"series {batch.series_id} does not belong into partition {partition}"
            return [Decision(incoming, "wrong-partition", series_id=batch.series_id, reason=reason)]
        decisions = []
        as_of = msgspec.structs.replace(self._as_of(positions, partition), observations=offset + 1)
        champions = [] if batch.kind == "history" else self.releases.champions_for(batch.series_id, as_of)
        for index, chosen in enumerate(champions):
            release = chosen.release
            request = ForecastRequested(
                request_id=content_id("auto", batch.series_id, partition, offset, release.model),
                series_id=batch.series_id,
                horizon=release.horizon,
                levels=release.levels,
                model=release.model,
                as_of=as_of,
                cause="observation",
            )
            ask = Ask(incoming, request, (offset, index), incoming.envelope.traceparent)
            if self.answered.is_repeat(partition, request.request_id, ask.place):
                decisions.append(ask.decided("repeat"))
                continue
            decisions.append(ask.decided("requested", ask.outgoing(FORECAST_REQUESTS, request)))
        return decisions or [Decision(incoming, "learned", series_id=batch.series_id)]

    # --- small things ------------------------------------------------------------------------------------------

    def _learn_observations(self, partition: int, offset: int, batch: ObservationBatch) -> None:
        histories = self._histories[partition]
        if batch.series_id not in histories:
            histories[batch.series_id] = SeriesHistory(batch.series_id)
        histories[batch.series_id].append(offset, batch)

    def _as_of(self, positions: Mapping[TopicPartition, int], partition: int | None) -> AsOf:
        return AsOf(
            observations=0 if partition is None else positions.get(self._observations(partition), 0),
            models=positions.get(self._models, 0),
            deployments=positions.get(self._deployments, 0),
        )

    def _observations(self, partition: int) -> TopicPartition:
        return TopicPartition(OBSERVATIONS.full_name(self._prefix), partition)

    def _is_at_home(self, key: str, partition: int) -> bool:
        return home(key, self.partitions) == partition


def _run(sources: Sequence[ModelInput]) -> list[ForecastNumbers | ForecastingError]:
    """Run inputs of one group through their model together; where it refuses, find out whom it refuses.

    The numbers do not depend on who else is in the run: `forecasting` promises bits that no batch size changes.
    """
    request, model = sources[0].request, sources[0].model
    try:
        return list(model.forecast([source.window for source in sources], request.horizon, request.levels))
    except ForecastingError as error:
        if len(sources) == 1:
            return [error]
    return [result for source in sources for result in _run([source])]


def _size(request: ForecastRequested) -> int:
    """Return the bytes of a request as we write it: ``1e9`` is longer then than from a caller who wrote it so."""
    return len(msgspec.json.encode(request))


def _fits(request: ForecastRequested) -> bool:
    """Return whether a message can carry a request, with offsets or without."""
    return _size(request) + ENVELOPE_BYTES <= FORECAST_REQUESTS.max_message_bytes


def _check_size(record: ForecastIssued) -> None:
    """Refuse a forecast that no message can carry; measured only where it may be near."""
    numbers = len(record.steps) * (2 + len(record.steps[0].quantiles)) + sum(map(len, record.baselines.values()))
    limit = FORECASTS.max_message_bytes - ENVELOPE_BYTES
    if numbers * 64 < limit:
        return
    size = len(msgspec.json.encode(record))
    if size > limit:
        raise Refused(
            "forecast-too-large",
            field="horizon",
            expected=f"such that the forecast takes at most {limit} bytes",
            found=f"{len(record.steps)} steps with {len(record.steps[0].quantiles)} quantiles, {size} bytes",
            advice="ask for fewer steps or fewer levels",
        )
