"""Doors for clients of the systems that Foretopic replaces: old paths and shapes over the same forecasts.

Each answer says that the door is deprecated (RFC 9745) and where its successor is; docs/compatibility.md lists them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from flask import Blueprint, Response, request
from msgspec import Meta

from gateway import parameters, tenancy
from gateway.access import Permission, project_of
from gateway.answers import json_of
from gateway.bodies import Body, ForecastBody, read_body
from gateway.deprecation import Deprecation
from gateway.guard import needs, principal
from gateway.observed import decoded, utc
from gateway.problems import Problem, not_found
from gateway.routes.forecasts import ForecastDesk
from gateway.routes.models import champion_of, models, roles_of
from gateway.service import GatewayService
from schemas.forecasts import ForecastIssued, default_model_name
from schemas.models import ModelReleased

ROWS = 60
#: In the order in which a row of `last_60_days` has them.
COLUMNS = ("open", "high", "low", "close", "volume", "adj_close")
#: When the successors of all of them stood. No day of removal is set.
_DEPRECATION = Deprecation(since=datetime(2026, 11, 21, tzinfo=UTC), guide="/docs")
_SUCCESSORS = {
    "/predict": "/api/v1/forecasts",
    "/symbol/<symbol>": "/api/v1/forecasts",
    "/models": "/api/v1/models",
    "/reload": "/api/v1/models",
}
_SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.^=_-]{0,29}")
#: Where a symbol is looked for: daily prices before hourly ones.
_SERIES = ("market/{symbol}@1d", "market/{symbol}-USD@1d", "market/{symbol}@1h", "market/{symbol}-USD@1h")
_MOCK_SYMBOL = "HET"

_Row = Annotated[tuple[float, ...], Meta(min_length=len(COLUMNS), max_length=len(COLUMNS))]


class LastDaysBody(Body, frozen=True, kw_only=True):
    """The newest 60 rows of a price, the oldest first."""

    #: Each row open, high, low, close, volume, adjusted close, as they were traded.
    last_60_days: Annotated[tuple[_Row, ...], Meta(min_length=ROWS, max_length=ROWS)]


_BODY = msgspec.json.Decoder(LastDaysBody)
_ISSUED = msgspec.json.Decoder(ForecastIssued)
_RELEASE = msgspec.json.Decoder(ModelReleased)


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes that old clients know."""
    routes = Blueprint("compatible", __name__)
    desk = ForecastDesk(service)

    @routes.after_request
    def mark(response: Response) -> Response:
        successor = _SUCCESSORS[request.url_rule.rule] if request.url_rule is not None else "/api/v1"
        return _DEPRECATION.mark(response, successor)

    @routes.post("/predict")
    @needs(Permission.FORECAST)
    def predict() -> Response:
        parameters.require_known(())
        return _predict(service, desk)

    @routes.get("/symbol/<symbol>")
    @needs(Permission.FORECAST)
    def symbol(symbol: str) -> Response:
        parameters.require_known(())
        return _symbol(service, desk, symbol)

    @routes.get("/models")
    @needs(Permission.READ)
    def loaded() -> Response:
        parameters.require_known(())
        return json_of({"models": _loaded(service)})

    @routes.route("/reload", methods=["GET", "POST"])
    @needs(Permission.READ)
    def reload() -> Response:
        parameters.require_known(())
        detail = "versions are followed from the log as they are released and deployed; there is nothing to reload"
        return json_of({"status": "up-to-date", "detail": detail, "models": _loaded(service)})

    return routes


