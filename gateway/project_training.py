"""What is trained on the series of a project where little is said: defaults from its file, its freq and its length."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from gateway import tenancy
from gateway.access import project_of
from gateway.accounts.project_rows import ProjectRow
from gateway.bodies import Body, Horizon, Levels, TrainingBody, invalid
from gateway.problems import FieldFault, Problem, not_found
from gateway.project_documents import work_of
from gateway.service import GatewayService
from gateway.uploads.jobs import column_name, series_name
from schemas.forecasts import DEFAULT_LEVELS, default_model_name
from schemas.identity import content_id
from schemas.record import ModelName, Seed
from schemas.trainings import CovariateKind, GapRule, Hyperparameter, IntervalKind

MAX_TRAININGS = 100
#: Unit of the freq -> steps ahead, and rows of a window.
_BY_UNIT = {"min": (60, 240), "h": (48, 168), "d": (42, 90), "w": (13, 52), "mo": (12, 24), "q": (4, 8), "y": (3, 6)}
_UNIT = re.compile(r"[a-z]+$")
#: A horizon takes at most this part of the rows, and a window that one: the rest is for folds.
_HORIZON_PART, _WINDOW_PART = 8, 6
#: What `auto` compares where one model is for many series.
_CANDIDATES_OF_MANY = ("lightgbm", "linear")
#: How long it may compare. Of many series the first candidate alone takes most of a minute where nothing else runs, and
#: a budget that ends before it leaves a baseline.
_BUDGET_SECONDS, _BUDGET_SECONDS_OF_MANY = 120.0, 600.0
_BAR_TARGET = "close"


class ProjectTrainingBody(Body, frozen=True, kw_only=True):
    """What to train on a project; what is left out follows from its data."""

    #: Column that is forecast; null: that of the file.
    target: str | None = None
    algorithm: str = "auto"
    #: Null: six weeks of days, two days of hours, a year of months, ...; at most an eighth of the rows.
    horizon: Horizon | None = None
    window_size: Annotated[int, Meta(ge=2, le=10_000)] | None = None
    levels: Levels = DEFAULT_LEVELS
    #: Names or ids of the series to learn from; null: all of the project.
    series: Annotated[tuple[str, ...], Meta(min_length=1, max_length=10_000)] | None = None
    #: A model for each series instead of one for all.
    per_series: bool = False
    #: Null: named after the series where there is one, else after the target.
    model: ModelName | None = None
    #: Columns whose values a prediction is given for each step; null: those that the file was loaded with.
    known_future: tuple[str, ...] | None = None
    #: Columns that never change within a series.
    static: tuple[str, ...] = ()
    #: Raw columns that the model sees beside; empty: the target alone.
    columns: tuple[str, ...] = ()
    #: Column -> what is known of it at the steps, beside `known_future` and `static`.
    covariates: dict[str, CovariateKind] = {}
    hyperparameters: dict[str, Hyperparameter] = {}
    #: What `auto` compares; null: what suits one series, or many.
    candidates: tuple[str, ...] | None = None
    #: Seconds that `auto` may compare; null: 120, of several series 600.
    budget_seconds: Annotated[float, Meta(ge=0, le=86_400)] | None = None
    search_trials: Annotated[int, Meta(ge=0, le=10_000)] = 0
    season_length: Annotated[int, Meta(ge=0, le=10_000)] = 0
    gaps: GapRule = "skip"
    fallback: bool = True
    #: Null: `adaptive` of one series, `split` of many: replaying the folds of each of them would take most of the time.
    intervals: IntervalKind | None = None
    seed: Seed = 0


def trainings_of(
    service: GatewayService, project_id: str, row: ProjectRow | None, body: ProjectTrainingBody
) -> list[tuple[str, TrainingBody]]:
    """Return the trainings that a body asks for, each with its id.

    Raises:
        Problem: 409 there is nothing to learn from yet; 404 and 422 what the body names cannot be.
    """
    series_ids = _series(service, project_id, body)
    target = _target(service, row, series_ids[0], body)
    training_id = tenancy.record_id()
    if not body.per_series:
        model = default_model_name(series_ids[0]) if len(series_ids) == 1 else f"{project_id}/{series_name(target)}"
        return [(training_id, _training(service, project_id, row, body, series_ids, target, body.model or model))]
    if len(series_ids) > MAX_TRAININGS or body.model is not None:
        if body.model is not None:
            fault = FieldFault(field="model", expected="nothing where each series has its own", found=body.model)
        else:
            expected = f"at most {MAX_TRAININGS} series, or one model for all of them"
            fault = FieldFault(field="per_series", expected=expected, found=f"{len(series_ids)} series")
        raise invalid(f"{fault.field} must be {fault.expected}, was {fault.found}", [fault])
    return [
        (
            content_id("training", training_id, series_id),
            _training(service, project_id, row, body, [series_id], target, default_model_name(series_id)),
        )
        for series_id in series_ids
    ]


def series_of(service: GatewayService, project_id: str, named: str, field: str) -> str:
    """Return the id of a series that is called by its id, or by its name alone.

    Raises:
        Problem: 404; 422 several are called so, with other freqs.
    """
    if named.startswith(f"{project_id}/") and service.queries.one_series(named) is not None:
        return named
    found = service.project_queries.named(project_id, series_name(named))
    if not found:
        service.require_caught_up()
        raise not_found("series", named[:200], f"GET /api/v1/projects/{project_id} lists them", field=field)
    if len(found) > 1:
        fault = FieldFault(field=field, expected=f"one of the ids {', '.join(found)}", found=named)
        raise invalid(f"{field} must be {fault.expected}, was {named}", [fault])
    return found[0]


def known_columns(service: GatewayService, row: ProjectRow | None, series_id: str) -> list[str]:
    """Return the columns of a series, those that a file had and that were not loaded among them."""
    of_file = () if row is None or row.file is None else map(column_name, row.file.columns)
    return list(dict.fromkeys((*service.queries.columns_of_newest(series_id), *of_file)))


def _series(service: GatewayService, project_id: str, body: ProjectTrainingBody) -> list[str]:
    if body.series is not None:
        named = [series_of(service, project_id, name, f"series[{index}]") for index, name in enumerate(body.series)]
        return list(dict.fromkeys(named))
    load = work_of(service, project_id).load
    if waiting := load["queued"] + load["running"]:
        raise Problem(
            409,
            "project-busy",
            f"{waiting} series are still being loaded; GET /api/v1/projects/{project_id} tells how it goes, "
            "and `series` names those to train without the others",
            headers={"Retry-After": "2"},
        )
    found = service.project_queries.series_ids(project_id)
    if not found:
        advice = "upload a file with POST /api/v1/projects, or fetch a series with POST /api/v1/ingests"
        raise Problem(409, "project-empty", f"a project with series was expected, {project_id} has none; {advice}")
    return found


def _target(service: GatewayService, row: ProjectRow | None, series_id: str, body: ProjectTrainingBody) -> str:
    if body.target is not None:
        return column_name(body.target)
    if row is not None and row.file is not None:
        return column_name(row.file.mapping.target)
    columns = service.queries.columns_of_newest(series_id)
    if _BAR_TARGET in columns:
        return _BAR_TARGET
    if len(columns) == 1:
        return columns[0]
    expected = f"one of the columns {', '.join(columns)}"
    raise invalid(f"target must be {expected}", [FieldFault(field="target", expected=expected, found="nothing")])


def _training(  # noqa: PLR0917  # what a training is made of
    service: GatewayService,
    project_id: str,
    row: ProjectRow | None,
    body: ProjectTrainingBody,
    series_ids: list[str],
    target: str,
    model: str,
) -> TrainingBody:
    if project_of(model) != project_id:
        expected = f"a name that begins with {project_id}/"
        raise invalid(f"model must be {expected}", [FieldFault(field="model", expected=expected, found=model)])
    horizon, window_size = _lengths(service, project_id, series_ids[0])
    is_auto, is_of_many = body.algorithm == "auto", len(series_ids) > 1
    candidates = body.candidates or ()
    if is_auto and body.candidates is None and is_of_many:
        candidates = _CANDIDATES_OF_MANY
    budget = body.budget_seconds
    if budget is None:
        most = _BUDGET_SECONDS_OF_MANY if is_of_many else _BUDGET_SECONDS
        budget = most if is_auto else 0.0
    return TrainingBody(
        series_ids=tuple(series_ids),
        model=model,
        target=target,
        columns=tuple(map(column_name, body.columns)),
        algorithm=body.algorithm,
        horizon=body.horizon or horizon,
        window_size=body.window_size or window_size,
        levels=body.levels,
        hyperparameters=body.hyperparameters,
        covariates=dict(_covariates(row, body, target)),
        season_length=body.season_length,
        gaps=body.gaps,
        candidates=candidates,
        budget_seconds=budget,
        search_trials=body.search_trials,
        fallback=body.fallback,
        intervals=body.intervals or ("split" if is_of_many else "adaptive"),
        seed=body.seed,
    )


def _covariates(row: ProjectRow | None, body: ProjectTrainingBody, target: str) -> Iterator[tuple[str, CovariateKind]]:
    known = body.known_future
    if known is None:
        known = () if row is None or row.file is None else row.file.mapping.known_future
    yield from ((column_name(name), "known-future") for name in known if column_name(name) != target)
    yield from ((column_name(name), "static") for name in body.static)
    yield from ((column_name(name), kind) for name, kind in body.covariates.items())


def _lengths(service: GatewayService, project_id: str, series_id: str) -> tuple[int, int]:
    """Return steps ahead and rows of a window that suit the freq, and the length of the middle series."""
    unit = _UNIT.search(series_id.rpartition("@")[2])
    horizon, window_size = _BY_UNIT[unit.group() if unit is not None else "d"]
    rows = service.project_queries.median_rows(project_id)
    return max(min(horizon, rows // _HORIZON_PART), 1), max(min(window_size, rows // _WINDOW_PART), 2)
