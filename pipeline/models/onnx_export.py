"""A torch module to a checked ONNX file: trace, fold, compare with torch, store the weights small.

Needs the extra `train`. The graphs are standard ONNX (opset 17), so any back-end may read them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.models.session import Float32, Session

OPSET = 17
IR_VERSION = 8  # the one that belongs to opset 17
INPUT_NAME = "pixels"


class Parity(NamedTuple):
    """How far a session's answers are from torch's on the same batches."""

    max_abs_diff: float
    """Largest |difference| over all outputs."""
    max_scaled_diff: float
    """The same, each output divided by its largest magnitude where that exceeds 1 (float32 carries 7 digits)."""
    cosine_mean: float
    """Mean over the batches of the cosine of the last output."""
    cosine_min: float


def trace(
    module: Any,
    outputs: Sequence[str],
    *,
    size: int,
    flat: frozenset[str],
    dynamic_size: bool,
    path: Path,
) -> None:
    """Write a module as ONNX with a free batch dimension, its constants folded (Lite0: 448 nodes become 93).

    The fold is ONNX Runtime's basic level: standard operators, padding and batch norm merged into Conv, nothing that
    is tied to this machine.

    Args:
        module: in evaluation mode, from (N, 3, size, size) float32 to a tuple in the order of `outputs`.
        outputs: their names.
        size: side of the traced input in pixels.
        flat: the outputs of shape (N, d); the others are maps (N, c, h, w).
        dynamic_size: frees height and width too.
        path: written; a scratch file lies beside it.
    """
    import onnxruntime as ort
    import torch

    spatial = {2: "height", 3: "width"} if dynamic_size else {}
    axes = {INPUT_NAME: {0: "batch", **spatial}}
    for name in outputs:
        own = {} if name in flat else {axis: f"{name}_{side}" for axis, side in spatial.items()}
        axes[name] = {0: "batch", **own}
    raw = path.with_suffix(".raw.onnx")
    with warnings.catch_warnings():
        # The newer route (dynamo=True) needs onnxscript and gives the same numbers (max |difference| 5e-7).
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(2, 3, size, size),),
            str(raw),
            input_names=[INPUT_NAME],
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(str(raw), options, providers=["CPUExecutionProvider"])
    _strip(path)


def _strip(path: Path) -> None:
    """Remove what the fold leaves behind: foreign opset imports and the producer; equal weights give equal bytes."""
    import onnx
    from onnx import helper

    model = onnx.load(str(path))
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "funnelgate", ""
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def store_half(path: Path) -> None:
    """Rewrite a graph with its weights as float16, each followed by a Cast to float32: half the bytes.

    ONNX Runtime folds the casts when it loads the graph, so it computes in float32, at the speed of float32 weights.
    Biases and clip limits (one dimension or none) stay float32: they are small.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(path))
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        name, stored = tensor.name, f"{tensor.name}.fp16"
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT, name=f"cast.{name}"))
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), stored))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def compare(module: Any, session: Session, *, size: int, count: int = 16) -> Parity:
    """Run torch and a session on the same seeded inputs: noise in blocks at four scales, within [-1, 1]."""
    import torch

    rng = np.random.default_rng(3)
    absolute, scaled, cosines = 0.0, 0.0, []
    for index in range(count):
        cells = 2 ** (index % 4 + 2)
        pick = np.arange(size) * cells // size
        batch = rng.uniform(-1, 1, (1, 3, cells, cells)).astype(np.float32)[:, :, pick][:, :, :, pick]
        with torch.no_grad():
            expected = [value.numpy() for value in module(torch.from_numpy(batch))]
        found = list(session.run(batch).values())
        for a, b in zip(expected, found, strict=True):
            difference = float(np.abs(a - b).max())
            absolute = max(absolute, difference)
            scaled = max(scaled, difference / max(1.0, float(np.abs(a).max())))
        cosines.append(_cosine(expected[-1], found[-1]))
    return Parity(absolute, scaled, float(np.mean(cosines)), float(np.min(cosines)))


def _cosine(left: Float32, right: Float32) -> float:
    a, b = left.astype(np.float64).ravel(), right.astype(np.float64).ravel()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
