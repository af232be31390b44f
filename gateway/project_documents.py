"""What the API says of a project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from gateway.access import PUBLIC_PROJECTS
from gateway.accounts.project_rows import ProjectRow, Quotas
from gateway.guard import principal
from gateway.history_lists import moment
from gateway.observed import utc
from gateway.routes.ingests import document as ingest_document
from gateway.routes.models import champion_of, roles_of
from gateway.routes.trainings import document as training_document
from gateway.service import GatewayService
from schemas.schedules import SeriesScheduled
from schemas.trainings import FINAL_TRAINING_STATES

_SHOWN_FAULTS = 20
_SHOWN_TRAININGS = 10
_MONTH_DAYS = 30
_SCHEDULE = msgspec.json.Decoder(SeriesScheduled)
#: Of a release; the ids of a thousand series, and the metrics of each step of each version, would hide the rest.
_OF_RELEASE = (
    "version",
    "training_id",
    "algorithm",
    "target",
    "columns",
    "window_size",
    "horizon",
    "levels",
    "skill",
    "folds",
    "fallback_from",
    "fallback_reason",
)


class Work(NamedTuple):
    """What goes on in a project."""

    load: dict[str, Any]
    trainings: list[dict[str, Any]]

    @property
    def is_busy(self) -> bool:
        """Whether data are being loaded or a model is being trained."""
        is_training = any(training["state"] not in FINAL_TRAINING_STATES for training in self.trainings)
        return is_training or bool(self.load["queued"] + self.load["running"])


def work_of(service: GatewayService, project_id: str) -> Work:
    """Return how the newest ingest of each series went, and the newest trainings."""
    states = {"queued": 0, "running": 0, "succeeded": 0, "failed": 0}
    faults = []
    for row in service.project_queries.newest_ingests(project_id):
        ingest = ingest_document(service, row)
        states[ingest["state"]] += 1
        if ingest["state"] == "failed":
            faults.append({"series_id": row["series_id"], "reason": ingest["reason"]})
    trainings = service.project_queries.trainings(project_id, _SHOWN_TRAININGS)
    return Work(
        {**states, "faults": faults[:_SHOWN_FAULTS]},
        [training_document(service, training) | {"metrics": {}, "losses": {}} for training in trainings],
    )


def line(project_id: str, row: ProjectRow | None) -> dict[str, Any]:
    """Return what a list says of a project; ``None`` where it is public or was never registered."""
    return {
        "project_id": project_id,
        "name": project_id if row is None else row.name,
        "description": "" if row is None else row.description,
        "organisation_id": None if row is None else row.organisation_id,
        "is_public": project_id in PUBLIC_PROJECTS,
        "created_at": None if row is None else utc(row.created_us // 1_000_000),
        "quotas": Quotas() if row is None else row.quotas,
        "file": None if row is None else row.file,
    }


def details(service: GatewayService, project_id: str, row: ProjectRow | None, page: dict[str, Any]) -> dict[str, Any]:
    """Return all that is said of one project.

    Args:
        service: The gateway.
        project_id: Which one.
        row: Its registration.
        page: Series of it, and where the next ones are.
    """
    summary = service.project_queries.summary(project_id)
    work = work_of(service, project_id)
    releases = [
        (row["model"], row["version"], msgspec.json.decode(row["release"]))
        for row in service.project_queries.releases(project_id)
    ]
    newest = releases[-1][2] if releases else {}
    comparisons = _comparisons(service, releases)
    return {
        **line(project_id, row),
        "state": _state(summary["count"], work),
        "series_count": summary["count"],
        "rows": int(summary["rows"]),
        "first_time": utc(summary["first_time"]),
        "last_time": utc(summary["last_time"]),
        **page,
        "load": work.load,
        "trainings": work.trainings,
        "models": _models(service, project_id, releases),
        "metrics": newest.get("metrics", {}),
        "leaderboard": comparisons[0]["leaderboard"] if comparisons else [],
        "comparisons": comparisons,
        "schedules": _schedules(service, project_id),
        "usage": _usage(service, project_id),
    }


def _usage(service: GatewayService, project_id: str) -> dict[str, Any]:
    """Return what was used; of a public project by the organisation of the caller alone."""
    asking = principal()
    is_told_all = asking.is_operator or project_id not in PUBLIC_PROJECTS
    by = None if is_told_all else asking.organisation_id
    return {
        name: service.project_rows.used(project_id, days=days, organisation_id=by)
        for name, days in (("today", 1), ("last_30_days", _MONTH_DAYS))
    }


def _models(
    service: GatewayService, project_id: str, releases: Sequence[tuple[str, str, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Return every model of a project with its versions, the newest first."""
    roles = roles_of(service.project_queries.deployments(project_id))
    found: dict[str, dict[str, Any]] = {}
    for model, name, release in releases:
        of_model = roles.get(model, {})
        entry = found.setdefault(model, {"model": model, "champion": champion_of(of_model), "versions": []})
        version = {field: release.get(field) for field in _OF_RELEASE}
        more = {"role": of_model.get(name), "series_count": len(release["series_ids"])}
        entry["versions"].insert(0, version | more)
    return list(found.values())


def _comparisons(service: GatewayService, releases: Sequence[tuple[str, str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the newest comparison of each model that has one, the newest first: that which was asked for last.

    What was compared stands in the release of the winner; one that was named later has compared nothing, and leaves it.
    """
    compared = [release for _, _, release in reversed(releases) if release.get("leaderboard")]
    requested = service.project_queries.requested({release["training_id"] for release in compared})
    found: dict[str, dict[str, Any]] = {}
    for release in sorted(compared, key=lambda one: requested.get(one["training_id"], 0), reverse=True):
        requested_at = moment(requested.get(release["training_id"]))
        line = {name: release[name] for name in ("model", "version", "training_id", "leaderboard")}
        found.setdefault(release["model"], {**line, "requested_at": requested_at})
    return list(found.values())


def _state(series_count: int, work: Work) -> str:
    if any(training["state"] not in FINAL_TRAINING_STATES for training in work.trainings):
        return "training"
    if work.load["queued"] + work.load["running"]:
        return "loading"
    return "ready" if series_count else "empty"


def active_schedules(service: GatewayService, project_id: str) -> list[str]:
    """Return the series that are fetched by themselves."""
    return [schedule["series_id"] for schedule in _schedules(service, project_id) if not schedule["is_paused"]]


def _schedules(service: GatewayService, project_id: str) -> list[dict[str, Any]]:
    schedules = [_SCHEDULE.decode(row["schedule"]) for row in service.project_queries.schedules(project_id)]
    return [
        {
            "series_id": schedule.series_id,
            "sources": schedule.sources,
            "cron": schedule.cron,
            "after_close_minutes": schedule.after_close_minutes,
            "is_paused": schedule.is_paused,
        }
        for schedule in schedules
    ]
