"""Who may do what: permissions, roles, and the one place where a project is opened or kept shut.

Everything belongs to a project, the first part of the id of a series or a model; a project belongs to an organisation.
A project that somebody may not see does not exist for them: the answer is that for a missing thing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from gateway.problems import FieldFault, Problem


class Permission(StrEnum):
    """What a request can do to a project; `OPERATE` is about the whole installation."""

    READ = "read"
    #: Ask for forecasts.
    FORECAST = "forecast"
    #: Bring in data: ingests, uploads, schedules; make projects.
    WRITE = "write"
    TRAIN = "train"
    #: Choose the version that answers.
    DEPLOY = "deploy"
    #: Members, keys, webhooks, quotas; delete projects.
    MANAGE = "manage"
    OPERATE = "operate"


class Role(StrEnum):
    """What a member is in an organisation; operators of the installation are marked on the user."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"


NOTHING: frozenset[Permission] = frozenset()
EVERYTHING = frozenset(Permission)
_VIEWER = frozenset({Permission.READ})
_EDITOR = _VIEWER | {Permission.FORECAST, Permission.WRITE, Permission.TRAIN}
PERMISSIONS_OF: Mapping[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.EDITOR: _EDITOR,
    Role.ADMIN: _EDITOR | {Permission.DEPLOY, Permission.MANAGE},
}
#: Everybody who has signed in may look at these and ask for forecasts of them; only operators change them.
PUBLIC_PROJECTS = frozenset({"market"})
_PUBLIC = frozenset({Permission.READ, Permission.FORECAST})


def _always() -> bool:
    return True


@dataclass(frozen=True)
class Principal:
    """Who sends a request.

    Attributes:
        name: ``user/ID`` or ``key/ID``; empty for nobody and for the one user of a machine of one's own.
        organisation_id: For whom it asks for what belongs to no organisation, such as forecasts of public series.
        roles: Organisation id -> role there.
        is_operator: Runs the installation: may do everything.
        scopes: A key may do at most this; ``None``: no further limit.
        project_ids: A key may touch only these private projects; ``None``: no further limit.
        user_id: The person, also behind a key; empty for nobody.
        is_current: Asks anew whether the credentials are good and give the same rights: answers that go on ask it.
        requests_a_minute: A key may send at most so many; ``None``: as many as the settings say.
    """

    name: str = ""
    organisation_id: str = ""
    roles: Mapping[str, Role] = field(default_factory=dict)
    is_operator: bool = False
    scopes: frozenset[Permission] | None = None
    project_ids: frozenset[str] | None = None
    user_id: str = ""
    is_current: Callable[[], bool] = field(default=_always, compare=False, repr=False)
    requests_a_minute: int | None = None

    @property
    def is_anonymous(self) -> bool:
        """Return whether nobody has signed in."""
        return not self.roles and not self.is_operator and not self.name

    @property
    def requester(self) -> str:
        """Return what records say of who asked: ``organisation/user/ID``, or nothing on a machine of one's own."""
        return f"{self.organisation_id}/{self.name}" if self.name else ""

    def anywhere(self) -> frozenset[Permission]:
        """Return what it may do to some project or other; public ones need no role."""
        if self.is_anonymous:
            return NOTHING
        if self.is_operator:
            return self.in_scope(EVERYTHING)
        return self.in_scope(_PUBLIC.union(*(PERMISSIONS_OF[role] for role in self.roles.values())))

    def in_organisation(self, organisation_id: str) -> frozenset[Permission]:
        """Return what it may do in an organisation."""
        if self.is_operator:
            return self.in_scope(EVERYTHING)
        role = self.roles.get(organisation_id)
        return NOTHING if role is None else self.in_scope(PERMISSIONS_OF[role])

    def in_scope(self, held: frozenset[Permission]) -> frozenset[Permission]:
        """Return the part of ``held`` that a key with scopes keeps."""
        return held if self.scopes is None else held & self.scopes


#: Nobody: no credentials came with the request.
ANONYMOUS = Principal()
#: The one user of a machine of one's own, where the gateway listens on the loopback address only.
LOCAL = Principal(is_operator=True)


class Projects(Protocol):
    """Which organisation a project belongs to."""

    def organisation_of(self, project_id: str) -> str | None:
        """Return the id of the organisation, or ``None`` for a project that is not registered; cheap."""
        ...

    def of_organisations(self, organisation_ids: frozenset[str]) -> frozenset[str]:
        """Return the ids of all projects of these organisations."""
        ...


class Access:
    """Decides on projects."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects

    def permissions(self, principal: Principal, project_id: str) -> frozenset[Permission]:
        """Return what ``principal`` may do to a project; nothing: for them it does not exist."""
        if principal.is_anonymous:
            return NOTHING
        if principal.is_operator and principal.project_ids is None:
            return principal.in_organisation("")
        public = principal.in_scope(_PUBLIC) if project_id in PUBLIC_PROJECTS else NOTHING
        if principal.project_ids is not None and project_id not in principal.project_ids:
            return public
        organisation_id = self._projects.organisation_of(project_id)
        return public if organisation_id is None else public | principal.in_organisation(organisation_id)

    def visible(self, principal: Principal) -> frozenset[str] | None:
        """Return the projects that ``principal`` may read, public ones included; ``None``: all there are."""
        if Permission.READ not in principal.anywhere():
            return frozenset()
        if principal.is_operator and principal.project_ids is None:
            return None
        own = self._projects.of_organisations(frozenset(principal.roles))
        return PUBLIC_PROJECTS | (own if principal.project_ids is None else own & principal.project_ids)

    def may(self, principal: Principal, permission: Permission, project_id: str) -> bool:
        """Return whether ``principal`` may do this to a project."""
        return permission in self.permissions(principal, project_id)

    def require(self, principal: Principal, permission: Permission, project_id: str, missing: Problem) -> None:
        """Let through who may do this to a project.

        Args:
            principal: Who asks.
            permission: What for.
            project_id: The project of the thing that was named.
            missing: The answer for a thing that does not exist; who may not see the project gets the same.

        Raises:
            Problem: ``missing``, or 403 for a member whose role is too low.
        """
        held = self.permissions(principal, project_id)
        if permission in held:
            return
        if Permission.READ not in held:
            raise missing
        raise forbidden(permission, f"in the project {project_id}")


def forbidden(permission: Permission, where: str) -> Problem:
    """Return the answer for somebody whose role or scope is too low."""
    expected = f"the permission {permission} {where}".strip()
    return Problem(
        403,
        "forbidden",
        f"{expected} is needed; an admin of the organisation can give a role or a key that has it",
        errors=[FieldFault(field="Authorization", expected=expected, found="a lower role or scope")],
    )


def project_of(series_or_model: str) -> str:
    """Return the project of the id of a series or of the name of a model.

    >>> project_of("market/AAPL@1d")
    'market'
    """
    return series_or_model.partition("/")[0]
