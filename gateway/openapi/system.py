"""The operations on the gateway itself and the services behind it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from gateway.answers import Answer, Count
from gateway.openapi.operation import JsonObject, Operation, Sent, json_answer
from gateway.openapi.problem_kinds import AWAY
from gateway.openapi.trainings import TRAINING, Training


class Health(Answer, frozen=True, kw_only=True):
    """Whether the process works."""

    status: Literal["ok", "unavailable"]
    version: str = ""
    reason: str = ""


class Readiness(Answer, frozen=True, kw_only=True):
    """Whether a champion can answer, and what is waited for otherwise."""

    status: Literal["ok", "unavailable"]
    waiting_for: tuple[str, ...] = ()


class ServiceState(Answer, frozen=True, kw_only=True):
    """One service."""

    name: str
    state: Literal["up", "down", "waiting"]
    #: Instances in its consumer group; this and what follows is null for all but operators.
    members: Count | None
    #: Messages that wait for it.
    backlog: Count | None
    last_record_time: datetime | None


class TopicState(Answer, frozen=True, kw_only=True):
    """One topic; `end_offsets` is the sum over its partitions."""

    topic: str
    partitions: Count
    end_offsets: Count
    last_record_time: datetime | None


class AlarmLine(Answer, frozen=True, kw_only=True):
    """One id that stands over two contents: something that must never happen."""

    topic: str
    partition: Count
    log_offset: Count
    kind: str
    subject: str


class Status(Answer, frozen=True, kw_only=True):
    """Everything at a glance."""

    version: str
    is_ready: bool
    waiting_for: tuple[str, ...]
    services: tuple[ServiceState, ...]
    topics: tuple[TopicState, ...]
    trainings: tuple[Training, ...]
    alarms: tuple[AlarmLine, ...]


METRICS = '# TYPE foretopic_requests_total counter\nforetopic_requests_total{status="200"} 3.0\n'
NOT_READY: JsonObject = {
    "status": "unavailable",
    "waiting_for": ["a champion: no model has been deployed yet"],
}
STATUS: JsonObject = {
    "version": "0.1.0",
    "is_ready": True,
    "waiting_for": [],
    "services": [
        {
            "name": "predictor",
            "state": "up",
            "members": 3,
            "backlog": 0,
            "last_record_time": "2025-01-02T21:05:03.250000Z",
        }
    ],
    "topics": [
        {
            "topic": "observations",
            "partitions": 12,
            "end_offsets": 7,
            "last_record_time": "2025-01-02T21:05:03.250000Z",
        }
    ],
    "trainings": [TRAINING],
    "alarms": [],
}

SYSTEM = (
    Operation(
        method="get",
        path="/health",
        id="getHealth",
        is_open=True,
        tag="system",
        summary="Whether the process works",
        description=(
            "For whoever restarts the process: 503 says that it must be started anew. Says nothing of Kafka or the "
            "other services."
        ),
        answers={
            200: json_answer("It does.", Health, {"status": "ok", "version": "0.1.0"}),
            503: json_answer(
                "It does not.",
                Health,
                {"status": "unavailable", "reason": "the projection ended; the log says why"},
            ),
        },
    ),
    Operation(
        method="get",
        path="/ready",
        id="getReadiness",
        is_open=True,
        tag="system",
        summary="Whether a champion can answer",
        description="For load balancers: 503 names what is waited for.",
        answers={
            200: json_answer("It can.", Readiness, {"status": "ok"}),
            503: json_answer("Not yet.", Readiness, NOT_READY, "RetryAfter"),
        },
    ),
    Operation(
        method="get",
        path="/status",
        id="getStatus",
        tag="system",
        summary="Each service, its backlog and its last record; topics, trainings, alarms",
        description="Numbers of messages are for operators; for others they are null.",
        answers={200: json_answer("The state.", Status, STATUS)},
        problems=AWAY,
    ),
    Operation(
        method="get",
        path="/metrics",
        id="getMetrics",
        is_open=True,
        tag="system",
        summary="Metrics of the gateway for Prometheus",
        description="The text format of Prometheus. A setting says whether it is open or for operators.",
        answers={200: Sent(description="The metrics.", media_type="text/plain", example=METRICS)},
    ),
)
