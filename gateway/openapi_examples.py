"""Example requests and answers of the OpenAPI document; a test holds each against its schema."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from schemas.golden import golden_messages

JsonObject = dict[str, Any]

SERIES_ID = "market/AAPL@1d"
MODEL_NAME = "market/AAPL-1d"
VERSION = "0123456789abcdef"


@cache
def forecast() -> JsonObject:
    """Return the forecast of the golden message `forecasts/v1/forecast-issued`."""
    golden = next(message for message in golden_messages() if message.case == "forecast-issued")
    found: JsonObject = json.loads(golden.value)
    return found


#: A file of a table, as it is uploaded.
CSV = "date,store,sales,promo\n2025-01-02,1,188,0\n2025-01-03,1,201,1\n"
#: Media type of a history as a file -> its beginning.
FILES = {
    "text/csv": "request_id,forecast_id,status\nrequest-1,4450ef90832a81f60168062bd890d5ae,issued\n",
    "application/x-ndjson": '{"request_id":"request-1","status":"issued"}\n',
}
HTML = "<!doctype html>\n<title>Foretopic</title>\n"
METRICS = '# TYPE foretopic_requests_total counter\nforetopic_requests_total{status="200"} 3.0\n'
OPENAPI: JsonObject = {"openapi": "3.1.0", "info": {"title": "Foretopic", "version": "1.0.0"}}
ASYNCAPI: JsonObject = {"asyncapi": "3.0.0", "info": {"title": "Foretopic", "version": "1.0.0"}}
SCHEMAS: JsonObject = {"ForecastStep": {"type": "object", "required": ["median"]}}
FORECAST_BODY: JsonObject = {"series_id": SERIES_ID, "horizon": 10, "levels": [80, 95]}
FORECAST_WINDOW_BODY: JsonObject = {
    "window": [[round(240 + 0.5 * row, 1)] for row in range(20)],
    "cutoff": "2025-01-02T00:00:00Z",
    "horizon": 5,
    "model": f"{MODEL_NAME}:{VERSION}",
}
FORECAST_KNOWN_AT_BODY: JsonObject = {"series_id": SERIES_ID, "horizon": 10, "known_at": "2025-01-02T21:00:00Z"}
PENDING: JsonObject = {"request_id": "request-1", "state": "pending"}
SERIES_LINE: JsonObject = {
    "series_id": SERIES_ID,
    "freq": "1d",
    "calendar": "XNYS",
    "unit": "USD",
    "source": "yahoo",
    "rows": 2514,
    "first_time": "2015-01-05T00:00:00Z",
    "last_time": "2025-01-02T00:00:00Z",
}
OBSERVATIONS: JsonObject = {
    "series_id": SERIES_ID,
    "freq": "1d",
    "unit": "USD",
    "observations": {
        "time": ["2024-12-31T00:00:00Z", "2025-01-02T00:00:00Z"],
        "columns": {"close": [250.42, 243.85], "volume": [39480700.0, None]},
    },
    "next": f"/api/v1/series/{SERIES_ID}/observations?limit=2&after=2025-01-02T00%3A00%3A00Z",
}
RESTATEMENTS: JsonObject = {
    "series_id": SERIES_ID,
    "restatements": [
        {
            "time": "2024-12-31T00:00:00Z",
            "received_at": "2025-01-02T21:05:03.250000Z",
            "log_offset": 12,
            "kind": "restatement",
            "reason": (
                "yahoo gives other values than the log had up to offset 11 (from yahoo) in 1 row: "
                "2024-12-31 close from 250.42 to 250.4"
            ),
            "source": "yahoo",
            "columns": {"close": {"from": 250.42, "to": 250.4}},
        }
    ],
    "next": None,
}
INPUTS: JsonObject = {
    "forecast_id": "235d824e85e73458dcedfa167048ef21",
    "request_id": "request-1",
    "series_id": SERIES_ID,
    "model": MODEL_NAME,
    "version": VERSION,
    "cutoff": "2025-01-02T00:00:00Z",
    "observation_partition": 7,
    "observation_offset": 11,
    "observations": {
        "time": ["2024-12-31T00:00:00Z", "2025-01-02T00:00:00Z"],
        "columns": {"close": [250.42, 243.85]},
    },
    "future": None,
    "versions": {
        "log_offset": [10, 11],
        "received_at": ["2024-12-31T21:05:02.125000Z", "2025-01-02T21:05:01.500000Z"],
        "kind": ["append", "append"],
        "reason": ["", ""],
        "source": ["yahoo", "yahoo"],
    },
}
TRAINING_BODY: JsonObject = {"series_id": SERIES_ID, "algorithm": "lstm", "horizon": 10, "window_size": 20}
TRAINING_FEATURES_BODY: JsonObject = {
    "series_id": "shop/berlin@1d",
    "target": "sales",
    "algorithm": "gru",
    "horizon": 42,
    "window_size": 90,
    "covariates": {"promo": "known-future"},
    "features": [
        {"name": "lag", "window_size": 7},
        {"name": "relative-strength-index", "window_size": 14},
        {"name": "rolling-quantile", "window_size": 28, "parameters": {"quantile": 0.9}},
    ],
    "step_features": [
        {"name": "day-of-week"},
        {"name": "holiday", "option": "DE/BE"},
        {"name": "known", "columns": ["promo"]},
        {"name": "matched-mean", "columns": ["day-of-week", "promo"], "order": 4},
    ],
}
TRAINING_ACCEPTED: JsonObject = {"training_id": "training-1", "state": "queued", "model": MODEL_NAME}
TRAINING: JsonObject = {
    "training_id": "training-1",
    "model": MODEL_NAME,
    "series_id": SERIES_ID,
    "state": "progress",
    "is_cancel_requested": False,
    "sequence": 14,
    "fraction": 0.42,
    "stage": "fitting",
    "epoch": 12,
    "losses": {"train": 0.0123, "validation": 0.0131},
}
EVENT_STREAM = (
    "id: 17\nevent: progress\n"
    'data: {"training_id":"training-1","model":"market/AAPL-1d","series_id":"market/AAPL@1d","sequence":14,'
    '"state":"progress","fraction":0.42,"stage":"fitting","epoch":12}\n\n'
)
MODEL: JsonObject = {
    "model": MODEL_NAME,
    "champion": VERSION,
    "versions": [
        {
            "version": VERSION,
            "role": "champion",
            "training_id": "training-1",
            "algorithm": "lstm",
            "series_ids": [SERIES_ID],
            "target": "close",
            "columns": ["close"],
            "freq": "1d",
            "calendar": "XNYS",
            "unit": "USD",
            "window_size": 20,
            "horizon": 10,
            "levels": [80.0, 95.0],
            "metrics": {"model": {"mae": 2.31}, "last-value": {"mae": 2.28}},
            "skill": {"last-value": -0.013},
            "folds": 250,
            "calibration_folds": 650,
            "fallback_from": None,
            "fallback_reason": None,
            "leaderboard": [
                {
                    "algorithm": "lstm",
                    "state": "chosen",
                    "rung": 2,
                    "folds": 672,
                    "skill": {"last-value": 0.004},
                    "metrics": {"mae": 4.81, "mase": 2.4},
                    "reason": "the least loss of 5 on 672 folds before the test part",
                },
                {"algorithm": "nhits", "state": "not-reached"},
            ],
            "artefact_digest": VERSION + "0" * 48,
            "code_version": "0.1.0",
        }
    ],
}
DEPLOY_BODY: JsonObject = {"version": VERSION, "role": "champion", "reason": "better on the last quarter"}
DEPLOYMENT: JsonObject = {
    "deployment_id": "deployment-1",
    "model": MODEL_NAME,
    "version": VERSION,
    "role": "champion",
    "previous": "fedcba9876543210",
    "reason": "better on the last quarter",
}
INGEST_BODY: JsonObject = {"symbol": "AAPL", "sources": ["yahoo", "sample"], "freq": "1d", "calendar": "XNYS"}
INGEST_ACCEPTED: JsonObject = {"ingest_id": "ingest-1", "series_id": SERIES_ID, "state": "queued"}
INGEST: JsonObject = {
    "ingest_id": "ingest-1",
    "series_id": SERIES_ID,
    "state": "succeeded",
    "source": "yahoo",
    "rows_received": 2514,
    "rows_published": 2514,
    "first_time": "2015-01-05T00:00:00Z",
    "last_time": "2025-01-02T00:00:00Z",
}
QUARANTINE_ID = "5f2b1c9e0d7a46338b1f0a9c2e4d6b70"
DECISION_BODY: JsonObject = {"decided_by": "ana", "reason": "the exchange confirms the price"}
QUARANTINE_LINE: JsonObject = {
    "quarantine_id": QUARANTINE_ID,
    "series_id": SERIES_ID,
    "ingest_id": "ingest-1",
    "held_at": "2025-01-02T21:06:00Z",
    "source": "yahoo",
    "rows": 1,
    "first_time": "2025-01-02T00:00:00Z",
    "last_time": "2025-01-02T00:00:00Z",
    "broken": [
        {
            "rule": "unit-error",
            "times": ["2025-01-02T00:00:00Z"],
            "rows": 1,
            "reason": "prices must stay in one unit, those of 1 row (2025-01-02) are 100 or 1000 times the others",
        }
    ],
    "state": "held",
}
QUARANTINED: JsonObject = {
    **QUARANTINE_LINE,
    "kind": "append",
    "unit": "USD",
    "observations": {"time": ["2025-01-02T00:00:00Z"], "columns": {"close": [24385.0]}},
}
RELEASED: JsonObject = {
    **QUARANTINE_LINE,
    **DECISION_BODY,
    "state": "released",
    "release_ingest_id": "8d1f5a7c3b9e42608f6d4c2a1e0b7395",
}
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


def problem(status: int, kind: str, detail: str) -> JsonObject:
    """Return the document of a problem of this kind."""
    return {
        "type": f"/problems/{kind}",
        "title": kind.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
        "instance": "/api/v1/forecasts",
        "x_request_id": "caller-17",
        "errors": [],
    }
