"""How much is asked of each provider: fetches at once, fetches a minute, and none while it does not answer.

A provider is a source, or a host of the source `url`. What one provider does is no other's concern: each has its own
places, budget and waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import urlsplit

from ingestor.errors import SourceUnreachable
from runtime.worker import Backoff

_MINUTE = 60.0
#: Waits before a provider that does not answer is asked again: doubling, and the same for all its series.
_AWAY = Backoff(first_seconds=1.0, max_seconds=60.0)
#: Says of which day a series without a start begins; ``None``: only the source knows.
FirstDay = Callable[[str, date], date | None]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How a source is asked.

    Attributes:
        parallel: Fetches of one of its providers at once, >= 1.
        per_minute: Fetches of one of its providers a minute, > 0; ``None``: any number. As many may come at once.
        is_remote: Whether it may be away for a while; others are not asked a second time.
        by_host: Whether each host is a provider of its own; the symbols are addresses.
        chunk_rows: Rows that one fetch of a long range asks for; ``None``: all of it at once.
        first_day: The first day of a series without a start, from its freq and today.
        is_incremental: Whether a scheduled run asks only for what came since the newest row: the source restates
            nothing older.
    """

    parallel: int = 2
    per_minute: float | None = None
    is_remote: bool = False
    by_host: bool = False
    chunk_rows: int | None = None
    first_day: FirstDay = field(default=lambda _freq, _today: None)
    is_incremental: bool = False


@dataclass(kw_only=True)
class RateBudget:
    """A bucket of fetches that fills steadily up to one minute's worth.

    Attributes:
        per_minute: Fetches a minute, > 0.
        at: When it was looked at last, in seconds of a clock that never goes back.
    """

    per_minute: float
    at: float
    _left: float = -1.0

    def __post_init__(self) -> None:
        self._left = self._most

    @property
    def _most(self) -> float:
        return max(1.0, self.per_minute)

    def has(self, at: float) -> bool:
        """Return whether a fetch may begin at ``at``."""
        self._left = min(self._most, self._left + (at - self.at) * self.per_minute / _MINUTE)
        self.at = at
        return self._left >= 1

    def take(self) -> None:
        """Count a fetch that begins."""
        self._left -= 1


@dataclass(kw_only=True)
class Provider:
    """What is going on with one provider.

    Attributes:
        policy: That of its source.
        budget: ``None``: any number.
        running: Fetches that run.
        away_until: It is not asked before; seconds of a clock that never goes back.
        reason: Why it is away.
    """

    policy: Policy
    budget: RateBudget | None
    running: int = 0
    away_until: float = float("-inf")
    reason: str = ""
    _failures: int = 0

    def is_away(self, at: float) -> bool:
        """Return whether it is not to be asked at ``at``."""
        return at < self.away_until

    def has_room(self, at: float) -> bool:
        """Return whether a fetch may begin at ``at``."""
        return self.running < self.policy.parallel and (self.budget is None or self.budget.has(at))

    def begin(self) -> None:
        """Count a fetch that begins."""
        self.running += 1
        if self.budget is not None:
            self.budget.take()

    def end(self, fault: Exception | None, at: float) -> None:
        """Count a fetch that has ended at ``at``: one without an answer puts the next ones off."""
        self.running -= 1
        if not isinstance(fault, SourceUnreachable):
            self._failures = 0
            return
        if not self.policy.is_remote:
            return
        self._failures += 1
        wait = max(_AWAY.delay_seconds(self._failures), fault.retry_after_seconds or 0.0)
        self.away_until, self.reason = max(self.away_until, at + wait), str(fault)


class Providers:
    """All providers that were asked.

    Args:
        policies: Of sources by name; the default holds for others.
    """

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        self._policies = policies
        self._providers: dict[str, Provider] = {}

    def policy(self, source: str) -> Policy:
        """Return how a source is asked."""
        return self._policies.get(source) or Policy()

    def of(self, source: str, symbol: str, at: float) -> Provider:
        """Return the provider of a symbol; ``at`` is now, in seconds of a clock that never goes back."""
        policy = self.policy(source)
        key = f"{source} {_host(symbol)}" if policy.by_host else source
        if key not in self._providers:
            budget = None if policy.per_minute is None else RateBudget(per_minute=policy.per_minute, at=at)
            self._providers[key] = Provider(policy=policy, budget=budget)
        return self._providers[key]


def _host(symbol: str) -> str:
    try:
        return urlsplit(symbol).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""
