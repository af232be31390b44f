"""One table to one file a series, as the source `upload` of the ingestor reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gateway.uploads.columns import order_of
from gateway.uploads.guessing import Sheet, require_number
from gateway.uploads.jobs import ColumnMapping, Inspection, SplitSeries, UploadFault, column_name, series_name

#: Of each value and time in the file of a series.
_VALUE_BYTES = 8


def size_of(inspection: Inspection) -> int:
    """Return how many bytes the values and times of all series take on the disk."""
    return inspection.rows * _VALUE_BYTES * (len(inspection.mapping.columns) + 1)


def split(sheet: Sheet, mapping: ColumnMapping, directory: Path, single_name: str) -> list[SplitSeries]:
    """Write a file for each series into ``directory``; return them, in the order of their names.

    Each is three NumPy arrays one after another (format npy, no pickles): names of the columns, times (seconds, int64,
    shape (n,)), values (float64, shape (columns, n)).

    Raises:
        UploadFault: The mapping does not fit the table.
    """
    for name in mapping.columns:
        require_number(sheet, name, "columns")
    codes, names = sheet.codes(mapping.series)
    if (codes < 0).any():
        row = int(np.argmax(codes < 0))
        raise UploadFault("series", f"the name of a series in column {mapping.series}, {sheet.line(row)}", "nothing")
    if len(names) > sheet.limits.series:
        raise UploadFault("series", f"at most {sheet.limits.series} series", str(len(names)))
    ours = _names(names, single_name if mapping.series is None else None)
    times = sheet.times(mapping.time).of(is_daily=mapping.freq[-1] not in "nh")
    values = [sheet.numbers(name).values for name in mapping.columns]
    columns = np.array([column_name(name) for name in mapping.columns])
    sheet.let_go_of_all_but(mapping.columns)
    order = order_of(codes, times)
    bounds = np.searchsorted(codes if order is None else codes[order], np.arange(len(names) + 1))
    directory.mkdir()
    found = []
    for number, code in enumerate(sorted(range(len(names)), key=lambda code: ours[code])):
        place = slice(bounds[code], bounds[code + 1])
        rows = place if order is None else order[place]
        with (directory / f"{number:05}.npy").open("wb") as file:
            for array in (columns, times[rows], np.stack([column[rows] for column in values])):
                np.lib.format.write_array(file, array, allow_pickle=False)
        found.append(SplitSeries(number=number, name=ours[code], rows=int(place.stop - place.start)))
    return found


def _names(names: list[str], single_name: str | None) -> list[str]:
    """Return the names as ids may have them; two that become one are refused."""
    texts = [single_name] if single_name is not None else names
    ours: dict[str, str] = {}
    for text in texts:
        name = series_name(text)
        if not name:
            raise UploadFault("series", "a name of letters or digits for each series", repr(text))
        if name in ours:
            raise UploadFault(
                "series", "names of series that differ in letters and digits", f"{ours[name]!r}, {text!r}"
            )
        ours[name] = text
    return list(ours)
