"""Makes `square-detector/`: a real ONNX graph, 2 kB small, that finds exactly the coloured squares of a drawn picture.

Run with the package `onnx` installed: `python -m tests.pipeline.models.make_square_detector`. The input, 128 x 128, is
cut into 8 x 8 cells of 16 pixels. A cell's score is how much red and blue differ in it on average; its box is the cell.
So grey cells score 0, pure red and blue ones 1, and what scores between is up to who draws.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.models.spec import ARTIFACT_NAME, ModelSpec, sha256_of, write_spec

SIDE, CELL = 128, 16
GRID = SIDE // CELL
FOLDER = Path(__file__).parent / "square-detector"
THRESHOLD = 0.5


def make_graph() -> onnx.ModelProto:
    """Return the graph: input -> red minus blue -> mean of each cell -> its size as score, its sign as class."""
    difference = np.array([1, 0, -1], np.float32).reshape(1, 3, 1, 1) / 255
    corners = [(x * CELL, y * CELL, (x + 1) * CELL, (y + 1) * CELL) for y in range(GRID) for x in range(GRID)]
    constants = {
        "difference": difference,
        "corners": np.array([corners], np.float32),
        "cells": np.array([0, GRID * GRID, 1], np.int64),
        "signs": np.array([20, -20], np.float32),
        "zero": np.zeros((1, 1, 4), np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "difference"], ["tinted"]),
        helper.make_node("AveragePool", ["tinted"], ["pooled"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Reshape", ["pooled", "cells"], ["tint"]),
        helper.make_node("Abs", ["tint"], ["heat"]),
        helper.make_node("Clip", ["heat", "low", "high"], ["scores"]),
        helper.make_node("Mul", ["tint", "signs"], ["classes"]),
        # The same boxes for every picture of the batch.
        helper.make_node("Mul", ["scores", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "corners"], ["boxes"]),
    ]
    constants |= {"low": np.float32(0), "high": np.float32(1)}
    graph = helper.make_graph(
        nodes,
        "squares",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", GRID * GRID, depth])
            for name, depth in (("boxes", 4), ("scores", 1), ("classes", 2))
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def main() -> None:
    """Write graph and spec."""
    FOLDER.mkdir(exist_ok=True)
    onnx.save(make_graph(), FOLDER / ARTIFACT_NAME)
    digest = sha256_of(FOLDER / ARTIFACT_NAME)
    plain = {"interpolation": "nearest", "color": "RGB", "mean": (0, 0, 0), "std": (1, 1, 1)}
    size = {"width": SIDE, "height": SIDE, "resize": "letterbox", "layout": "NCHW", "dtype": "float32"}
    limits = {"score_thr": THRESHOLD, "nms_iou": 0.5, "topk": 50, "floor": 0.05}
    spec = ModelSpec.model_validate(
        {
            "name": "square-detector",
            "version": 1,
            "backend": "ort",
            "precision": "fp32",
            "artifact_sha256": digest,
            "parent_sha256": None,
            "root_sha256": digest,
            "train_planid": None,
            "data_digest": None,
            "code_commit": None,
            "licence": "Apache-2.0",
            "source": "made by make_square_detector.py; nothing is trained",
            "input": {**plain, **size},
            "output": {"kind": "detector", "classes": ("red", "blue"), "box": "xyxy_abs_original", **limits},
        }
    )
    write_spec(spec, FOLDER)


if __name__ == "__main__":
    main()
