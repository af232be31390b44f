"""What the pages are made of: tables, facts, forms, questions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import Response, flash, make_response, redirect, render_template, request
from flask_wtf import FlaskForm  # type: ignore[import-untyped]
from wtforms import StringField  # type: ignore[import-untyped]
from wtforms.validators import Length, NumberRange, Optional  # type: ignore[import-untyped]

from gateway import parameters
from gateway.account_answers import utc_of
from gateway.problems import Problem

#: Title and endpoint of each part, in the order of the menu.
PARTS = (
    ("Overview", "admin.overview"),
    ("Users", "admin.users"),
    ("Organisations", "admin.organisations"),
    ("Projects", "admin.projects"),
    ("API keys", "admin.keys"),
    ("Quarantine", "admin.quarantine"),
    ("Dead letters", "admin.dead_letters"),
    ("Webhooks", "admin.webhooks"),
    ("Audit log", "admin.audit_log"),
    ("Signing keys", "admin.signing_keys"),
)
LIMIT = 50
#: Of a field that has a quota, and what stands above such fields.
WITHIN = (Optional(), NumberRange(min=0, max=2**31 - 1))
OF_QUOTAS = "An empty field is as the settings say; 0 is no limit."
_SEE_OTHER = 303
_LONGEST_REASON = 2000


@dataclass(frozen=True)
class Cell:
    """A cell of a table: text, with where it leads and how it looks (`good`, `warn`, `bad`, `code`)."""

    text: object
    href: str = ""
    look: str = ""


@dataclass(frozen=True)
class Table:
    """A table; without rows, ``empty`` stands in its place."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    empty: str
    title: str = ""


@dataclass(frozen=True)
class Action:
    """A way to a page that does something; ``is_danger``: what it does cannot be undone."""

    text: str
    href: str
    is_danger: bool = False


@dataclass(frozen=True)
class Choice:
    """A field that filters a list: free text, or one of the options."""

    name: str
    label: str
    options: Sequence[str] = ()
    value: str = ""


@dataclass
class Shown:
    """One thing: facts, what can be done with it, and what belongs to it."""

    title: str
    facts: Sequence[tuple[str, Cell]] = ()
    actions: Sequence[Action] = ()
    tables: Sequence[Table] = ()
    #: Title and text of what is shown as it is.
    texts: Sequence[tuple[str, str]] = ()
    back: tuple[str, str] | None = None
    note: str = ""


class ConfirmForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A question."""


class ReasonForm(FlaskForm):  # type: ignore[misc]  # likewise
    """A question that may be answered with a reason."""

    reason = StringField("Reason, for others", validators=[Length(max=_LONGEST_REASON)])


def page(template: str, status: int = 200, **values: Any) -> Response:
    """Return a page of the admin."""
    return make_response(render_template(f"admin/{template}", **{"parts": PARTS, **values}), status)


def listed(
    title: str,
    table: Table,
    *,
    filters: Sequence[Choice] = (),
    actions: Sequence[Action] = (),
    following: str | None = None,
    note: str = "",
) -> Response:
    """Return a page with one table; ``following`` is the path of the next one."""
    return page("list.html", title=title, table=table, filters=filters, actions=actions, following=following, note=note)


def shown(what: Shown) -> Response:
    """Return the page of one thing."""
    return page("detail.html", what=what, title=what.title)


def asked(
    form: Any, *, title: str, button: str, back: str, text: str = "", is_danger: bool = False, error: str = ""
) -> Response:
    """Return a page with a form; 400 where it was sent and is not as it must be."""
    status = 400 if request.method == "POST" else 200
    values = {"text": text, "button": button, "back": back, "is_danger": is_danger, "error": error}
    return page("form.html", status, title=title, form=form, **values)


def done(told: str, path: str) -> Response:
    """Go on to another page, which tells what was done."""
    flash(told)
    return make_response(redirect(path, _SEE_OTHER))


def sentence(problem: Problem) -> str:
    """Return what a problem says as a sentence."""
    return f"{problem.detail[:1].upper()}{problem.detail[1:]}."


def given(name: str) -> str | None:
    """Return what a list is filtered by, ``None`` for a field that was left empty.

    Raises:
        Problem: 422; it has characters that nothing has.
    """
    return parameters.text(name) if request.args.get(name) else None


def after(**values: object) -> str:
    """Return the path of this list with other values in its query."""
    kept = {**request.args.to_dict(), **{name: str(value) for name, value in values.items()}}
    return f"{request.path}?{urlencode(kept)}"


def when(time: datetime | None) -> Cell:
    """Return a time to the second, UTC."""
    return Cell("never" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}")


def when_us(microseconds: int | None) -> Cell:
    """Return a time of the accounts database."""
    return when(utc_of(microseconds))


def yes(claim: object, text: str = "yes", look: str = "") -> Cell:
    """Return ``text`` where a claim holds."""
    return Cell(text if claim else "", look=look)


def joined(parts: Iterable[object]) -> str:
    """Return parts as a list in words."""
    return ", ".join(str(part) for part in parts)
