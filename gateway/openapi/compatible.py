"""The doors for clients of the systems that Foretopic replaces."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from gateway.answers import Answer
from gateway.openapi.answers import AnyObject
from gateway.openapi.operation import JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import AWAY, QUERY
from gateway.routes.compatible import LastDaysBody
from schemas.models import Role
from schemas.record import Id, ModelName, SeriesId

_HEADERS = ("Deprecation", "Link")


class LastDaysPrediction(Answer, frozen=True, kw_only=True):
    """The median of the next close, as it is traded."""

    prediction: float


class SymbolPrediction(Answer, frozen=True, kw_only=True):
    """The last price of a symbol, and where it goes next."""

    symbol: str
    series_id: SeriesId
    #: The last close, and the UTC start of its interval.
    price: float
    time: datetime
    #: Median of the next close.
    prediction: float
    direction: Literal["up", "down", "flat"]
    #: Null where the model does not say.
    probability_up: Annotated[float, Meta(ge=0, le=1)] | None
    model: ModelName
    version: str
    #: Whether the prices are invented.
    is_simulated: bool
    forecast_id: Id


class LoadedModel(Answer, frozen=True, kw_only=True):
    """A version that answers or is tried."""

    name: ModelName
    version: str
    algorithm: str
    role: Role
    target: str


class LoadedModels(Answer, frozen=True, kw_only=True):
    """The versions that predictors have loaded."""

    models: tuple[LoadedModel, ...]


class Reloaded(LoadedModels, frozen=True, kw_only=True):
    """There is nothing to reload: what is loaded."""

    status: Literal["up-to-date"]
    detail: str


_LOADED: JsonObject = {
    "models": [
        {
            "name": "market/AAPL-1d",
            "version": "0123456789abcdef",
            "algorithm": "lstm",
            "role": "champion",
            "target": "close",
        }
    ]
}
_DETAIL = "versions are followed from the log as they are released and deployed; there is nothing to reload"
_RELOADED: JsonObject = {"status": "up-to-date", "detail": _DETAIL, **_LOADED}
_ROW = [189.3, 191.1, 188.9, 190.4, 52_000_000, 190.4]
_PENDING = json_answer("On its way.", AnyObject, {"request_id": "monday-1", "state": "pending"}, "Location", *_HEADERS)
_OF_MODEL = ("no-champion", "model-mismatch")
_SYMBOL: JsonObject = {
    "symbol": "BTC",
    "series_id": "market/BTC@1d",
    "price": 97210.5,
    "time": "2025-01-02T00:00:00Z",
    "prediction": 97400.0,
    "direction": "up",
    "probability_up": 0.52,
    "model": "market/BTC-1d",
    "version": "0123456789abcdef",
    "is_simulated": False,
    "forecast_id": "235d824e85e73458dcedfa167048ef21",
}


def _reload(method: str, name: str) -> Operation:
    return Operation(
        method=method,
        path="/reload",
        id=name,
        tag="compatible",
        summary="Deprecated: what is loaded; models are followed by themselves",
        description="Nothing is done. `GET /api/v1/models` takes its place.",
        answers={200: json_answer("What is loaded.", Reloaded, _RELOADED, *_HEADERS)},
        problems={**QUERY, **AWAY},
    )


COMPATIBLE = (
    Operation(
        method="post",
        path="/predict",
        id="predictLast60Days",
        parameters=("IdempotencyKey", "Prefer"),
        counts_as="forecast",
        tag="compatible",
        summary="Deprecated: the next close from the last 60 rows of a price",
        description=(
            "Answered by the model that `FORETOPIC_GATEWAY_LAST_60_DAYS_MODEL` names; where it is missing the problem "
            "says how it is trained."
        ),
        body=LastDaysBody,
        examples={"sixty-rows": {"last_60_days": [_ROW] * 60}},
        answers={
            200: json_answer("The next close.", LastDaysPrediction, {"prediction": 190.9}, *_HEADERS),
            202: _PENDING,
        },
        problems={
            404: ("unknown-model",),
            409: _OF_MODEL,
            422: (
                "invalid-parameter",
                "idempotency-key-reused",
                "window-not-positive",
                "cutoff-missing",
            ),
            503: ("broker-unavailable", "database-unavailable", "starting"),
        },
    ),
    Operation(
        method="get",
        path="/symbol/{symbol}",
        id="getSymbol",
        counts_as="forecast",
        tag="compatible",
        summary="Deprecated: price and direction of a symbol, `HET` for the invented one",
        description=(
            "The series is the one of the market with this symbol. `GET /api/v1/series/{series_id}/forecasts/latest` "
            "and `POST /api/v1/forecasts` take its place."
        ),
        parameters=("symbol",),
        answers={200: json_answer("Price and direction.", SymbolPrediction, _SYMBOL, *_HEADERS), 202: _PENDING},
        problems={
            404: ("unknown-symbol", "unknown-model"),
            409: ("no-champion",),
            422: ("invalid-parameter", "no-observations"),
            503: ("broker-unavailable", "database-unavailable", "starting"),
        },
    ),
    Operation(
        method="get",
        path="/models",
        id="listLoadedModels",
        tag="compatible",
        summary="Deprecated: the versions that answer or are tried",
        description="`GET /api/v1/models` takes its place.",
        answers={200: json_answer("The versions.", LoadedModels, _LOADED, *_HEADERS)},
        problems={**QUERY, **AWAY},
    ),
    _reload("post", "reload"),
    _reload("get", "reloadByGet"),
)
