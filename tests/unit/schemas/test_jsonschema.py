"""The JSON Schema is valid 2020-12, agrees with the decoder, and carries the comments of the source."""

from __future__ import annotations

import json

import jsonschema
import pytest

from schemas import __main__ as command
from schemas.golden import golden_messages
from schemas.jsonschema import document, field_comments, record_types
from schemas.models import ModelReleased


def test_document_is_valid_json_schema():
    jsonschema.Draft202012Validator.check_schema(document())


def test_golden_values_are_valid_by_the_schema_of_their_type():
    schema = document()
    for message in golden_messages():
        record = record_types()[message.type_name]
        validator = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{record.__name__}", "$defs": schema["$defs"]})
        assert list(validator.iter_errors(json.loads(message.value))) == [], message.case


def test_every_record_and_its_parts_are_described():
    for name, schema in document()["$defs"].items():
        assert schema["description"], name


def test_comments_of_the_source_describe_the_fields():
    comments = field_comments(ModelReleased)

    assert comments["graph"] == "The ONNX graph; null for a statistical model, which is its recipe."
    assert "version" not in comments
    assert document()["$defs"]["ModelReleased"]["properties"]["graph"]["description"] == comments["graph"]


@pytest.mark.parametrize("what", ["asyncapi", "jsonschema"])
def test_command_prints_the_document_or_writes_it(what, capsys, tmp_path):
    out = tmp_path / "document.json"

    assert command.main([what]) == 0
    assert command.main([what, "--out", str(out)]) == 0

    printed = capsys.readouterr().out
    assert printed == out.read_text(encoding="utf-8")
    assert json.loads(printed)
