"""The encoded API key that Elasticsearch and Kibana are given: from the environment or a file, never shown."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import SecretStr

from reporting.errors import ConfigError

_ENCODED = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")  # base64, of either alphabet


def encoded_api_key(section: str, key: SecretStr | None, file: Path | None) -> str | None:
    """Return the encoded API key of a section of the settings, without the blanks around it; None where it has none.

    Args:
        section: Its name, `elastic` or `kibana`, for messages: they tell where the key came from, not the key.
        key: Its `api_key`, which comes from the environment; it goes before the file.
        file: Its `api_key_file`, relative to the current folder; it holds the key and nothing else.

    Raises:
        ConfigError: the file cannot be read, or what is there is not one encoded key.
    """
    if key is not None:
        found, where = key.get_secret_value().strip(), f"FUNNELGATE_{section.upper()}__API_KEY"
    elif file is not None:
        where = f"{section}.api_key_file: {file}"
        try:
            found = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not text"
            raise ConfigError(f"{where}: cannot be read: {reason}") from None
    else:
        return None
    if not found:
        raise ConfigError(f"{where}: is empty; expected one encoded API key")
    if len(found.splitlines()) > 1:
        raise ConfigError(f"{where}: has several lines; expected one encoded API key and nothing else")
    if not _ENCODED.fullmatch(found):
        raise ConfigError(f"{where}: is not one encoded API key; take the field `encoded` of what created it")
    return found
