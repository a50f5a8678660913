"""From a trained head to a model folder: backbone and head as one ONNX graph, compared with torch, then its spec."""

from __future__ import annotations

import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.learn.backbone import CHANNELS, LEVELS, STRIDES, need
from pipeline.learn.network import answering
from pipeline.models.onnx_export import INPUT_NAME, IR_VERSION, OPSET, store_half
from pipeline.models.spec import (
    ARTIFACT_NAME,
    DetectorOutput,
    EngineEnv,
    InputSpec,
    ModelSpec,
    sha256_of,
    write_spec,
)
from reporting.errors import DataError

_OUTPUTS = ("boxes", "scores", "classes")


class Parity(NamedTuple):
    """How far the exported head's answers are from torch's on the same maps."""

    box_pixels: float
    score: float
    class_logit: float


_PARITY = Parity(box_pixels=0.05, score=1e-3, class_logit=1e-2)
"""How far at most: a twentieth of a pixel, a thousandth of a score, a hundredth of a logit."""


def write_detector(
    folder: Path,
    head: Any,
    backbone: Path,
    *,
    inputs: InputSpec,
    output: DetectorOutput,
    facts: dict[str, Any],
) -> tuple[ModelSpec, Parity]:
    """Write a model folder (`model.onnx`, `spec.json`, `LICENSE`), for `put_in_place`.

    The fp32 graph must answer as torch does; then the weights are stored as float16.

    Args:
        folder: to write it to.
        head: a trained `make_head`.
        backbone: ONNX file of the maps.
        inputs: of the spec.
        output: of the spec.
        facts: name, version, licence, source, train_planid, data_digest, code_commit of the spec.

    Raises:
        DataError: ONNX Runtime and torch differ; nothing is written.
    """
    module = answering(head, width=inputs.width, height=inputs.height)
    with tempfile.TemporaryDirectory() as scratch:
        head_path, whole = Path(scratch) / "head.onnx", Path(scratch) / ARTIFACT_NAME
        names = _OUTPUTS if output.heat == "agnostic" and output.classes else _OUTPUTS[:2]
        _export_head(module, names, inputs, head_path)
        parity = compare(module, head_path, inputs)
        _refuse_difference(facts["name"], parity)
        _join(backbone, head_path, whole)
        root = sha256_of(whole)
        store_half(whole)
        spec = ModelSpec(
            backend="ort",
            precision="fp16",
            artifact_sha256=sha256_of(whole),
            parent_sha256=root,
            root_sha256=root,
            input=inputs,
            output=output,
            engine_env=EngineEnv(versions={name: metadata.version(name) for name in ("torch", "onnx", "onnxruntime")}),
            metrics={f"parity_{key}": value for key, value in parity._asdict().items()},
            **facts,
        )
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(whole, folder / ARTIFACT_NAME)
        write_spec(spec, folder)
        (folder / "LICENSE").write_bytes(_licence_of_backbone())
    return spec, parity


def _refuse_difference(name: str, parity: Parity) -> None:
    if not all(found <= allowed for found, allowed in zip(parity, _PARITY, strict=True)):  # NaN is not
        raise DataError(
            f"export of {name}: ONNX Runtime differs from torch by {parity}; allowed are {_PARITY}; nothing written;"
            " compare the versions of torch, onnx and onnxruntime with those in the spec of the shipped detector"
        )


def _export_head(module: Any, names: tuple[str, ...], inputs: InputSpec, path: Path) -> None:
    import warnings

    torch = need("torch")
    maps = tuple(
        torch.zeros(2, channels, inputs.height // stride, inputs.width // stride)
        for channels, stride in zip(CHANNELS, STRIDES, strict=True)
    )
    with warnings.catch_warnings():
        # As in onnx_export: the newer route (dynamo=True) needs onnxscript and gives the same numbers.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            maps,
            str(path),
            input_names=list(LEVELS),
            output_names=list(names),
            dynamic_axes={name: {0: "batch"} for name in (*LEVELS, *names)},
            opset_version=OPSET,
            dynamo=False,
        )


def compare(module: Any, path: Path, inputs: InputSpec, *, count: int = 8) -> Parity:
    """Run torch and ONNX Runtime on the same seeded maps, `count` pictures of noise at the maps' usual size."""
    import onnxruntime as ort

    torch = need("torch")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(5)
    worst = [0.0, 0.0, 0.0]
    for _ in range(count):
        maps = [
            (rng.normal(0, 3, (1, channels, inputs.height // stride, inputs.width // stride))).astype(np.float32)
            for channels, stride in zip(CHANNELS, STRIDES, strict=True)
        ]
        with torch.no_grad():
            expected = [value.numpy() for value in module(*map(torch.from_numpy, maps))]
        found = session.run(None, dict(zip(LEVELS, maps, strict=True)))
        for place, (a, b) in enumerate(zip(expected, found, strict=True)):
            # A peak by a rounding error more or less is no difference of the model: compared where both have one.
            both = (a > 0) & (b > 0) if place == 1 else np.ones_like(a, np.bool_)
            worst[place] = float(np.maximum(worst[place], np.abs(a - b)[both].max(initial=0)))  # NaN stays
    return Parity(*worst)


def _join(backbone: Path, head: Path, path: Path) -> None:
    """Write both graphs as one, folded at ONNX Runtime's basic level; equal weights give equal bytes."""
    import onnxruntime as ort

    onnx = need("onnx")
    first, second = (onnx.version_converter.convert_version(onnx.load(str(one)), OPSET) for one in (backbone, head))
    first.ir_version = second.ir_version = IR_VERSION
    second = onnx.compose.add_prefix(second, "head/", rename_inputs=False, rename_outputs=False)
    joined = onnx.compose.merge_models(first, second, io_map=[(level, level) for level in LEVELS])
    raw = path.with_suffix(".raw.onnx")
    onnx.save(joined, str(raw))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(str(raw), options, providers=["CPUExecutionProvider"])
    model = onnx.load(str(path))
    del model.opset_import[:]
    model.opset_import.extend([onnx.helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "funnelgate", ""
    assert model.graph.input[0].name == INPUT_NAME, model.graph.input[0].name
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def put_in_place(made: Path, folder: Path) -> None:
    """Copy a finished model folder beside its place and rename it: whoever opens it sees the old one or the new."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    waiting, old = folder.with_name(f".{folder.name}.part"), folder.with_name(f".{folder.name}.old")
    shutil.rmtree(waiting, ignore_errors=True)
    shutil.copytree(made, waiting)
    shutil.rmtree(old, ignore_errors=True)  # only now: of a run that was stopped between the renames it is the last
    if folder.exists():
        folder.rename(old)
    waiting.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _licence_of_backbone() -> bytes:
    from pipeline.models.catalog import DEFAULT_EMBEDDER, resolve

    return (resolve(DEFAULT_EMBEDDER)[1] / "LICENSE").read_bytes()
