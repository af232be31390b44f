"""Commands that go to Kafka itself: topics, forecasts as they come, dead letters."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator

import click

from foretopic.cli_shared import CLOCK, console, json_option, open_broker, print_json, settings
from foretopic.errors import ForetopicError
from foretopic.log_access import read_to_end, topic_partitions
from foretopic.reporter import Reporter
from foretopic.subscription import Alarm, StartError, Subscription, as_json, as_line, start_offsets
from foretopic.tables import new_table
from runtime.broker import Broker, Message, OutgoingMessage, TopicPartition
from runtime.topic_specs import specs
from schemas.codec import decode
from schemas.dead_letters import DeadLetter
from schemas.errors import InvalidRecord
from schemas.topics import DEAD_LETTERS, FORECASTS, TOPIC_BY_NAME, TOPICS

_POLL_SECONDS = 0.5
_DELIVERY_SECONDS = 30.0


@click.group()
def topics() -> None:
    """Create and list the topics."""


@topics.command("create")
@click.option("--replicas", default=1, show_default=True, type=click.IntRange(1, 7), help="Copies of each message.")
def topics_create(replicas: int) -> None:
    """Create the topics that do not exist.

    Example: foretopic topics create --replicas 3
    """
    found = settings()
    wanted = specs(found.topic_prefix, replicas)
    with open_broker(found) as broker:
        missing = [spec.name for spec in wanted if broker.partitions(spec.name) == 0]
        try:
            broker.ensure_topics(wanted)
        except ValueError as error:
            raise ForetopicError(str(error)) from error
    click.echo(f"Created: {', '.join(missing)}." if missing else "All topics exist.")


@topics.command("list")
@json_option
def topics_list(as_json: bool) -> None:
    """List the topics with the messages that they hold.

    Example: foretopic topics list
    """
    found = settings()
    rows = []
    with open_broker(found) as broker:
        for topic in TOPICS:
            name = topic.full_name(found.topic_prefix)
            places = [TopicPartition(name, number) for number in range(broker.partitions(name))]
            begins, ends = broker.begin_offsets(places), broker.end_offsets(places)
            kept = "for ever" if topic.retention is None else f"{topic.retention.days} days"
            offsets = sum(ends[place] - begins[place] for place in places)
            rows.append({"topic": name, "partitions": len(places), "offsets": offsets, "kept": kept})
    if as_json:
        print_json(rows)
        return
    table = new_table("Topics", ["topic", "partitions", "offsets", "kept"])
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Reporter(console()).show(table)


@click.command()
@click.option("--series", "series_id", help="Only this series.")
@click.option(
    "--from", "start", default="now", show_default=True, help="now, earliest, an offset, or a time (UTC unless zoned)."
)
@click.option("--limit", type=click.IntRange(1), help="Stop after so many.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object a line.")
def subscribe(series_id: str | None, start: str, limit: int | None, is_json: bool) -> None:
    """Print forecasts as they come, straight from Kafka. Ctrl-C ends it.

    A repeat (the same `ce_id`) is shown once. One id over two different contents is called out on standard error, and
    makes the exit code 1.

    Example: foretopic subscribe --series market/AAPL@1d --from earliest
    """
    found = settings()
    subscription = Subscription(series_id)
    has_alarm = False
    with open_broker(found) as broker:
        places = topic_partitions(broker, FORECASTS, found.topic_prefix)
        try:
            positions = start_offsets(broker, places, start, series_id=series_id)
        except StartError as error:
            raise click.BadParameter(str(error), param_hint="--from") from error
        shown = 0
        for message in _for_ever(broker, positions):
            taken = subscription.take(message)
            if isinstance(taken, Alarm):
                has_alarm = True
                click.echo(f"ALARM at {_place(message)}: {taken.text}", err=True)
            elif taken is not None:
                click.echo(as_json(taken) if is_json else as_line(taken))
                shown += 1
                if shown == limit:
                    break
    sys.exit(1 if has_alarm else 0)


def _for_ever(broker: Broker, positions: dict[TopicPartition, int]) -> Iterator[Message]:
    """Yield messages as they come, until Ctrl-C."""
    reader = broker.reader(positions)
    try:
        while True:
            yield from reader.poll(_POLL_SECONDS)
    except KeyboardInterrupt:
        return
    finally:
        reader.close()


def _place(message: Message) -> str:
    return f"{message.topic}/{message.partition}/{message.offset}"


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at messages that no service could handle, and send them again."""


