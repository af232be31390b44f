"""Ask for a forecast on the topic itself, with plain kafka-python: ``python examples/write_a_request.py [SERIES_ID]``.

The request says no offsets: the predictor writes it again, pinned to what it has read, and answers that.
"""

import hashlib
import json
import os
import sys
import uuid
from datetime import UTC, datetime

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

SERVERS = os.environ.get("FORETOPIC_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
PREFIX = os.environ.get("FORETOPIC_TOPIC_PREFIX", "")
PATIENCE_MS = 60_000


def request_message(series_id: str, horizon: int, request_id: str) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    """Return key, value and headers of a request."""
    value = json.dumps({"request_id": request_id, "series_id": series_id, "horizon": horizon}).encode()
    # The id names the content, so that a repeat is known: SHA-256 of type and identity as JSON without spaces.
    identity = json.dumps(["ForecastRequested", [request_id, None]], separators=(",", ":"))
    headers = {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": hashlib.sha256(identity.encode()).hexdigest()[:32],
        "ce_type": "foretopic.ForecastRequested.v1",
        "ce_source": "/example/write-a-request",
        "ce_time": datetime.now(UTC).isoformat(),
    }
    # Keyed by the series: kafka-python's default partitioner is the one that everybody uses.
    return series_id.encode(), value, [(name, text.encode()) for name, text in headers.items()]


def main(series_id: str, horizon: int = 5) -> int:
    request_id = uuid.uuid4().hex
    consumer = KafkaConsumer(bootstrap_servers=SERVERS, enable_auto_commit=False, consumer_timeout_ms=PATIENCE_MS)
    topic = f"{PREFIX}forecasts"
    places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    ends = consumer.end_offsets(places)  # noted before asking: the answer stands behind them

    key, value, headers = request_message(series_id, horizon, request_id)
    producer = KafkaProducer(bootstrap_servers=SERVERS)
    sent = producer.send(f"{PREFIX}forecast-requests", value, key=key, headers=headers).get(timeout=30)
    producer.close()

    # The answer comes into the partition of the same number.
    place = TopicPartition(topic, sent.partition)
    consumer.assign([place])
    consumer.seek(place, ends[place])
    for message in consumer:
        answer = json.loads(message.value)
        if answer["request_id"] != request_id:
            continue
        consumer.close()
        if "code" in answer:
            print(f"refused ({answer['code']}): {answer['reason']}")
            return 1
        for step in answer["steps"]:
            print(step["time"], step["median"], step["quantiles"])
        return 0
    consumer.close()
    print(f"no answer yet; request {request_id} stands in the log and is answered when a predictor runs")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "market/AAPL@1d"))
