"""Does a release keep the guarantees of forgetting? Computed from its item tables and the library of its day.

The rule is judged by what was taken down when evict decided: a takedown that came later breaks nothing but G5, until
evict has run again.
"""

from __future__ import annotations

from datetime import date as Date
from typing import TYPE_CHECKING, Any

from pipeline.evict.catalogue import catalogue_of
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.verify import Verification, second_pass, verify
from pipeline.evict.verify_rules import HeldObject
from pipeline.evict_day import Decided
from pipeline.evict_look import audit_of, evicted_day
from pipeline.item_ids import resolve_ids
from pipeline.library_facts import taken_down_of
from pipeline.partitions import Partitions
from pipeline.release.pointer import current, release_of
from pipeline.release.withheld import WithheldList, withheld, withheld_at
from pipeline.window.library import CARRIER
from reporting.errors import UsageError
from reporting.stores.base import RecordQuery

if TYPE_CHECKING:
    from pipeline.place import Place
    from pipeline.release.manifest import ReleaseManifest


def verify_release(place: Place, number: int | None, policy: EvictPolicy) -> Verification:
    """Compute the guarantees of a release again, from its item tables and the library of its day.

    Args:
        place: The project.
        number: Of the release; None: the current one.
        policy: By which.

    Raises:
        UsageError: nothing was released, or evict has not run on the release's day.
    """
    root = place.lake.folder()
    manifest = current(root) if number is None else release_of(root, number)
    if manifest is None:
        raise UsageError(f"{place.lake.root}: nothing has been released yet; run a day to its end first")
    audit = audit_of(place, manifest.date)
    then, now = _withheld_then(place, manifest.date), withheld(root)
    seen = evicted_day(place, manifest.date, policy, hidden=then, valued=audit)
    held, objects = _held(place, manifest, now)
    held = _with_hidden_since(place, seen, held, now.takedowns.items - then.takedowns.items)
    again = second_pass(
        seen.stored, seen.decisions, seen.names, held["picture"], seen.policy, seen.day, distance=seen.distance
    )
    return verify(
        held,
        catalogue_of(seen.stored, seen.names),
        seen.policy,
        seen.day,
        audit,
        taken_down=now.takedowns.pictures | set(taken_down_of(seen.library.deciding(), now)),
        objects=objects,
        goes_again=again,
    )


def _withheld_then(place: Place, day: Date) -> WithheldList:
    """Return what was withheld when the task evict decided about a day."""
    (part,) = Partitions(place.store, place.topology, None).of_task(CARRIER, day)
    query = RecordQuery(tasks=(CARRIER,), date_from=day, date_to=day, planids=(part.planid,))
    (record,) = place.store.records(query)
    return withheld_at(place.lake.folder(), record.started_at)


def _held(place: Place, manifest: ReleaseManifest, now: WithheldList) -> tuple[Any, list[HeldObject]]:
    """Return the rows of a release's indexes (picture, category, day), and those of them that are taken down by id."""
    import pyarrow as pa
    import pyarrow.compute as pc

    tables, objects = [], []
    items = pa.array(sorted(now.takedowns.items), pa.int64())
    for category, entry in sorted(manifest.categories.items()):
        rows = place.lake.read_table(entry.items_path, ["id", "picture", "last_seen"])
        down = rows.filter(pc.is_in(rows["id"], value_set=items))
        objects += [HeldObject(row["id"], row["picture"], category) for row in down.to_pylist()]
        names = pa.repeat(pa.scalar(category, pa.large_string()), rows.num_rows)
        tables.append(_held_rows(rows["picture"], names, rows["last_seen"]))
    none = _held_rows(*(pa.array([], kind) for kind in (pa.string(), pa.string(), pa.date32())))
    return pa.concat_tables([none, *tables]), objects


def _held_rows(pictures: Any, categories: Any, days: Any) -> Any:
    import pyarrow as pa

    columns = (pictures.cast(pa.large_string()), categories.cast(pa.large_string()), days.cast(pa.date32()))
    return pa.table(dict(zip(("picture", "category", "day"), columns, strict=True)))


def _with_hidden_since(place: Place, seen: Decided, held: Any, items: frozenset[int]) -> Any:
    """Return the rows with those pictures that stay, and of which a takedown since may have taken the only object."""
    import pyarrow as pa

    pictures = [one.picture for one in resolve_ids(place.store, sorted(items)).values()]
    stay = [int(number) for number in seen.names.ids_of(pictures) if seen.decisions.keep[number]]
    names = pa.array([seen.names.picture(number) for number in stay], pa.large_string())
    categories = pa.array([seen.stored.categories[seen.stored.category[number]] for number in stay], pa.large_string())
    return pa.concat_tables([held, _held_rows(names, categories, pa.array([seen.day] * len(stay), pa.date32()))])
