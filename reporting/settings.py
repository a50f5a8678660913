"""Settings: defaults, then `funnelgate.yaml`, then `FUNNELGATE_SECTION__KEY`, then options; unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from reporting.errors import ConfigError, nearest
from reporting.yaml_source import Location, YamlSource, load_yaml

CONFIG_NAME = "funnelgate.yaml"
_PREFIX = "FUNNELGATE_"
# Variables of ours that are no settings: where the file is, and what the tests need.
_NOT_SETTINGS = {"FUNNELGATE_CONFIG", "FUNNELGATE_SHARED", "FUNNELGATE_REQUIRE"}

Model = TypeVar("Model", bound=BaseModel)


class StoreSettings(BaseModel):
    """Where records and state are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = "sqlite:///state/funnelgate.db"
    """`sqlite:///file.db` (relative to the settings file) or `postgresql://user:password@host/database`."""


class ElasticSettings(BaseModel):
    """The Elasticsearch that records are shipped to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = None
    """`https://host:9200`; null: nothing is shipped."""
    prefix: str = Field(default="funnelgate", pattern=r"^[a-z][a-z0-9_.-]{0,60}$")
    """Begins the name of every index: one for each environment that shares a cluster."""
    api_key: SecretStr | None = None
    """The encoded API key; only by FUNNELGATE_ELASTIC__API_KEY, never in a file of settings."""
    api_key_file: Path | None = None
    """A file that holds the encoded API key and nothing else."""
    ca_certs: Path | None = None
    """PEM file of the authority that signed the server's certificate."""
    ca_fingerprint: str | None = None
    """SHA-256 of that authority's certificate, in hexadecimal; Elasticsearch prints it at its first start."""
    timeout_seconds: float = Field(default=30.0, gt=0)
    """How long one request may take."""
    ship: bool = True
    """Whether run, worker and scheduler ship beside their work; false leaves it to `funnelgate records ship`."""


class LogSettings(BaseModel):
    """Where JSON logs go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path | None = Path("state/funnelgate.log")
    """A file of JSON lines, relative to the settings file; null: standard error."""
    level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """DEBUG, INFO, WARNING or ERROR: what is less is not written."""


class Loaded(NamedTuple, Generic[Model]):
    """Settings with the folder their relative paths start from, and where each value came from."""

    values: Model
    folder: Path
    origins: dict[str, str]


def find_config(option: Path | None, environ: Mapping[str, str], here: Path) -> Path | None:
    """Return the settings file: the option, else FUNNELGATE_CONFIG, else ./funnelgate.yaml, else None."""
    if option is not None:
        return option
    if environ.get("FUNNELGATE_CONFIG"):
        return Path(environ["FUNNELGATE_CONFIG"])
    candidate = here / CONFIG_NAME
    return candidate if candidate.is_file() else None


def load_settings(model: type[Model], config: Path | None, environ: Mapping[str, str], here: Path) -> Loaded[Model]:
    """Compose the settings.

    Raises:
        ConfigError: with file:line or the variable's name, the key and the nearest valid one.
    """
    source = load_yaml(config) if config is not None else YamlSource("(no settings file)", {}, {})
    if not isinstance(source.data, dict | None):
        raise ConfigError(
            f"{source.path}:1: expected sections (store, lake, run, ...), found {type(source.data).__name__}"
        )
    data = {name: _section(model, name, part) for name, part in (source.data or {}).items()}
    origins = {
        f"{section}.{key}": source.where((section, key))
        for section, part in data.items()
        if isinstance(part, dict)
        for key in part
    } | {section: source.where((section,)) for section, part in data.items() if not isinstance(part, dict)}
    elsewhere: dict[Location, str] = {}
    for name, text in sorted(environ.items()):
        if name.startswith(_PREFIX) and name not in _NOT_SETTINGS:
            location, value = _from_environment(model, name, text)
            _put(data, location, value)
            origins[".".join(location)] = name
            elsewhere[location] = f"environment variable {name}"
    values = YamlSource(source.path, data, source.lines, elsewhere).to_model(model)
    folder = (config.parent if config is not None else here).resolve()
    return Loaded(values, folder, origins)


def _section(model: type[BaseModel], name: str, part: Any) -> Any:
    """Return a part of the file, copied; a section with nothing in it (all its keys commented out) is an empty one."""
    if isinstance(part, dict):
        return dict(part)
    return {} if part is None and _fields(model, name) else part


def _fields(model: type[BaseModel], section: str) -> dict[str, Any]:
    field = model.model_fields.get(section)
    return {} if field is None else getattr(field.annotation, "model_fields", {})


def _from_environment(model: type[BaseModel], name: str, text: str) -> tuple[tuple[str, ...], Any]:
    section, _, key = name.removeprefix(_PREFIX).lower().partition("__")
    if section not in model.model_fields:
        raise ConfigError(
            f"environment variable {name}: unknown section {section!r}; {nearest(section, model.model_fields)}"
        )
    fields = _fields(model, section)
    if key and key not in fields:
        raise ConfigError(f"environment variable {name}: unknown key {section}.{key}; {nearest(key, fields)}")
    try:
        value = yaml.safe_load(text) if text else None
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "unreadable"
        raise ConfigError(f"environment variable {name}: not valid YAML: {problem}; put it in quotes") from None
    return ((section, key) if key else (section,)), value


def _put(data: dict[str, Any], location: tuple[str, ...], value: Any) -> None:
    """Set a value; a section that the file spoils is left for the validation to name."""
    if len(location) == 1:
        data[location[0]] = value
        return
    part = data.setdefault(location[0], {})
    if isinstance(part, dict):
        part[location[1]] = value


def describe(loaded: Loaded[Any]) -> list[tuple[str, str, str]]:
    """Return (key, value, origin) of every setting, for `funnelgate config show`."""
    rows = []
    for section, part in loaded.values.model_dump(mode="json").items():
        pairs = part.items() if isinstance(part, dict) else [(None, part)]
        for key, value in pairs:
            name = section if key is None else f"{section}.{key}"
            rows.append((name, "null" if value is None else str(value), loaded.origins.get(name, "default")))
    return rows


def absolute_url(url: str, folder: Path) -> str:
    """Return a store URL whose SQLite file is absolute."""
    prefix = "sqlite:///"
    if not url.startswith(prefix) or url.startswith(prefix + "/"):
        return url
    return f"{prefix}{(folder / url.removeprefix(prefix)).resolve()}"
