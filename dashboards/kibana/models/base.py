"""The base of every model, and how one becomes the JSON that is sent."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

Json = dict[str, Any]


class Strict(BaseModel):
    """Frozen; an unknown key is an error, as it is for Kibana."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def body_of(model: Strict) -> Json:
    """Return the JSON of a model: what is None is left out, for Kibana takes null nowhere."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)