def _predict(service: GatewayService, desk: ForecastDesk) -> Response:
    service.require_caught_up()
    body = read_body(_BODY)
    name = service.settings.last_60_days_model
    options = " ".join(f"--column {column}" for column in COLUMNS)
    advice = f"`foretopic train market/AAPL@1d --model {name} --window-size {ROWS} --horizon 1 {options}` trains it"
    missing = not_found("model", name, advice)
    # First: whether it stands, and what it reads, is for those who may ask it.
    tenancy.require(service, Permission.FORECAST, project_of(name), missing)
    release = _champion(service, name)
    if release is None:
        raise missing
    if release.window_size != ROWS or not set(release.columns) <= set(COLUMNS):
        raise Problem(
            409,
            "model-mismatch",
            f"a model of {ROWS} rows of {', '.join(COLUMNS)} was expected, {name} reads {release.window_size} rows of "
            f"{', '.join(release.columns)}; train it again, or name another in FORETOPIC_GATEWAY_LAST_60_DAYS_MODEL",
        )
    places = [COLUMNS.index(column) for column in release.columns]
    window = tuple(tuple(row[place] for place in places) for row in body.last_60_days)
    with service.door.admits(1, principal().organisation_id):
        answer = desk.ask(ForecastBody(window=window, model=name, horizon=1))
    if answer.status_code != HTTPStatus.OK:
        return answer
    return json_of({"prediction": _ISSUED.decode(answer.data).steps[0].median})


def _symbol(service: GatewayService, desk: ForecastDesk, given: str) -> Response:
    service.require_caught_up()
    symbol = given.upper()
    row = _series(service, symbol)
    if row is None:
        how = f"foretopic ingest yahoo {symbol} --series market/{symbol}@1d"
        if symbol == _MOCK_SYMBOL:
            how = "foretopic ingest mock HET --series market/HET@1d --calendar 24/7"
        raise not_found("symbol", given[:100], f"`{how}` adds it, `cryptocompare` instead of `yahoo` for a coin")
    series_id = row["series_id"]
    model = default_model_name(series_id)
    if _champion(service, model) is None:
        raise not_found("model", model, f"`foretopic train {series_id}` trains it")
    price, time = _price(service, series_id)
    with service.door.admits(1, principal().organisation_id):
        answer = desk.ask(ForecastBody(series_id=series_id, horizon=1, model=model))
    if answer.status_code != HTTPStatus.OK:
        return answer
    issued = _ISSUED.decode(answer.data)
    step = issued.steps[0]
    return json_of(
        {
            "symbol": symbol,
            "series_id": series_id,
            "price": price,
            "time": time,
            "prediction": step.median,
            "direction": _direction(step.direction_probability, step.median, price),
            "probability_up": step.direction_probability,
            "model": issued.model.name,
            "version": issued.model.version,
            "is_simulated": row["source"] == "mock",
            "forecast_id": issued.forecast_id,
        }
    )


def _series(service: GatewayService, symbol: str) -> Any:
    if not _SYMBOL.fullmatch(symbol):
        return None
    for pattern in _SERIES:
        series_id = pattern.format(symbol=symbol)
        if tenancy.may_read(service, series_id) and (row := service.queries.one_series(series_id)) is not None:
            return row
    return None


def _price(service: GatewayService, series_id: str) -> tuple[float, Any]:
    """Return the last close and the start of its interval."""
    rows = service.queries.observations(series_id, after=None, before=None, limit=100, is_newest_first=True)
    for row in rows:
        close = decoded(row["columns"]).get("close")
        if close is not None:
            return close, utc(row["time"])
    raise Problem(422, "no-observations", f"a close among the newest rows of {series_id} was expected")


def _direction(probability: float | None, prediction: float, price: float) -> str:
    up, down = (prediction, price) if probability is None else (probability, 1 - probability)
    return "up" if up > down else "down" if down > up else "flat"


def _champion(service: GatewayService, model: str) -> ModelReleased | None:
    version = champion_of(roles_of(service.queries.deployments(model)).get(model, {}))
    row = None if version is None else service.queries.release(model, version)
    return None if row is None else _RELEASE.decode(row["release"])


def _loaded(service: GatewayService) -> list[dict[str, Any]]:
    return [
        {"name": entry["model"], **{name: version[name] for name in ("version", "algorithm", "role", "target")}}
        for entry in models(service, tenancy.visible(service))
        for version in entry["versions"]
        if version["role"] is not None
    ]
