"""verdict.json: canonical, so that equal inputs give equal bytes and a signature or a diff means something.

Keys sorted, one space of indent, UTF-8, a newline at the end. A whole number is written without a point, any other
with the fewest digits that read back as the same double after rounding to twelve decimals. No clock, no path.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evaluation.verdict import GateVerdict
from reporting.errors import DataError

DECIMALS = 12
_EXACT = 2**53


def verdict_bytes(verdict: GateVerdict) -> bytes:
    """Return a verdict as canonical JSON.

    Raises:
        ValueError: A figure is not finite, which JSON cannot write; the gate never makes one.
    """
    document = _canonical(verdict.model_dump(mode="json", by_alias=True))
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, indent=1, allow_nan=False)
    return f"{text}\n".encode("utf-8", "backslashreplace")


def read_verdict(path: Path) -> GateVerdict:
    """Read verdict.json back.

    Raises:
        DataError: It is missing, or no verdict of this version.
    """
    try:
        return GateVerdict.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); run `funnelgate gate` with this --out") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise DataError(f"{path}: {where}: {fault['msg']}; expected a verdict of `funnelgate gate`") from None


def _canonical(value: Any) -> Any:
    if isinstance(value, float):
        rounded = round(value, DECIMALS)
        return int(rounded) if rounded.is_integer() and abs(rounded) < _EXACT else rounded
    if isinstance(value, dict):
        return {key: _canonical(one) for key, one in value.items()}
    return [_canonical(one) for one in value] if isinstance(value, list) else value
