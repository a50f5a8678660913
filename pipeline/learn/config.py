"""What `funnelgate learn detector` is asked to do: one YAML file, every key checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from reporting.errors import ConfigError
from reporting.yaml_source import YamlSource, load_yaml


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ScenesSource(_Part):
    """Scenes composed from cut-out items on backgrounds: the boxes are exact because we drew them."""

    kind: Literal["scenes"]
    train: int = Field(ge=8, le=200_000)
    """Scenes to train on, of items that `samples.held_out` does not keep back."""
    test: int = Field(ge=8, le=10_000)
    """Scenes to measure on, of held-out items on held-out backgrounds."""
    looks: tuple[str, ...] = ("noto", "twemoji", "fluent")
    """Looks of the sample pack to draw from."""
    photos: Path | None = None
    """Folder of the Grocery Store Dataset: its train photos become backgrounds and its catalogue pictures items (both
    to train on only), its val photos the backgrounds of the test. None: the sample pack and drawn backgrounds alone."""
    drawn: float = Field(default=0.2, ge=0, le=0.9)
    """Share of the items to train on that are drawn at random, of parts that touch; see `drawn_items`."""
    altered: float = Field(default=0.25, ge=0, le=1)
    """Share of the other items to train on that have their colours turned and their sides stretched."""
    classes: bool = True
    """Learn the items' categories too."""


class VocSource(_Part):
    """Pictures with boxes drawn by people, in Pascal VOC's folders."""

    kind: Literal["voc"]
    folder: Path | None = None
    """Holds Annotations/, ImageSets/Main/ and JPEGImages/; may be given on the command line."""
    train: str = "trainval"
    """Name of the list to train on."""
    test: str = "test"
    """Name of the list to measure on."""
    flips: bool = True
    """Also train on each picture mirrored left to right, top to bottom, and both."""


Source = Annotated[ScenesSource | VocSource, Field(discriminator="kind")]


class Training(_Part):
    """How the head is trained; the backbone stays as it is."""

    epochs: int = Field(ge=1, le=1000)
    batch: int = Field(default=32, ge=1, le=1024)
    learning_rate: float = Field(default=4e-3, gt=0)
    """The peak of a one-cycle schedule."""
    weight_decay: float = Field(default=1e-4, ge=0)
    channels: int = Field(default=64, ge=8, le=256)
    """Channels of the feature pyramid."""
    class_weight: float = Field(default=0.5, ge=0)
    box_weight: float = Field(default=2.0, ge=0)
    quality_weight: float = Field(default=0.5, ge=0)
    """Of the expected IoU, as a share of the box's."""
    gaussian: float = Field(default=0.54, gt=0, le=1)
    """Spread of a box's heat: its sigma is this share of a sixth of its sides (Liu et al. 2019, TTFNet: 0.54)."""


class Answer(_Part):
    """Post-processing, written into the model's spec."""

    nms_iou: float = Field(default=0.5, ge=0, le=1)
    topk: int = Field(default=50, ge=1, le=1000)
    score_thr: float | None = Field(default=None, ge=0, le=1)
    """None: the one with the best F1 at IoU .5 on scenes of train items that were not trained on."""
    floor: float = Field(default=0.05, ge=0, le=1)
    whole_ratio: float | None = Field(default=None, ge=0, le=1)
    """A box within a larger one changes places with it where the larger one's score is at least this share of its own:
    the box of a part is often as sure as that of the whole. None: never."""


class DetectorConfig(_Part):
    """A training run: equal configurations and data give equal weights up to rounding."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=40)
    """No longer, since name@version:space_id is a key of 64 characters in the table of ids."""
    version: int = Field(ge=1, le=999_999)
    seed: int = Field(default=1, ge=0)
    width: int = Field(default=256, ge=64, le=2048, multiple_of=32)
    """Input sides in pixels; pictures are fitted in without being distorted."""
    height: int = Field(default=256, ge=64, le=2048, multiple_of=32)
    source: Source
    training: Training
    answer: Answer = Answer()
    licence: str = "Apache-2.0"
    """SPDX identifier of the trained weights."""


class _OfScenes(DetectorConfig):
    source: ScenesSource


class _OfVoc(DetectorConfig):
    source: VocSource


_KINDS: dict[str, type[DetectorConfig]] = {"scenes": _OfScenes, "voc": _OfVoc}


def load_config(path: Path) -> DetectorConfig:
    """Read a configuration; paths in it are relative to the file.

    Raises:
        ConfigError: with file:line and the key.
    """
    read = load_yaml(path)
    config: DetectorConfig = read.to_model(_model_of(read))
    source = config.source
    if isinstance(source, ScenesSource) and source.photos is not None:
        source = source.model_copy(update={"photos": (path.parent / source.photos).resolve()})
    elif isinstance(source, VocSource) and source.folder is not None:
        source = source.model_copy(update={"folder": (path.parent / source.folder).resolve()})
    return config.model_copy(update={"source": source})


def _model_of(read: YamlSource) -> type[DetectorConfig]:
    """Return the model with one kind of source: faults in a union would not say in which line they are."""
    source = read.data.get("source") if isinstance(read.data, dict) else None
    if not isinstance(source, dict):
        return DetectorConfig  # which says what is missing
    kind = source.get("kind", "")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ConfigError.unknown_name("source.kind", str(kind), _KINDS, read.where(("source", "kind")))
    return _KINDS[kind]


def with_data(config: DetectorConfig, folder: Path) -> DetectorConfig:
    """Return the configuration with another folder of photos (scenes) or pictures (voc)."""
    key = "photos" if isinstance(config.source, ScenesSource) else "folder"
    return config.model_copy(update={"source": config.source.model_copy(update={key: folder})})
