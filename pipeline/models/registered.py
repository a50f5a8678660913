"""Models and galleries of the version registry: `name@number` beside those that are shipped.

A name without a number means what the registry's channel `stable` names, and the shipped one where it names none. A
plan freezes the numbers when it is made, so that all its workers use the same version whatever is published meanwhile.
The registry's place is one for the process, as the models that are loaded are: the composition root says it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reporting.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.release.manifest import ResourceRef
    from pipeline.release.resources import Resource

MODEL = "model"
"""Business of embedders and detectors."""
GALLERY = "gallery"
_place: list[Path] = []


class Registered(NamedTuple):
    """A version of the registry, laid out as a folder; every file was verified."""

    folder: Path
    version: int


def use_registry(root: Path | None) -> None:
    """Say where the registry of this process lies: a lake's root, or a consumer's home; None: there is none."""
    _place[:] = [] if root is None else [root]


def find_registered(business: str, label: str) -> Registered | None:
    """Return the version that `name` or `name@number` means, None where the registry has none of it.

    Raises:
        ContractViolation: Its files are not those that were published.
        StoreError: It is there and damaged.
    """
    found = _resource(business, label)
    return None if found is None else Registered(_laid_out(_place[0], found), found.number)


def pinned_label(business: str, label: str) -> str:
    """Return `name@number` of what a name means now; a path, a number and what is only shipped stay as they are."""
    if "/" in label or "@" in label:
        return label
    found = _resource(business, label)
    return label if found is None else found.label


def find_in_space(name: str, space_id: str) -> Registered | None:
    """Return the newest version of a model that answers in a feature space, None if there is none."""
    if not _place:
        return None
    from pipeline.release.registry import resolve_resource, resource_series

    for number in reversed(resource_series(_place[0], MODEL, name.partition("@")[0]).numbers()):
        found = resolve_resource(_place[0], MODEL, name.partition("@")[0], number)
        if found.facts.get("space_id") == space_id:
            return Registered(_laid_out(_place[0], found), number)
    return None


def reference(business: str, label: str) -> ResourceRef | None:
    """Return what a release notes of a registered version; None for what is shipped, a path or not there."""
    found = None if "/" in label else _resource(business, label)
    return None if found is None else found.ref


def vetted(business: str, name: str, folder: Path) -> tuple[dict[str, str], int]:
    """Return what the registry notes of a folder that is to be published, and the number it must be above.

    The number must be above that of a shipped model of the same name, or `name@number` would mean two things.

    Raises:
        ConfigError: A model's or gallery's folder is not one, or is one of another name.
        DataError: Its content is not what its spec says.
    """
    if business in (MODEL, GALLERY) and not folder.is_dir():
        raise ConfigError(f"{folder}: is no folder; a {business} is published as the folder that holds its spec")
    if business == MODEL:
        from pipeline.models.catalog import SHIPPED, model_names
        from pipeline.models.spec import load_spec

        spec = load_spec(folder)
        if spec.name != name:
            raise ConfigError(f"{folder}: holds the model {spec.name!r}, expected {name!r}; publish it under its name")
        shipped = load_spec(SHIPPED / name).version if name in model_names() else 0
        return {"kind": spec.kind, "space_id": spec.space_id, "made_as": str(spec.ref)}, shipped
    if business == GALLERY:
        from pipeline.category.gallery import open_gallery

        seen = open_gallery(str(folder.resolve())).spec
        return {"embedder": seen.embedder, "space_id": seen.space_id, "gallery_sha256": seen.sha256}, 0
    return {}, 0


def _resource(business: str, label: str) -> Resource | None:
    if not _place:
        return None
    from pipeline.release.registry import registered, resolve_resource, resource_series

    name, _, number = label.partition("@")
    if "/" in name:
        return None  # a path
    if not number:
        return registered(_place[0], business, name)
    if not number.isdecimal():
        raise ConfigError(f"{business} {label!r}: {number!r} is no number of a version; expected e.g. {name}@2")
    if int(number) not in resource_series(_place[0], business, name).numbers():
        return None
    return resolve_resource(_place[0], business, name, int(number))


def _laid_out(root: Path, resource: Resource) -> Path:
    return _folder(root, resource.business, resource.name, resource.number, resource.sha256)


@cache
def _folder(root: Path, business: str, name: str, number: int, _sha256: str) -> Path:
    """Lay a version out once in a process: its files are hashed then, and are read-only from then on."""
    from pipeline.release.registry import resolve_resource
    from pipeline.release.resource_files import materialise

    return materialise(root, resolve_resource(root, business, name, number), root)
