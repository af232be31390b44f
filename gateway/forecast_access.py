"""Which forecasts a caller may look at.

A forecast belongs to the project of its series, and shows what its model makes of it: who may not look at both does not
see it. Of a public project everybody sees what was forecast, and only the organisation that asked for it sees that it
did: its requests, and the newest forecast among its own and those that nobody asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.access import PUBLIC_PROJECTS, Principal, project_of
from gateway.guard import principal
from gateway.history import organisation_of, subject
from gateway.projects_of import Projects
from gateway.service import GatewayService
from schemas.forecasts import ForecastRequested


@dataclass(frozen=True)
class Reader:
    """What a caller may read, in the words of SQL.

    Attributes:
        projects: Of series and models; ``None``: all there are, whoever asked.
        organisation_ids: For whom the caller asks.
    """

    projects: Projects
    organisation_ids: frozenset[str]

    def may_read_request(self, series_id: str | None, model: str, organisation_id: str) -> bool:
        """Return whether this is a request that the caller may know of."""
        if self.projects is None:
            return True
        named = {project_of(name) for name in (series_id, model) if name}
        return named <= self.projects and (not named <= PUBLIC_PROJECTS or organisation_id in self.organisation_ids)

    def may_read(self, asked: ForecastRequested | None) -> bool:
        """Return whether the caller may know of an open request; ``None``: nobody knows yet what was asked."""
        if self.projects is None or asked is None:
            return self.projects is None
        _, model = subject(asked.series_id, asked.model)
        return self.may_read_request(asked.series_id, model, organisation_of(asked.requester))


def reader(service: GatewayService) -> Reader:
    """Return what the current caller may read."""
    asking: Principal = principal()
    return Reader(service.access.visible(asking), frozenset(asking.roles) - {""})
