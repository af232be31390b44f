"""The AsyncAPI document is valid by the official parser, and says what the topics say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from schemas import asyncapi
from schemas.topics import TOPICS

NODE_TOOLS = Path(__file__).parents[2] / "node"


def missing_tool(what: str) -> None:
    """Skip with the reason; in CI a skip is a failure."""
    reason = f"the official AsyncAPI parser needs {what}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def official_findings(document: object) -> dict:
    node = shutil.which("node")
    if node is None:
        missing_tool("node, which is not on PATH")
    if not (NODE_TOOLS / "node_modules").is_dir():
        missing_tool(f"`npm ci` in {NODE_TOOLS}")
    done = subprocess.run(
        [node, str(NODE_TOOLS / "validate-asyncapi.mjs")],
        input=json.dumps(document),
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return json.loads(done.stdout)


def test_document_passes_the_official_parser():
    result = official_findings(asyncapi.document())

    errors_and_warnings = [finding for finding in result["findings"] if finding["severity"] < 2]
    assert result["parsed"]
    assert errors_and_warnings == []


def test_official_parser_refuses_an_operation_on_a_message_of_another_channel():
    document = asyncapi.document()
    operation = document["operations"]["predictor-sends-forecasts"]
    operation["messages"] = [{"$ref": "#/channels/models/messages/ModelReleased"}]

    result = official_findings(document)

    assert [finding for finding in result["findings"] if finding["severity"] == 0]


def test_official_parser_refuses_a_form_that_asyncapi_does_not_know():
    document = asyncapi.document()
    document["operations"]["predictor-sends-forecasts"]["action"] = "publish"

    result = official_findings(document)

    assert [finding for finding in result["findings"] if finding["severity"] == 0]


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_topic_says_its_retention_its_key_and_who_sends_and_receives(topic):
    document = asyncapi.document()

    channel = document["channels"][topic.name]
    configuration = channel["bindings"]["kafka"]["topicConfiguration"]
    days = configuration["retention.ms"] / 86_400_000
    assert channel["address"] == "{prefix}" + topic.name
    assert days == topic.retention.days if topic.retention else configuration["retention.ms"] == -1
    assert topic.key_description in channel["description"]
    operations = {
        (operation["action"], operation["tags"][0]["name"])
        for operation in document["operations"].values()
        if operation["channel"]["$ref"] == f"#/channels/{topic.name}"
    }
    assert operations == {("send", name) for name in topic.producers} | {("receive", name) for name in topic.consumers}


def test_every_message_has_examples_and_names_its_type_in_the_headers():
    for name, message in asyncapi.document()["components"]["messages"].items():
        assert message["examples"], name
        assert message["headers"]["properties"]["ce_type"]["const"] == message["name"]
        assert all(example["headers"]["ce_type"] == message["name"] for example in message["examples"])
