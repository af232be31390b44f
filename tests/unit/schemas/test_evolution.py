"""A change of a record that some reader would stumble over turns the check red, and says what to do."""

from __future__ import annotations

import copy
from typing import Annotated

import msgspec
import pytest

from schemas import __main__ as command
from schemas import evolution
from schemas.forecasts import ForecastRefused, ForecastStep

TYPE = "foretopic.ForecastIssued.v1"


def issued_with(**step_fields):
    """Return today's revisions in which ForecastStep has these fields; a value is (type,) or (type, default)."""
    today = copy.deepcopy(evolution.current())
    fields = [(name, *parts) for name, parts in step_fields.items() if parts is not None]
    step = msgspec.defstruct("ForecastStep", fields, kw_only=True, frozen=True, omit_defaults=True)
    _, schemas = msgspec.json.schema_components([step], ref_template="#/$defs/{name}")
    today[TYPE]["$defs"]["ForecastStep"] = evolution._without_prose(schemas["ForecastStep"])
    return today


def fields_of_step():
    hints = msgspec.inspect.type_info(ForecastStep)
    annotations = ForecastStep.__annotations__
    resolved = {name: eval(text, vars(__import__("schemas.forecasts").forecasts)) for name, text in annotations.items()}
    return {
        field.name: (resolved[field.name],) if field.required else (resolved[field.name], field.default)
        for field in hints.fields
    }


def test_rebuilt_step_is_todays_step():
    """The mutations below start from the record as it is."""
    assert issued_with(**fields_of_step()) == evolution.current()


def test_todays_records_keep_to_everything_published():
    assert evolution.faults(evolution.read_published(), evolution.current()) == []


def test_todays_records_are_published():
    assert evolution.unpublished(evolution.read_published(), evolution.current()) == [], (
        "a record has new optional fields or lost some: write them down with `python -m schemas publish`"
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"median": None, "middle": (float,)}, "median is gone"),
        ({"median": None, "middle": (float,)}, "middle is new and has no default"),
        ({"median": (int,)}, "median: type was"),
        ({"median": (float, 0.0)}, "median was required"),
        ({"quantiles": (dict[str, int],)}, "quantiles[]: type was"),
        ({"unit": (str,)}, "unit is new and has no default"),
        ({"time": (str,)}, "time: anyOf was"),
        ({"direction_probability": (float | None, None)}, "direction_probability: maximum was 1, is null"),
        (
            {"direction_probability": (Annotated[float, msgspec.Meta(ge=0, le=1)] | None, 0.5)},
            "direction_probability: default was null",
        ),
    ],
    ids=["renamed", "renamed-to", "type", "now-optional", "value-type", "required", "null", "bound", "default"],
)
def test_breaking_change_asks_for_a_new_major_version(change, named):
    today = issued_with(**(fields_of_step() | change))

    found = evolution.faults(evolution.read_published(), today)

    assert any(f"$.steps[].{named}" in fault and "new major version" in fault for fault in found), found


def test_optional_field_may_come_and_go():
    published = evolution.read_published()
    with_more = issued_with(**fields_of_step(), note=(str, ""))
    without = issued_with(
        **{name: parts for name, parts in fields_of_step().items() if name != "direction_probability"}
    )

    grown = evolution.with_today(published, with_more)
    assert len(grown[TYPE]) == len(published[TYPE]) + 1
    assert evolution.faults(grown, without) == []
    assert evolution.unpublished(published, with_more) == [TYPE]


def test_optional_field_may_not_come_back_as_something_else():
    """A message of the first revision would then be read wrongly, though its direct successor has no such field."""
    published = evolution.with_today(evolution.read_published(), issued_with(**fields_of_step(), note=(str, "")))
    published = evolution.with_today(published, evolution.current())

    found = evolution.faults(published, issued_with(**fields_of_step(), note=(int, 0)))

    assert any("$.steps[].note: type was" in fault for fault in found), found


def test_record_type_may_not_vanish():
    today = {name: revision for name, revision in evolution.current().items() if name != TYPE}

    assert any(fault.startswith(f"{TYPE} is gone") for fault in evolution.faults(evolution.read_published(), today))


def test_prose_may_change():
    revision = evolution.revision_of(ForecastRefused)

    assert "description" not in str(revision)
    assert "reason" in revision["$defs"]["ForecastRefused"]["properties"]


def test_publish_refuses_a_breaking_change_and_leaves_the_file(monkeypatch, capsys, tmp_path):
    path = tmp_path / "published.json"
    published = evolution.read_published()
    published[TYPE][0]["$defs"]["ForecastStep"]["required"].remove("median")
    command._write(published, path)
    before = path.read_bytes()
    monkeypatch.setattr(evolution, "PUBLISHED_PATH", path)

    assert command.main(["publish"]) == 1

    assert "new major version" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_publish_leaves_what_is_published_as_it_is(monkeypatch, tmp_path):
    path = tmp_path / "published.json"
    before = evolution.PUBLISHED_PATH.read_bytes()
    path.write_bytes(before)
    monkeypatch.setattr(evolution, "PUBLISHED_PATH", path)

    assert command.main(["publish"]) == 0

    assert path.read_bytes() == before
