from __future__ import annotations

from tests import factories
from tests.unit.gateway.world import Responder, World


def test_a_forecast_is_answered_with_the_bytes_of_its_record(world: World, predictor: Responder) -> None:
    answer = world.client.post("/api/v1/forecasts", json={"series_id": factories.SERIES, "horizon": 3})

    assert answer.status_code == 200, answer.text
    assert answer.json["request_id"] == predictor.requests[0].request_id
    again = world.client.get(f"/api/v1/forecasts/{answer.json['request_id']}")
    assert again.data == answer.data
