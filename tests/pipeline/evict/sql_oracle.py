"""The rule of eviction, without distances, as DuckDB SQL: an oracle of the tests and the rival of the benchmark."""

from __future__ import annotations

from typing import Any

import duckdb

from pipeline.evict.decisions import Reason
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import NEVER
from tests.pipeline.evict.naive import Said
from tests.pipeline.evict.stored_rows import Picture

TABLES = """
CREATE OR REPLACE TABLE picture (
  id BIGINT, last_seen INTEGER, gone_since INTEGER, marked_on INTEGER, taken_down BOOLEAN, pinned BOOLEAN,
  indexed BOOLEAN, value FLOAT, category INTEGER);
CREATE OR REPLACE TABLE member (id BIGINT, grp BIGINT);  -- groups below 2^31
CREATE OR REPLACE TABLE budget (category INTEGER, name VARCHAR, rows BIGINT);
"""

RANKED = """
CREATE OR REPLACE TABLE ranked AS
SELECT m.grp, m.id, row_number() OVER (PARTITION BY m.grp ORDER BY p.last_seen > $day - $window DESC, p.pinned DESC,
  p.value DESC, p.last_seen DESC, p.id) AS place
FROM member m JOIN picture p USING (id) WHERE p.indexed AND NOT p.taken_down AND p.gone_since > $day;
"""

DECIDED = """
CREATE OR REPLACE TABLE decided AS
WITH packed AS (SELECT id, min(place << 32 | grp) AS best FROM ranked GROUP BY id),
best AS (SELECT id, best >> 32 AS rank, best & 4294967295 AS grp FROM packed),
standing AS (
  SELECT p.*, coalesce(b.rank, 0) AS rank, coalesce(b.grp, -1) AS grp,
    CASE WHEN taken_down THEN 10 WHEN gone_since > $day AND last_seen > $day - $window THEN 0 WHEN pinned THEN 2
      WHEN gone_since < $day - $delist THEN 11 WHEN gone_since <= $day THEN 3 WHEN NOT indexed THEN 14
      WHEN b.rank > $cap THEN 12 ELSE 1 END AS standing
  FROM picture p LEFT JOIN best b USING (id)),
room AS (
  SELECT category, any_value(u.rows) - count(*) FILTER (standing = 2 OR standing = 1 AND rank = 1) AS room
  FROM standing JOIN budget u USING (category) WHERE u.rows IS NOT NULL GROUP BY category),
over AS (
  SELECT s.id FROM standing s JOIN room USING (category) WHERE standing = 1 AND rank > 1
  QUALIFY row_number() OVER (PARTITION BY s.category ORDER BY rank, value DESC, last_seen DESC, s.id) > room),
found AS (
  SELECT s.*, CASE WHEN o.id IS NULL THEN standing ELSE 13 END AS why FROM standing s LEFT JOIN over o USING (id))
SELECT f.id, f.category, f.rank, f.grp, f.why, (f.why IN (12, 13)) AS going,
  CASE WHEN going AND marked_on >= $day THEN 4 ELSE f.why END AS reason,
  CASE WHEN going THEN first.id ELSE -1 END AS better,
  CASE WHEN going THEN least(marked_on, $day) ELSE $never END AS marked_on
FROM found f LEFT JOIN (SELECT grp, id FROM ranked WHERE place = 1) first ON f.grp = first.grp AND f.why IN (12, 13);
"""

FULL = """
SELECT category FROM decided JOIN budget u USING (category)
GROUP BY category, u.rows HAVING count(*) FILTER (why = 2 OR why = 1 AND rank = 1) > u.rows
"""

DEGRADED = """
WITH gap AS (SELECT DISTINCT r.grp FROM ranked r JOIN decided d USING (id) WHERE d.why = 13),
short AS (
  SELECT r.grp, count(*) FILTER (d.why IN (0, 1, 2)) AS kept
  FROM ranked r JOIN gap USING (grp) JOIN decided d USING (id)
  GROUP BY r.grp HAVING kept < least($m, count(*)))
SELECT u.name, min(kept) FROM short JOIN ranked r USING (grp) JOIN decided d USING (id)
JOIN budget u ON u.category = d.category WHERE d.why = 13 GROUP BY u.name
"""


def run(connection: duckdb.DuckDBPyConnection, policy: EvictPolicy, day: int) -> dict[str, int] | None:
    """Decide into the table `decided`; return the degraded categories, or None where the tail is full."""
    window = {"day": day, "window": policy.window_days}
    rest = {"delist": policy.delist_days, "cap": policy.cap, "never": int(NEVER)}
    connection.execute(RANKED, window)
    connection.execute(DECIDED, {**window, **rest})
    if connection.execute(FULL).fetchall():
        return None
    return dict(connection.execute(DEGRADED, {"m": policy.min_per_group}).fetchall())


def by_sql(
    connection: duckdb.DuckDBPyConnection, pictures: list[Picture], policy: EvictPolicy, day: int
) -> tuple[dict[int, Said], dict[str, int]] | None:
    """Return what SQL decides, as `naive` does; None where the tail is full."""
    names = sorted({p.category for p in pictures})
    groups = sorted({group for p in pictures for group in p.groups})
    connection.execute(TABLES)
    for table, rows in (
        ("picture", [_row(p, names) for p in pictures]),
        ("member", [(p.id, groups.index(group)) for p in pictures for group in set(p.groups)]),
        ("budget", [(number, name, policy.budget_of(name)) for number, name in enumerate(names)]),
    ):
        if rows:
            marks = ", ".join(f"({', '.join('?' * len(rows[0]))})" for _ in rows)
            connection.execute(f"INSERT INTO {table} VALUES {marks}", [value for row in rows for value in row])
    degraded = run(connection, policy, day)
    if degraded is None:
        return None
    found = connection.execute("SELECT id, reason, why, rank, grp, better, marked_on FROM decided").fetchall()
    return {row[0]: _said(groups, *row[1:]) for row in found}, degraded


def _row(p: Picture, names: list[str]) -> tuple[Any, ...]:
    days = (p.last_seen, *(int(NEVER) if day is None else day for day in (p.gone_since, p.marked_on)))
    return (p.id, *days, p.taken_down, p.pinned, p.indexed, p.value, names.index(p.category))


def _said(groups: list[int], reason: int, why: int, rank: int, group: int, better: int, marked_on: int) -> Said:
    number = -1 if group < 0 else groups[group]
    return Said(Reason(reason), Reason(why), rank, number, better, None if marked_on == NEVER else marked_on)
