"""`ModelSpec`: the JSON beside the weights that says what a model eats, answers and descends from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from reporting.errors import ConfigError, DataError

ARTIFACT_NAME = "model.onnx"
SPEC_NAME = "spec.json"
_HASH_CHUNK_BYTES = 1 << 20

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Channel3 = tuple[float, float, float]


class ModelRef(NamedTuple):
    """A model by name and version; what a registry resolves to a folder, and what a record books."""

    name: str
    version: int

    def __str__(self) -> str:
        """Return `name@version`, the form written into `TaskRecord.versions`."""
        return f"{self.name}@{self.version}"


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputSpec(_Block):
    """How an RGB uint8 picture becomes a network input; part of `space_id`.

    A field added later needs a default that means "as before": defaults are left out of `space_id`, so the ids of
    models already released stand. For the same reason no default may ever change.
    """

    height: int = Field(ge=1, le=4096, description="network input height in pixels")
    width: int = Field(ge=1, le=4096, description="network input width in pixels")
    resize: Literal["stretch", "shortest_crop", "letterbox"]
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    color: Literal["RGB", "BGR"]
    mean: Channel3 = Field(description="subtracted, per channel in `color` order, on the 0..255 scale")
    std: Channel3 = Field(description="divided by, per channel in `color` order, on the 0..255 scale, > 0")
    layout: Literal["NCHW"]
    dtype: Literal["float32"]
    crop_ratio: float = Field(
        default=1.0, gt=0, le=1, description="shortest_crop only: the share of the largest centred crop that is kept"
    )
    fill: tuple[int, int, int] = Field(default=(255, 255, 255), description="letterbox only: RGB of the borders")

    @model_validator(mode="after")
    def _std_is_positive(self) -> InputSpec:
        if min(self.std) <= 0:
            raise ValueError(f"std must be > 0 in every channel, found {self.std}")
        return self


class EmbedderOutput(_Block):
    """One vector a picture; part of `space_id`."""

    kind: Literal["embedder"]
    tensor: str = Field(min_length=1, description="name of the graph output, (N, dim) float32")
    dim: int = Field(ge=1)
    l2_normalised: Literal[True]
    metric: Literal["cosine"]
    transform: Literal["none", "signed_sqrt"] = Field(
        default="none", description="applied before the L2 norm; signed_sqrt: sign(x) * sqrt(|x|)"
    )


class DetectorOutput(_Block):
    """Boxes with a class and a score; part of the detector's version."""

    kind: Literal["detector"]
    classes: tuple[str, ...] = Field(description="may be empty where heat is agnostic: boxes without a class")
    box: Literal["xyxy_abs_original"]
    score_thr: float = Field(ge=0, le=1)
    nms_iou: float = Field(ge=0, le=1)
    topk: int = Field(ge=1)
    heat: Literal["agnostic", "per_class"] = Field(
        default="agnostic", description="one heat map and class logits, or one heat map a class"
    )
    floor: float = Field(default=0.05, ge=0, le=1, description="what scores below it is no candidate at all")
    temperature: float = Field(default=1.0, gt=0, description="class logits are divided by it before the softmax")
    whole_ratio: float | None = Field(
        default=None, ge=0, le=1, description="see `boxes.whole_first`; null: boxes stay in the order of their scores"
    )
    pre_nms: int = Field(default=300, ge=1, description="most candidates that go into the suppression, best first")

    @model_validator(mode="after")
    def _classes_are_distinct(self) -> DetectorOutput:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes must differ, found {self.classes}")
        if self.heat == "per_class" and not self.classes:
            raise ValueError("heat per_class needs a class for every heat map, found none")
        return self


class ClassifierOutput(_Block):
    """One score a class."""

    kind: Literal["classifier"]
    tensor: str = Field(min_length=1, description="name of the graph output, (N, classes) float32 logits")
    classes: tuple[str, ...] = Field(min_length=1)


