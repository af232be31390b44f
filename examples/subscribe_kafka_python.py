"""Forecasts as they come, with nothing but kafka-python: ``python examples/subscribe_kafka_python.py``."""

import json
import os

from kafka import KafkaConsumer

consumer = KafkaConsumer(
    os.environ.get("FORETOPIC_TOPIC_PREFIX", "") + "forecasts",
    bootstrap_servers=os.environ.get("FORETOPIC_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092"),
    auto_offset_reset="earliest",
    enable_auto_commit=False,
)
seen: set[bytes] = set()
for message in consumer:
    headers = dict(message.headers)
    if headers["ce_id"] in seen or headers["ce_type"] != b"foretopic.ForecastIssued.v1":
        continue
    seen.add(headers["ce_id"])
    forecast = json.loads(message.value)
    for step in forecast["steps"]:
        print(forecast["series_id"], step["time"], step["median"], step["quantiles"])
