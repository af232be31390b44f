"""Dead letters: looked at as text and as bytes, sent again, let go."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request, url_for

from gateway import parameters
from gateway.access import Permission
from gateway.admin.pages import (
    LIMIT,
    Action,
    Cell,
    Choice,
    ReasonForm,
    Shown,
    Table,
    after,
    asked,
    done,
    given,
    listed,
    sentence,
    shown,
    when,
)
from gateway.dead_letter_queries import STATES
from gateway.dead_letters import decide, document, line, stored
from gateway.guard import needs
from gateway.problems import Problem
from gateway.service import GatewayService

_LOOKS = {"waiting": "warn", "replayed": "good", "dropped": ""}


def add(routes: Blueprint, service: GatewayService) -> None:
    """Add the pages of dead letters."""

    @routes.get("/dead-letters")
    @needs(Permission.OPERATE)
    def dead_letters() -> Response:
        return _list(service)

    @routes.get("/dead-letters/<dead_letter_id>")
    @needs(Permission.OPERATE)
    def dead_letter(dead_letter_id: str) -> Response:
        return _show(document(service, stored(service, dead_letter_id)))

    @routes.route("/dead-letters/<dead_letter_id>/<any(replay, drop):what>", methods=["GET", "POST"])
    @needs(Permission.OPERATE)
    def decide_dead_letter(dead_letter_id: str, what: str) -> Response:
        return _decide(service, dead_letter_id, what)


def _list(service: GatewayService) -> Response:
    state = parameters.choice("state", ("waiting", "any", "replayed", "dropped"))
    rows = service.dead_letters.page(
        topic=given("topic"),
        service=given("service"),
        state=None if state == "any" else state,
        after=given("after"),
        limit=LIMIT + 1,
    )
    lines = []
    for row in rows[:LIMIT]:
        told = line(row)
        lines.append(
            (
                when(told["died_at"]),
                Cell(told["topic"], url_for("admin.dead_letter", dead_letter_id=told["dead_letter_id"])),
                Cell(told["service"]),
                Cell(told["reason"][:300]),
                Cell(told["value_bytes"]),
                Cell(told["state"], look=_LOOKS[told["state"]]),
            )
        )
    columns = ("Died (UTC)", "Topic", "Given up by", "Reason", "Bytes", "State")
    return listed(
        "Dead letters",
        Table(columns, lines, "No dead letter is found. That is how it should be."),
        filters=[
            Choice("topic", "Topic", value=request.args.get("topic", "")),
            Choice("service", "Given up by", value=request.args.get("service", "")),
            Choice("state", "State", ("any", *STATES), state),
        ],
        following=after(after=rows[LIMIT - 1]["dead_letter_id"]) if len(rows) > LIMIT else None,
    )


def _letter(dead_letter_id: str | None, none: str) -> Cell:
    if dead_letter_id is None:
        return Cell(none)
    return Cell(dead_letter_id, url_for("admin.dead_letter", dead_letter_id=dead_letter_id))


def _show(told: dict[str, Any]) -> Response:
    place = told["replayed_to"]
    facts = [
        ("State", Cell(told["state"], look=_LOOKS[told["state"]])),
        ("Decided by", Cell(told["decided_by"] or "nobody yet")),
        ("Why", Cell(told["decision_reason"] or "none")),
        (
            "Stands now at",
            Cell("nowhere" if place is None else f"{place['topic']}/{place['partition']}/{place['offset']}"),
        ),
        ("Stood at", Cell(f"{told['topic']}/{told['partition']}/{told['offset']}")),
        ("Reason", Cell(told["reason"])),
        ("Given up by", Cell(f"{told['service']} {told['code_version']}, after {told['attempts']} attempt(s)")),
        ("Died (UTC)", when(told["died_at"])),
        ("Sent again from", _letter(told["replay_of"], "no other letter")),
        *(("Died again as", _letter(one, "")) for one in told["died_again_as"]),
    ]
    actions = []
    if told["state"] == "waiting":
        for what, text, is_danger in (("replay", "Replay", False), ("drop", "Drop", True)):
            href = url_for("admin.decide_dead_letter", dead_letter_id=told["dead_letter_id"], what=what)
            actions.append(Action(text, href, is_danger=is_danger))
    headers = [
        (Cell(name, look="code"), Cell(_readable(found)), Cell(found["bytes"]))
        for name, found in told["headers"].items()
    ]
    texts = [(f"Key{_size(told['key'])}", _readable(told["key"]))]
    value = told["value"]
    texts.append((f"Value{_size(value)}", _readable(value)))
    if value is not None:
        texts.append(("Value as bytes, the first KiB", value["hex"]))
    back = ("All dead letters", url_for("admin.dead_letters"))
    tables = [Table(("Header", "Value", "Bytes"), headers, "The message has no header.", "Headers")]
    title = f"A message of {told['topic']}"
    return shown(Shown(title=title, facts=facts, actions=actions, tables=tables, texts=texts, back=back))


def _size(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    return f", {found['bytes']} bytes" + (", the beginning" if found["is_cut"] else "")


def _readable(found: dict[str, Any] | None) -> str:
    if found is None:
        return "none"
    text: str | None = found["text"]
    return str(found["base64"]) + " (base64)" if text is None else text


def _decide(service: GatewayService, dead_letter_id: str, what: str) -> Response:
    row, form, error = stored(service, dead_letter_id), ReasonForm(), ""
    back, is_replay = url_for("admin.dead_letter", dead_letter_id=dead_letter_id), what == "replay"
    if form.validate_on_submit():
        try:
            decide(
                service, dead_letter_id, "replay" if is_replay else "drop", decided_by="", reason=form.reason.data or ""
            )
        except Problem as problem:
            error = sentence(problem)
        else:
            return done("The message was sent again." if is_replay else "The message is let go.", back)
    text = (
        "Its bytes and headers go to its topic again. If it dies once more, that is a new letter that names this one."
        if is_replay
        else "It waits no longer; the log keeps it."
    )
    button = "Replay" if is_replay else "Drop"
    title = f"{button} the message of {row['topic']}?"
    return asked(form, title=title, text=text, button=button, back=back, is_danger=not is_replay, error=error)
