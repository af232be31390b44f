"""Columns of a table as times and numbers: what they are, and which cell keeps them from being that."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_MISSING = ("", "null", "nan", "na", "n/a", "none", "-")
_FORMULA = re.compile(r"[=@+\-\t\r]")
_MONTH_LENGTH = len("1949-01")
_HEAD_ROWS = 1_000
_TEXT = pa.dictionary(pa.int32(), pa.string())
DAY = 86_400

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
#: Numbers of distinct cells.
CodeArray = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A column as numbers: NaN where there is none; ``fault`` is the first row with something else, and that."""

    values: FloatArray
    has_number: bool
    is_boolean: bool = False
    fault: tuple[int, str] | None = None
    #: Cells that a spreadsheet would compute; they are text here.
    formulas: int = 0


@dataclass(frozen=True, kw_only=True)
class Times:
    """A column as times, in seconds since 1970: as written on the wall, and as moments in UTC."""

    wall: IntArray
    moment: IntArray
    fault: tuple[int, str] | None = None

    def of(self, *, is_daily: bool) -> IntArray:
        """Return the days as they are written, or the moments."""
        return self.wall - self.wall % DAY if is_daily else self.moment


def is_text(column: pa.ChunkedArray) -> bool:
    """Tell whether cells are text."""
    type_ = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def missing_of(column: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return where a column has no value."""
    if not is_text(column):
        return pc.is_null(column, nan_is_null=pa.types.is_floating(column.type))
    encoded = _encoded(column)
    return pc.fill_null(pc.take(_is_missing(encoded.dictionary), encoded.indices), fill_value=True)


def _is_missing(cells: pa.StringArray) -> pa.BooleanArray:
    return pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(cells)), value_set=pa.array(_MISSING))


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return the different cells of a column, and which of them each row has: work on text is done once a cell."""
    if is_text(column):
        column = column.cast(_TEXT if pa.types.is_dictionary(column.type) else pa.string())
    encoded = pc.dictionary_encode(column.combine_chunks())
    return encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded


def coded(column: pa.ChunkedArray) -> tuple[CodeArray, list[Any]]:
    """Return a number for each row and the value of each number; -1 is missing."""
    encoded = _encoded(column)
    return _codes(encoded), encoded.dictionary.to_pylist()


def _codes(encoded: pa.DictionaryArray) -> CodeArray:
    return np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False), dtype=np.int32)


def numbers_of(column: pa.ChunkedArray) -> Numbers:
    """Return a column as numbers, as far as it can be."""
    type_ = column.type
    if pa.types.is_boolean(type_):
        column, is_boolean = column.cast(pa.int8()), True
    else:
        is_boolean = False
    if is_boolean or pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        values = column.cast(pa.float64(), safe=False).to_numpy().astype(np.float64, copy=False)
        return Numbers(values=values, has_number=not bool(np.isnan(values).all()), is_boolean=is_boolean)
    if is_text(column):
        return _numbers_of_text(column)
    return Numbers(values=np.full(len(column), math.nan), has_number=False, fault=(0, f"a cell of type {type_}"))


def _numbers_of_text(column: pa.ChunkedArray) -> Numbers:
    # A name is found out to be no number by a few of them.
    if _floats(column.slice(0, _HEAD_ROWS)) is not None and (values := _floats(column)) is not None:
        return Numbers(values=values, has_number=not bool(np.isnan(values).all()))
    encoded = _encoded(column)
    codes = _codes(encoded)
    cells = _with_null(encoded.dictionary, _is_missing(encoded.dictionary)).to_pylist()
    found = [None if cell is None else _number(cell) for cell in cells]
    flags = {cell.lower() for cell in cells if cell is not None}
    if flags <= {"true", "false"}:
        found = [None if cell is None else float(cell.lower() == "true") for cell in cells]
    pairs = list(zip(found, cells, strict=True))
    table = np.array([*(math.nan if value is None else value for value in found), math.nan])
    bad = np.array([*(value is None and cell is not None for value, cell in pairs), False])
    formulas = np.array(
        [*(value is None and cell is not None and _FORMULA.match(cell) is not None for value, cell in pairs), False]
    )
    fault = None
    if bad.any():
        row = int(np.argmax(bad[codes]))
        fault = (row, str(cells[codes[row]]))
    return Numbers(
        values=table[codes],
        has_number=any(value is not None for value in found),
        is_boolean=flags <= {"true", "false"},
        fault=fault,
        formulas=int(formulas[codes].sum()),
    )


def _floats(column: pa.ChunkedArray) -> FloatArray | None:
    """Return text as numbers; ``None`` where a cell is none."""
    column = column.cast(pa.string())
    try:
        values = pc.cast(_with_null(column, missing_of(column)), pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        return None
    return np.asarray(values, dtype=np.float64)


def _with_null(text: pa.Array | pa.ChunkedArray, missing: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return pc.if_else(missing, pa.scalar(None, pa.string()), pc.utf8_trim_whitespace(text))


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def order_of(codes: CodeArray, moments: IntArray) -> npt.NDArray[np.intp] | None:
    """Return the rows by series and time; ``None`` where they stand so already, each once."""
    series_steps = np.diff(codes)
    if ((series_steps > 0) | ((series_steps == 0) & (np.diff(moments) > 0))).all():
        return None
    return np.lexsort((moments, codes))


def times_of(column: pa.ChunkedArray) -> Times:
    """Return a column as times; numbers are none, since nobody says which they count."""
    codes, cells = coded(column)
    found = [_time(cell) for cell in cells]
    bad = np.array([*(value is None for value in found), True])
    table = np.array([*(value or (0, 0) for value in found), (0, 0)], dtype=np.int64)
    times = table[codes]
    fault = None
    if bad[codes].any():
        row = int(np.argmax(bad[codes]))
        fault = (row, "nothing" if codes[row] < 0 else repr(cells[codes[row]])[:60])
    return Times(wall=times[:, 0], moment=times[:, 1], fault=fault)


def _time(cell: Any) -> tuple[int, int] | None:
    if isinstance(cell, str):
        text = cell.strip()
        try:
            cell = datetime.fromisoformat(f"{text}-01" if len(text) == _MONTH_LENGTH else text)
        except ValueError:
            return None
        if len(text) < _MONTH_LENGTH or text.isdecimal() or "-" not in text:
            return None  # 20250102 may be a number
    elif isinstance(cell, date) and not isinstance(cell, datetime):
        cell = datetime(cell.year, cell.month, cell.day)  # noqa: DTZ001  # made UTC below
    if not isinstance(cell, datetime):
        return None
    wall = cell.replace(tzinfo=UTC)
    moment = wall if cell.tzinfo is None else cell
    return int(wall.timestamp()), int(moment.timestamp())
