"""The tables in docs/ that are made from the code: ``python -m foretopic.doc_tables``.

Writes each table between its two markers; a test fails when a page and the code differ. The settings have a command of
their own, `foretopic.settings_table`.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import msgspec

from forecasting.features import FEATURE_KINDS, FEATURES
from forecasting.features_kind import Kind
from forecasting.indicators import INDICATORS
from forecasting.models.registry import ALGORITHMS, AUTO, ENSEMBLE, declared_hyperparameters
from forecasting.step_features import STEP_FEATURES
from foretopic import api_page
from foretopic.cli_features import SHORT_NAMES, settings_of, step_settings_of
from gateway.openapi.operations import OPERATIONS
from gateway.openapi.problem_kinds import PROBLEMS, REFUSALS
from schemas.codec import record_type_name
from schemas.topics import COPARTITIONED, MEBIBYTE, TOPICS, Topic

DOCS = Path(__file__).parents[1] / "docs"
_BEGIN = "<!-- {name}: made by python -m foretopic.doc_tables -->\n"
_END = "<!-- end of {name} -->\n"
#: Problems that belong to no operation of the document: paths that it lacks, and signing in with OpenID.
_ELSEWHERE = {"no-such-path": 404, "method-not-allowed": 405, "provider-failed": 502, "sign-in-refused": 403}
#: What the predictor may say beside `REFUSALS`; a test holds both against its source.
_TOLD_BY_BOTH = frozenset({"no-champion", "request-too-large", "unknown-model", "unknown-series"})


def topics() -> str:
    """Return the table of topics, and what each carries."""
    table = _table(
        ("topic", "key", "partitions", "kept", "largest message", "written by", "read by"),
        (
            (
                f"[`{topic.name}`](#{topic.name})",
                topic.key_description,
                str(topic.partitions),
                _retention(topic.retention),
                f"{topic.max_message_bytes // MEBIBYTE} MiB",
                ", ".join(topic.producers),
                ", ".join(topic.consumers),
            )
            for topic in TOPICS
        ),
    )
    together = ", ".join(f"`{topic.name}`" for topic in COPARTITIONED)
    return f"{table}\nWith the same number of partitions: {together}.\n\n" + "\n".join(map(_topic, TOPICS))


def _topic(topic: Topic) -> str:
    records = _table(
        ("record", "`ce_type`", "says"),
        (
            (record.__name__, f"`{record_type_name(record, version)}`", _first_paragraph(record))
            for record, version in topic.records.items()
        ),
    )
    return f"### {topic.name}\n\n{topic.description}\n\n{records}"


def _first_paragraph(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def _retention(retention: timedelta | None) -> str:
    return "for ever" if retention is None else f"{retention.days} days"


def problems() -> str:
    """Return the table of all kinds of problem, with the statuses that they come with."""
    statuses: defaultdict[str, set[int]] = defaultdict(set, {kind: {status} for kind, status in _ELSEWHERE.items()})
    for operation in OPERATIONS:
        for status, kinds in operation.every_problem().items():
            for kind in kinds:
                statuses[kind].add(status)
    return _table(
        ("code", "status", "also in `forecasts`", "meaning"),
        (
            (
                f"`{kind}`",
                ", ".join(map(str, sorted(statuses[kind]))),
                "yes" if kind in _TOLD_BY_BOTH.union(REFUSALS) else "",
                meaning,
            )
            for kind, meaning in sorted(PROBLEMS.items())
        ),
    )


def hyperparameters() -> str:
    """Return a table of hyperparameters for each algorithm that has some."""
    found = []
    for name in (*ALGORITHMS, ENSEMBLE, AUTO):
        declared = declared_hyperparameters(name)
        rows = ((f"`{one.name}`", f"`{one.default}`", one.expected, one.description) for one in declared)
        if declared:
            found.append(f"## {name}\n\n" + _table(("name", "default", "may be", "meaning"), rows))
        else:
            found.append(f"## {name}\n\nNone.\n")
    return "\n".join(found)


def features() -> str:
    """Return the table of the features of the rows that are no indicators."""
    return _features(FEATURES)


def indicators() -> str:
    """Return the table of the technical indicators."""
    return _features(INDICATORS)


def _features(names: Iterable[str]) -> str:
    return _table(
        ("name", "columns", "settings", "is"),
        (
            (
                _with_short(name),
                "" if FEATURE_KINDS[name].is_of_time else ", ".join(FEATURE_KINDS[name].columns),
                "; ".join(_setting(FEATURE_KINDS[name], setting) for setting in settings_of(name, FEATURE_KINDS[name])),
                FEATURE_KINDS[name].says,
            )
            for name in names
        ),
    )


def _with_short(name: str) -> str:
    short = [f"`{short}`" for short, names in SHORT_NAMES.items() if name in names]
    return ", ".join((f"`{name}`", *short))


def _setting(kind: Kind, name: str) -> str:
    if name == "window_size":
        return f"`window_size`, at least {kind.least}"
    (found,) = (parameter for parameter in kind.parameters if parameter.name == name)
    default = f" ({msgspec.json.encode(found.default).decode()})" if found.default != "" else ""
    return f"`{name}`{default}: {found.says}"


def step_features() -> str:
    """Return the table of the features of the steps."""
    rows = (
        (
            f"`{name}`",
            "columns" if "columns" in kind.takes else "",
            ", ".join(f"`{setting}`" for setting in step_settings_of(name)),
            kind.says,
        )
        for name, kind in STEP_FEATURES.items()
    )
    return _table(("name", "columns", "settings", "is"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


#: Page -> name of a table -> what makes it.
TABLES: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "api.md": {"operations": api_page.operations},
    "topics.md": {"topics": topics},
    "forecasts.md": {"problems": problems},
    "hyperparameters.md": {"hyperparameters": hyperparameters},
    "features.md": {"features": features, "indicators": indicators, "step features": step_features},
}


def with_tables(page: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """Return a page with its tables as they are now.

    Raises:
        ValueError: The page lacks a marker, or has it twice.
    """
    for name, make in tables.items():
        begin, end = _BEGIN.format(name=name), _END.format(name=name)
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"the page must have the lines {begin.strip()!r} and {end.strip()!r}, once each")
        before, rest = page.split(begin)
        _, after = rest.split(end)
        page = f"{before}{begin}\n{make()}\n{end}{after}"
    return page


def main() -> int:
    """Bring the pages up to date."""
    for name, tables in TABLES.items():
        page = DOCS / name
        page.write_text(with_tables(page.read_text(encoding="utf-8"), tables), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
