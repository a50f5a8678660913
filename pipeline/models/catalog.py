"""Opens models by name: of the version registry, else of the folder of shipped weights; one loaded copy a process."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

from pipeline.models.detector import Detector, WholePicture, version_of
from pipeline.models.embedder import Embedder
from pipeline.models.registered import MODEL, find_in_space, find_registered
from pipeline.models.session import OrtSession
from pipeline.models.spec import ARTIFACT_NAME, SPEC_NAME, ModelSpec, load_spec
from reporting.errors import ConfigError

SHIPPED = Path(__file__).parent / "weights"
DEFAULT_EMBEDDER = "efficientnet-lite0"
DEFAULT_DETECTOR = "scene-detector"
WHOLE = "whole"
"""Names no model: every picture is one object."""


def model_names(folder: Path | None = None) -> list[str]:
    """Return the names of the models in a folder of model folders (default: the shipped ones), sorted."""
    root = folder or SHIPPED
    return sorted(path.parent.name for path in root.glob(f"*/{SPEC_NAME}"))


def resolve(name: str, *, folder: Path | None = None) -> tuple[ModelSpec, Path]:
    """Return a model's verified spec (its `ref` is name and version) and its folder.

    Args:
        name: `name`: what the registry calls stable, else the shipped one; `name@number`: that version.
        folder: holds one folder a model; then neither the registry nor the shipped weights are asked.

    Raises:
        ConfigError: no such model or version, with the nearest names; or its spec is not valid.
        DataError: the artifact is missing or not the one the spec describes.
        ContractViolation: a file of the registry is not the one that was published.
    """
    return _resolved(name, folder, "model")


def _resolved(name: str, folder: Path | None, what: str) -> tuple[ModelSpec, Path]:
    found = _located(name, folder, what)
    spec = _numbered(found, load_spec(found.folder))
    _require_version(name, found, spec)
    return spec, found.folder


def open_embedder(name: str, *, folder: Path | None = None, threads: int = 1, space_id: str | None = None) -> Embedder:
    """Return the embedder of that name, verified and loaded; the same object for the same version in one process.

    Args:
        name: e.g. `efficientnet-lite0` or `efficientnet-lite0@2`, see `resolve`.
        folder: holds one folder a model; default: the registry, and the weights shipped with the package.
        threads: ONNX Runtime threads inside one operator, >= 1.
        space_id: the feature space that is wanted. Where what the name means answers in another one, or that version
            is not there, the newest version that answers in it is taken; where none does, what the name means: the
            caller compares.

    Raises:
        ConfigError: no such model (with the nearest names), its spec is not valid, or it is not an embedder.
        DataError: the artifact is missing, damaged, or not a loadable graph.
        ContractViolation: a file of the registry is not the one that was published.
    """
    if space_id is None or folder is not None:
        return _embedder(_named(name, folder), threads)
    plain = name.partition("@")[0]
    found = _embedder(_located(name, None), threads)
    if found.space_id == space_id:
        return found
    other = find_in_space(plain, space_id)
    if other is not None:
        return _embedder(_Located(*other), threads)
    shipped = _embedder(_Located(SHIPPED.resolve() / plain, None), threads) if plain in model_names() else found
    return shipped if shipped.space_id == space_id else found


def open_detector(name: str, *, folder: Path | None = None, threads: int = 1) -> Detector | WholePicture:
    """Return the detector of that name or in that folder, verified and loaded; the same object for the same version.

    Args:
        name: e.g. `scene-detector` or `scene-detector@2`; or a path to a model folder; see `resolve`; or `whole`, which
            takes every picture for one object.
        folder: holds one folder a model, for a name; default: the registry, and the weights shipped with the package.
        threads: ONNX Runtime threads inside one operator, >= 1.

    Raises:
        ConfigError: no such model (with the nearest names), its spec is not valid, or it is not a detector.
        DataError: the artifact is missing, damaged, or not a loadable graph.
        ContractViolation: a file of the registry is not the one that was published.
    """
    return WholePicture() if name == WHOLE else _detector(_named(name, folder, "detector"), threads)


def detector_version(name: str, *, folder: Path | None = None) -> str:
    """Return the version of the detector `open_detector` would open, without loading its graph.

    Raises:
        ConfigError: as `open_detector`, but for a model of another kind.
        DataError: the artifact is missing or not the one the spec describes.
        ContractViolation: a file of the registry is not the one that was published.
    """
    return WholePicture.version if name == WHOLE else version_of(_resolved(name, folder, "detector")[0])


class _Located(NamedTuple):
    """A model folder; the registry's number is the version: a rollback is a new number on an old spec."""

    folder: Path
    version: int | None


def _located(name: str, folder: Path | None, what: str = "model") -> _Located:
    if what == "detector" and ("/" in name or Path(name).is_absolute()):
        return _Located(Path(name).resolve(), None)
    taken = find_registered(MODEL, name) if folder is None else None
    if taken is not None:
        return _Located(*taken)
    root, plain = (folder or SHIPPED).resolve(), name.partition("@")[0]
    known = model_names(root)
    if plain not in known:
        if what == "detector":
            raise ConfigError.unknown_name(what, plain, [*known, WHOLE], f"{root} (a path has a slash in it)")
        raise ConfigError.unknown_name(what, plain, known, str(root))
    return _Located(root / plain, None)


def _named(name: str, folder: Path | None, what: str = "model") -> _Located:
    """Return where a name's model lies; ConfigError where it asks for a version that is not there."""
    found = _located(name, folder, what)
    if "@" in name:
        _require_version(name, found, _seen(found))
    return found


def _require_version(name: str, found: _Located, spec: ModelSpec) -> None:
    plain, _, version = name.partition("@")
    if found.version is None and version and "/" not in name and version != str(spec.version):
        raise ConfigError(
            f"model {name}: the registry has no such version, and {found.folder} is {spec.ref}; expected one that "
            f"`funnelgate release resource list` shows for {MODEL} {plain}"
        )


def _numbered(found: _Located, spec: ModelSpec) -> ModelSpec:
    return spec if found.version is None else spec.model_copy(update={"version": found.version})


@cache
def _seen(found: _Located) -> ModelSpec:
    """Return a model's spec without hashing its artifact at every question."""
    return load_spec(found.folder)


@cache
def _embedder(found: _Located, threads: int) -> Embedder:
    return Embedder(
        _numbered(found, load_spec(found.folder)), OrtSession(found.folder / ARTIFACT_NAME, threads=threads)
    )


@cache
def _detector(found: _Located, threads: int) -> Detector:
    return Detector(
        _numbered(found, load_spec(found.folder)), OrtSession(found.folder / ARTIFACT_NAME, threads=threads)
    )
