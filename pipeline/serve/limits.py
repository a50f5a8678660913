"""What a request may be: bytes, pixels, types, values; each limit is checked before what it limits is allocated."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.images.decode import DecodeLimits, PictureError, probe
from pipeline.models.detections import Box
from pipeline.serve.refusal import Refusal, refusal_of_picture

Model = TypeVar("Model", bound=BaseModel)
_MAX_DIM = 16_384
_WHOLE_NUMBER = 10  # digits of a box's corner


class VectorQuery(BaseModel):
    """The JSON body of /search.

    Attributes:
        vector: Of the query, not of length 0; it is brought to length 1.
        space_id: Feature space it was made in.
        category: Search this one only; None: every one of that space.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vector: list[float] = Field(min_length=1, max_length=_MAX_DIM)
    space_id: str = Field(min_length=1, max_length=300)
    category: str | None = Field(default=None, min_length=1, max_length=128)

    def array(self) -> NDArray[np.float32]:
        """Return the vector, (1, d) float32 of length 1.

        Raises:
            Refusal: 422: it has length 0, or a value that is no number.
        """
        length = math.hypot(*self.vector)  # neither overflows nor vanishes on the way
        if not (math.isfinite(length) and length > 0):
            raise Refusal(
                422, "bad_vector", found=f"a vector of length {length}", expected="finite numbers, not all 0",
                do="look at what embeds the query",
            )  # fmt: skip
        return (np.asarray([self.vector], np.float64) / length).astype(np.float32)


def body_kind(content_type: str | None) -> Literal["picture", "json"]:
    """Say what a body is by its Content-Type.

    Raises:
        Refusal: 415: neither a picture nor JSON.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return "json"
    if kind.startswith("image/"):
        return "picture"
    raise Refusal(
        415, "unsupported_type", found=content_type or "no Content-Type",
        expected="image/* with the bytes of a picture, or application/json",
        do="send the header, as in `curl -H 'Content-Type: image/jpeg' --data-binary @shoe.jpg`",
    )  # fmt: skip


async def read_body(chunks: AsyncIterator[bytes], declared: str | None, max_bytes: int) -> bytes:
    """Read a body of at most `max_bytes`, whatever its Content-Length says.

    Args:
        chunks: As they arrive.
        declared: The Content-Length header; a body that says it is too long is not read.
        max_bytes: Allowed.

    Raises:
        Refusal: 413: longer. 400: empty.
    """
    if declared is not None and declared.isascii() and declared.isdecimal() and int(declared) > max_bytes:
        raise _too_long(f"{declared} bytes", max_bytes)
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise _too_long(f"more than {max_bytes} bytes", max_bytes)
        parts.append(chunk)
    if not size:
        raise Refusal(400, "empty_body", found="0 bytes", expected="a picture or JSON", do="send a body")
    return b"".join(parts)


def _too_long(found: str, max_bytes: int) -> Refusal:
    return Refusal(
        413, "too_many_bytes", found=found, expected=f"at most {max_bytes} bytes", do="send a smaller picture",
        headers={"Connection": "close"},
    )  # fmt: skip


def check_picture(data: bytes, max_pixels: int) -> None:
    """Look at a picture's header before anything is decoded.

    Raises:
        Refusal: 415: no picture, or of another format. 413: too many pixels.
    """
    try:
        probe(data, DecodeLimits(max_pixels=max_pixels))
    except PictureError as error:
        raise refusal_of_picture(error) from error


def parse_json(data: bytes, model: type[Model]) -> Model:
    """Read a JSON body.

    Raises:
        Refusal: 400: no JSON. 422: a value is missing, unknown or wrong; `found` names each.
    """
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        if problems[0]["type"] == "json_invalid":
            raise Refusal(
                400, "no_json", found=problems[0]["msg"], expected="a JSON object", do="mend the body"
            ) from None
        found = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in problems[:5])
        raise Refusal(
            422, "bad_value", found=found, expected=f"the fields {', '.join(model.model_fields)}", do="mend the body"
        ) from None


def box_of(text: str | None) -> Box | None:
    """Return the box of `x0,y0,x1,y1`; whether it lies in the picture is for the search to say.

    Raises:
        Refusal: 422: it is not four whole numbers.
    """
    if text is None:
        return None
    corners = text.split(",")
    if len(corners) != 4 or not all(_is_number(one.strip()) for one in corners):
        raise Refusal(
            422, "bad_box", found=text[:80], expected="four whole numbers x0,y0,x1,y1 in pixels", do="mend the box"
        )
    return Box(*map(int, corners))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _WHOLE_NUMBER
