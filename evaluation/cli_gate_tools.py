"""`funnelgate evaluate gate-check|gate-schema|gate-mutate`: is the gate itself any good?"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.cli_gate import ConfigOption, JsonOption, SearcherOption, SetOption, one_of, opened
from reporting.errors import EXIT_INCONCLUSIVE, EXIT_OK, UsageError, nearest

if TYPE_CHECKING:
    from evaluation.evalset import EvalSet
    from evaluation.measured import Measured
    from evaluation.mutations import Mutation
    from evaluation.system import System


def register(app: typer.Typer) -> None:
    """Mount the commands on the group `evaluate`."""
    app.command("gate-check")(gate_check)
    app.command("gate-schema")(gate_schema)
    app.command("gate-mutate")(gate_mutate)


def gate_check(
    config: Annotated[str, typer.Argument(help="gate.yaml, or `default`, or `answers`.")],
    set_: Annotated[Path | None, typer.Option("--set", help="Folder of the evaluation set.")] = None,
    flipped: Annotated[
        float, typer.Option("--flipped", min=0.0001, max=1, help="Share of answers that a new index may change.")
    ] = 0.02,
    as_json: JsonOption = False,
) -> int:
    """Check a gate file, and say which of its rules the number of a set's queries can carry.

    A margin that no system could prove at this number of queries makes each release INCONCLUSIVE. Exit code 3 when a
    rule that may block is such a one.

    Example: `funnelgate evaluate gate-check gate.yaml --set shoes@1f2e3d4c5b6a`
    """
    from rich.console import Console

    from evaluation.gate_file import gate_path, gate_sha256, read_gate
    from evaluation.gate_power import design_effects, power_notes
    from evaluation.gate_render import power_table
    from evaluation.set_files import load_set
    from evaluation.slices import slices_of

    path = gate_path(config)
    spec = read_gate(path)
    evalset = None if set_ is None else load_set(set_)
    if evalset is not None and not spec.pins(evalset.set_id):
        raise UsageError(f"{path} is meant for the set {spec.evalset}, and {evalset.set_id} was given")
    slices = {} if evalset is None else slices_of(evalset)
    clusters = [] if evalset is None else [query.cluster for query in evalset.queries]
    sizes = {name: int(mask.sum()) for name, mask in slices.items()}
    notes = power_notes(spec, sizes, effects=design_effects(clusters, slices), flipped=flipped)
    lenient = {rule.id for rule in spec.rules if rule.on_underpowered == "not_applicable"}
    blocking = [note for note in notes if note.carries == "no" and note.id not in lenient]
    if as_json:
        found = {"config": str(path), "sha256": gate_sha256(path), "rules": len(spec.rules)}
        typer.echo(json.dumps(found | {"power": [note.model_dump(mode="json") for note in notes]}, indent=1))
    else:
        typer.echo(f"{path}: {len(spec.rules)} rules, {len(spec.waivers)} waivers, sha256 {gate_sha256(path)[:12]}")
        if evalset is not None:
            Console(soft_wrap=True, highlight=False).print(power_table(notes))
    return EXIT_INCONCLUSIVE if blocking else EXIT_OK


def gate_schema() -> None:
    """Print the JSON Schema of gate.yaml, for the completion and the errors of an editor.

    Example: `funnelgate evaluate gate-schema > gate.schema.json`
    """
    from evaluation.gate_file import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))


def gate_mutate(
    context: typer.Context,
    set_: SetOption,
    run: Annotated[str | None, typer.Option("--run", help="The system to put faults into: as for `gate`.")] = None,
    searcher: SearcherOption = None,
    config: ConfigOption = "default",
    fault: Annotated[list[str] | None, typer.Option("--fault", help="Only this one; repeatable.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Equal seeds draw equal faults.")] = 0,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Put faults into a system's answers, in memory, and see whether the gate says no, and by which rules.

    The system stands for release and champion too; first it is judged against itself, which must not fail. Exit code 1
    when a fault gets through or the rules that must notice it do not, 3 when the set has no place for one.

    Example: `funnelgate evaluate gate-mutate --set SET --run release.parquet --config gate.yaml`
    """
    from rich.console import Console

    from evaluation.gate_file import gate_path, read_gate
    from evaluation.gate_render import suite_table
    from evaluation.measure import measure
    from evaluation.mutation_suite import run_suite
    from evaluation.set_files import load_set

    spec, evalset = read_gate(gate_path(config)), load_set(set_)
    system = opened(context, one_of(run, searcher, "--run"), evalset, spec)
    ks = tuple(sorted({1, 5, 10, *spec.ks}))

    def measured(one: System, on: EvalSet) -> Measured:
        return measure(one, on, ks=ks, day=on.gallery.as_of)

    today = datetime.now(UTC).date()
    suite = run_suite(spec, evalset, system, measured, as_of=today, mutations=_faults(fault or []), seed=seed)
    if as_json:
        typer.echo(json.dumps(suite.to_document(), indent=1))
    elif markdown:
        typer.echo(suite.to_markdown())
    else:
        Console(soft_wrap=True, highlight=False).print(suite_table(suite))
    return suite.exit_code


def _faults(names: list[str]) -> list[Mutation]:
    """Return the faults of some names, all for none.

    Raises:
        UsageError: there is no such fault; the nearest is named.
    """
    from evaluation.mutations import BY_NAME, MUTATIONS

    for name in names:
        if name not in BY_NAME:
            raise UsageError(f"--fault {name!r}: there is no such fault; {nearest(name, BY_NAME)}")
    return [one for one in MUTATIONS if not names or one.name in names]
