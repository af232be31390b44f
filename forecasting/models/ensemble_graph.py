"""The graphs of all members of an ensemble in one ONNX file, side by side.

Inputs, outputs and everything between get the prefix of their member: `m0_`, `m1_` and so on. A member without a graph
has none. One session then serves all, and each output keeps the bits that its own graph gives.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import ModelProto, compose, version_converter

from forecasting.ensemble import member_prefix


def merged(graphs: Sequence[bytes | None]) -> bytes | None:
    """Return one graph of those of all members, ``None`` where no member has one.

    Args:
        graphs: Of each member in order; ``None`` for one without.
    """
    found = [(index, onnx.load_from_string(graph)) for index, graph in enumerate(graphs) if graph is not None]
    if not found:
        return None
    opsets = {name: max(_opset(model, name) for _, model in found) for name in ("", "ai.onnx.ml")}
    newest = max(model.ir_version for _, model in found)
    parts = [_prefixed(model, member_prefix(index), opsets, newest) for index, model in found]
    whole = parts[0]
    for part in parts[1:]:
        whole = compose.merge_models(whole, part, io_map=[])
    whole.graph.name = "ensemble"
    _set_opsets(whole, opsets)  # each merge added them once more
    onnx.checker.check_model(whole, full_check=True)
    return bytes(whole.SerializeToString(deterministic=True))


def _opset(model: ModelProto, domain: str) -> int:
    return max((one.version for one in model.opset_import if one.domain == domain), default=0)


def _set_opsets(model: ModelProto, opsets: dict[str, int]) -> None:
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(name, version) for name, version in opsets.items() if version)


def _prefixed(model: ModelProto, prefix: str, opsets: dict[str, int], ir_version: int) -> ModelProto:
    """Return a model in the form that all members share, with a prefix before every name."""
    if _opset(model, "") not in (0, opsets[""]):
        model = version_converter.convert_version(model, opsets[""])
    model.ir_version = ir_version
    _set_opsets(model, opsets)
    # Texts about who made a graph differ between members and say nothing of what it computes.
    model.producer_name, model.producer_version, model.doc_string, model.domain = "", "", "", ""
    del model.metadata_props[:]
    return compose.add_prefix(model, prefix)
