"""What stands before the indexes: which detector finds a query's object, how it is cut out, who says its category.

A release names its front, because an index can only be asked with the pixels it was built from: another detector
cuts otherwise, another gallery sends the object to another index. What is on the disk is checked against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reporting.errors import DataError

if TYPE_CHECKING:
    from pipeline.category.gallery import Gallery
    from pipeline.models.detector import Detector, WholePicture
    from pipeline.models.embedder import Embedder
    from reporting.topology import Topology

_TASKS = ("collect", "detect", "crop", "categorise")
Name = Annotated[str, Field(min_length=1)]


class QueryFront(BaseModel):
    """How a query becomes an object with a category; hashed among what the gate judges.

    Attributes:
        detector: Name, `name@number` of the registry, or folder that `open_detector` opens.
        detector_version: Name, version and space of it; another one finds other boxes.
        margin: Share of the box's longer side that the crop adds on every side, >= 0.
        side: Pixels that the crop's shorter side may have, >= 1.
        by: `predicted`: one category is searched, the one the gallery and the detector vote for; `declared`: all.
        gallery: Name, `name@number` or folder that `open_gallery` opens; None where nothing is predicted.
        gallery_sha256: Of its content; None where nothing is predicted.
        fallback: Category of what nobody recognises.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: Name
    detector_version: Name
    margin: float = Field(ge=0)
    side: int = Field(ge=1)
    by: Literal["predicted", "declared"]
    gallery: Name | None = None
    gallery_sha256: Name | None = None
    fallback: Name = "other"

    @model_validator(mode="after")
    def _predicts_by_a_gallery(self) -> QueryFront:
        wanted = self.by == "predicted"
        if (self.gallery is not None) != wanted or (self.gallery_sha256 is not None) != wanted:
            raise ValueError("gallery and gallery_sha256 belong to by: predicted, and only to it")
        return self


def front_of(topology: Topology) -> QueryFront | None:
    """Return the front that belongs to indexes built by this topology, with the models as they are on the disk.

    Returns:
        None for a topology without detect, crop or categorise: its pictures are the objects.

    Raises:
        ConfigError: a setting is wrong, or there is no such detector or gallery.
        DataError: the detector or gallery is damaged.
    """
    from pipeline.models.catalog import detector_version
    from pipeline.tasks import task_settings

    if not set(_TASKS) <= topology.tasks.keys():
        return None
    collect, detect, crop, categorise = (_as_any(task_settings(topology, name)) for name in _TASKS)
    sha256 = None
    if categorise.by == "predicted":
        from pipeline.category.gallery import spec_of

        sha256 = spec_of(categorise.gallery).sha256
    return QueryFront(
        detector=detect.detector,
        detector_version=detector_version(detect.detector),
        margin=crop.margin,
        side=crop.side,
        by=categorise.by,
        gallery=None if sha256 is None else categorise.gallery,
        gallery_sha256=sha256,
        fallback=collect.fallback,
    )


def _as_any(settings: BaseModel) -> Any:
    """Forget the base class: each task's settings are a model of its own."""
    return settings


@dataclass(frozen=True)
class OpenFront:
    """A front with its models loaded on first use, refused where they are not those it names."""

    front: QueryFront

    @cached_property
    def detector(self) -> Detector | WholePicture:
        """The detector.

        Raises:
            ConfigError: it is not there.
            DataError: it has another version than the front names.
        """
        from pipeline.models.catalog import open_detector

        found = open_detector(self.front.detector)
        if found.version != self.front.detector_version:
            raise DataError(
                f"detector {self.front.detector!r} is {found.version} here, the release was built with "
                f"{self.front.detector_version}; a query must not be cut out by another detector than the indexed "
                "objects: restore that detector, or run the day again with this one and release it"
            )
        return found

    @cached_property
    def gallery(self) -> Gallery | None:
        """The gallery; None where nothing is predicted.

        Raises:
            ConfigError: it is not there.
            DataError: its content is not the one the front names.
        """
        from pipeline.category.gallery import open_gallery

        if self.front.gallery is None:
            return None
        found = open_gallery(self.front.gallery)
        if found.spec.sha256 != self.front.gallery_sha256:
            raise DataError(
                f"gallery {self.front.gallery!r} has sha256 {found.spec.sha256} here, the release was built with "
                f"{self.front.gallery_sha256}; a query must not be sent to a category by another gallery than the "
                "indexed objects: restore that gallery, or run the day again with this one and release it"
            )
        return found

    @cached_property
    def embedder(self) -> Embedder | None:
        """The model in whose space the gallery votes; None where nothing is predicted.

        Raises:
            DataError: the model answers in another space than the gallery holds.
        """
        from pipeline.models.catalog import open_embedder

        if self.gallery is None:
            return None
        spec = self.gallery.spec
        found = open_embedder(spec.embedder, space_id=spec.space_id)
        if found.space_id != spec.space_id:
            raise DataError(
                f"gallery {self.front.gallery!r} holds vectors of feature space {spec.space_id}, its model "
                f"{spec.embedder} answers in {found.space_id}; vectors of two spaces must not be compared: build the "
                "gallery again (`funnelgate learn gallery`)"
            )
        return found
