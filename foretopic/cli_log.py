"""Commands that go to Kafka itself: topics, and forecasts as they come."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from foretopic.cli_shared import console, json_option, open_broker, print_json, settings
from foretopic.errors import ForetopicError
from foretopic.log_access import topic_partitions
from foretopic.reporter import Reporter
from foretopic.subscription import Alarm, StartError, Subscription, as_json, as_line, start_offsets
from foretopic.tables import new_table
from runtime.broker import Broker, Message, TopicPartition
from runtime.topic_specs import specs
from schemas.topics import FORECASTS, TOPICS

_POLL_SECONDS = 0.5


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
