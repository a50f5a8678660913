"""The demo's cluster: set up before the first day, filled beside the work, and read back at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date as Date
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console

from pipeline.place import Place
from reporting.balance import balance
from reporting.effective import effective_records
from reporting.elastic.opening import open_sink, what_is_left
from reporting.errors import StoreError, UsageError
from reporting.funnel import funnel
from reporting.ledger import gather_books
from reporting.outbox_sql import SqlOutbox
from reporting.settings import ElasticSettings
from reporting.shipper import Did, Shipper
from reporting.stores.base import RecordStore

if TYPE_CHECKING:
    from reporting.stores.elastic import ElasticStore

DRAIN_SECONDS = 120.0
"""The demo ships some 2,000 entries, in a second or two; what takes longer than this is an outage."""


class Elastic(NamedTuple):
    """The cluster that the demo ships to."""

    url: str
    prefix: str


class ReadBack(BaseModel):
    """What the cluster answered, beside what SQL holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    prefix: str
    shipped: int
    """Entries delivered since the demo's store was made."""
    quarantined: int
    compared: int
    """Documents of the demo's days that SQL knows, each looked up there."""
    missing: int
    different: int
    extra: int
    differs: tuple[str, ...]
    """One line for each row of a funnel or of the balance that is not the same in both."""

    @property
    def equal(self) -> bool:
        """Tell whether all that SQL holds was taken, and is answered in the same way."""
        return not (self.missing or self.different or self.extra or self.differs or self.quarantined)


def settings_text(elastic: Elastic) -> str:
    """Return the lines of the settings file that name the cluster.

    Raises:
        UsageError: the prefix cannot begin the name of an index.
        ConfigError: the URL is none, or holds a password.
    """
    from reporting.elastic.client import connect

    try:
        chosen = ElasticSettings(**elastic._asdict())
    except ValidationError:
        raise UsageError(
            f"--prefix {elastic.prefix!r} begins index names: use a small letter, then small letters, digits, _ . -"
        ) from None
    connect(chosen).close()
    return yaml.safe_dump({"elastic": elastic._asdict()}, sort_keys=False)


def set_up(place: Place, days: Sequence[Date], meant: Elastic | None) -> None:
    """Make the indices of the days where the settings name a cluster; refuse one that holds another run's plans.

    Args:
        place: the demo's; the environment may have named another cluster than its settings file.
        days: of the demo.
        meant: the cluster that the options named.

    Raises:
        UsageError: it does, and the same planids with other content would only meet refusals; or it is another
            cluster than the one meant.
        ConfigError: the key, the server's version or an index there is not one we can use.
        StoreError: the cluster cannot be reached.
    """
    from reporting.elastic.client import check, connect
    from reporting.elastic.setup import setup

    if meant is not None and (place.elastic.url, place.elastic.prefix) != meant:
        raise UsageError(
            f"the environment names the cluster {place.elastic.url} with prefix {place.elastic.prefix}, the options "
            f"{meant.url} with {meant.prefix}; unset FUNNELGATE_ELASTIC__URL and FUNNELGATE_ELASTIC__PREFIX"
        )
    if place.elastic.url is None:
        return
    client = connect(place.elastic)
    try:
        check(client)
        metrics = {name for task in place.topology.tasks.values() for name in task.metrics}
        setup(client, place.elastic.prefix, metrics, days)
    finally:
        client.close()
    with _cluster(place) as cluster:
        for plan in cluster.plans(days[0], days[-1]):
            mine = place.store.get_plan(plan.planid)
            if mine is None or mine.created_at != plan.created_at:
                raise UsageError(
                    f"{place.elastic.url}, prefix {place.elastic.prefix}, already holds plan {plan.planid}, made "
                    f"{plan.created_at:%Y-%m-%d %H:%M} by something other than this demo; take another --prefix"
                )


def read_back(place: Place, days: Sequence[Date]) -> ReadBack:
    """Ship what still waits, then compare the cluster with SQL: its documents, and the answers of funnel and balance.

    Raises:
        StoreError: something still waits after two minutes, or the cluster cannot be reached.
    """
    from reporting.elastic.compare import compare
    from reporting.elastic.setup import require_setup
    from reporting.elastic.truth import Span

    outbox = SqlOutbox(place.store)
    _drain(place, outbox)
    status = outbox.status()
    prefix = place.elastic.prefix
    with _cluster(place) as cluster:
        metrics = require_setup(cluster.client, prefix)
        verify = compare(place.store, cluster.client, prefix, metrics, Span(days[0], days[-1]))
        ours, theirs = _summary(place, place.store, days), _summary(place, cluster, days)
    differs = [
        f"{where}: SQL {ours.get(where)}, the cluster {theirs.get(where)}"
        for where in sorted({*ours, *theirs})
        if ours.get(where) != theirs.get(where)
    ]
    return ReadBack(
        url=str(place.elastic.url),
        prefix=prefix,
        shipped=status.shipped,
        quarantined=status.quarantined,
        compared=verify.compared,
        missing=verify.missing,
        different=verify.different,
        extra=verify.extra,
        differs=tuple(differs),
    )


def _drain(place: Place, outbox: SqlOutbox) -> None:
    shipper = Shipper(outbox, lambda: open_sink(place.elastic, place.store))
    last = shipper.drain(seconds=DRAIN_SECONDS)
    shipper.resign()
    if last.did is not Did.IDLE:
        raise StoreError(f"the demo's days are done, but {what_is_left(outbox, last, str(place.elastic.url))}")


@contextmanager
def _cluster(place: Place) -> Iterator[ElasticStore]:
    """Open the cluster as a store, with all that was written so far visible."""
    from reporting.elastic.client import cluster_errors, url_of
    from reporting.elastic.mappings import patterns
    from reporting.stores.elastic import ElasticStore

    with ElasticStore.open(place.elastic) as cluster:
        with cluster_errors(url_of(cluster.client)):
            cluster.client.indices.refresh(
                index=list(patterns(place.elastic.prefix)), ignore_unavailable=True, allow_no_indices=True
            )
        yield cluster


def _summary(place: Place, store: RecordStore, days: Sequence[Date]) -> dict[str, dict[str, Any]]:
    """Return each row of every day's funnel and of the balance, under what a person calls it."""
    rows: dict[str, dict[str, Any]] = {}
    for day in days:
        for line in funnel(place.topology, effective_records(store, day, day)):
            rows[f"funnel of {day}, {line.task}"] = line.model_dump(mode="json")
    for row in balance(place.topology, gather_books(store, place.topology, days[0], days[-1])).rows:
        rows[f"balance of {row.date}, {row.planid}"] = row.model_dump(mode="json")
    return rows


def tell(console: Console, found: ReadBack) -> None:
    """Print what was read back."""
    console.print(f"\n[bold]Elasticsearch[/] {found.url}, prefix {found.prefix}", highlight=False)
    console.print(
        f"{found.shipped} entries shipped; of {found.compared} documents {found.missing} missing, "
        f"{found.different} different, {found.extra} extra",
        highlight=False,
    )
    if found.quarantined:
        console.print(f"[red]{found.quarantined} refused for good[/]; `funnelgate records status` tells them and why")
    if not found.differs:
        console.print("funnel and balance read from the cluster equal SQL's, key by key")
        return
    console.print(f"[red]{len(found.differs)} rows of funnel or balance differ[/]; see `funnelgate records verify`")
    for line in found.differs:
        console.print(line, highlight=False, soft_wrap=True)
