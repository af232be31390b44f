"""Predictions of a project: rows that lie ahead in, the next values of its target out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from flask import Response
from msgspec import Meta

from gateway.accounts.project_rows import ProjectRow
from gateway.answers import json_of
from gateway.batches import MAX_ENTRIES
from gateway.bodies import Body, ForecastBody, Horizon, Levels, read_body
from gateway.guard import principal
from gateway.observed import decoded, utc
from gateway.prediction_rows import Cell, Steps, by_series, fault, future_of, require_ahead
from gateway.problems import Problem, not_found
from gateway.project_training import known_columns, series_of
from gateway.routes.batches import BatchBody, BatchDesk
from gateway.routes.forecasts import ForecastDesk
from gateway.routes.models import champion_of, roles_of
from gateway.service import GatewayService
from gateway.uploads.jobs import column_name
from schemas.forecasts import DEFAULT_LEVELS, ForecastIssued, default_model_name
from schemas.record import ModelName

_DAILY_UNITS = ("d", "w", "o", "q", "y")
#: Among so many of the newest rows the last one with a target, and whether targets are whole numbers, is looked for.
_NEWEST_ROWS = 1000


class PredictionBody(Body, frozen=True, kw_only=True):
    """What is to be predicted: rows that lie ahead in the columns of the project's file."""

    #: Name or id of the series, where the rows do not name theirs; null: the only one of the project.
    series: str | None = None
    #: One for each step: its date, and a value of each column that the model was told is known in the future.
    rows: Annotated[tuple[dict[str, Cell], ...], Meta(max_length=100_000)] = ()
    #: Null: as many as there are rows; without rows, as many as the model can.
    horizon: Horizon | None = None
    levels: Levels = DEFAULT_LEVELS
    #: Null: that of the series, else the one of the project that learnt from it.
    model: ModelName | None = None


class _Release(msgspec.Struct):
    model: str
    version: str
    series_ids: tuple[str, ...]
    target: str
    horizon: int
    recipe: dict[str, Any]

    @property
    def future_columns(self) -> Sequence[str]:
        found: Sequence[str] = self.recipe.get("future_columns") or ()
        return found


_BODY = msgspec.json.Decoder(PredictionBody)
_RELEASE = msgspec.json.Decoder(_Release)
_ISSUED = msgspec.json.Decoder(ForecastIssued)


@dataclass
class _Asked:
    """One series with what is asked about it."""

    series_id: str
    release: _Release
    body: ForecastBody
    is_whole: bool
    #: Times that the answer must have, in order; empty: those of the calendar.
    times: tuple[datetime, ...]
    #: Number of the row of each of them.
    rows: tuple[int, ...]
    ignored: set[str] = field(default_factory=set)


class Predictions:
    """Takes rows of a table to the models of a project."""

    def __init__(self, service: GatewayService) -> None:
        self._service = service
        self._desk = ForecastDesk(service)
        self._batches = BatchDesk(service)

    def answer(self, project_id: str, row: ProjectRow | None) -> Response:
        """Answer ``POST /api/v1/projects/{project_id}/predict``."""
        service = self._service
        service.require_caught_up()
        body = read_body(_BODY)
        mapping = None if row is None or row.file is None else row.file.mapping
        groups = by_series(
            body.rows,
            time_name=None if mapping is None else column_name(mapping.time),
            series_name=None if mapping is None or mapping.series is None else column_name(mapping.series),
            default=body.series,
        )
        if len(groups) > MAX_ENTRIES:
            raise fault("rows", f"rows of at most {MAX_ENTRIES} series", f"those of {len(groups)}")
        releases = _Releases(service, project_id, body.model)
        asked = [
            self._asked(row, body, self._series(project_id, named), steps, releases)
            for named, steps in (groups or {body.series: Steps()}).items()
        ]
        if len(asked) == 1:
            with service.door.admits(1, principal().organisation_id):
                return self._one(asked[0])
        return self._many(asked)

    def _series(self, project_id: str, named: str | None) -> str:
        if named is not None:
            return series_of(self._service, project_id, named, "series")
        found = self._service.project_queries.series(project_id, after=None, limit=2)
        if len(found) == 1:
            return str(found[0]["series_id"])
        if not found:
            raise not_found("series", project_id, "the project has no series yet", field="project_id")
        raise fault("series", f"the name of a series of {project_id}, which has several", None)

    def _asked(  # what a question is made of
        self,
        row: ProjectRow | None,
        body: PredictionBody,
        series_id: str,
        steps: Steps,
        releases: _Releases,
    ) -> _Asked:
        release = releases.of(series_id)
        cutoff, is_whole = self._newest(series_id, release.target)
        require_ahead(steps, cutoff, is_daily=series_id[-1] in _DAILY_UNITS)
        known = known_columns(self._service, row, series_id)
        future, ignored = future_of(steps, release.future_columns, known, release.target)
        count = len(steps.steps)
        if count and body.horizon is not None and body.horizon > count:
            raise fault("horizon", f"at most {count}, the rows of {series_id}", body.horizon)
        horizon = body.horizon or count or release.horizon
        if horizon > release.horizon:
            raise fault(
                "rows" if count else "horizon",
                f"at most {release.horizon} steps, as many as {release.model} forecasts, for {series_id}",
                horizon,
                "horizon-too-long",
            )
        asked = ForecastBody(
            series_id=series_id, future=future, horizon=horizon, levels=body.levels, model=release.model
        )
        rows = tuple(step.row for step in steps.steps[:horizon])
        return _Asked(series_id, release, asked, is_whole, steps.times[:horizon], rows, ignored)

    def _newest(self, series_id: str, target: str) -> tuple[datetime, bool]:
        """Return the time of the last known target, and whether the newest targets are whole numbers."""
        rows = self._service.queries.observations(
            series_id, after=None, before=None, limit=_NEWEST_ROWS, is_newest_first=True
        )
        found = [(row["time"], value) for row in rows if (value := decoded(row["columns"]).get(target)) is not None]
        if not found:
            raise Problem(
                422, "no-observations", f"a value of {target} among the newest rows of {series_id} was expected"
            )
        time = utc(found[0][0])
        assert time is not None
        return time, all(value.is_integer() for _, value in found)

    def _one(self, asked: _Asked) -> Response:
        answer = self._desk.ask(asked.body)
        if answer.status_code != HTTPStatus.OK:
            return answer
        return json_of(_predicted(asked, answer.data))

    def _many(self, asked: Sequence[_Asked]) -> Response:
        bodies = tuple(msgspec.to_builtins(one.body) for one in asked)
        answer = self._batches.ask(BatchBody(forecasts=bodies))
        if answer.status_code != HTTPStatus.OK:
            return answer
        told = msgspec.json.decode(answer.data)
        predictions = []
        for line in told["answers"]:
            one = asked[line["index"]]
            if "forecast" in line:
                predictions.append(_predicted(one, msgspec.json.encode(line["forecast"])))
            else:
                predictions.append({**_named(one), "problem": line["problem"]})
        return json_of({"predictions": predictions})