@dead_letters.command("list")
@json_option
def dead_letters_list(as_json: bool) -> None:
    """List the dead letters.

    Example: foretopic dead-letters list
    """
    letters = _letters()
    if as_json:
        print_json([_as_document(letter) for letter in letters.values()])
        return
    table = new_table("Dead letters", ["message", "service", "attempts", "bytes", "reason"])
    for name, letter in letters.items():
        table.add_row(name, letter.service, str(letter.attempts), str(len(letter.value or b"")), letter.reason)
    Reporter(console()).show(table)


@dead_letters.command("show")
@click.argument("name", metavar="TOPIC/PARTITION/OFFSET")
def dead_letters_show(name: str) -> None:
    """Show one dead letter whole, as JSON.

    Example: foretopic dead-letters show forecast-requests/3/41
    """
    print_json(_as_document(_letter(_letters(), name)))


@dead_letters.command("replay")
@click.argument("names", metavar="TOPIC/PARTITION/OFFSET", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def dead_letters_replay(names: tuple[str, ...], yes: bool) -> None:
    """Send the original messages again, bytes and headers as they were, to their topics.

    Worth it once a service that could not read them can. What is handled already is recognised by its id.

    Example: foretopic dead-letters replay forecast-requests/3/41
    """
    found = settings()
    letters = _letters()
    chosen = [_letter(letters, name) for name in names]
    if not yes:
        click.confirm(f"Send {len(chosen)} message(s) again?", abort=True)
    with open_broker(found) as broker:
        producer = broker.producer()
        try:
            for letter in chosen:
                topic = TOPIC_BY_NAME[letter.topic].full_name(found.topic_prefix)
                headers = tuple(letter.headers.items())
                sent = producer.send(OutgoingMessage(topic=topic, key=letter.key, value=letter.value, headers=headers))
                partition, offset = sent.result(_DELIVERY_SECONDS)
                click.echo(f"{_name(letter)} now stands at {letter.topic}/{partition}/{offset}.")
        finally:
            producer.close()


def _letters() -> dict[str, DeadLetter]:
    """Return the dead letters by their place, repeats once."""
    found = settings()
    letters: dict[str, DeadLetter] = {}
    with open_broker(found) as broker:
        for message in read_to_end(broker, topic_partitions(broker, DEAD_LETTERS, found.topic_prefix), clock=CLOCK):
            try:
                record = decode(DEAD_LETTERS, message.value, message.headers).record
            except InvalidRecord as error:
                click.echo(f"{_place(message)} is no dead letter: {error}", err=True)
                continue
            if isinstance(record, DeadLetter):
                letters[_name(record)] = record
    return letters


def _letter(letters: dict[str, DeadLetter], name: str) -> DeadLetter:
    if name not in letters:
        raise click.BadParameter(
            f"no dead letter {name!r}; `foretopic dead-letters list` names them", param_hint="TOPIC/PARTITION/OFFSET"
        )
    return letters[name]


def _name(letter: DeadLetter) -> str:
    return f"{letter.topic}/{letter.partition}/{letter.offset}"


def _as_document(letter: DeadLetter) -> dict[str, object]:
    """Return a letter for people: bytes as text where they are UTF-8, as base64 where they are not."""
    return {
        "message": _name(letter),
        "service": letter.service,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "code_version": letter.code_version,
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