Output = Annotated[EmbedderOutput | DetectorOutput | ClassifierOutput, Field(discriminator="kind")]


class EngineEnv(_Block):
    """The tools that built the artifact, and for an engine the hardware it is bound to."""

    versions: dict[str, str] = Field(default_factory=dict, description="tool or library -> version")
    gpu: str | None = Field(default=None, description="GPU name and compute capability of an engine")
    calibration_digest: str | None = None


class ModelSpec(_Block):
    """Everything about one version of one model; frozen, stored as `spec.json` beside the weights."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: int = Field(ge=1, description="rises by one with every publication under this name")
    backend: Literal["torch", "ort", "trt", "ncnn"]
    precision: Literal["fp32", "fp16", "bf16", "int8"] = Field(
        description="of the stored weights; ONNX Runtime's CPU provider computes fp16 weights in fp32"
    )
    artifact_sha256: Sha256
    parent_sha256: Sha256 | None = Field(description="the artifact this one was exported or quantised from")
    root_sha256: Sha256 = Field(
        description="the fp32 weights that define the feature space; a variant keeps it only through the parity gate"
    )
    train_planid: str | None
    data_digest: str | None
    code_commit: str | None
    licence: str = Field(min_length=1, description="SPDX identifier; its text lies beside the weights")
    source: str = Field(default="", description="where the root weights came from")
    input: InputSpec
    output: Output
    engine_env: EngineEnv = EngineEnv()
    metrics: dict[str, float] = Field(default_factory=dict, description="measured at export; never part of space_id")

    @property
    def kind(self) -> Literal["embedder", "detector", "classifier"]:
        """What the model answers, read from its output block."""
        return self.output.kind

    @property
    def ref(self) -> ModelRef:
        """Name and version, as booked in records."""
        return ModelRef(self.name, self.version)

    @property
    def space_id(self) -> str:
        """16 hex characters naming the feature space: equal ids are comparable vectors, others never are.

        SHA-256 over the canonical JSON (sorted keys, no blanks, defaults left out) of the root weights' digest, the
        input block and the output block. Precision, back-end, version and metrics do not enter: a variant that
        passed the parity gate against its root (cosine mean >= .995, min >= .97) answers in the root's space.
        """
        content = {
            "root": self.root_sha256,
            "input": self.input.model_dump(mode="json", exclude_defaults=True),
            "output": self.output.model_dump(mode="json", exclude_defaults=True),
        }
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hex, read a MiB at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def load_spec(folder: Path) -> ModelSpec:
    """Read `spec.json` of a model folder and verify that `model.onnx` is the artifact it describes.

    Raises:
        ConfigError: the spec is missing or not valid; the message names file, field and fault.
        DataError: the artifact is missing, or its SHA-256 is not the spec's.
    """
    spec = _parse_spec(folder / SPEC_NAME)
    artifact = folder / ARTIFACT_NAME
    if not artifact.is_file():
        raise DataError(f"{artifact}: no such file, but {SPEC_NAME} describes it; restore the model folder")
    found = sha256_of(artifact)
    if found != spec.artifact_sha256:
        raise DataError(
            f"{artifact}: sha256 is {found}, {SPEC_NAME} says {spec.artifact_sha256}; the file is damaged or of"
            f" another version: restore the folder of {spec.ref}, or export it again"
        )
    return spec


def _parse_spec(path: Path) -> ModelSpec:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; a model folder holds {ARTIFACT_NAME} and {SPEC_NAME}") from None
    try:
        return ModelSpec.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'the file'}: {fault['msg']}" for fault in error.errors()
        )
        raise ConfigError(f"{path}: not a model spec: {faults}; compare with weights/efficientnet-lite0") from None


def write_spec(spec: ModelSpec, folder: Path) -> None:
    """Write `spec.json` (indented, keys in field order, newline at the end) into a model folder."""
    (folder / SPEC_NAME).write_text(spec.model_dump_json(indent=2) + "\n", encoding="utf-8")
