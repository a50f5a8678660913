"""The composition root: settings, the command line, and what one folder hands to another.

The only file that may import all five folders; each command imports its heavy libraries when it runs.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, Field

import checks.cli
import dashboards.cli
import evaluation.cli
import pipeline.cli
import reporting.cli
from checks.settings import CheckSettings
from dashboards.kibana.settings import KibanaSettings
from dashboards.web.settings import WebSettings
from pipeline.serve.serve_settings import ServeSettings
from pipeline.settings import LakeSettings, RunSettings
from reporting.errors import EXIT_INFRASTRUCTURE, ConfigError, FunnelgateError
from reporting.settings import (
    ElasticSettings,
    Loaded,
    LogSettings,
    StoreSettings,
    absolute_url,
    describe,
    find_config,
    load_settings,
)
from reporting.yaml_source import load_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import date as Date

    from sqlalchemy import Connection

    from checks.demo import StoryChecks
    from checks.sinks.base import Sink
    from checks.sinks.settings import SinkSettings
    from checks.spec import LoadedChecks
    from dashboards.page.handed import HandedSources
    from evaluation.searchers.index import IndexUnderTest
    from pipeline.place import Place
    from reporting.key import RunKey
    from reporting.stores.sql import SqlStore
    from reporting.topology import Topology


class Settings(BaseModel):
    """Everything `funnelgate.yaml` may hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: StoreSettings = Field(default_factory=StoreSettings)
    elastic: ElasticSettings = Field(default_factory=ElasticSettings)
    kibana: KibanaSettings = Field(default_factory=KibanaSettings)
    lake: LakeSettings = Field(default_factory=LakeSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    run: RunSettings = Field(default_factory=RunSettings)
    checks: CheckSettings = Field(default_factory=CheckSettings)
    serve: ServeSettings = Field(default_factory=ServeSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    pipeline: Path | None = None
    """The topology file, relative to the settings file; null: the one that comes with funnelgate."""


class Context:
    """What commands get: settings, and the things made from them when first asked for."""

    def __init__(self, config: Path | None):
        self.config = config

    @cached_property
    def loaded(self) -> Loaded[Settings]:
        """The settings."""
        here = Path.cwd()
        config = find_config(self.config, os.environ, here)
        if config is not None:
            _refuse_key_in_file(config)
        return load_settings(Settings, config, os.environ, here)

    @cached_property
    def topology(self) -> Topology:
        """The task graph."""
        from reporting.topology import Topology

        path = self.loaded.values.pipeline
        if path is not None:
            return Topology.load(self.loaded.folder / path)
        return Topology.load(Path(pipeline.__file__).parent / "default.yaml")

    @cached_property
    def store(self) -> SqlStore:
        """The store, built or migrated when first opened."""
        from reporting.stores import open_store

        url = absolute_url(self.loaded.values.store.url, self.loaded.folder)
        return open_store(url, ships=self.elastic.url is not None)

    @cached_property
    def elastic(self) -> ElasticSettings:
        """The cluster that records are shipped to, its files found from any folder."""
        settings, folder = self.loaded.values.elastic, self.loaded.folder
        files = {"api_key_file": settings.api_key_file, "ca_certs": settings.ca_certs}
        return settings.model_copy(update={name: folder / path for name, path in files.items() if path is not None})

    @cached_property
    def services(self) -> Services:
        """What the pipeline needs of the other folders."""
        return Services(self.page_address)

    def page_address(self, beside: Path | None, path: str) -> str | None:
        """Return what leads to a page from a file in `beside`; None where that is not known."""
        from dashboards.page.links import address_from

        return address_from(beside, self.loaded.values.web.address, self.loaded.folder, path)

    @cached_property
    def place(self) -> Place:
        """Everything the pipeline works with."""
        from pipeline.lake import Lake
        from pipeline.models.registered import use_registry
        from pipeline.place import Place
        from pipeline.tasks import with_absolute_paths
        from reporting.logs import log_to

        values, folder = self.loaded.values, self.loaded.folder
        log_to(None if values.log.path is None else folder / values.log.path, values.log.level)
        root = values.lake.root
        lake = Lake(root if "://" in root else str((folder / root).resolve()))
        use_registry(lake.folder() if lake.is_local else None)
        return Place(
            store=self.store,
            lake=lake,
            topology=with_absolute_paths(self.topology, folder),
            services=self.services,
            settings=values.run,
            folder=folder,
            config=find_config(self.config, os.environ, Path.cwd()),
            elastic=self.elastic,
            shipping=self.shipping,
        )

    def shipping(self) -> AbstractContextManager[None]:
        """Ship beside the block, and say on standard error what still waits at its end."""
        from reporting.elastic.opening import shipping

        return shipping(self.store, self.elastic, lambda text: typer.secho(text, fg=typer.colors.YELLOW, err=True))

    def opened(self, number: str) -> IndexUnderTest:
        """Open a release for the gate by its number; "" is the current one."""
        from pipeline.partitions import Partitions
        from pipeline.serve.candidate import open_release

        return open_release(self.place.lake, Partitions(self.store, self.topology, None), number)

    def near_hash(self, data: bytes) -> str:
        """Return a picture's perceptual hash, 16 hex digits; "" for one without detail, or that cannot be decoded."""
        from pipeline.images.decode import PictureError
        from pipeline.images.dhash import dhash64

        try:
            found = dhash64(data).value
        except PictureError:
            return ""
        return "" if found is None else f"{found:016x}"

    def checks(self, rules: Path | None = None) -> LoadedChecks:
        """Return the checks of a file; None: those of the settings, else those that come with funnelgate."""
        from checks.spec import load_checks

        named = self.loaded.values.checks.rules
        if rules is not None or named is not None:
            return load_checks(rules or self.loaded.folder / (named or ""), self.topology)
        path = Path(checks.cli.__file__).parent / "rules" / "default.yaml"
        try:
            return load_checks(path, self.topology, shipped=True)
        except ConfigError as error:
            raise ConfigError(
                f"{error}\nthese are the checks of the task graph that comes with funnelgate; for a graph of your own "
                "write a file of checks and name it as checks.rules in funnelgate.yaml, or by --rules"
            ) from None

    @property
    def sinks(self) -> tuple[SinkSettings, ...]:
        """Who hears of incidents."""
        return self.loaded.values.checks.sinks

    def open_sinks(self) -> list[Sink]:
        """Return the sinks, ready to be sent to."""
        from checks.sinks.opening import open_sinks

        links, home = self.loaded.values.checks.links, self.loaded.values.web.address
        if home is not None and "://" in home:
            links = {"page": f"{home.rstrip('/')}/incident/{{episode}}.html", **links}
        return open_sinks(self.sinks, self.loaded.folder, os.environ, links)

    def page_sources(self) -> HandedSources:
        """Return what the page needs of the other folders."""
        from checks import cards as of_checks
        from dashboards.page.handed import Adapters, HandedSources
        from dashboards.page.links import kibana_of
        from evaluation.cards import verdict_cards
        from pipeline.cards import evictions, releases, units
        from pipeline.cards.kept_galleries import KeptGalleries

        store, place, log = self.store, self.place, self.loaded.values.log.path
        return HandedSources(
            Adapters(
                incidents=partial(of_checks.incident_cards, store),
                open_incidents=partial(of_checks.open_cards, store),
                incident=partial(of_checks.incident_card, store, links=self.loaded.values.checks.links),
                checks=partial(of_checks.check_day, store),
                verdicts=lambda first, last: verdict_cards(
                    store, first, last, releases.gate_reports(place, first, last)
                ),
                releases=partial(releases.release_cards, place),
                window=partial(releases.window_card, place),
                storage=partial(releases.storage_cards, place),
                galleries=KeptGalleries(place).of,
                eviction=partial(evictions.eviction_card, place),
                units=partial(units.unit_cards, store),
                log_lines=partial(units.log_cards, None if log is None else self.loaded.folder / log),
            ),
            kibana_of(self.loaded.values.kibana.url, self.loaded.values.kibana.space, self.elastic.prefix),
        )

    def story_checks(self, config: Path) -> StoryChecks:
        """Return what the demo's second act needs of the checks of another settings file."""
        from checks.demo import StoryChecks

        other = Context(config)
        return StoryChecks(other.store, other.topology, other.checks(), other.sinks)

    def write_page(self, config: Path) -> Path:
        """Write the page of another settings file's project beside it; return the page to open."""
        from datetime import UTC, datetime

        from dashboards.page.desk import Desk
        from dashboards.page.static import write_site

        other, page = Context(config), config.parent / "page"
        with other.store as store:
            desk = Desk(store, other.topology, other.page_sources(), datetime.now(UTC))
            write_site(desk, page, project=config.parent)
        return page / "index.html"

    def fresh(self) -> Context:
        """Return a context that opens everything anew: another file may lie where the store was."""
        return Context(self.config)

    def place_at(self, config: Path) -> Place:
        """Return the place of another settings file."""
        return Context(config).place

    def describe(self) -> list[tuple[str, str, str]]:
        """Return every setting with its value and origin."""
        return describe(self.loaded)


def _refuse_key_in_file(config: Path) -> None:
    """Refuse an API key among the settings: files of settings are committed, mailed and shown."""
    source = load_yaml(config)
    for name in ("elastic", "kibana", "serve"):
        section = source.data.get(name) if isinstance(source.data, dict) else None
        if isinstance(section, dict) and section.get("api_key") is not None:
            raise ConfigError(
                f"{source.where((name, 'api_key'))}: {name}.api_key: a key must not stand in a file of settings; take "
                f"it out, and set FUNNELGATE_{name.upper()}__API_KEY, or {name}.api_key_file to a file with it alone"
            )


class Services:
    """What the pipeline's tasks and commands need of the other folders.

    Args:
        page_address: What leads to a page from a file in a folder.
    """

    def __init__(self, page_address: Callable[[Path | None, str], str | None] = lambda _folder, _path: None):
        self._page_address = page_address

    def judge(self, candidate: Any, settings: Any, folder: Path | None = None) -> Any:
        """Judge a candidate by the evaluation folder's gate, whose report is to lie in `folder`."""
        from dashboards.page.links import verdict_path
        from evaluation.release_gate import CatalogEntry, Subject, judge_release
        from pipeline.serve.candidate import baselines, picture_reader, probes, under_test

        judged = under_test(candidate)
        subject = Subject(
            date=candidate.date,
            planid=candidate.planid,
            inputs=candidate.inputs(),
            candidate=judged,
            baselines=lambda: baselines(candidate, judged),
            catalog=lambda: [CatalogEntry(*row) for row in judged.of_record(candidate.date)],
            probes=lambda: probes(judged, settings.probes),
            picture=picture_reader(judged),
            page=lambda verdict_id: self._page_address(folder, verdict_path(verdict_id)),
        )
        return judge_release(subject, settings)

    def held(self, connection: Connection, key: RunKey, redone: Callable[[], Collection[Date]]) -> str | None:
        """Return which incident of a blocking check a unit of work has to wait for; None: it may run."""
        from checks.incident_store import holds

        where = (key.task, key.date, key.category, key.subinstance)
        if not holds(connection, *where, planid=key.planid):
            return None
        found = holds(connection, *where, planid=key.planid, redone=redone())
        if not found:
            return None
        episode = found[0].episode
        return (
            f"by incident {episode} of {found[0].check}: mend it, or `funnelgate incidents waive {episode} --why ...`"
        )

    def measure_boxes(self, truths: Sequence[Any], found: Sequence[Any]) -> Any:
        """Measure a detector by the evaluation folder: (boxes, labels) and (boxes, scores, labels) of each picture."""
        from evaluation.detection import Found, Truth, measure_detection

        return measure_detection([Truth(*one) for one in truths], [Found(*one) for one in found])


app = typer.Typer(
    name="funnelgate",
    help="Keep an offline visual-search pipeline honest: every task's books kept, closed and gated.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def root(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="Settings file; default ./funnelgate.yaml.")] = None,
) -> None:
    """Read the settings file named by --config, FUNNELGATE_CONFIG or ./funnelgate.yaml."""
    context.obj = Context(config)


pipeline.cli.add_to(app)
reporting.cli.add_to(app)
checks.cli.add_to(app)
evaluation.cli.add_to(app)
dashboards.cli.add_to(app)


@cache
def command_line() -> Callable[..., object]:
    """Return the command line as it is run; made once a process, for that takes 0.1 s."""
    return typer.main.get_command(app)


def main() -> None:
    """Run the command line; our own errors print one message and end with their exit code."""
    try:
        result = command_line()(prog_name="funnelgate", standalone_mode=False)
    except FunnelgateError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
    except typer.TyperException as error:  # not click's: Typer ships a click of its own since 0.26
        if message := error.format_message():  # empty where the command without arguments has printed its help
            context = getattr(error, "ctx", None)
            command = context.command_path if context is not None else "funnelgate"
            typer.secho(f"error: {message.rstrip('.')}; see `{command} --help`", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(EXIT_INFRASTRUCTURE)
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    main()
