"""The commands of the command line, for tests that look at all of them."""

from __future__ import annotations

from collections.abc import Iterator

import click


def commands_of(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """Yield name and command of a group, also of those that are imported when they are asked for."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        yield name, command
