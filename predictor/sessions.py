"""Loaded models, the most recently used ones kept."""

from __future__ import annotations

from collections import OrderedDict

from forecasting.errors import InvalidArtefact
from forecasting.serving import LoadedModel
from schemas.models import ModelReleased


class Sessions:
    """Load a release's ONNX graph and recipe once, keep the ``limit`` most recently used."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit must be >= 1, was {limit}")
        self.limit = limit
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()

    def of(self, release: ModelReleased) -> LoadedModel:
        """Return the loaded model of a release; the artefact digest is its identity.

        Raises:
            InvalidArtefact: Recipe or graph cannot be served, or are not those that the digest names.
        """
        digest = release.artefact_digest
        loaded = self._loaded.get(digest)
        if loaded is None:
            loaded = LoadedModel.load(release.recipe, release.graph)
            if loaded.artefact.digest != digest:
                raise InvalidArtefact(
                    "artefact-digest",
                    field="artefact_digest",
                    expected=f"that of recipe and graph, {loaded.artefact.digest}",
                    found=digest,
                    advice=f"train {release.model} again",
                )
            self._loaded[digest] = loaded
            if len(self._loaded) > self.limit:
                self._loaded.popitem(last=False)
        else:
            self._loaded.move_to_end(digest)
        return loaded

    def __len__(self) -> int:
        return len(self._loaded)
