"""Objects that are taken down by their id: no index that is merged from then on holds them."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.release.withheld import WithheldList


def taken_down(rows: pa.Table, withheld: WithheldList) -> pa.ChunkedArray:
    """Tell of each row of an index whether its object is taken down by its id, (n,) bool.

    Pictures, products and offers that are taken down leave with the library (`evict`). What is only delisted or dead
    is hidden by the server, and may come back.

    Args:
        rows: Column id (int64).
        withheld: What is withheld.
    """
    return pc.is_in(rows["id"], value_set=pa.array(sorted(withheld.takedowns.items), pa.int64()))
