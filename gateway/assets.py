"""Files that installed packages ship (Plotly, Swagger UI, ReDoc), served from where they lie: no copy, no internet."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from flask import Response, request

#: The page asks for `NAME?v=DIGEST`, so a browser may keep what it has got.
_MAX_AGE_SECONDS = 86_400


@dataclass(frozen=True)
class PackageFile:
    """One file inside an installed package.

    Attributes:
        package: Import name; the package is located, not imported.
        path: Path below the package's folder.
        mimetype: With which it is served.
        replacements: Byte strings to exchange, each with its substitute.
    """

    package: str
    path: str
    mimetype: str
    replacements: tuple[tuple[bytes, bytes], ...] = ()

    def read(self) -> bytes:
        """Return the content with the replacements made.

        Raises:
            FileNotFoundError: The package is not installed, or a version of it that lacks the file.
        """
        spec = find_spec(self.package)
        folders = list(spec.submodule_search_locations or ()) if spec is not None else []
        if not folders:
            raise FileNotFoundError(f"package {self.package} must be installed (extra `gateway`), it is not")
        content = Path(folders[0], self.path).read_bytes()
        for old, new in self.replacements:
            content = content.replace(old, new)
        return content


@dataclass(frozen=True)
class _Packed:
    """A file ready to be sent: compressed once, since the largest has 5 MB."""

    compressed: bytes
    etag: str


@cache
def _packed(file: PackageFile) -> _Packed:
    content = file.read()
    return _Packed(gzip.compress(content, compresslevel=6, mtime=0), hashlib.sha256(content).hexdigest()[:32])


def send_package_file(file: PackageFile) -> Response:
    """Return ``file`` as the answer to the current request: compressed where the client can, 304 where it has it."""
    packed = _packed(file)
    is_compressed = request.accept_encodings.quality("gzip") > 0
    body = packed.compressed if is_compressed else gzip.decompress(packed.compressed)
    response = Response(body, mimetype=file.mimetype)
    if is_compressed:
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    response.cache_control.public = True
    response.cache_control.max_age = _MAX_AGE_SECONDS
    response.set_etag(f"{packed.etag}-{'gzip' if is_compressed else 'plain'}")
    response.make_conditional(request)
    return response
