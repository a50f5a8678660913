"""A Kibana of a few lines: keeps dashboards, refuses by `kibana_schema`, and gives them back filled in, as 9.5 does."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.dashboards.kibana.kibana_schema import refusals

Json = dict[str, Any]
_PATH = re.compile(r"^(?:/s/(?P<space>[a-z0-9_-]+))?/api/dashboards/(?P<id>[^/]+)$")
_NEW_ID = re.compile(r"^[a-z0-9_-]{1,250}$")


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class FakeKibana:
    """`with FakeKibana() as kibana: ...kibana.url...`; what it shall do wrong is set before."""

    key: str | None = None
    """The API key it asks for."""
    fail_put: int | None = None
    """The number of the PUT, from 1, that it answers with `fail_status`."""
    fail_status: int = 500
    busy: list[int] = field(default_factory=list)
    """Statuses that it answers with first, each once."""
    drops: str | None = None
    """The id of a panel that it cannot give back."""
    unreadable: bool = False
    """What it keeps cannot be put in the API's words, until it is replaced."""
    spoil: Callable[[Json], None] | None = None
    """Changes what it gives back."""
    stored: dict[tuple[str, str], Json] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    puts: int = 0
    url: str = ""

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def methods(self) -> list[str]:
        """The methods asked for since it began."""
        return [request.method for request in self.requests]

    def answer(self, request: Request, body: Json | None) -> tuple[int, Json]:
        self.requests.append(request)
        if self.busy:
            return _error(self.busy.pop(0), "try later")
        if self.key is not None and request.headers.get("authorization") != f"ApiKey {self.key}":
            return _error(401, "missing authentication credentials")
        found = _PATH.match(request.path)
        if found is None:
            return _error(404, "Not Found")
        place = (found["space"] or "default", found["id"])
        return self._put(place, request, body) if request.method == "PUT" else self._get(place)

    def _put(self, place: tuple[str, str], request: Request, body: Json | None) -> tuple[int, Json]:
        self.puts += 1
        if request.headers.get("kbn-xsrf") is None:
            return _error(400, "Request must contain a kbn-xsrf header.")
        if self.puts == self.fail_put:
            return _error(self.fail_status, "made to fail")
        wrong = refusals(body)
        if wrong or body is None:
            return _error(400, "; ".join(wrong))
        if place not in self.stored and not _NEW_ID.match(place[1]):
            return _error(400, "ID must contain only lowercase letters, numbers, hyphens, and underscores.")
        new = place not in self.stored
        self.unreadable = False
        self.stored[place] = filled(body)
        return (201 if new else 200), {"id": place[1], "data": self.stored[place], "meta": {"version": "WzEsMV0="}}

    def _get(self, place: tuple[str, str]) -> tuple[int, Json]:
        if place not in self.stored:
            return _error(404, f"A dashboard with ID [{place[1]}] was not found.")
        if self.unreadable:
            return _error(400, "cannot transform the stored state")
        data: Json = json.loads(json.dumps(self.stored[place]))
        answer: Json = {"id": place[1], "data": data, "meta": {"version": "WzEsMV0="}}
        if self.spoil is not None:
            self.spoil(data)
        if self.drops is not None and any(one.get("id") == self.drops for one in data["panels"]):
            data["panels"] = [one for one in data["panels"] if one.get("id") != self.drops]
            answer["warnings"] = [{"type": "dropped_panel", "message": f"cannot show {self.drops}"}]
        return 200, answer


def filled(body: Json) -> Json:
    """What Kibana gives back for a body: defaults filled in, sections last, `time_range.mode` gone."""
    data: Json = json.loads(json.dumps(body))
    data.setdefault("time_range", {"from": "now-15m", "to": "now"}).pop("mode", None)
    data["options"] = {"use_margins": True, "sync_colors": False} | data.get("options", {})
    data["tags"] = data.get("tags", [])
    for control in data.setdefault("pinned_panels", []):
        control["config"] = {"selected_options": [], "single_select": False} | control["config"]
    panels = data.setdefault("panels", [])
    sections = [one for one in panels if "panels" in one]
    top = [one for one in panels if "panels" not in one]
    for one in (*top, *(inner for section in sections for inner in section["panels"])):
        _fill_panel(one)
    data["panels"] = top + sections
    return data


def _fill_panel(panel: Json) -> None:
    config = panel["config"]
    config.setdefault("title", "")
    if panel["type"] == "links":
        for link in config["links"]:
            link["options"] = {"open_in_new_tab": False} | link.get("options", {})
    if panel["type"] != "vis":
        return
    for part in (config, *config.get("layers", ())):
        part.setdefault("sampling", 1)
        part.setdefault("ignore_global_filters", False)
    if config["type"] == "xy":
        axis = config.setdefault("axis", {})
        axis["x"] = {"scale": "ordinal", "ticks": {"visible": True}} | axis.get("x", {})
        axis["y"] = {"scale": "linear", "domain": {"type": "full", "rounding": True}} | axis.get("y", {})
    for column in (*config.get("metrics", ()), *config.get("rows", ())):
        if column.get("format", {}).get("type") == "number":
            column["format"] = {"decimals": 2, "compact": False} | column["format"]


def _error(status: int, message: str) -> tuple[int, Json]:
    return status, {"statusCode": status, "error": "Bad Request", "message": message}


def _handler(kibana: FakeKibana) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True  # else an answer waits 40 ms for the other side's ACK
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # as few packets as may be

        def _serve(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer = kibana.answer(Request(self.command, self.path, headers), body)
            payload = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_PUT = _serve  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
