"""The hub: the record is the interface of the whole product, so its model, its stores and its tables live here.

key, record, digest, verdict   what is written           topology, plans, effective   what was asked, and what counts
recorder, booking              how a task keeps books    stores/, tables, migrations/ where it is kept
funnel, balance, ledger        what is read from it      settings, errors, logs, cli  what every folder shares
text_file, http_server, addresses, api_key  what several folders do, none of which may import another

Imports no other folder of ours (tests/architecture holds it): a team with a pipeline of its own uses this one alone.
Recipe, a table: add it to `tables.py` and a revision to `migrations/versions`. Recipe, a store: see `stores/__init__`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reporting.key import RunKey
    from reporting.recorder import Recorder

__all__ = ["Recorder", "RunKey"]


def __getattr__(name: str) -> object:
    """Import what is asked for when it is first asked for: commands that only read need no recorder (35 ms)."""
    if name == "Recorder":
        from reporting.recorder import Recorder

        return Recorder
    if name == "RunKey":
        from reporting.key import RunKey

        return RunKey
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
