"""A look at the lake's bytes: what the task reclaim would let go today; nothing is written."""

from __future__ import annotations

from datetime import date as Date
from typing import TYPE_CHECKING, Final

from pipeline.partitions import Partitions
from pipeline.storage.holdings import days_at_work, holdings
from pipeline.storage.needed import carrier_of
from pipeline.storage.survey import Asked, Storage, survey
from pipeline.tasks import task_settings
from pipeline.tasks.reclaim import Settings, check_graph, last_old_day, needed_on
from pipeline.window.library import library_of
from reporting.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from pipeline.place import Place

RECLAIM: Final = "reclaim"
_DAYS_BACK = 10_000


def storage_of(place: Place, day: Date | None) -> Storage:
    """Return what would go on a day, by the settings of the task graph.

    Args:
        place: The project.
        day: Default the newest that has a library.

    Raises:
        ConfigError: the graph has no task reclaim, its settings are wrong, or the lake is no folder.
        UsageError: the day has no library.
    """
    if RECLAIM not in place.topology.tasks:
        raise ConfigError("pipeline.yaml has no task reclaim; add it as `funnelgate init` writes it")
    settings = Settings.model_validate(task_settings(place.topology, RECLAIM).model_dump())
    check_graph(place.topology, settings)
    place.lake.folder()  # says so where there is none
    view = Partitions(place.store, place.topology, None)
    days = [day] if day is not None else view.days_before(carrier_of(place.topology), Date.max, count=_DAYS_BACK)
    chosen = next((one for one in days if library_of(view, place.topology, one)), None)
    if chosen is None:
        asked = "no day" if day is None else f"the day {day}"
        raise UsageError(f"{asked} has a library here; run it first (`funnelgate run`)")
    last = last_old_day(chosen, settings)
    return survey(
        place.lake,
        holdings(place.store, place.lake, settings.of, Date.max),
        needed_on((place.store, place.lake, place.topology), (view,), chosen, settings),
        days_at_work(place.store, last),
        Asked(chosen, settings.keep_days, settings.grace_days, last),
    )
