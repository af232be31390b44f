"""What the columns of a table seem to be. A guess is shown to whoever uploaded, who may change it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import UNSET

from gateway.uploads import columns as cells
from gateway.uploads.columns import DAY, CodeArray, IntArray, Numbers, Times
from gateway.uploads.jobs import Changes, ColumnMapping, FoundColumn, Inspection, Limits, UploadFault, column_name
from gateway.uploads.reading import Kind, cell_of

_TIME_NAMES = ("ds", "date", "datetime", "timestamp", "time", "month", "week", "day")
_SERIES_NAMES = (
    "unique_id",
    "series_id",
    "series",
    "id",
    "ticker",
    "symbol",
    "store",
    "shop",
    "item",
    "sku",
    "product",
)
_TARGET_NAMES = (
    "y",
    "target",
    "close",
    "sales",
    "weekly_sales",
    "demand",
    "revenue",
    "quantity",
    "value",
    "passengers",
)
#: What pandas calls the numbers of its rows in a file.
_INDEX = re.compile(r"(__index_level_\d+__|Unnamed: \d+)$")
_BAR_NAMES = {"open", "high", "low", "close"}
_PREVIEW_ROWS = 5
_SHOWN_SERIES = 10
_SHOWN_TEXT_COLUMNS = 20
_HEAD_ROWS = 10_000
#: Typical seconds between rows, at least and at most -> freq.
_FREQS = (
    (DAY, 3 * DAY, "1d"),
    (6 * DAY, 8 * DAY, "1w"),
    (28 * DAY, 31 * DAY, "1mo"),
    (89 * DAY, 92 * DAY, "1q"),
    (365 * DAY, 366 * DAY, "1y"),
)
_SATURDAY = 5
_DAYS_OF_WEEK = 7
#: Days on which the exchanges of the United States are shut.
_SHUT_DAYS = {(1, 1), (7, 4), (12, 25)}


@dataclass
class Sheet:
    """A table with what was found out about its columns, each found out once."""

    kind: Kind
    table: pa.Table
    limits: Limits

    def __post_init__(self) -> None:
        self._numbers: dict[str, Numbers] = {}
        self._times: dict[str, Times] = {}
        self._codes: dict[str, tuple[CodeArray, list[str]]] = {}

    @property
    def names(self) -> list[str]:
        return list(self.table.column_names)

    @cached_property
    def missing(self) -> dict[str, int]:
        return {name: int(pa.compute.sum(cells.missing_of(self.table[name])).as_py() or 0) for name in self.names}

    def numbers(self, name: str) -> Numbers:
        if name not in self._numbers:
            self._numbers[name] = cells.numbers_of(self.table[name])
        return self._numbers[name]

    def times(self, name: str) -> Times:
        if name not in self._times:
            self._times[name] = cells.times_of(self.table[name])
        return self._times[name]

    def codes(self, name: str | None) -> tuple[CodeArray, list[str]]:
        """Return the number and the names of the series of each row; one series where no column names them."""
        if name is None:
            return np.zeros(len(self.table), dtype=np.int32), [""]
        if name not in self._codes:
            codes, found = cells.coded(self.table[name])
            self._codes[name] = codes, [_series_text(value) for value in found]
        return self._codes[name]

    def distinct(self, name: str) -> int:
        """Return how many different cells a column has; of numbers without holding each of them in Arrow."""
        return (
            len(self.codes(name)[1]) if cells.is_text(self.table[name]) else len(np.unique(self.numbers(name).values))
        )

    def let_go_of_all_but(self, names: Collection[str]) -> None:
        """Drop the other columns and what was found out about them: sorting needs as much memory again."""
        self.table = self.table.select(list(names))
        self._times.clear()
        self._codes.clear()

    def line(self, row: int) -> str:
        """Return how a person finds a row."""
        return f"row {row + 1}" if self.kind == "parquet" else f"line {row + 2}"

    def is_number(self, name: str) -> bool:
        found = self.numbers(name)
        return found.has_number and found.fault is None


def _series_text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def inspect(sheet: Sheet, changes: Changes) -> Inspection:
    """Return what a table seems to hold, with the mapping as changed.

    Raises:
        UploadFault: No column can be the times, or none holds numbers; a change names what is not there.
    """
    time = _changed(sheet, changes.time, "time") or _guess_time(sheet)
    times = sheet.times(time)
    _require_times(sheet, time, times)
    candidates = _series_candidates(sheet, time, times)
    series = candidates[0] if candidates else None
    if changes.series is not UNSET:
        series = changes.series if changes.series is None else _changed(sheet, changes.series, "series")
    codes, names = sheet.codes(series)
    is_daily = bool((times.wall % DAY == times.wall[0] % DAY).all())
    numeric = [
        name for name in sheet.names if name not in (time, series) and sheet.is_number(name) and not _INDEX.match(name)
    ]
    if not numeric:
        raise UploadFault("columns", "at least one column of numbers", f"none in {', '.join(sheet.names)[:150]}")
    mapping = _mapping(sheet, changes, time, series, numeric, codes, is_daily=is_daily)
    ours = times.of(is_daily=mapping.freq[-1] not in "nh")
    return Inspection(
        kind=sheet.kind,
        rows=len(sheet.table),
        columns=tuple(_column(sheet, name, time) for name in sheet.names),
        mapping=mapping,
        target_candidates=tuple(_ranked_targets(sheet, numeric))[:_SHOWN_SERIES],
        series_candidates=tuple(candidates),
        series_count=len(names),
        series_examples=tuple(names[:_SHOWN_SERIES]) if series is not None else (),
        first_time=_shown(int(ours.min())),
        last_time=_shown(int(ours.max())),
        preview=tuple(
            tuple(cell_of(row[name]) for name in sheet.names) for row in sheet.table.slice(0, _PREVIEW_ROWS).to_pylist()
        ),
        notes=_notes(sheet, time, mapping, codes, ours),
    )


def _shown(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _changed(sheet: Sheet, name: object, field: str) -> str | None:
    if not isinstance(name, str):
        return None
    if name not in sheet.names:
        raise UploadFault(field, f"one of the columns {', '.join(sheet.names)[:300]}", repr(name))
    return name


def _guess_time(sheet: Sheet) -> str:
    by_name = sorted(
        (name for name in sheet.names if column_name(name) in _TIME_NAMES),
        key=lambda n: _TIME_NAMES.index(column_name(n)),
    )
    for name in (*by_name, *(name for name in sheet.names if name not in by_name)):
        column = sheet.table[name]
        head = column.slice(0, 100)
        is_temporal = pa.types.is_temporal(column.type)
        if (
            (is_temporal or cells.is_text(column))
            and cells.times_of(head).fault is None
            and sheet.times(name).fault is None
        ):
            return name
    for name in by_name:  # the fault of the column that is called so is worth more than "none"
        _require_times(sheet, name, sheet.times(name))
    raise UploadFault("time", "a column of times such as 2025-01-02", f"none in {', '.join(sheet.names)[:150]}")


def _require_times(sheet: Sheet, name: str, times: Times) -> None:
    if times.fault is not None:
        row, found = times.fault
        raise UploadFault("time", f"a time such as 2025-01-02 in column {name}, {sheet.line(row)}", found)


def _series_candidates(sheet: Sheet, time: str, times: Times) -> list[str]:
    """Return the columns that make each time stand once a series, the likeliest first."""
    _, counts = np.unique(times.moment, return_counts=True)
    most = int(counts.max())
    if most == 1:
        return []
    found: dict[str, int] = {}
    for name in sheet.names:
        column = sheet.table[name]
        can_name = cells.is_text(column) or pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        if name == time or not can_name:
            continue
        if _is_measured(sheet, name) or _is_too_diverse(sheet, name):
            continue
        distinct = sheet.distinct(name)
        if most <= distinct <= sheet.limits.series:
            codes, _ = sheet.codes(name)
            if (codes >= 0).all() and _is_once(codes, times.moment):
                found[name] = distinct
    ranks = {name: rank for rank, name in enumerate(_SERIES_NAMES)}
    # A number of the row, such as a column `id` may be, names no series where another column can.
    is_of_row = {name: distinct == len(sheet.table) for name, distinct in found.items()}
    return sorted(found, key=lambda name: (is_of_row[name], ranks.get(column_name(name), 99), sheet.names.index(name)))


def _is_measured(sheet: Sheet, name: str) -> bool:
    """Tell whether a column holds numbers with fractions: no names of series."""
    values = sheet.numbers(name).values
    # What has fractions has them soon, mostly.
    return sheet.is_number(name) and any(
        bool(((some != np.floor(some)) & ~np.isnan(some)).any()) for some in (values[:_HEAD_ROWS], values)
    )


def _is_too_diverse(sheet: Sheet, name: str) -> bool:
    """Tell whether the first rows alone have more different numbers than a file may have series."""
    most = sheet.limits.series
    return sheet.is_number(name) and len(np.unique(sheet.numbers(name).values[: 2 * most])) > most


def _is_once(codes: CodeArray, moments: IntArray) -> bool:
    order = cells.order_of(codes, moments)
    if order is None:
        return True
    return not bool(((np.diff(codes[order]) == 0) & (np.diff(moments[order]) == 0)).any())


def _mapping(  # noqa: PLR0917  # what was found, each a part of the mapping
    sheet: Sheet,
    changes: Changes,
    time: str,
    series: str | None,
    numeric: list[str],
    codes: CodeArray,
    *,
    is_daily: bool,
) -> ColumnMapping:
    if isinstance(changes.columns, tuple):
        for name in changes.columns:
            require_number(sheet, name, "columns")
        numeric = list(dict.fromkeys(changes.columns))
    target = _changed(sheet, changes.target, "target") or next(iter(_ranked_targets(sheet, numeric)), "")
    require_number(sheet, target, "target")
    if target not in numeric:
        numeric = [target, *numeric]
    if isinstance(changes.known_future, tuple):
        known_future = changes.known_future
        for name in known_future:
            if name not in numeric or name == target:
                raise UploadFault(
                    "known_future", f"some of the columns {', '.join(numeric)[:300]}, not the target", name
                )
    else:
        known_future = _guess_known_future(sheet, sheet.times(time), target, numeric)
    freq = changes.freq if isinstance(changes.freq, str) else _guess_freq(sheet.times(time), codes, is_daily=is_daily)
    calendar = changes.calendar if isinstance(changes.calendar, str) else _guess_calendar(sheet.times(time), freq)
    return ColumnMapping(
        time=time,
        series=series,
        target=target,
        columns=tuple(numeric),
        known_future=tuple(known_future),
        freq=freq,
        calendar=calendar,
    )


def require_number(sheet: Sheet, name: str, field: str) -> None:
    """Refuse a column that is not there or has a cell that is no number."""
    _changed(sheet, name, field)
    found = sheet.numbers(name)
    if found.fault is not None:
        row, cell = found.fault
        raise UploadFault(field, f"numbers in column {name}, {sheet.line(row)}", repr(cell[:80]))
    if not found.has_number:
        raise UploadFault(field, f"a number in column {name}", "none")


def _ranked_targets(sheet: Sheet, numeric: list[str]) -> list[str]:
    ranks = {name: rank for rank, name in enumerate(_TARGET_NAMES)}

    def rank(name: str) -> tuple[int, bool, int]:
        values = sheet.numbers(name).values[:_HEAD_ROWS]
        is_flag = len(np.unique(values[~np.isnan(values)])) <= 2  # noqa: PLR2004  # constants and yes or no
        return ranks.get(column_name(name), 99), is_flag, numeric.index(name)

    return sorted(numeric, key=rank)


def _guess_known_future(sheet: Sheet, times: Times, target: str, numeric: list[str]) -> tuple[str, ...]:
    """Return the columns that have values in rows later than the last one with the target."""
    has_target = ~np.isnan(sheet.numbers(target).values)
    later = times.moment > times.moment[has_target].max()
    return tuple(
        name for name in numeric if name != target and bool((~np.isnan(sheet.numbers(name).values[later])).any())
    )


def _guess_freq(times: Times, codes: CodeArray, *, is_daily: bool) -> str:
    ours = times.of(is_daily=is_daily)
    order = cells.order_of(codes, ours)
    if order is not None:
        ours, codes = ours[order], codes[order]
    steps = np.diff(ours)[np.diff(codes) == 0]
    steps = steps[steps > 0]
    if not len(steps):
        return "1d"
    typical = int(np.median(steps))
    for least, most, freq in _FREQS:
        if least <= typical <= most and is_daily:
            return freq
    if typical % 3600 == 0:
        return f"{typical // DAY}d" if typical % DAY == 0 else f"{typical // 3600}h"
    return f"{max(typical // 60, 1)}min"


def _guess_calendar(times: Times, freq: str) -> str:
    """Return `XNYS` or `24/5` for days without week-ends, whether the shut days are missing too; else `24/7`."""
    if freq != "1d":
        return "24/7"
    days = np.unique(times.wall // DAY)
    weekday: npt.NDArray[np.int64] = (days + 3) % _DAYS_OF_WEEK  # 1970-01-01 was a Thursday
    if (weekday >= _SATURDAY).any() or len(days) < _DAYS_OF_WEEK:
        return "24/7"
    years = int(days[-1] - days[0]) / 365
    dates = (datetime.fromtimestamp(int(day) * DAY, UTC) for day in days)
    is_open = any((date.month, date.day) in _SHUT_DAYS for date in dates)
    return "24/5" if is_open or years < 1 else "XNYS"


def _column(sheet: Sheet, name: str, time: str) -> FoundColumn:
    missing = sheet.missing[name]
    found = sheet.numbers(name)
    if name == time:
        return FoundColumn(name=name, kind="time", missing=missing)
    if missing == len(sheet.table):
        return FoundColumn(name=name, kind="empty", missing=missing)
    if found.fault is None:
        return FoundColumn(name=name, kind="boolean" if found.is_boolean else "number", missing=missing)
    return FoundColumn(name=name, kind="text", missing=missing)


def _notes(sheet: Sheet, time: str, mapping: ColumnMapping, codes: CodeArray, ours: IntArray) -> tuple[str, ...]:
    notes = []
    loaded = {time, mapping.series, *mapping.columns}
    left_out = [name for name in sheet.names if name not in loaded]
    if left_out:
        more = f" and {len(left_out) - _SHOWN_TEXT_COLUMNS} more" if len(left_out) > _SHOWN_TEXT_COLUMNS else ""
        notes.append(f"left out: {', '.join(left_out[:_SHOWN_TEXT_COLUMNS])}{more}")
    for name in sheet.names:
        found = sheet.numbers(name)
        if found.formulas and name not in (time, mapping.series):
            notes.append(
                f"column {name}: {found.formulas} cells look like formulas; they stay text and are not computed"
            )
        elif found.has_number and found.fault is not None and name != mapping.series:
            row, cell = found.fault
            notes.append(f"column {name} has numbers, but {sheet.line(row)} has {cell[:50]!r}")
    if not _is_once(codes, ours):
        notes.append("times stand more than once in a series: name the column of the series, or the load is refused")
    if mapping.calendar == "24/5" and {column_name(name) for name in mapping.columns} >= _BAR_NAMES:
        notes.append("these look like prices of an exchange: give its calendar, e.g. BVMF for B3")
    return tuple(notes)
