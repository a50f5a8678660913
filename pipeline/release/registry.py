"""The version registry: resources of any business with versions and channels, over the content store.

`registry/<business>/<name>/NNNNNN.json` and `registry/<business>/<name>/channels/<channel>.json`, by the mechanism of
the releases (numbered.py). The files lie in `objects/`; resource_files.py gives them their names again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.release.durable import locked, make_folder
from pipeline.release.manifest import NO_VERDICT, OTHER_INPUTS, Decision, ResourceRef, Waiver
from pipeline.release.numbered import LOCK, Series
from pipeline.release.objects import ObjectStore
from pipeline.release.resource_files import files_of
from pipeline.release.resources import STABLE, Resource, checked_name, content_sha256
from reporting.errors import ConfigError, ContractViolation, DataError, GateRefused, StoreError, UsageError
from reporting.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from pipeline.release.signing import Signer

FOLDER = "registry"
CHANNELS = "channels"


def resource_series(root: Path, business: str, name: str) -> Series[Resource]:
    """Return the run of versions of one resource.

    Raises:
        ConfigError: Business or name cannot be a file's name.
    """
    scope = f"{checked_name('business', business)}/{checked_name('resource', name)}"
    return Series(root / FOLDER / business / name, Resource, f"version of {scope}", "", scope)


def channel_file(channel: str) -> str:
    """Return a channel's pointer, relative to its series; ConfigError for what cannot be a file's name."""
    return f"{CHANNELS}/{checked_name('channel', channel)}.json"


def publish_resource(
    root: Path,
    business: str,
    name: str,
    source: Path,
    *,
    at: datetime,
    channel: str = STABLE,
    verdict: Verdict | None = None,
    waiver: Waiver | None = None,
    facts: Mapping[str, str] | None = None,
    signer: Signer | None = None,
    after: int = 0,
) -> Resource:
    """Store a file or a folder of files, give it the next version and let a channel name it.

    Idempotent: content that the channel names already is answered with its version.

    Args:
        root: Lake root, a local or mounted folder.
        business: Kind of resource, e.g. `model`.
        name: Its name, e.g. `efficientnet-lite0`.
        source: A file, or a folder whose files count with their paths; names that start with a dot are refused.
        at: Now, aware.
        channel: That names it from now on.
        verdict: A PASS that lists this content (`content_sha256`) among its inputs.
        waiver: Or who answers for it; its `instead_of` names what is missing.
        facts: What its maker wants to say.
        signer: Signs the channel's pointer.
        after: The version's number is above this one.

    Raises:
        GateRefused: There is no PASS over this content and no waiver that names what is missing.
        DataError: There is no file, or one that cannot be taken.
        StoreError: The disk refused, or what is published cannot be read.
    """
    checked_name("business", business), checked_name("resource", name), checked_name("channel", channel)
    sources = files_of(source)
    sha256 = content_sha256(list(sources))
    missing = _objection(verdict, sha256)
    if missing is not None and (waiver is None or missing not in {one.strip() for one in waiver.instead_of.split(",")}):
        raise GateRefused(
            f"{business}/{name}: content {sha256} may not be published: {missing}; expected a PASS that lists it among"
            f" its inputs, or a waiver instead of: {missing}"
        )
    store = ObjectStore(root)
    for one, path in sources.items():
        if store.put_file(path) != one.sha256:
            raise DataError(f"{path}: changed while it was published; publish again when nobody writes it")

    wanted = Resource(
        number=1,
        business=business,
        name=name,
        files=tuple(sources),
        sha256=sha256,
        created_at=at,
        verdict_id=None if verdict is None else verdict.verdict_id,
        waiver=waiver if missing is not None else None,
        facts=dict(facts or {}),
    )
    return _publish(root, channel, wanted, signer, after)


def rollback_resource(
    root: Path,
    business: str,
    name: str,
    version: int,
    *,
    decided: Decision,
    channel: str = STABLE,
    signer: Signer | None = None,
) -> Resource:
    """Give an old version's content a new version, and let the channel name it.

    Raises:
        UsageError: There is no such version, or the channel has this content already.
        ContractViolation: A file of it is gone.
        StoreError: The disk refused, or what is published cannot be read.
    """
    old = resolve_resource(root, business, name, version)
    now = registered(root, business, name, channel)
    if now is not None and now.sha256 == old.sha256:
        raise UsageError(f"{business}/{name}: channel {channel} has the content of version {version} already")

    changed = {"created_at": decided.at, "decided": decided, "rollback_to": version}
    return _publish(root, channel, old.model_copy(update=changed), signer)


def _publish(root: Path, channel: str, wanted: Resource, signer: Signer | None, after: int = 0) -> Resource:
    """Publish a version whose number and parent are set here."""
    series, store = resource_series(root, wanted.business, wanted.name), ObjectStore(root)

    def facts(one: Resource) -> tuple[object, ...]:
        return (one.sha256, one.verdict_id, one.waiver, one.facts, one.rollback_to, one.decided)

    try:
        with _alone(root, series):
            return series.publish(
                channel_file(channel),
                same=lambda before: before.sha256 == wanted.sha256,
                resumes=lambda last: facts(last) == facts(wanted),
                build=lambda number, parent: wanted.model_copy(update={"number": number, "parent": parent}),
                check=lambda: _require_files(store, wanted),
                signer=signer,
                after=after,
            )
    except OSError as error:
        raise StoreError(
            f"{series.root}: publishing failed: {error}; the channel names what it named before unless it names the new"
            " version; free the disk or mend its rights and publish again"
        ) from error


@contextmanager
def _alone(root: Path, series: Series[Resource]) -> Iterator[None]:
    """Hold the lock of the root, which a sweep holds too, and that of the resource, in this order."""
    make_folder(root)
    with locked(root / LOCK), series.publishing():
        yield


def _require_files(store: ObjectStore, wanted: Resource) -> None:
    """Renew the time of every file of a version, so that a sweep's grace counts from now; all must be there."""
    gone = [one.path for one in wanted.files if not store.renew(one.sha256)]
    if gone:
        raise ContractViolation(
            f"{wanted.business}/{wanted.name}: {', '.join(gone)} of its files are gone from {store.folder}; publish"
            " them again"
        )


