"""Runs the queries of dashboards on a cluster, through the client that `reporting` connects (its key, its TLS)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dashboards.kibana.check import Answer, Ask
from dashboards.kibana.columns import parameters

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

DAYS = 400
"""How far back the time range of a check goes."""
SECONDS = 30.0
"""How long a query may take."""
_NO_ENGINE = 405
"""What a server without ES|QL answers: it takes `_query` for the name of an index, which nobody may POST (9.5.3)."""
_PLAIN = {"accept": "application/json", "content-type": "application/json"}
"""The client's own media type names its major version, and an 8.x server refuses 9."""


def run(
    client: Elasticsearch, query: str, first: datetime, last: datetime, *, where: Any = None, seconds: float = SECONDS
) -> dict[str, Any]:
    """Return the answer to a query: `columns` and `values`.

    Args:
        client: of any cluster that has ES|QL, 8.x too.
        query: may use `?_tstart` and `?_tend`.
        first: what Kibana would give as `?_tstart`.
        last: likewise `?_tend`.
        where: a filter as a control sends it, in the query DSL; None: none.
        seconds: how long it may take. (The client's own limit does not reach its transport.)

    Raises:
        ApiError, TransportError: as the client raises them.
    """
    from elasticsearch import ApiError
    from elasticsearch.exceptions import HTTP_EXCEPTIONS

    given = {"_tstart": _iso(first), "_tend": _iso(last)}
    body: dict[str, Any] = {"query": query, "params": [{name: given[name]} for name in sorted(parameters(query))]}
    if where is not None:
        body["filter"] = where
    answer = client.transport.perform_request("POST", "/_query", headers=_PLAIN, body=body, request_timeout=seconds)
    if answer.meta.status != 200:  # the transport itself raises nothing for what a server answers
        kind = HTTP_EXCEPTIONS.get(answer.meta.status, ApiError)
        raise kind(message=str(answer.meta.status), meta=answer.meta, body=answer.body)
    found: dict[str, Any] = answer.body
    return found


def engine(client: Elasticsearch, *, now: datetime | None = None, seconds: float = SECONDS) -> Ask:
    """Return what asks a cluster: a query it refuses, or does not answer in time, is an answer with an error.

    Args:
        client: of any cluster that has ES|QL, 8.x too.
        now: where the time range of the queries ends; default now.
        seconds: how long one query may take.

    Raises (when asking):
        StoreError: the cluster cannot be reached.
        ConfigError: it refuses the key.
    """
    from elastic_transport import ConnectionTimeout
    from elasticsearch import ApiError, BadRequestError, NotFoundError

    from reporting.elastic.client import cluster_errors, url_of

    last = now or datetime.now(UTC)

    def ask(query: str) -> Answer:
        with cluster_errors(url_of(client)):
            try:
                found = run(client, query, last - timedelta(days=DAYS), last, seconds=seconds)
            except (BadRequestError, NotFoundError) as error:
                return Answer(error=_reason(error))
            except ApiError as error:
                if error.status_code != _NO_ENGINE:
                    raise
                return Answer(error=_reason(error), has_engine=False)
            except ConnectionTimeout:
                return Answer(error="was not answered in time")
        if found.get("is_partial"):
            return Answer(error="was answered by only some of the shards")
        return Answer(columns=tuple(column["name"] for column in found["columns"]), rows=len(found["values"]))

    return ask


def _reason(error: Any) -> str:
    """Return what the engine says of a query, on one line."""
    body = error.body if isinstance(error.body, dict) else {}
    reason = body.get("error", {})
    text = reason.get("reason", reason) if isinstance(reason, dict) else reason
    return " ".join(str(text or error).split())[:500]


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