class _Releases:
    """The champions of a project, as far as they are asked for."""

    def __init__(self, service: GatewayService, project_id: str, model: str | None) -> None:
        self._project_id = project_id
        self._model = model
        champions = {
            name: champion_of(roles)
            for name, roles in roles_of(service.project_queries.deployments(project_id)).items()
        }
        self._found = [
            _RELEASE.decode(row["release"])
            for row in service.project_queries.releases(project_id)
            if champions.get(row["model"]) == row["version"] and model in (None, row["model"])
        ]

    def of(self, series_id: str) -> _Release:
        """Return the champion that answers for a series.

        It is the one named after the series, or the newest that learnt from it, or from others of the same freq.

        Raises:
            Problem: 404, or 409 where nothing is trained yet.
        """
        if self._model is not None:
            if not self._found:
                raise not_found("model", self._model, f"GET /api/v1/projects/{self._project_id} lists them")
            return self._found[0]
        own = [one for one in self._found if one.model == default_model_name(series_id)]
        taught = [one for one in self._found if series_id in one.series_ids]
        freq = series_id.rpartition("@")[2]
        alike = [one for one in self._found if len(one.series_ids) > 1 and one.series_ids[0].rpartition("@")[2] == freq]
        for group in (own, taught, alike):
            if group:
                return group[-1]
        raise Problem(
            409,
            "not-trained",
            f"a trained model for {series_id} was expected, there is none yet; "
            f"POST /api/v1/projects/{self._project_id}/train makes one",
        )


def _named(asked: _Asked) -> dict[str, Any]:
    name = asked.series_id.partition("/")[2].rpartition("@")[0]
    return {"series": name, "series_id": asked.series_id, "model": asked.release.model, "target": asked.release.target}


def _predicted(asked: _Asked, content: bytes) -> dict[str, Any]:
    issued = _ISSUED.decode(content)
    times = [step.time for step in issued.steps]
    for row, wanted, found in zip(asked.rows, asked.times, times, strict=False):
        if found is not None and wanted != found:
            shown = found.isoformat().replace("+00:00", "Z")
            raise fault(
                f"rows[{row}]", f"the next step of the calendar of {asked.series_id}, {shown}", wanted.isoformat()
            )
    values = [_whole(step.median) if asked.is_whole else step.median for step in issued.steps]
    return {
        **_named(asked),
        "version": issued.model.version,
        "cutoff": issued.cutoff,
        "previsao_de_vendas": values[0],
        "values": values,
        "is_rounded": asked.is_whole,
        "ignored_columns": sorted(asked.ignored),
        "forecast": msgspec.Raw(content),
    }


def _whole(value: float) -> int:
    """Return the nearest whole number; halves go up."""
    return math.floor(value + 0.5)
