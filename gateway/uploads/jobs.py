"""What a child process is asked to do with an upload, and what it answers."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from schemas.record import Freq

Project = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]+$(?!\n)", max_length=100)]
#: What an id of a series cannot have: spaces, slashes, at signs, control characters.
_NOT_IN_NAMES = re.compile(r"[\s/@\x00-\x1f\x7f]+")
_MAX_NAME = 80
ColumnKind = Literal["time", "number", "boolean", "text", "empty"]


class UploadFault(Exception):
    """A file, or what is said of it, cannot be used: which field, what was expected, what was found."""

    def __init__(self, field: str, expected: str, found: str) -> None:
        super().__init__(f"{field}: {expected} expected, found {found}")
        self.field = field
        self.expected = expected
        self.found = found[:200]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a file may hold and what reading it may take."""

    #: Of text unpacked, and of all Parquet columns as the footer counts them.
    unpacked_bytes: int
    rows: int
    columns: int
    series: int
    #: Of the address space of the child.
    memory_bytes: int
    cpu_seconds: int


class ColumnMapping(msgspec.Struct, frozen=True, kw_only=True):
    """What the columns of a file are."""

    #: Column with the times.
    time: str
    #: Column that names the series of a long-format file; null: the file holds one series.
    series: str | None = None
    #: What is to be forecast; it is loaded like the others.
    target: str
    #: Every column of numbers that is loaded, the target among them.
    columns: tuple[str, ...]
    #: Columns that may be given for rows later than now.
    known_future: tuple[str, ...] = ()
    freq: Freq
    #: Exchange calendar code, `24/5` or `24/7`.
    calendar: str


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What of a guessed mapping is to be otherwise."""

    time: str | UnsetType = UNSET
    series: str | UnsetType | None = UNSET
    target: str | UnsetType = UNSET
    columns: tuple[str, ...] | UnsetType = UNSET
    known_future: tuple[str, ...] | UnsetType = UNSET
    freq: Freq | UnsetType = UNSET
    calendar: str | UnsetType = UNSET


class FoundColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A column as it was found."""

    name: str
    kind: ColumnKind
    #: Cells without a value.
    missing: int


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What a file seems to hold."""

    kind: Literal["csv", "csv.gz", "parquet"]
    rows: int
    columns: tuple[FoundColumn, ...]
    mapping: ColumnMapping
    target_candidates: tuple[str, ...]
    series_candidates: tuple[str, ...]
    #: How many series, and the names of the first of them.
    series_count: int
    series_examples: tuple[str, ...]
    first_time: str
    last_time: str
    #: The first rows, a cell for each of `columns`.
    preview: tuple[tuple[Any, ...], ...]
    #: What the reader should know: what is left out, what was guessed badly.
    notes: tuple[str, ...] = ()


class SplitSeries(msgspec.Struct, frozen=True, kw_only=True):
    """One series that was split off, in the file of its number."""

    number: int
    name: str
    rows: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a child is asked: to inspect a file, or with a mapping to split it into ``directory``."""

    path: str
    limits: Limits
    changes: Changes = Changes()
    #: Where the series go; null: the file is inspected.
    directory: str | None = None
    #: Bytes that the series may take.
    room: int = 0
    #: Name of the only series of a file.
    single_name: str = ""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a job: an inspection (always), the series (of a split), a fault, or that there is no room."""

    inspection: Inspection | None = None
    series: tuple[SplitSeries, ...] = ()
    fault: tuple[str, str, str] | None = None
    #: Bytes that the series would take, where that is more than they may.
    lacks_room_for: int | None = None


def column_name(name: str) -> str:
    """Return the name under which a column is loaded, as the source `file` would.

    >>> column_name("Adj Close"), column_name("Stock Splits")
    ('adj_close', 'splits')
    """
    lower = " ".join(name.lower().split())
    return "splits" if lower == "stock splits" else lower.replace(" ", "_")


def series_name(text: str) -> str:
    """Return the name of a series as ids may have it; empty where nothing of it is left.

    >>> series_name("São Paulo / 12")
    'São-Paulo-12'
    """
    return _NOT_IN_NAMES.sub("-", text)[:_MAX_NAME].strip("-")
