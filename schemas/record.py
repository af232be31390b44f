"""The form that all records share, and the rules that more than one of them keeps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from operator import lt
from typing import Annotated

import msgspec
from msgspec import Meta

# Patterns are searched for, by Python's `re` and by JSON Schema's ECMA-262 alike, and Python's `$` also stands before a
# last line feed: `$(?!\n)` ends the text in both. Control characters are kept out of ids: they reach URLs and SQL.
SeriesId = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9._-]+/[^\s/@\x00-\x1f\x7f]+@[1-9][0-9]*(min|h|d|w|mo|q|y)$(?!\n)",
        max_length=200,
        description="`project/name@freq`, e.g. `market/AAPL@1d`",
    ),
]
Freq = Annotated[
    str,
    Meta(pattern=r"^[1-9][0-9]*(min|h|d|w|mo|q|y)$(?!\n)", description="Length of one observation, e.g. `1d`, `15min`"),
]
ModelName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9._-]+/[^\s/@:\x00-\x1f\x7f]+$(?!\n)",
        max_length=200,
        description="`project/name`, e.g. `market/AAPL-1d`",
    ),
]
ModelReference = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9._-]+/[^\s/@:\x00-\x1f\x7f]+(:[0-9a-z]+)?$(?!\n)",
        max_length=240,
        description="A model name, alone (its champion answers) or with `:version`",
    ),
]
UtcTime = Annotated[datetime, Meta(tz=True, description="UTC, e.g. `2025-01-02T00:00:00Z`")]
Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._~-]+$(?!\n)", min_length=1, max_length=128)]
Requester = Annotated[
    str,
    Meta(
        max_length=128, description="Who asked: `organisation/user/ID` or `organisation/key/ID`; empty without accounts"
    ),
]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", description="SHA-256 as 64 hexadecimal digits")]
Offset = Annotated[int, Meta(ge=0, le=2**63 - 1, description="A Kafka offset")]
Seed = Annotated[int, Meta(ge=0, le=2**32 - 1, description="Seed of every random number generator that is used")]
Level = Annotated[float, Meta(gt=0, lt=100, description="Central coverage in percent: 80 means quantiles 0.1 to 0.9")]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A typed, immutable message content; decoding validates it.

    Unknown fields are ignored, so an older reader reads a newer minor version. ``identity`` names the content:
    two records with the same identity are the same fact, and one of them is a repeat.
    """

    def identity(self) -> tuple[object, ...]:
        """Return the parts from which ``ce_id`` is computed."""
        raise NotImplementedError(f"{type(self).__name__} has no identity")


def require(condition: bool, rule: str) -> None:
    """Raise ``ValueError(rule)`` unless ``condition`` holds; msgspec reports it with the path of the field."""
    if not condition:
        raise ValueError(rule)


def require_utc(field: str, time: datetime | None) -> None:
    """Refuse a datetime without a zone or in another zone than UTC."""
    # Decoded times carry the one UTC object; this is asked for every row that travels.
    if time is None or time.tzinfo is UTC or time.utcoffset() == UTC.utcoffset(None):
        return
    raise ValueError(f"{field} must be a UTC time such as 2025-01-02T00:00:00Z, was {time}")


def require_ascending(field: str, values: Sequence[datetime] | Sequence[float]) -> None:
    """Refuse values that do not strictly ascend."""
    if all(map(lt, values, islice(values, 1, None))):  # type: ignore[arg-type]  # one type a call, as below
        return
    for index in range(1, len(values)):
        if not values[index - 1] < values[index]:  # type: ignore[operator]  # one type a call: both times or both numbers
            raise ValueError(
                f"{field} must strictly ascend, but [{index}] = {values[index]} follows {values[index - 1]}"
            )


def require_finite(field: str, values: Iterable[float | None]) -> None:
    """Refuse NaN, the infinities and whole numbers beyond them; ``None`` is a missing value and passes."""
    given = list(values)
    try:
        # One of them makes the sum one too: asked for every number that travels.
        if math.isfinite(sum(given)):  # type: ignore[arg-type]  # a missing value is a `TypeError`
            return
    except (TypeError, OverflowError):
        pass
    for index, value in enumerate(given):
        if value is not None and not _is_finite(value):
            raise ValueError(f"{field} must be finite, but [{index}] = {str(value)[:20]}")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False
