"""What an answer says of limits: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers)."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Response, g

from gateway.problems import Problem


@dataclass(frozen=True)
class Standing:
    """How a caller stands with one limit.

    Attributes:
        name: Of the policy, such as ``requests``.
        quota: How much there is in a window.
        window_seconds: How long a window is.
        remaining: How much is left.
        reset_seconds: When there is more again.
    """

    name: str
    quota: int
    window_seconds: int
    remaining: int
    reset_seconds: int


def note(standing: Standing) -> None:
    """Let the answer to the current request tell ``standing``."""
    g.setdefault("standings", {})[standing.name] = standing


def exceeded(code: str, detail: str, standing: Standing, advice: str = "") -> Problem:
    """Return the 429 of somebody who is over a limit; the answer tells the standing too.

    Args:
        code: Of the problem.
        detail: What was asked for, and how much there is.
        standing: With which limit.
        advice: What to do where to wait is of no use.
    """
    note(standing)
    return Problem(
        429,
        code,
        f"{detail}; {advice or f'come again in {standing.reset_seconds} seconds'}",
        headers={"Retry-After": str(standing.reset_seconds)},
        extensions={"violated-policies": [standing.name]},
    )


def tell(response: Response) -> None:
    """Put what was noted on the answer."""
    standings: dict[str, Standing] | None = g.get("standings")
    if not standings:
        return
    response.headers["RateLimit-Policy"] = ", ".join(
        f'"{one.name}";q={one.quota};w={one.window_seconds}' for one in standings.values()
    )
    response.headers["RateLimit"] = ", ".join(
        f'"{one.name}";r={one.remaining};t={one.reset_seconds}' for one in standings.values()
    )
