"""A resource of the registry: a numbered set of files of any business (model, detector, gallery, dictionary)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from pipeline.release.manifest import Decision, ResourceRef, Waiver
from pipeline.release.numbered import Numbered, Sha256
from pipeline.release.objects import FOLDER
from reporting.errors import ConfigError

STABLE = "stable"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}", re.ASCII)
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")]


class ResourceFile(BaseModel):
    """One file.

    Attributes:
        path: Relative to the resource's folder, with slashes.
        bytes: Size, >= 0.
        sha256: Of the content; it lies in the content store under this name.
        md5: Of the content, for old consumers; nothing here believes it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, Field(min_length=1)]
    bytes: int = Field(ge=0)
    sha256: Sha256
    md5: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


class Resource(Numbered):
    """A published version; `number` is the version, which rises per (business, name).

    Attributes:
        business: Kind of resource.
        name: Its name.
        files: Sorted by path, at least one.
        sha256: Of the content, see `content_sha256`.
        created_at: When it was published, aware.
        verdict_id: Verdict that let it out; None with a waiver over none.
        waiver: Set where it was published without a PASS over this content.
        rollback_to: The version whose content this one takes up again; None: content of its own.
        decided: Who rolled back and why.
        facts: What its maker wants to say: space id, training run, source.
    """

    business: Name
    name: Name
    files: tuple[ResourceFile, ...] = Field(min_length=1)
    sha256: Sha256
    created_at: AwareDatetime
    verdict_id: str | None = None
    waiver: Waiver | None = None
    rollback_to: int | None = Field(default=None, ge=1)
    decided: Decision | None = None
    facts: dict[str, str] = Field(default_factory=dict)

    @property
    def version(self) -> int:
        """Its number."""
        return self.number

    @property
    def label(self) -> str:
        """Return `name@version`, as a task books it."""
        return f"{self.name}@{self.number}"

    @property
    def ref(self) -> ResourceRef:
        """What a release notes of it."""
        return ResourceRef(business=self.business, name=self.name, version=self.number, sha256=self.sha256)

    def objects(self) -> dict[str, str]:
        """Return the sha256 of every file, by its path relative to the root (`objects/...`)."""
        return {f"{FOLDER}/{one.sha256[:2]}/{one.sha256}": one.sha256 for one in self.files}


def content_sha256(files: Iterable[ResourceFile]) -> str:
    """Return the sha256 of a set of files: of a JSON list of [path, bytes, sha256], sorted by path."""
    rows = sorted([one.path, one.bytes, one.sha256] for one in files)
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def checked_name(what: str, name: str) -> str:
    """Return a business, name or channel that may become a file's name.

    Raises:
        ConfigError: It has other signs than small letters, digits, dot, underline and dash, or starts with a sign.

    Example:
        >>> checked_name("channel", "stable")
        'stable'
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{what} {name!r}: expected small letters, digits, dots, underlines and dashes, starting with a letter or"
            " digit"
        )
    return name
