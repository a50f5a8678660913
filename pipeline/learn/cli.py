"""`learn`: train a detector, build a reference gallery."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli_options import JsonOption
from pipeline.learn.cli_gallery import gallery

app = typer.Typer(
    help="Train what the pipeline uses: a detector, a gallery of labelled pictures.", no_args_is_help=True
)
app.command("gallery")(gallery)


@app.command("detector")
def detector(
    context: typer.Context,
    config: Annotated[Path, typer.Option(help="What to train (YAML); see examples/learn.")],
    out: Annotated[Path, typer.Option(help="Folder to put the model's folder into.")] = Path("models"),
    work: Annotated[
        Path, typer.Option(help="Folder for features, checkpoint and report; a stopped run goes on from it.")
    ] = Path("learn-run"),
    data: Annotated[
        Path | None, typer.Option(help="The source's photos (scenes) or its folder (voc), instead of the file's.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes and threads; default: all cores.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a detector's head over the frozen backbone, measure it, and write it as a model folder.

    Needs the extra `train` (`make train-venv`). Fifteen minutes on two cores at most for the configurations that
    come with funnelgate. Stopped, the same command goes on where it was.

    Example: `funnelgate learn detector --config examples/learn/detector.yaml --out models`
    """
    from pipeline.learn.config import load_config, with_data
    from pipeline.learn.detector import learn_detector
    from pipeline.learn.stages import Stages

    asked = load_config(config)
    if data is not None:
        asked = with_data(asked, data.resolve())
    count = workers or os.cpu_count() or 1
    with Stages(quiet=as_json) as stages:
        learned = learn_detector(
            asked,
            out=out,
            work=work / asked.name,
            workers=count,
            measure_boxes=context.obj.services.measure_boxes,
            stages=stages,
        )
    if as_json:
        typer.echo(json.dumps(learned.model_dump(mode="json"), indent=1))
        return
    ap50 = "no object to find" if learned.ap50 is None else f"AP50 {learned.ap50:.3f}"
    typer.echo(f"{ap50}, main object hit {learned.main_object_hit:.3f}, {learned.seconds:.0f} s")
    typer.echo(f"model:  {learned.artifact} (space {learned.space_id})\nreport: {learned.report}")
