"""The gateway itself, what no service could handle, and the doors of older clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foretopic.client.documents.system import (
    DeadLetterDetails,
    DeadLetterLine,
    DeadLetterPage,
    Health,
    LastDaysPrediction,
    LoadedModels,
    Readiness,
    Reloaded,
    Status,
    SymbolPrediction,
)
from foretopic.client.offered import listing, operation
from foretopic.client.session import change, path, read
from foretopic.client.steps import Call, Pages


class System:
    """How the gateway is, and what it describes itself as."""

    @operation
    def get_health(self) -> Call[Health]:
        """Return whether the gateway works."""
        return read("/health", Health)

    @operation
    def get_readiness(self) -> Call[Readiness]:
        """Return whether forecasts can be answered; `Problem` 503 while they cannot."""
        return read("/ready", Readiness)

    @operation
    def get_status(self) -> Call[Status]:
        """Return everything at a glance."""
        return read("/status", Status)

    @operation
    def get_open_api(self) -> Call[dict[str, Any]]:
        """Return the OpenAPI document."""
        return read("/openapi.json", dict[str, Any])

    @operation
    def get_async_api(self) -> Call[dict[str, Any]]:
        """Return the AsyncAPI document of the topics."""
        return read("/asyncapi.json", dict[str, Any])

    @operation
    def get_schemas(self) -> Call[dict[str, Any]]:
        """Return the JSON Schemas of all records."""
        return read("/schemas.json", dict[str, Any])

    @operation
    def get_schema(self, name: str) -> Call[dict[str, Any]]:
        """Return the JSON Schema of one record."""
        return read(path("/schemas/{one}", one=name), dict[str, Any])

    @listing
    def list_dead_letters(
        self,
        *,
        topic: str | None = None,
        service: str | None = None,
        state: str | None = None,
        limit: int | None = None,
    ) -> Pages[DeadLetterLine]:
        """Yield messages that no service could handle, the newest first; ``limit`` is of one page."""
        call = read("/api/v1/dead-letters", DeadLetterPage, topic=topic, service=service, state=state, limit=limit)
        return Pages(call, "dead_letters", DeadLetterLine)

    @operation
    def get_dead_letter(self, dead_letter_id: str) -> Call[DeadLetterDetails]:
        """Return a message that no service could handle, with its bytes."""
        return read(path("/api/v1/dead-letters/{one}", one=dead_letter_id), DeadLetterDetails)

    @operation
    def replay_dead_letter(
        self, dead_letter_id: str, *, decided_by: str | None = None, reason: str | None = None
    ) -> Call[DeadLetterLine]:
        """Write a message to its topic again."""
        target = path("/api/v1/dead-letters/{one}/replay", one=dead_letter_id)
        return change("POST", target, DeadLetterLine, {"decided_by": decided_by, "reason": reason})

    @operation
    def drop_dead_letter(
        self, dead_letter_id: str, *, decided_by: str | None = None, reason: str | None = None
    ) -> Call[DeadLetterLine]:
        """Leave a message for good."""
        target = path("/api/v1/dead-letters/{one}/drop", one=dead_letter_id)
        return change("POST", target, DeadLetterLine, {"decided_by": decided_by, "reason": reason})

    @operation
    def predict_last_60_days(self, last_60_days: Sequence[Sequence[float]]) -> Call[LastDaysPrediction]:
        """Predict the next close from 60 rows of open, high, low, close, volume, adjusted close."""
        return change("POST", "/predict", LastDaysPrediction, {"last_60_days": last_60_days})

    @operation
    def get_symbol(self, symbol: str) -> Call[SymbolPrediction]:
        """Return the last price of a symbol, and where it goes next."""
        return read(path("/symbol/{one}", one=symbol), SymbolPrediction)

    @operation
    def list_loaded_models(self) -> Call[LoadedModels]:
        """Return the versions that predictors have loaded."""
        return read("/models", LoadedModels)

    @operation
    def reload(self) -> Call[Reloaded]:
        """Return what is loaded: there is nothing to reload."""
        return change("POST", "/reload", Reloaded)

    @operation
    def request(
        self,
        method: str,
        target: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> Call[Any]:
        """Call what this client has no method for; return the JSON that is answered."""
        return Call(method=method, path=target, query=query or {}, body=body, answers={200: Any})
