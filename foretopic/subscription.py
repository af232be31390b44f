"""Following the forecasts as they come: repeats dropped, contradictions called out."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from runtime.broker import Broker, Message, TopicPartition, partition_for
from schemas.codec import decode
from schemas.errors import InvalidRecord
from schemas.forecasts import ForecastIssued, ForecastRefused
from schemas.identity import digest_of
from schemas.topics import FORECASTS

#: So many ids are remembered; a repeat that comes later is shown again.
_REMEMBERED = 100_000


@dataclass(frozen=True, kw_only=True)
class Received:
    """A forecast or refusal that was not seen before, and where it stands."""

    record: ForecastIssued | ForecastRefused
    message: Message
    ce_id: str


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """Something that must never happen."""

    text: str
    message: Message


class Subscription:
    """What is to be made of each message of the forecasts topic. Pure but for what it remembers.

    Args:
        series_id: Only this series; ``None`` is all.
    """

    def __init__(self, series_id: str | None = None) -> None:
        self._series_id = series_id
        self._contents: OrderedDict[tuple[str, str], str] = OrderedDict()

    def take(self, message: Message) -> Received | Alarm | None:
        """Return what a message brings; ``None`` for a repeat and for other series."""
        try:
            decoded = decode(FORECASTS, message.value, message.headers)
        except InvalidRecord as error:
            return Alarm(text=f"a message that is no forecast: {error}", message=message)
        record, ce_id = decoded.record, decoded.envelope.id
        if not isinstance(record, (ForecastIssued, ForecastRefused)):
            raise TypeError(f"{type(record).__name__} came out of the forecasts topic")
        if self._series_id is not None and record.series_id != self._series_id:
            return None
        is_other = self._remember("ce_id", ce_id, hashlib.sha256(message.value or b"").hexdigest())
        if is_other:
            return Alarm(text=f"ce_id {ce_id} stands over two different contents", message=message)
        if is_other is not None:
            return None
        if isinstance(record, ForecastIssued) and self._remember(
            "forecast_id", record.forecast_id, digest_of(record.content())
        ):
            text = f"forecast_id {record.forecast_id} stands over two different contents"
            return Alarm(text=text, message=message)
        return Received(record=record, message=message, ce_id=ce_id)

    def _remember(self, kind: str, name: str, content: str) -> bool | None:
        """Return ``None`` for a new name, else whether it stood over other content before."""
        known = self._contents.get((kind, name))
        if known is not None:
            return known != content
        self._contents[kind, name] = content
        if len(self._contents) > _REMEMBERED:
            self._contents.popitem(last=False)
        return None


class StartError(ValueError):
    """Say what ``--from`` may be."""


def start_offsets(
    broker: Broker, partitions: Sequence[TopicPartition], start: str, *, series_id: str | None
) -> dict[TopicPartition, int]:
    """Return where to begin in each partition that matters.

    Args:
        broker: Asked for offsets.
        partitions: All partitions of the topic, in order.
        start: ``now``, ``earliest``, an offset, or a time such as ``2025-06-30`` or ``2025-06-30T12:00:00Z`` (UTC where
            no zone is given).
        series_id: With one, only the partition that holds it.

    Raises:
        StartError: ``start`` is none of these.
    """
    wanted = partitions
    if series_id is not None:
        wanted = [partitions[partition_for(series_id.encode(), len(partitions))]]
    if start == "now":
        return broker.end_offsets(wanted)
    begins = broker.begin_offsets(wanted)
    if start == "earliest":
        return begins
    if re.fullmatch(r"[0-9]+", start):
        ends = broker.end_offsets(wanted)
        return {partition: min(max(int(start), begins[partition]), ends[partition]) for partition in wanted}
    try:
        time = datetime.fromisoformat(start)
    except ValueError as error:
        raise StartError(
            f"now, earliest, an offset or a time such as 2025-06-30T12:00:00Z is expected, found {start!r}"
        ) from error
    zoned = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return broker.offsets_at(wanted, int(zoned.timestamp() * 1000))


def as_json(received: Received) -> str:
    """Return one line of JSON: where the record stands, and the record as it came."""
    document = {
        "partition": received.message.partition,
        "offset": received.message.offset,
        "ce_id": received.ce_id,
        "type": type(received.record).__name__,
        "record": msgspec.Raw(received.message.value or b"null"),
    }
    return msgspec.json.encode(document).decode()


def as_line(received: Received) -> str:
    """Return one line for people."""
    record = received.record
    name = record.series_id or f"request {record.request_id}"
    if isinstance(record, ForecastRefused):
        return f"{name}  refused ({record.code}): {record.reason}"
    first, last = record.steps[0], record.steps[-1]
    lower, upper = list(last.quantiles.values())[0], list(last.quantiles.values())[-1]  # noqa: RUF015  # the widest band
    until = f" {last.time:%Y-%m-%d %H:%M}".removesuffix(" 00:00") if last.time is not None else ""
    after = f" after {record.cutoff:%Y-%m-%d %H:%M}".removesuffix(" 00:00") if record.cutoff is not None else ""
    return (
        f"{name}{after}  step 1: {first.median:.4f}  step {len(record.steps)}{until}: {last.median:.4f} "
        f"[{lower:.4f} … {upper:.4f}]  {record.model.name}:{record.model.version} ({record.model.role})  "
        f"{record.forecast_id}"
    )
