"""One shipper as a process of its own, to be killed: `python -m tests.reporting.elastic.chaos_shipper ...`."""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path

from reporting import shipper
from reporting.elastic import bulk
from reporting.elastic.opening import open_sink
from reporting.outbox_sql import SqlOutbox
from reporting.settings import ElasticSettings
from reporting.stores import open_store
from reporting.stores.sql import SqlStore


def main(store_url: str, elastic_url: str, prefix: str, skew: str, report: str, ready: str) -> None:
    """Ship until SIGTERM, by a clock that is `skew` seconds fast; then write what was done to the file `report`."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    Path(ready).touch()
    shipper.FIRST_BACKOFF_SECONDS, shipper.MAX_BACKOFF_SECONDS, shipper.IDLE_SECONDS = 0.05, 1.0, 0.1
    bulk.FIRST_WAIT_SECONDS = 0.02
    settings = ElasticSettings(url=elastic_url, prefix=prefix, timeout_seconds=10.0)
    with open_store(store_url) as store:
        assert isinstance(store, SqlStore)
        outbox = SqlOutbox(store, lambda: time.time() + float(skew))
        one = shipper.Shipper(outbox, lambda: open_sink(settings, store), lease_seconds=1.0)
        one.run(stop)
        one.resign()
    Path(report).write_text(one.report().model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
