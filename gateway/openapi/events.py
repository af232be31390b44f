"""The stream of events."""

from __future__ import annotations

from gateway.events import TYPES
from gateway.openapi.operation import Operation, Sent
from gateway.openapi.problem_kinds import STARTING

_DESCRIPTION = f"""One event each: its name is the type, its data `{{"type", "timestamp", "data"}}` with the record.
Types: {", ".join(f"`{kind}`" for kind in TYPES)}; and `position`, with which a quiet stream says only how far it is.

The id of an event is the position of the log behind it. Whoever comes again with it as `Last-Event-ID`, to this or any
other gateway, is told everything after it, once. Without one the stream begins now, and its first block has the id of
that place. It ends after some minutes, or when its reader is too slow: come again. Forecasts of public series are told
to the organisation that asked for them."""
_EXAMPLE = (
    "id: AQwAAAAAEA\nretry: 1000\n\nid: AQwAAAAAEQ\nevent: forecast.issued\n"
    'data: {"type":"forecast.issued","timestamp":"2025-01-02T21:30:04Z","data":{"forecast_id":"…"}}\n\n'
)

EVENTS = (
    Operation(
        method="get",
        path="/api/v1/events",
        id="followEvents",
        tag="events",
        summary="Follow what happens, as server-sent events",
        description=_DESCRIPTION,
        parameters=("of_series", "of_model", "of_project", "event_types", "last_event_id", "LastEventID"),
        answers={200: Sent(description="The events.", media_type="text/event-stream", example=_EXAMPLE)},
        problems={
            404: ("unknown-series", "unknown-model", "unknown-project"),
            422: ("invalid-parameter",),
            429: ("too-many-streams",),
            **STARTING,
        },
    ),
)
