"""What can be set about an algorithm, with kind and bounds; anything else is refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forecasting.artefact import Setting
from forecasting.errors import InvalidTraining

_MAX_LAYERS = 8
_MAX_LAYER_SIZE = 2_048


@dataclass(frozen=True, kw_only=True)
class SearchRange:
    """Where a search looks for good values: narrower than what is allowed.

    Attributes:
        low: Least number.
        high: Greatest number.
        is_log: Whether numbers are drawn by their logarithm.
        choices: The values themselves, for words, truths and layer sizes; numbers have none.
    """

    low: float = 0.0
    high: float = 0.0
    is_log: bool = False
    choices: tuple[Setting, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Hyperparameter:
    """One number, truth, choice or list of layer sizes.

    Attributes:
        name: As callers write it.
        default: Also says the kind: bool, int, float or str.
        minimum: Least number allowed.
        maximum: Greatest number allowed.
        choices: Allowed words; empty for other kinds.
        is_layers: Whether it is a list of layer sizes such as ``100,50``.
        description: What it does.
        search: Where a search looks for it; ``None`` keeps it as it is.
    """

    name: str
    default: Setting
    minimum: float = -math.inf
    maximum: float = math.inf
    choices: tuple[str, ...] = ()
    is_layers: bool = False
    description: str
    search: SearchRange | None = None

    @property
    def expected(self) -> str:
        """What a value may be, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.is_layers:
            return f"1 to {_MAX_LAYERS} layer sizes of 1 to {_MAX_LAYER_SIZE}, such as 100,50"
        if isinstance(self.default, bool):
            return "true or false"
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        return f"{kind} from {self.minimum:g} to {self.maximum:g}"

    def parse(self, found: Setting) -> Setting:
        """Return a value in the kind of the default.

        Raises:
            InvalidTraining: ``invalid-hyperparameter``.
        """
        parsed = self._parsed(found)
        if parsed is None:
            raise InvalidTraining(
                "invalid-hyperparameter",
                field=f"hyperparameters.{self.name}",
                expected=self.expected,
                found=repr(found),
            )
        return parsed

    def _parsed(self, found: Setting) -> Setting | None:
        if isinstance(self.default, bool):
            return found if isinstance(found, bool) else None
        if self.is_layers:
            return _layers_text(found)
        if isinstance(self.default, str):
            return found if found in self.choices else None
        if isinstance(found, (bool, str)) or not self.minimum <= found <= self.maximum:
            return None
        if isinstance(self.default, int):
            return int(found) if float(found).is_integer() else None
        return float(found)


def resolve(declared: Sequence[Hyperparameter], given: Mapping[str, Setting], algorithm: str) -> dict[str, Setting]:
    """Return every declared hyperparameter with the value given or its default.

    Raises:
        InvalidTraining: ``unknown-hyperparameter`` or ``invalid-hyperparameter``.
    """
    known = {part.name: part for part in declared}
    for name in given:
        if name not in known:
            raise InvalidTraining(
                "unknown-hyperparameter",
                field=f"hyperparameters.{name}",
                expected=f"one that {algorithm} has: {', '.join(known)}" if known else f"absent: {algorithm} has none",
                found=repr(given[name]),
            )
    return {name: part.parse(given.get(name, part.default)) for name, part in known.items()}


def layer_sizes(text: str) -> tuple[int, ...]:
    """Return the sizes in a checked list of layers.

    >>> layer_sizes("100,50")
    (100, 50)
    """
    return tuple(int(size) for size in text.split(","))


def _layers_text(found: Setting) -> str | None:
    if isinstance(found, (bool, float)):
        return None
    parts = [part.strip() for part in str(found).split(",")]
    if len(parts) > _MAX_LAYERS or not all(part.isdecimal() and 1 <= int(part) <= _MAX_LAYER_SIZE for part in parts):
        return None
    return ",".join(str(int(part)) for part in parts)
