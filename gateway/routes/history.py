"""What was asked for and what became of it: lists of forecasts, trainings and ingests, and how much of it there was."""

from __future__ import annotations

from flask import Blueprint, Response

from gateway import usage
from gateway.access import Permission
from gateway.guard import needs
from gateway.history_lists import FORECAST_LIST, INGEST_LIST, TRAINING_LIST, answer, asked, forecast_line
from gateway.routes import ingests, trainings
from gateway.service import GatewayService


def blueprint(service: GatewayService) -> Blueprint:
    """Return the lists below ``/api/v1``."""
    routes = Blueprint("history", __name__, url_prefix="/api/v1")

    @routes.get("/forecasts")
    @needs(Permission.READ)
    def forecasts() -> Response:
        return answer(service, FORECAST_LIST, forecast_line)

    @routes.get("/trainings")
    @needs(Permission.READ)
    def list_trainings() -> Response:
        return answer(service, TRAINING_LIST, lambda row: asked(row) | trainings.document(service, row))

    @routes.get("/ingests")
    @needs(Permission.READ)
    def list_ingests() -> Response:
        return answer(service, INGEST_LIST, lambda row: asked(row) | ingests.document(service, row))

    @routes.get("/usage")
    @needs(Permission.READ)
    def sums() -> Response:
        return usage.answer(service)

    return routes
