"""What the gateway can know of a training before the trainer sees it: faults that no later observation will mend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.bodies import TrainingBody, faulty
from gateway.problems import FieldFault
from gateway.service import GatewayService
from schemas.topics import OBSERVATIONS

_LEAST_WINDOW = 2


def require_trainable(service: GatewayService, body: TrainingBody, series_ids: Sequence[str]) -> None:
    """Refuse a training that cannot succeed, each fault with its field.

    Args:
        service: Knows the series.
        body: What is asked for.
        series_ids: Known ones.

    Raises:
        Problem: 422 ``invalid-body``.
    """
    faults = [
        *_faults_within(body),
        *_faults_between(service, series_ids),
        *_missing_columns(service, body, series_ids),
    ]
    if faults:
        raise faulty(faults)


def _faults_within(body: TrainingBody) -> Iterator[FieldFault]:
    if body.columns and body.target not in body.columns:
        expected = f"such that the target {body.target} is among them"
        yield FieldFault(field="columns", expected=expected, found=", ".join(body.columns))
    if len(set(body.columns)) != len(body.columns):
        yield FieldFault(field="columns", expected="without repeats", found=", ".join(body.columns))
    if body.window_size < _LEAST_WINDOW:
        expected = f"at least {_LEAST_WINDOW}: a window must show one change"
        yield FieldFault(field="window_size", expected=expected, found=str(body.window_size))


def _faults_between(service: GatewayService, series_ids: Sequence[str]) -> Iterator[FieldFault]:
    """Yield what keeps series from being learnt from together."""
    known = [service.queries.one_series(series_id) for series_id in series_ids]
    for index, (series_id, row) in enumerate(zip(series_ids, known, strict=True)):
        freq, first = series_id.rpartition("@")[2], series_ids[0].rpartition("@")[2]
        if freq != first:
            yield FieldFault(field=f"series_ids[{index}]", expected=f"a series of freq {first}", found=series_id)
        elif row is not None and known[0] is not None and row["calendar"] != known[0]["calendar"]:
            expected = f"a series of the calendar {known[0]['calendar']}"
            yield FieldFault(field=f"series_ids[{index}]", expected=expected, found=f"{series_id} of {row['calendar']}")


def _missing_columns(service: GatewayService, body: TrainingBody, series_ids: Sequence[str]) -> Iterator[FieldFault]:
    """Yield the named columns that no row of a series has, where the store has all that has been read of it."""
    fields = {name: f"covariates.{name}" for name in body.covariates}
    fields |= {name: f"columns[{index}]" for index, name in enumerate(body.columns)}
    fields |= {body.target: "target"}
    for series_id in series_ids:
        place = service.observation_place(series_id)
        if not service.projection.has_written({place: service.projection.seen(OBSERVATIONS, place.partition)}):
            continue
        for name, field in fields.items():
            if not service.queries.has_column(series_id, name):
                known = ", ".join(service.queries.columns_of_newest(series_id)) or "none"
                yield FieldFault(field=field, expected=f"a column of {series_id}, which has {known}", found=name)
