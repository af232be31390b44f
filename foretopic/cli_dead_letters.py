"""Commands on dead letters, straight from Kafka: they work without a gateway, and each knows what they decide."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Literal

import click

from foretopic.cli_shared import CLOCK, console, json_option, open_broker, print_json, settings
from foretopic.log_access import read_to_end, topic_partitions
from foretopic.reporter import Reporter
from foretopic.stack_settings import StackSettings
from foretopic.tables import new_table
from runtime.broker import Broker, Producer
from runtime.dead_letter import again, decision, replay_of
from runtime.publisher import Publisher
from schemas.codec import decode, record_id
from schemas.dead_letters import DeadLetter, DeadLetterDecided
from schemas.errors import InvalidRecord
from schemas.topics import DEAD_LETTERS

_DELIVERY_SECONDS = 30.0
#: Who decided, in the records of the command line.
_COMMAND_LINE = "command-line"
_STATE_OF = {"replay": "replayed", "drop": "dropped"}
_Decision = Literal["replay", "drop"]

_names = click.argument("names", metavar="TOPIC/PARTITION/OFFSET", nargs=-1, required=True)
_yes = click.option("--yes", is_flag=True, help="Do not ask.")
_reason = click.option("--reason", default="", help="Why; it stands beside the decision.")


@dataclass(frozen=True)
class Kept:
    """A dead letter, and what was decided about it."""

    letter: DeadLetter
    decided: DeadLetterDecided | None

    @property
    def name(self) -> str:
        """Return where the message stood."""
        return _place(self.letter)

    @property
    def state(self) -> str:
        """Return what became of it."""
        return "waiting" if self.decided is None else _STATE_OF[self.decided.decision]


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at messages that no service could handle, send them again, let them go."""


@dead_letters.command("list")
@json_option
def dead_letters_list(as_json: bool) -> None:
    """List the dead letters.

    Example: foretopic dead-letters list
    """
    kept = _kept()
    if as_json:
        print_json([_as_document(one) for one in kept.values()])
        return
    table = new_table("Dead letters", ["message", "state", "service", "attempts", "bytes", "reason"], prose=["reason"])
    for one in kept.values():
        letter = one.letter
        size = str(len(letter.value or b""))
        table.add_row(one.name, one.state, letter.service, str(letter.attempts), size, letter.reason)
    Reporter(console()).show(table)


@dead_letters.command("show")
@click.argument("name", metavar="TOPIC/PARTITION/OFFSET")
def dead_letters_show(name: str) -> None:
    """Show one dead letter whole, as JSON.

    Example: foretopic dead-letters show forecast-requests/3/41
    """
    print_json(_as_document(_named(_kept(), name)))


@dead_letters.command("replay")
@_names
@_yes
@_reason
def dead_letters_replay(names: tuple[str, ...], yes: bool, reason: str) -> None:
    """Send the original messages again, bytes and headers as they were, to their topics.

    Worth it once a service that could not read them can. What is handled already is recognised by its id.

    Example: foretopic dead-letters replay forecast-requests/3/41
    """
    _decide(names, "replay", yes=yes, reason=reason, question="Send {count} message(s) again?")


@dead_letters.command("drop")
@_names
@_yes
@_reason
def dead_letters_drop(names: tuple[str, ...], yes: bool, reason: str) -> None:
    """Let messages go: they are no longer waiting, and stay in the log.

    Example: foretopic dead-letters drop forecast-requests/3/41 --reason "sent by a test"
    """
    _decide(names, "drop", yes=yes, reason=reason, question="Let {count} message(s) go?")


def _decide(names: tuple[str, ...], what: _Decision, *, yes: bool, reason: str, question: str) -> None:
    found = settings()
    kept = _kept()
    chosen = [_named(kept, name) for name in dict.fromkeys(names)]
    for one in chosen:
        if one.decided is not None:
            raise click.BadParameter(
                f"{one.name} was {one.state} before; the first decision counts", param_hint="TOPIC/PARTITION/OFFSET"
            )
    if not yes:
        click.confirm(question.format(count=len(chosen)), abort=True)
    with open_broker(found) as broker:
        producer = broker.producer()
        publisher = Publisher(producer, service="cli", clock=CLOCK, topic_prefix=found.topic_prefix)
        try:
            for one in chosen:
                click.echo(_carry_out(one, what, found, producer, publisher, reason=reason))
        finally:
            producer.close()


def _carry_out(
    one: Kept, what: _Decision, found: StackSettings, producer: Producer, publisher: Publisher, *, reason: str
) -> str:
    letter, place, told = one.letter, None, f"{one.name} is let go."
    if what == "replay":
        try:
            message = again(letter, topic_prefix=found.topic_prefix)
        except ValueError as error:
            raise click.BadParameter(f"{one.name}: {error}", param_hint="TOPIC/PARTITION/OFFSET") from error
        place = producer.send(message).result(_DELIVERY_SECONDS)
        told = f"{one.name} now stands at {letter.topic}/{place[0]}/{place[1]}."
    record = decision(letter, what, decided_by=_COMMAND_LINE, reason=reason, place=place)
    publisher.send(DEAD_LETTERS, record).result(_DELIVERY_SECONDS)
    return told


def _kept() -> dict[str, Kept]:
    """Return the dead letters by their place, repeats once, each with the first decision about it."""
    found = settings()
    with open_broker(found) as broker:
        return _read(broker, found.topic_prefix)


def _read(broker: Broker, topic_prefix: str) -> dict[str, Kept]:
    letters: dict[str, DeadLetter] = {}
    decided: dict[str, DeadLetterDecided] = {}
    for message in read_to_end(broker, topic_partitions(broker, DEAD_LETTERS, topic_prefix), clock=CLOCK):
        try:
            record = decode(DEAD_LETTERS, message.value, message.headers).record
        except InvalidRecord as error:
            place = f"{message.topic}/{message.partition}/{message.offset}"
            click.echo(f"{place} is no dead letter: {error}", err=True)
            continue
        if isinstance(record, DeadLetter):
            letters.setdefault(_place(record), record)
        elif isinstance(record, DeadLetterDecided):
            decided.setdefault(_place(record), record)
    return {name: Kept(letter, decided.get(name)) for name, letter in letters.items()}


def _named(kept: dict[str, Kept], name: str) -> Kept:
    if name not in kept:
        raise click.BadParameter(
            f"no dead letter {name!r}; `foretopic dead-letters list` names them", param_hint="TOPIC/PARTITION/OFFSET"
        )
    return kept[name]


def _place(record: DeadLetter | DeadLetterDecided) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"


def _as_document(one: Kept) -> dict[str, object]:
    """Return a letter for people: bytes as text where they are UTF-8, as base64 where they are not."""
    letter = one.letter
    return {
        "dead_letter_id": record_id(letter),
        "message": one.name,
        "state": one.state,
        "service": letter.service,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "code_version": letter.code_version,
        "replay_of": replay_of(letter) or None,
        "key": _readable(letter.key),
        "headers": {name: _readable(value) for name, value in letter.headers.items()},
        "value": _readable(letter.value),
    }


def _readable(content: bytes | None) -> str | dict[str, str] | None:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}
