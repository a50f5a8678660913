"""Keys and secret addresses: from the environment or a file, and never in an error or a log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

from reporting.errors import ConfigError
from reporting.logs import redact

_LEAST_HIDDEN = 6
"""Shorter parts of an address (`v1`, `hook`) are no secrets: to hide them would make errors unreadable."""


def read_secret(where: str, variable: str | None, file: Path | None, environ: Mapping[str, str], folder: Path) -> str:
    """Return what an environment variable or a file holds, without the blanks around it.

    Args:
        where: The place in the settings, for errors: `checks.sinks oncall`.
        variable: The variable's name, or None.
        file: The file, relative to `folder`, or None; the variable goes first.
        environ: The environment.
        folder: Of the settings file.

    Raises:
        ConfigError: nothing is there, or not one line of printable text; the text itself is not repeated.
    """
    if variable is not None:
        text, place = environ.get(variable, ""), f"environment variable {variable}"
        if not text.strip():
            raise ConfigError(f"{where}: {place} is not set or empty; set it where funnelgate runs")
    elif file is not None:
        path = folder / file
        place = str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problem = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise ConfigError(f"{where}: {place} cannot be read: {problem}; put the secret there, alone") from None
        if not text.strip():
            raise ConfigError(f"{where}: {place} is empty; put the secret there, alone")
    else:
        raise ConfigError(f"{where}: names neither an environment variable nor a file for its secret")
    text = text.strip()
    if not text.isprintable():
        raise ConfigError(f"{where}: {place} holds more than one line of printable text; put the secret there, alone")
    return text


def hidden_parts(address: str, *, with_host: bool = False) -> tuple[str, ...]:
    """Return the parts of a secret address that must not be shown: user, path and query, whole and in words.

    Args:
        address: The secret.
        with_host: Whether what stands for the host is a secret too: many of apprise's addresses begin with the key.

    Example:
        >>> hidden_parts("https://hooks.example/services/T0000001/Zm9vYmFy?key=12345678")
        ('/services/T0000001/Zm9vYmFy?key=12345678', 'services', 'T0000001', 'Zm9vYmFy', '12345678')
    """
    _, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    user, _, server = host.rpartition("@")
    words = f"{path} {user} {server if with_host else ''}"
    for separator in "/?&=#:@,":
        words = words.replace(separator, " ")
    return (*([slash + path] if path else []), *(word for word in words.split() if len(word) >= _LEAST_HIDDEN))


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return a text without the secrets, in any of the forms that an address writes them, and without other passwords.

    Example:
        >>> scrub("refused: key a/b+c", ["a/b+c"])
        'refused: key ***'
    """
    forms = {form for secret in secrets if secret for form in (secret, quote(secret, safe=""), quote_plus(secret))}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "***")
    return redact(text)
