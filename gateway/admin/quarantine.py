"""Held rows: looked at with the rules that they break, released, rejected."""

from __future__ import annotations

import json
from typing import Any

import msgspec
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
    joined,
    listed,
    sentence,
    shown,
    when,
)
from gateway.guard import needs
from gateway.problems import Problem
from gateway.routes.quarantine import STATES, decide, document, line, stored
from gateway.service import GatewayService

_SHOWN_ROWS = 500
_LOOKS = {"held": "warn", "released": "good", "rejected": ""}


def add(routes: Blueprint, service: GatewayService) -> None:
    """Add the pages of held rows."""

    @routes.get("/quarantine")
    @needs(Permission.OPERATE)
    def quarantine() -> Response:
        return _list(service)

    @routes.get("/quarantine/<quarantine_id>")
    @needs(Permission.OPERATE)
    def held(quarantine_id: str) -> Response:
        return _show(quarantine_id, document(stored(service, quarantine_id)))

    @routes.route("/quarantine/<quarantine_id>/<any(release, reject):decision>", methods=["GET", "POST"])
    @needs(Permission.OPERATE)
    def decide_held(quarantine_id: str, decision: str) -> Response:
        return _decide(service, quarantine_id, decision)


def _list(service: GatewayService) -> Response:
    state = parameters.choice("state", ("held", "any", "released", "rejected"))
    rows = service.queries.quarantine(
        projects=None,
        series_id=given("series_id"),
        state=None if state == "any" else state,
        after=given("after"),
        limit=LIMIT + 1,
    )
    lines = []
    for row in rows[:LIMIT]:
        told = line(row)
        rules = joined(dict.fromkeys(broken["rule"] for broken in msgspec.json.decode(row["broken"])))
        lines.append(
            (
                Cell(told["series_id"], url_for("admin.held", quarantine_id=told["quarantine_id"])),
                Cell(told["rows"]),
                Cell(rules),
                Cell(told["source"]),
                when(told["held_at"]),
                Cell(told["state"], look=_LOOKS[told["state"]]),
            )
        )
    return listed(
        "Quarantine",
        Table(("Series", "Rows", "Rules broken", "Source", "Held (UTC)", "State"), lines, "No rows are held back."),
        filters=[
            Choice("series_id", "Series", value=request.args.get("series_id", "")),
            Choice("state", "State", ("any", *STATES), state),
        ],
        following=after(after=rows[LIMIT - 1]["quarantine_id"]) if len(rows) > LIMIT else None,
    )


def _show(quarantine_id: str, held: dict[str, Any]) -> Response:
    facts = (
        ("State", Cell(held["state"], look=_LOOKS[held["state"]])),
        ("Decided by", Cell(held["decided_by"] or "nobody yet")),
        ("Reason", Cell(held["reason"] or "none")),
        ("Source", Cell(held["source"])),
        ("Ingest", Cell(held["ingest_id"], look="code")),
        ("Held (UTC)", when(held["held_at"])),
        ("Unit", Cell(held["unit"])),
    )
    actions = []
    if held["state"] == "held":
        for decision, text, is_danger in (("release", "Release", False), ("reject", "Reject", True)):
            href = url_for("admin.decide_held", quarantine_id=quarantine_id, decision=decision)
            actions.append(Action(text, href, is_danger=is_danger))
    broken = json.loads(bytes(held["broken"]))
    rules = [
        (Cell(one["rule"]), Cell(one.get("column", "")), Cell(one.get("rows", 0)), Cell(one["reason"]))
        for one in broken
    ]
    observations = held["observations"]
    names = list(observations["columns"])
    rows = [
        (when(time), *(Cell("" if value is None else value) for value in values))
        for time, *values in list(zip(observations["time"], *observations["columns"].values(), strict=True))[
            :_SHOWN_ROWS
        ]
    ]
    tables = (
        Table(("Rule", "Column", "Rows", "What was expected, what was found"), rules, "None.", "Rules that they break"),
        Table(("Time (UTC)", *names), rows, "None.", f"Rows, {held['rows']} in all"),
    )
    back = ("All held rows", url_for("admin.quarantine"))
    return shown(Shown(title=held["series_id"], facts=facts, actions=actions, tables=tables, back=back))


def _decide(service: GatewayService, quarantine_id: str, decision: str) -> Response:
    row, form, error = stored(service, quarantine_id), ReasonForm(), ""
    back = url_for("admin.held", quarantine_id=quarantine_id)
    is_release = decision == "release"
    if form.validate_on_submit():
        try:
            decide(
                service,
                quarantine_id,
                "release" if is_release else "reject",
                decided_by="",
                reason=form.reason.data or "",
            )
        except Problem as problem:
            error = sentence(problem)
        else:
            told = "released: they are published once" if is_release else "rejected"
            return done(f"The rows of {row['series_id']} are {told}.", back)
    button = "Release" if is_release else "Reject"
    text = "They are published as they are." if is_release else "They are thrown away; the log keeps them."
    title = f"{button} {row['rows']} rows of {row['series_id']}?"
    return asked(form, title=title, text=text, button=button, back=back, is_danger=not is_release, error=error)
