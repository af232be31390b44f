"""New observation batches over what the store has: the latest rows, and those that they replace. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gateway.history import Row

#: A row of `observations`: series, time, columns, offset and time of receipt of its batch, in the order of the table.
Observed = tuple[str, int, str, int, int]


@dataclass
class Folded:
    """What a transaction writes of observations."""

    #: The last of each time.
    latest: list[Observed] = field(default_factory=list)
    #: Rows of `observation_versions`.
    replaced: list[Row] = field(default_factory=list)
    #: Rows of `series` besides what a batch says.
    lines: list[Row] = field(default_factory=list)


def fold(
    batches: Iterable[Row], *, lines: Mapping[str, Row], known: Callable[[str, int, int], Iterable[Observed]]
) -> Folded:
    """Return what ``batches`` change.

    Args:
        batches: Batches that the store does not have; in the order of the log within a series.
        lines: The rows of `series` that the store has of theirs.
        known: Returns the rows of `observations` that the store has of a series between two times, both inclusive.
    """
    by_series: dict[str, list[Row]] = {}
    for batch in batches:
        by_series.setdefault(batch["series_id"], []).append(batch)
    folded = Folded()
    for series_id, of_series in by_series.items():
        _fold_series(folded, of_series, lines.get(series_id), known)
    return folded


def _fold_series(
    folded: Folded, batches: list[Row], line: Row | None, known: Callable[[str, int, int], Iterable[Observed]]
) -> None:
    series_id = batches[0]["series_id"]
    by_time: list[dict[int, Observed]] = [{row[1]: row for row in batch["rows"]} for batch in batches]
    times = set().union(*by_time)
    first, last = min(times), max(times)
    latest: dict[int, Observed] = {}
    # Most batches only add rows behind the last one: then there is nothing to look up.
    if line is not None and first <= line["last_time"]:
        latest = {row[1]: row for row in known(series_id, first, last) if row[1] in times}
    count = len(times) - len(latest)
    for batch, rows in zip(batches, by_time, strict=True):
        for time in sorted(latest.keys() & rows.keys()):
            _, _, columns, offset, received_us = latest[time]
            folded.replaced.append(
                {
                    "series_id": series_id,
                    "time": time,
                    "log_offset": offset,
                    "columns": columns,
                    "received_us": received_us,
                    "replaced_by": batch["log_offset"],
                }
            )
        latest |= rows
    folded.latest += latest.values()
    if line is not None:
        count, first, last = count + line["rows"], min(first, line["first_time"]), max(last, line["last_time"])
    folded.lines.append({**batches[-1], "rows": count, "first_time": first, "last_time": last})
