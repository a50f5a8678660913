"""JSON-lines logs with ECS field names; every line carries the run key bound around it."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

from reporting.key import KEY_PARTS, RunKey

_KEY: ContextVar[RunKey | None] = ContextVar("funnelgate_run_key", default=None)
_SECRET = re.compile(
    r"(?i)((?:password|passwd|secret|token|api[_-]?key|authorization)[\"']?\s*[=:]\s*)"
    r"(?:(?:bearer|basic|apikey)\s+)?(?:\"[^\"]*\"|'[^']*'|\S+)"
)
_URL_SECRET = re.compile(r"(://[^/\s:@]+:)[^@\s/]+@")


@contextmanager
def run_key(key: RunKey) -> Iterator[None]:
    """Bind `key` to every log line written inside the block; the former key comes back after it."""
    token = _KEY.set(key)
    try:
        yield
    finally:
        _KEY.reset(token)


def redact(text: str) -> str:
    """Hide passwords, tokens and keys.

    Example:
        >>> redact("postgresql://me:geheim@db/x token=abc")
        'postgresql://me:***@db/x token=***'
    """
    return _URL_SECRET.sub(r"\1***@", _SECRET.sub(r"\1***", text))


class EcsFormatter(logging.Formatter):
    """One JSON object a line: @timestamp, log.level, message, log.logger, funnelgate.<key part>, error.*.

    What a caller gives as `extra={"ecs": {...}}` stands beside them, by ECS field names.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a newline."""
        line: dict[str, object] = {
            "@timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "log.level": record.levelname.lower(),
            "message": redact(record.getMessage()),
            "log.logger": record.name,
            "process.pid": record.process,
        }
        line |= getattr(record, "ecs", {})
        key = _KEY.get()
        if key is not None:
            line |= {f"funnelgate.{part}": value for part, value in zip(KEY_PARTS, key.parts(), strict=True)}
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error.type"] = type(error).__name__
            line["error.message"] = redact(str(error))
            line["error.stack_trace"] = redact("".join(traceback.format_exception(error)))
        return json.dumps(line, ensure_ascii=False, default=str)


def log_to(path: Path | None, level: str = "INFO") -> None:
    """Send our logs to a file of JSON lines, or to standard error when `path` is None. Called once a process."""
    handler: logging.Handler
    if path is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(EcsFormatter())
    root = logging.getLogger("funnelgate")
    for former in list(root.handlers):
        root.removeHandler(former)
        former.close()
    root.addHandler(handler)
    root.setLevel(level)
    root.propagate = False


def logger(name: str) -> logging.Logger:
    """Return our logger for one part of the system, such as `worker`."""
    return logging.getLogger(f"funnelgate.{name}")
