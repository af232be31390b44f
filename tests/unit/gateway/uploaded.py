"""Files as people send them, and a gateway that takes them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from tests.unit.gateway.world import World, running

MIB = 1024 * 1024


@contextmanager
def uploading(folder: Path, **settings: Any) -> Iterator[World]:
    """Yield a gateway that takes uploads below ``folder``/files."""
    with running(folder, files_directory=folder / "files", **settings) as world:
        yield world


def send(world: World, content: bytes, name: str = "sales.csv", query: str = "") -> Any:
    # Written out: the test client would leave the temporary file of a large form open.
    head = f'--frontier\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + b"\r\n--frontier--\r\n"
    return world.client.post(
        f"/api/v1/uploads{query}", data=body, content_type="multipart/form-data; boundary=frontier"
    )


def left(world: World) -> list[str]:
    """Return what lies in the directory of uploads."""
    root = world.folder / "files" / "uploads"
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


def parquet_of(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, **options)
    return buffer.getvalue()


def shops(days: int = 20, names: tuple[str, ...] = ("Berlin", "Hamburg"), promised: int = 3) -> bytes:
    """Return a long CSV: sales end ``promised`` days before the promotions do."""
    lines = ["shop,date,sales,promo,remark"]
    for number, name in enumerate(names):
        for day in range(days):
            sales = "" if day >= days - promised else str(100 + 10 * number + day % 7)
            lines.append(f"{name},2024-01-{day + 1:02},{sales},{day % 2},fine")
    return "\n".join(lines).encode() + b"\n"
