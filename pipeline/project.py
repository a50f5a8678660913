"""Write a new project: a settings file and a copy of the default task graph."""

from __future__ import annotations

from pathlib import Path

from reporting.errors import UsageError

SETTINGS = """\
# Settings of funnelgate; every key can also be set as FUNNELGATE_SECTION__KEY. See `funnelgate config show`.
store:
  url: sqlite:///state/funnelgate.db   # or postgresql://user:password@host/database for many machines
lake:
  root: lake
# elastic:                             # ships records to Elasticsearch; first run `funnelgate records setup`
#   url: https://host:9200
#   api_key_file: state/elastic.key    # or FUNNELGATE_ELASTIC__API_KEY
#   ca_certs: http_ca.crt
log:
  path: state/funnelgate.log
run:
  workers: 2
  # source: arrivals/{date}.csv        # what run and scheduler read without --source
pipeline: pipeline.yaml
"""


def default_topology() -> str:
    """Return the text of the default task graph."""
    return (Path(__file__).parent / "default.yaml").read_text(encoding="utf-8")


def write_project(folder: Path) -> list[Path]:
    """Write `funnelgate.yaml` and `pipeline.yaml` into a folder.

    Raises:
        UsageError: one of them is already there; nothing is overwritten.
    """
    files = {folder / "funnelgate.yaml": SETTINGS, folder / "pipeline.yaml": default_topology()}
    for path in files:
        if path.exists():
            raise UsageError(f"{path} is already there; remove it first, or init another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return list(files)
