"""The golden messages: real messages of every record version, kept byte for byte, never edited.

They stand in ``examples/<topic>/v<major>/<case>.json``: the key, the headers and the value as text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from schemas.codec import EncodedRecord, Headers

EXAMPLES_PATH = Path(__file__).parent / "examples"


@dataclass(frozen=True, kw_only=True)
class GoldenMessage:
    """A message as it stood on the wire when its version was current."""

    #: Name of its topic, its major version and the case, from where the file stands.
    topic: str
    version: int
    case: str
    key: bytes
    value: bytes
    headers: Headers

    @property
    def type_name(self) -> str:
        """The ``ce_type`` of the message."""
        return dict(self.headers)["ce_type"].decode()


def to_text(message: EncodedRecord) -> str:
    """Return the text of a golden file."""
    content = {
        "key": message.key.decode(),
        "headers": {name: value.decode() for name, value in message.headers},
        "value": message.value.decode(),
    }
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def read(path: Path) -> GoldenMessage:
    """Return the golden message in the file ``path``."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return GoldenMessage(
        topic=path.parent.parent.name,
        version=int(path.parent.name.removeprefix("v")),
        case=path.stem,
        key=content["key"].encode(),
        value=content["value"].encode(),
        headers=tuple((name, value.encode()) for name, value in content["headers"].items()),
    )


def golden_messages() -> Iterator[GoldenMessage]:
    """Yield every golden message, ordered by path."""
    for path in sorted(EXAMPLES_PATH.glob("*/v*/*.json")):
        yield read(path)
