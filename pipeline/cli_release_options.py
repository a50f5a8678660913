"""Options that the commands of releases and resources share, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reporting.errors import UsageError

if TYPE_CHECKING:
    from pipeline.release.manifest import Waiver
    from pipeline.release.signing import Signer
    from reporting.verdict import Verdict

RootOption = Annotated[
    Path | None, typer.Option(help="A lake or a consumer's home, instead of the lake of the settings.")
]
ByOption = Annotated[str, typer.Option(help="Who decides.")]
WhyOption = Annotated[str, typer.Option(help="Why, in a sentence; kept for ever.")]
WaiveOption = Annotated[
    str | None,
    typer.Option(help="What you answer for, as the refusal names it: 'FAIL', 'no verdict, stale ancestors', ..."),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it; without it only what would be done is shown.")]
SignKeyOption = Annotated[
    Path | None,
    typer.Option(help="Sign the pointer with this Ed25519 key (PEM); releases: default that of the task's settings."),
]
ValidOption = Annotated[
    float | None, typer.Option(min=0.01, help="With --sign-key: hours that consumers may follow it; default for ever.")
]
PublicKeyOption = Annotated[
    Path | None, typer.Option(help="Follow only what was signed by this key's other half (PEM).")
]


def root_of(context: typer.Context, root: Path | None) -> Path:
    """Return the root that a command works on.

    Raises:
        ConfigError: The lake of the settings is no folder.
        UsageError: The root given is none.
    """
    if root is None:
        folder: Path = context.obj.place.lake.folder()
        return folder
    if not root.is_dir():
        raise UsageError(f"--root {root}: is no folder; expected a lake or a consumer's home")
    return root


def signer_of(key: Path | None, hours: float | None) -> Signer | None:
    """Return what signs now, None where nobody asked for it; UsageError for hours without a key."""
    from pipeline.release.signing import Signer

    if key is None:
        if hours is not None:
            raise UsageError("--valid-hours says how long a signature counts; give --sign-key too")
        return None
    return Signer(key, datetime.now(UTC), None if hours is None else timedelta(hours=hours))


def release_signer(context: typer.Context, key: Path | None, hours: float | None) -> Signer | None:
    """Return what signs a release now: the key given, else that of `tasks.release.settings`, None for neither.

    Raises:
        ConfigError: The key cannot be used; before anything is written.
        UsageError: Hours without a key.
    """
    from pipeline.release.signing import private_key
    from pipeline.tasks import task_settings

    settings: Any = task_settings(context.obj.place.topology, "release")
    if key is None and settings.sign_key is not None:
        key, hours = settings.sign_key, settings.sign_valid_hours if hours is None else hours
    if key is not None:
        private_key(key)
    return signer_of(key, hours)


def waiver_of(waive: str | None, by: str, why: str) -> Waiver | None:
    """Return the waiver that was given, None for none; UsageError where nobody answers or the reason is too short."""
    from pipeline.release.manifest import Waiver

    if waive is None:
        return None
    if len(why.strip()) < 10 or not by.strip():
        raise UsageError("--waive needs --why in at least ten characters, and --by who answers for it")
    return Waiver(by=by.strip(), why=why.strip(), at=datetime.now(UTC), instead_of=waive)


def verdict_by_id(context: typer.Context, verdict_id: str) -> Verdict:
    """Return a verdict of the store; UsageError where there is none."""
    store = context.obj.store
    for plan in store.plans():
        for verdict in store.verdicts(plan.planid):
            if verdict.verdict_id == verdict_id:
                return verdict  # type: ignore[no-any-return]
    raise UsageError(f"there is no verdict {verdict_id!r}; `funnelgate evaluate` gives one")


@contextmanager
def bytes_bar(text: str) -> Iterator[Callable[[int], None]]:
    """Yield what is told of bytes as they come, shown on a terminal's standard error."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn(text), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(text, total=None)
        yield lambda count: bar.update(task, advance=count)


def size_text(count: int) -> str:
    """Return a number of bytes for people.

    Example:
        >>> size_text(1_500_000)
        '1.5 MB'
    """
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
