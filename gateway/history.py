"""What the history says of a forecast request: the request and its answer as one row, and what is counted of it. Pure.

The two stand in different topics, so either may be read first. A row is the same whichever was: each part is taken
once, by a rule that does not ask for the order of reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.access import PUBLIC_PROJECTS, project_of
from schemas.forecasts import default_model_name

Row = dict[str, Any]
Usage = dict[tuple[Any, ...], list[int]]
PENDING, ISSUED, REFUSED = "pending", "issued", "refused"
STATUSES = (PENDING, ISSUED, REFUSED)
#: What a row of usage is named by, and what it counts.
USAGE_KEYS = ("day", "project", "organisation_id", "model", "requester")
USAGE_COUNTS = ("forecasts", ISSUED, REFUSED)
_DAY_MS = 86_400_000
_MAX_WORD = 100
_UNASKED: Row = {
    "requester": "",
    "organisation_id": "",
    "batch_id": None,
    "wish": None,
    "is_pinned": None,
    "log_partition": None,
    "log_offset": None,
}
_UNANSWERED: Row = {"status": PENDING, "code": None, "forecast_id": None, "cutoff": None, "answered_ms": None}


@dataclass
class Joined:
    """What a transaction writes of the history."""

    #: Rows of `forecast_requests` that are new or not as they were.
    changed: list[Row]
    #: Key -> what is to be added to its counts.
    usage: Usage


def word(text: str, most: int = _MAX_WORD) -> str:
    r"""Return free text as a column takes it: PostgreSQL knows no NUL and takes nothing longer.

    >>> word("drift\x00")
    'drift\ufffd'
    """
    return text[:most].replace("\x00", "\ufffd")


def organisation_of(requester: str) -> str:
    """Return the organisation for which somebody asked; empty: none.

    >>> organisation_of("org-1/key/key-7")
    'org-1'
    """
    return requester.partition("/")[0]


def subject(series_id: str | None, model: str | None) -> tuple[str, str]:
    """Return the project and the model of a forecast: what was asked for, or what the series stands for."""
    name = (model or "").partition(":")[0] or (default_model_name(series_id) if series_id else "")
    return project_of(series_id or name), name


def join(known: Mapping[str, Row], requests: Iterable[Row], answers: Iterable[Row]) -> Joined:
    """Return what ``requests`` and ``answers`` make of the rows of their ids that the store has.

    Args:
        known: Request id -> its row in the store; those that are missing are new.
        requests: Rows of requests, see `gateway.rows`.
        answers: Rows of the answers that count, one or several times the same of a request.
    """
    rows: dict[str, Row] = {}
    for request in requests:
        key = request["request_id"]
        rows[key] = _with_request(rows.get(key) or known.get(key), request)
    for answer in answers:
        key = answer["request_id"]
        rows[key] = _with_answer(rows.get(key) or known.get(key), answer)
    usage: Usage = {}
    changed = []
    for key, row in rows.items():
        before = known.get(key)
        row["tenant"] = _tenant(row)
        if before != row:
            changed.append(row)
            _count(usage, before, -1)
            _count(usage, row, 1)
    return Joined(changed, {name: counts for name, counts in usage.items() if any(counts)})


def _with_request(row: Row | None, request: Row) -> Row:
    if row is None:
        return {**_UNANSWERED, **request}
    if row["wish"] is None:
        return {**row, **request, **(_answered_by(row) if row["status"] == ISSUED else {})}
    time_ms = min(row["time_ms"], request["time_ms"])
    # The first pinned record of a request is the one that counts.
    if _rank(request) < _rank(row):
        row = {**row, **request, **(_answered_by(row) if row["status"] == ISSUED else {})}
    return {**row, "time_ms": time_ms}


def _rank(row: Row) -> tuple[bool, int, int]:
    return not row["is_pinned"], row["log_partition"], row["log_offset"]


def _answered_by(row: Row) -> Row:
    return {"model": row["model"], "version": row["version"]}


def _with_answer(row: Row | None, answer: Row) -> Row:
    answered = {name: answer[name] for name in _UNANSWERED}
    if row is None:
        asked = {name: answer[name] for name in ("request_id", "series_id", "project", "horizon", "cause")}
        time_ms = answer["answered_ms"]
        return {**_UNASKED, **asked, **_answered_by(answer), **answered, "time_ms": time_ms}
    if row["status"] != PENDING:
        # A repeat; the first time counts.
        first_ms = min(row["answered_ms"], answer["answered_ms"])
        return {**row, "answered_ms": first_ms, **({"time_ms": first_ms} if row["wish"] is None else {})}
    return {**row, **answered, **(_answered_by(answer) if answer["status"] == ISSUED else {})}


def _tenant(row: Row) -> str:
    project: str = row["project"]
    return f"{project}/{row['organisation_id']}" if project in PUBLIC_PROJECTS else project


def _count(usage: Usage, row: Row | None, sign: int) -> None:
    if row is None:
        return
    key = (row["time_ms"] // _DAY_MS, *(row[name] for name in USAGE_KEYS[1:]))
    counts = usage.setdefault(key, [0] * len(USAGE_COUNTS))
    counts[0] += sign
    if row["status"] != PENDING:
        counts[USAGE_COUNTS.index(row["status"])] += sign
