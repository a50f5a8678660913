"""The frozen backbone: the shipped embedder's graph, cut where its resolution changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pipeline.models.catalog import DEFAULT_EMBEDDER, resolve
from pipeline.models.spec import ARTIFACT_NAME, InputSpec, ModelSpec
from reporting.errors import ConfigError, DataError

STRIDES: Final = (4, 8, 16, 32)
LEVELS: Final = ("c2", "c3", "c4", "c5")
"""Names of the maps: the last ones before each change of resolution, with 24, 40, 112 and 320 channels in Lite0."""
CHANNELS: Final = (24, 40, 112, 320)
TRACED_SIDE: Final = 224
"""The side of the embedder's input; its padding holds for every multiple of 32."""


def need(package: str) -> Any:
    """Import a package of the extra `train`.

    Raises:
        ConfigError: it is not installed; the message says how to.
    """
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"training needs {package}, which is not installed; `make train-venv`, or "
            "`pip install torch==2.13.0 'funnelgate[train]'` (the exact version where plain torch would bring CUDA)"
        ) from error


def backbone_model() -> tuple[Any, ModelSpec]:
    """Return the backbone as an ONNX model (input `pixels`, free height and width, outputs c2..c5), and whose it is.

    Raises:
        ConfigError: the extra `train` is not installed.
        DataError: the embedder's graph has no such maps.
    """
    onnx = need("onnx")
    spec, folder = resolve(DEFAULT_EMBEDDER)
    model = onnx.load(str(folder / ARTIFACT_NAME))
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    tensors = _last_of_each_resolution(inferred, folder / ARTIFACT_NAME)
    cut = onnx.utils.Extractor(inferred).extract_model([model.graph.input[0].name], tensors)
    return _renamed(cut, dict(zip(tensors, LEVELS, strict=True))), spec


def _last_of_each_resolution(model: Any, path: Path) -> list[str]:
    """Return the tensors that end the blocks: the last computed one of each stride and number of channels."""
    wanted = {
        (channels, TRACED_SIDE // stride): level
        for channels, stride, level in zip(CHANNELS, STRIDES, LEVELS, strict=True)
    }
    shapes = {
        info.name: tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim) for info in model.graph.value_info
    }
    found: dict[str, str] = {}
    for node in model.graph.node:
        for name in node.output:
            shape = shapes.get(name, ())
            if len(shape) == 4 and (shape[1], shape[2]) in wanted:
                found[wanted[(shape[1], shape[2])]] = name
    if set(found) != set(LEVELS):
        raise DataError(f"{path}: its graph has the maps {sorted(found)}, expected {list(LEVELS)}; export it again")
    return [found[level] for level in LEVELS]


def _renamed(model: Any, names: dict[str, str]) -> Any:
    """Return the model with its outputs renamed, every size free, and no stale shapes inside."""
    del model.graph.value_info[:]
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)
        for place, name in enumerate(node.output):
            node.output[place] = names.get(name, name)
    for value in (*model.graph.input, *model.graph.output):
        value.name = names.get(value.name, value.name)
        shape = value.type.tensor_type.shape
        for place, text in ((0, "batch"), (2, f"{value.name}_height"), (3, f"{value.name}_width")):
            shape.dim[place].Clear()
            shape.dim[place].dim_param = text
    return model


def input_spec(width: int, height: int, embedder: ModelSpec) -> InputSpec:
    """Return the detector's input: the embedder's colours and scale, the whole picture fitted in on grey."""
    given = embedder.input
    return given.model_copy(
        update={
            "width": width,
            "height": height,
            "resize": "letterbox",
            "crop_ratio": 1.0,
            "interpolation": "bilinear",
            "fill": (127, 127, 127),
        }
    )
