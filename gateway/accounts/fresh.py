"""Rows that are asked for at every request, from memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import Connection

from gateway.accounts.database import AccountsDatabase

#: What another gateway changed is seen here after at most so long.
FRESH_SECONDS = 4.0
_MOST = 10_000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True)
class _Entry(Generic[V]):
    value: V
    read_at: float
    generation: int


class Fresh(Generic[K, V]):
    """Gives what was read a few seconds ago at most, and nothing older than the last change on this gateway.

    Args:
        database: Where it is read.
        load: Reads the value of a key; ``None``: there is none, which is not remembered, so that nobody fills the
            memory with keys that they made up.
    """

    def __init__(self, database: AccountsDatabase, load: Callable[[Connection, K], V | None]) -> None:
        self._database = database
        self._load = load
        self._entries: dict[K, _Entry[V]] = {}

    def get(self, key: K) -> V | None:
        """Return the value of a key, or ``None``."""
        # Before the read: a change that comes in between makes what was read out of date.
        generation, now = self._database.generation, self._database.clock.monotonic()
        entry = self._entries.get(key)
        if entry is not None and entry.generation == generation and now - entry.read_at < FRESH_SECONDS:
            return entry.value
        with self._database.read() as connection:
            value = self._load(connection, key)
        if value is None:
            self._entries.pop(key, None)
            return None
        if len(self._entries) >= _MOST:
            self._entries.clear()
        self._entries[key] = _Entry(value, now, generation)
        return value
