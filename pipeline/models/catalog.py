"""Opens models by name from the folder of shipped weights; one loaded copy a process."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pipeline.models.detector import Detector, WholePicture, version_of
from pipeline.models.embedder import Embedder
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

    This is the seam at which a versioned registry comes in: `open_embedder` asks nothing else about where models lie.

    Raises:
        ConfigError: no such model, with the nearest names; or its spec is not valid.
        DataError: the artifact is missing or not the one the spec describes.
    """
    root = folder or SHIPPED
    known = model_names(root)
    if name not in known:
        raise ConfigError.unknown_name("model", name, known, str(root))
    return load_spec(root / name), root / name


def open_embedder(name: str, *, folder: Path | None = None, threads: int = 1) -> Embedder:
    """Return the embedder of that name, verified and loaded; the same object for the same arguments in one process.

    Args:
        name: a model's folder name, e.g. `efficientnet-lite0`.
        folder: holds one folder a model; default: the weights shipped with the package.
        threads: ONNX Runtime threads inside one operator, >= 1.

    Raises:
        ConfigError: no such model (with the nearest names), its spec is not valid, or it is not an embedder.
        DataError: the artifact is missing, damaged, or not a loadable graph.
    """
    return _open(name, (folder or SHIPPED).resolve(), threads)


@cache
def _open(name: str, root: Path, threads: int) -> Embedder:
    spec, model = resolve(name, folder=root)
    return Embedder(spec, OrtSession(model / ARTIFACT_NAME, threads=threads))


def open_detector(name: str, *, folder: Path | None = None, threads: int = 1) -> Detector | WholePicture:
    """Return the detector of that name or in that folder, verified and loaded; the same object for the same arguments.

    Args:
        name: a model's folder name, e.g. `scene-detector`; or a path to a model folder, absolute or with a slash in it;
            or `whole`, which takes every picture for one object.
        folder: holds one folder a model, for a name; default: the weights shipped with the package.
        threads: ONNX Runtime threads inside one operator, >= 1.

    Raises:
        ConfigError: no such model (with the nearest names), its spec is not valid, or it is not a detector.
        DataError: the artifact is missing, damaged, or not a loadable graph.
    """
    return WholePicture() if name == WHOLE else _open_detector(_detector_folder(name, folder), threads)


def detector_version(name: str, *, folder: Path | None = None) -> str:
    """Return the version of the detector `open_detector` would open, without loading its graph.

    Raises:
        ConfigError: as `open_detector`, but for a model of another kind.
        DataError: the artifact is missing or not the one the spec describes.
    """
    return WholePicture.version if name == WHOLE else version_of(load_spec(_detector_folder(name, folder)))


def _detector_folder(name: str, folder: Path | None) -> Path:
    if "/" in name or Path(name).is_absolute():
        return Path(name).resolve()
    root = (folder or SHIPPED).resolve()
    known = model_names(root)
    if name not in known:
        raise ConfigError.unknown_name("detector", name, [*known, WHOLE], f"{root} (a path has a slash in it)")
    return root / name


@cache
def _open_detector(model: Path, threads: int) -> Detector:
    spec = load_spec(model)
    return Detector(spec, OrtSession(model / ARTIFACT_NAME, threads=threads))
