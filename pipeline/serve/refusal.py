"""What a client is told when it gets no answer: a status, and what was found, expected, and can be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.images.decode import PictureError
from pipeline.serve.feedback import FeedbackFull
from pipeline.serve.turned_away import NotReady, QueryExpired, SpaceMismatch, UnknownGeneration, WrongDimension
from reporting.errors import ConfigError, FunnelgateError, StoreError, UsageError

FORMATS = "JPEG, PNG, WebP, GIF, BMP or TIFF"
_STATUS_OF_PICTURE = {"not_an_image": 415, "too_many_pixels": 413, "too_many_scans": 413}


class Refusal(Exception):
    """A request that is not answered.

    Attributes:
        status: HTTP status (RFC 9110; 429: RFC 6585).
        error: A word for programs: `space_mismatch`, `queue_full`, `too_many_pixels`, ...
        found: What came.
        expected: What would have been taken.
        do: What to do.
        headers: Of the answer.
    """

    def __init__(
        self, status: int, error: str, *, found: Any, expected: Any, do: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{status} {error}: found {found}, expected {expected}")
        self.status, self.error, self.found, self.expected, self.do = status, error, found, expected, do
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return what is sent."""
        return {"error": self.error, "found": self.found, "expected": self.expected, "do": self.do}


def refusal_of_picture(error: PictureError) -> Refusal:
    """Return the refusal of a picture: 415 no picture, 413 too many pixels or scans, 422 cut or damaged."""
    status = _STATUS_OF_PICTURE.get(error.reason, 422)
    return Refusal(
        status, error.reason, found=str(error), expected=f"a whole {FORMATS} picture", do="send another picture"
    )


def refusal_of(error: FunnelgateError) -> Refusal:
    """Return the refusal of one of our errors.

    Of another feature space or of a generation that is not loaded: 409, with both ids. A category or box that is
    not there, or a vector of another dimension: 422. Not ready: 503. What only an operator can mend: 503 for storage,
    else 500.
    """
    text = str(error)
    if isinstance(error, SpaceMismatch):
        return Refusal(
            409, "space_mismatch", found=error.found, expected=list(error.expected),
            do="embed the query with the model of that space; GET /generation names the models",
        )  # fmt: skip
    if isinstance(error, WrongDimension):
        return Refusal(
            422, "bad_vector", found=f"{error.found} numbers", expected=f"{error.expected} numbers",
            do="embed the query with the model of its space; GET /generation names the models",
        )  # fmt: skip
    if isinstance(error, UnknownGeneration):
        return Refusal(
            409, "unknown_generation", found=error.found, expected=list(error.held),
            do="leave the generation out, or ask GET /generation for what is served",
        )  # fmt: skip
    for kind, refusal in _WITHOUT_FACTS.items():
        if isinstance(error, kind):
            return refusal()
    if isinstance(error, UsageError | ConfigError):
        return Refusal(422, "bad_request", found=text, expected="see found", do="change the request")
    return server_fault(503 if isinstance(error, StoreError) else 500)


def server_fault(status: int) -> Refusal:
    """Return what a client is told of a fault that is not its own: nothing of paths and data, those are logged."""
    return Refusal(
        status, "server_fault", found="a fault of this server, which is in its log", expected="an answer",
        do="tell who runs this server; ask again later",
    )  # fmt: skip


# Their messages name folders of the server.
_WITHOUT_FACTS: Mapping[type[FunnelgateError], Callable[[], Refusal]] = {
    NotReady: lambda: Refusal(
        503, "not_ready", found="no generation", expected="a release that is loaded",
        do="wait until /readyz says 200", headers={"Retry-After": "1"},
    ),
    QueryExpired: lambda: Refusal(
        504, "generation_gone", found="a generation that was unloaded", expected="an answer before the next but one",
        do="ask again",
    ),
    FeedbackFull: lambda: Refusal(
        507, "feedback_full", found="no room", expected="room", do="tell who runs this server"
    ),
}  # fmt: skip
