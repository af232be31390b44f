"""The contract as an AsyncAPI 3.0 document, made from the topics, the records and the golden messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from itertools import groupby
from typing import Any

from schemas.codec import record_type_name
from schemas.golden import GoldenMessage, golden_messages
from schemas.jsonschema import JsonObject, components, record_types
from schemas.record import Record
from schemas.topics import TOPICS, Topic

_SERVICES = {
    "ingestor": "Fetches data and writes observations.",
    "trainer": "Trains model versions and releases them.",
    "predictor": "Answers every forecast request once.",
    "gateway": "HTTP for people and programs.",
    "foretopic": "The command line and the one-machine stack.",
    "anyone": "Whatever program reads or writes this topic.",
}
_DESCRIPTION = (
    "Observations come in on one topic, forecasts go out on another. Values are UTF-8 JSON, headers are "
    "CloudEvents 1.0 in binary mode. `ce_id` is computed from the content: a repeat has the same id. "
    "Readers ignore unknown fields; optional fields may come and go, anything else is a new major version "
    "in `ce_type`."
)


def _headers(type_name: str) -> JsonObject:
    text = {"type": "string"}
    properties = {
        "content-type": {"type": "string", "const": "application/json"},
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {**text, "description": "Computed from the content: a repeat has the same id."},
        "ce_type": {"type": "string", "const": type_name},
        "ce_source": {**text, "description": "The service that wrote it, e.g. `/foretopic/predictor`."},
        "ce_time": {**text, "format": "date-time", "description": "When it was written."},
        "ce_codeversion": {**text, "description": "Version of the code that wrote it."},
        "traceparent": {**text, "description": "W3C trace context."},
    }
    required = ["ce_id", "ce_type", "ce_source", "ce_time"]
    return {"type": "object", "properties": properties, "required": required}


def _example(golden: GoldenMessage) -> JsonObject:
    headers = {name: value.decode() for name, value in golden.headers}
    return {"name": golden.case, "headers": headers, "payload": json.loads(golden.value)}


def _message(topic: Topic, record: type[Record], examples: list[GoldenMessage]) -> JsonObject:
    name = record_type_name(record, topic.records[record])
    return {
        "name": name,
        "title": record.__name__,
        "summary": (record.__doc__ or "").partition("\n")[0],
        "contentType": "application/json",
        "headers": _headers(name),
        "payload": {"$ref": f"#/components/schemas/{record.__name__}"},
        "bindings": {
            "kafka": {"key": {"type": "string", "description": topic.key_description}, "bindingVersion": "0.5.0"}
        },
        "examples": [_example(golden) for golden in examples],
    }


def _channel(topic: Topic) -> JsonObject:
    retention_ms = -1 if topic.retention is None else int(topic.retention.total_seconds() * 1000)
    kept = "for ever" if topic.retention is None else f"{topic.retention.days} days"
    return {
        "address": f"{{prefix}}{topic.name}",
        "title": topic.name,
        "description": f"{topic.description} Key: {topic.key_description}. Kept {kept}.",
        "parameters": {"prefix": {"description": "Topic prefix of the installation.", "default": ""}},
        "messages": {record.__name__: {"$ref": f"#/components/messages/{record.__name__}"} for record in topic.records},
        "bindings": {
            "kafka": {
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": ["delete"],
                    "retention.ms": retention_ms,
                    "max.message.bytes": topic.max_message_bytes,
                },
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operations(topic: Topic) -> JsonObject:
    sends = [(service, "send") for service in topic.producers]
    receives = [(service, "receive") for service in topic.consumers]
    channel = f"#/channels/{topic.name}"
    return {
        f"{service}-{action}s-{topic.name}": {
            "action": action,
            "title": f"{service} {action}s {topic.name}",
            "channel": {"$ref": channel},
            "messages": [{"$ref": f"{channel}/messages/{record.__name__}"} for record in topic.records],
            "tags": [{"name": service, "description": _SERVICES[service]}],
        }
        for service, action in sends + receives
    }


def document() -> JsonObject:
    """Return the document; it holds every topic and record, and who sends and receives each."""
    by_type: Mapping[str, list[GoldenMessage]] = {
        name: list(group)
        for name, group in groupby(
            sorted(golden_messages(), key=lambda golden: golden.type_name), lambda golden: golden.type_name
        )
    }
    messages: JsonObject = {
        record.__name__: _message(topic, record, by_type.get(record_type_name(record, major), []))
        for topic in TOPICS
        for record, major in topic.records.items()
    }
    operations: dict[str, Any] = {}
    for topic in TOPICS:
        operations |= _operations(topic)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Foretopic",
            "version": version("foretopic"),
            "description": _DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "{bootstrapServers}",
                "protocol": "kafka",
                "variables": {"bootstrapServers": {"default": "127.0.0.1:9092", "description": "Of the installation."}},
            }
        },
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": components(record_types().values(), "#/components/schemas/{name}"),
        },
    }