def _objection(verdict: Verdict | None, sha256: str) -> str | None:
    """Return what stands against a resource, in the word a waiver must use; None for a PASS over this content."""
    if verdict is None:
        return NO_VERDICT
    if verdict.outcome is not Outcome.PASS:
        return verdict.outcome.value
    return None if sha256 in verdict.inputs.values() else OTHER_INPUTS


def point_channel(
    root: Path, business: str, name: str, channel: str, version: int, signer: Signer | None = None
) -> Resource:
    """Let a channel name a version that is there, e.g. what `beta` has tried; it cannot go back, see rollback.

    Raises:
        ContractViolation: A file of that version is gone.
        StoreError: There is no such version, the channel names a later one, or the disk refused.
    """
    series = resource_series(root, business, name)
    try:
        with _alone(root, series):
            _require_files(ObjectStore(root), series.read(version))
            return series.point(channel_file(channel), version, signer)
    except OSError as error:
        raise StoreError(f"{series.root}: channel {channel} was not moved: {error}") from error


def registered(root: Path, business: str, name: str, channel: str = STABLE) -> Resource | None:
    """Return the version that a channel names, None where nothing was published there.

    Raises:
        ConfigError: A name cannot be a file's name.
        StoreError: Pointer or manifest are damaged.
    """
    return resource_series(root, business, name).current(channel_file(channel))


def resolve_resource(root: Path, business: str, name: str, version: str | int = STABLE) -> Resource:
    """Return the version that a channel names, or the version of that number.

    Raises:
        ConfigError: There is no such resource, channel or version; with the nearest names.
        StoreError: It is there and damaged.
    """
    series = resource_series(root, business, name)
    where = str(series.root)
    if not series.numbers():
        raise ConfigError.unknown_name(f"{business} in the registry", name, resource_names(root, business), where)
    if isinstance(version, int) or version.isdecimal():
        known = series.numbers()
        if int(version) not in known:
            raise ConfigError.unknown_name("version", str(version), map(str, known), where)
        return series.read(int(version))
    found = series.current(channel_file(version))
    if found is None:
        raise ConfigError.unknown_name("channel", version, channels(root, business, name), where)
    return found


def require_resources(root: Path, refs: Iterable[ResourceRef], *, verify: bool = False) -> None:
    """Make sure that a consumer could pull what a release names of the registry: each manifest, and all its files.

    Args:
        root: Lake root.
        refs: What the release names.
        verify: Read every file whole; False: it is enough that it is there.

    Raises:
        ContractViolation: A version has another content than the one named, or a file of it is gone or damaged.
        StoreError: A manifest is not there or damaged, or a file to be verified is not there.
    """
    store = ObjectStore(root)
    for ref in refs:
        found = resource_series(root, ref.business, ref.name).read(ref.version)
        if found.sha256 != ref.sha256:
            raise ContractViolation(
                f"{root}: {ref.business}/{found.label} has content {found.sha256}, the release names {ref.sha256};"
                " versions never change: restore its manifest, or draft the release again"
            )
        gone = [one.path for one in found.files if not store.holds(one.sha256)]
        if gone:
            raise ContractViolation(
                f"{root}: {', '.join(gone)} of {ref.business}/{found.label} are gone from {store.folder}, and no"
                " consumer could pull the release that names it; publish that version's files again"
            )
        for one in found.files if verify else ():
            store.verify(one.sha256)


def resource_names(root: Path, business: str) -> list[str]:
    """Return the names published under a business, sorted."""
    folder = root / FOLDER / checked_name("business", business)
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def businesses(root: Path) -> list[str]:
    """Return every business of which something was published, sorted."""
    folder = root / FOLDER
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def channels(root: Path, business: str, name: str) -> list[str]:
    """Return the channels of a resource, sorted."""
    folder = resource_series(root, business, name).root / CHANNELS
    return sorted(path.stem for path in folder.glob("[!.]*.json"))
