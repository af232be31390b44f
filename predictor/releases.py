"""Model versions and their roles, as they stood at any prefix of `models` and `deployments`."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from predictor.refusals import Refused
from schemas.forecasts import AsOf
from schemas.models import Deployment, ModelReleased, Role


@dataclass(frozen=True, slots=True)
class ChosenVersion:
    """The version that answers a request, and the messages that say so."""

    release: ModelReleased
    model_offset: int
    role: Role
    #: Null when the request named the version.
    deployment_offset: int | None


@dataclass(slots=True)
class _ModelLog:
    """What the log says of one model name."""

    #: Version -> offset of the message that released it first, and the release.
    releases: dict[str, tuple[int, ModelReleased]] = field(default_factory=dict)
    #: Offsets of the deployments that made a champion, ascending, and the version that each made.
    champion_offsets: list[int] = field(default_factory=list)
    champion_versions: list[str] = field(default_factory=list)
    #: (offset, version, role) of the other deployments, offsets ascending.
    roles: list[tuple[int, str, Role]] = field(default_factory=list)


class Releases:
    """Fold releases and deployments by log order; answer for any prefix that has been read.

    The first message that releases a version counts, and the first that carries a deployment id: repeats change
    nothing. A champion record counts from its offset on, one with ``only_if_first`` only where no champion record
    stands before it. A prefix of `deployments` may name a version that the prefix of `models` beside it does not
    hold yet (the two are read at different moments): then the champion before it still answers.
    """

    def __init__(self) -> None:
        self._models: dict[str, _ModelLog] = {}
        self._deployment_ids: set[str] = set()
        #: Series -> names of the models that some version was trained on it for.
        self._models_of_series: dict[str, set[str]] = {}

    def learn_release(self, offset: int, release: ModelReleased) -> None:
        """Take in the release at ``offset``; offsets come in ascending order."""
        log = self._models.setdefault(release.model, _ModelLog())
        log.releases.setdefault(release.version, (offset, release))
        for series_id in release.series_ids:
            self._models_of_series.setdefault(series_id, set()).add(release.model)

    def learn_deployment(self, offset: int, deployment: Deployment) -> None:
        """Take in the deployment at ``offset``; offsets come in ascending order."""
        if deployment.deployment_id in self._deployment_ids:
            return
        self._deployment_ids.add(deployment.deployment_id)
        log = self._models.setdefault(deployment.model, _ModelLog())
        if deployment.role != "champion":
            log.roles.append((offset, deployment.version, deployment.role))
        elif not (deployment.only_if_first and log.champion_offsets):
            log.champion_offsets.append(offset)
            log.champion_versions.append(deployment.version)

    def choose(self, reference: str, as_of: AsOf) -> ChosenVersion:
        """Return the version that ``reference`` (a model name, or ``name:version``) means at these prefixes.

        Raises:
            Refused: ``unknown-model`` or ``no-champion``.
        """
        name, _, version = reference.partition(":")
        log = self._models.get(name)
        if log is None or not any(offset < as_of.models for offset, _ in log.releases.values()):
            raise Refused(
                "unknown-model",
                field="model",
                expected="the name of a released model",
                found=reference,
                advice="train it first, or name another",
            )
        if version:
            return self._named(log, name, version, as_of)
        champion = self._champion(log, as_of)
        if champion is None:
            raise Refused(
                "no-champion",
                field="model",
                expected="a model name with a champion",
                found=name,
                advice="deploy a version as champion, or name a version",
            )
        return champion

    def champions_for(self, series_id: str, as_of: AsOf) -> list[ChosenVersion]:
        """Return the champions that were trained on a series, one a model name, names ascending."""
        champions = (
            self._champion(self._models[name], as_of) for name in sorted(self._models_of_series.get(series_id, ()))
        )
        return [chosen for chosen in champions if chosen is not None and series_id in chosen.release.series_ids]

    @staticmethod
    def _champion(log: _ModelLog, as_of: AsOf) -> ChosenVersion | None:
        for index in reversed(range(bisect_left(log.champion_offsets, as_of.deployments))):
            found = log.releases.get(log.champion_versions[index])
            if found is not None and found[0] < as_of.models:
                model_offset, release = found
                return ChosenVersion(release, model_offset, "champion", log.champion_offsets[index])
        return None

    def _named(self, log: _ModelLog, name: str, version: str, as_of: AsOf) -> ChosenVersion:
        found = log.releases.get(version)
        if found is None or found[0] >= as_of.models:
            known = sorted(key for key, (offset, _) in log.releases.items() if offset < as_of.models)
            raise Refused(
                "unknown-model",
                field="model",
                expected=f"a version of {name}: {', '.join(known[-5:])}",
                found=version,
            )
        champion = self._champion(log, as_of)
        role: Role = "shadow"
        if champion is not None and champion.release.version == version:
            role = "champion"
        else:
            for offset, deployed, deployed_role in log.roles:
                if deployed == version and offset < as_of.deployments:
                    role = deployed_role
        return ChosenVersion(found[1], found[0], role, None)
