"""What is said of a path that will go: `Deprecation` (RFC 9745), `Sunset` (RFC 8594), and what takes its place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask import Response
from werkzeug.http import http_date


@dataclass(frozen=True, kw_only=True)
class Deprecation:
    """What is known of a deprecated path.

    Attributes:
        since: From when on it was deprecated.
        guide: Where a person reads what to do instead.
        sunset: From when on it may be gone; ``None``: no day is set.
    """

    since: datetime
    guide: str
    sunset: datetime | None = None

    def mark(self, response: Response, successor: str) -> Response:
        """Say it on an answer.

        Args:
            response: The answer.
            successor: The path that takes the place of this one.
        """
        response.headers["Deprecation"] = f"@{int(self.since.timestamp())}"
        links = (f'<{successor}>; rel="successor-version"', f'<{self.guide}>; rel="deprecation"; type="text/html"')
        response.headers["Link"] = ", ".join(links)
        if self.sunset is not None:
            response.headers["Sunset"] = http_date(self.sunset)
        return response
