"""The work of one search request, done in a thread: from a body to the bytes of its answer, all by one generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter

from pipeline.images.decode import PictureError
from pipeline.serve.answer import OtherBox, QueryBox, Result, answer_of, ask_ranked, plain_results
from pipeline.serve.limits import VectorQuery, check_picture, parse_json
from pipeline.serve.ranking import search_ranked
from pipeline.serve.refusal import refusal_of_picture

if TYPE_CHECKING:
    from pipeline.models.detections import Box
    from pipeline.release.withheld import WithheldList
    from pipeline.serve.holder import Holder, Served
    from pipeline.serve.serve_settings import ServeSettings

_ANYTHING: Final[TypeAdapter[Any]] = TypeAdapter(Any)
_EVERY = "a vector was given: every category of its feature space was searched"


@dataclass(frozen=True)
class SearchQuery:
    """What stands in the address of a search.

    Attributes:
        k: Results wanted, >= 1.
        category: Search this one only.
        box: Search this part of the picture.
        generation: Number of the release to ask; None: the one that serves.
    """

    k: int
    category: str | None = None
    box: Box | None = None
    generation: int | None = None


class SearchReply(BaseModel):
    """The answer to /search.

    Attributes:
        generation: Number of the release that gave all of it.
        spaces: Feature space of each category that was searched.
        object: What was searched for; None where a vector was.
        others: Other objects of the picture.
        reason: Why those categories.
        results: The products, nearest first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    generation: int
    spaces: dict[str, str]
    object: QueryBox | None
    others: list[OtherBox]
    reason: str
    results: list[Result]

    def written(self) -> bytes:
        """Return it as JSON."""
        return self.model_dump_json().encode()


class PlainReply(NamedTuple):
    """The answer to a vector: the values of a `SearchReply`'s JSON, which nobody needs to check who made them."""

    generation: int
    spaces: dict[str, str]
    object: None
    others: tuple[()]
    reason: str
    results: list[dict[str, Any]]

    def written(self) -> bytes:
        """Return it as JSON, the same bytes as a `SearchReply`'s."""
        return _ANYTHING.dump_json(self._asdict())


@dataclass(frozen=True)
class Searcher:
    """What a search needs; safe for threads."""

    holder: Holder
    settings: ServeSettings
    withheld: Callable[[], WithheldList]

    def by_picture(self, data: bytes, query: SearchQuery) -> SearchReply:
        """Search by a picture's bytes.

        Raises:
            Refusal: It is no picture, too large, or damaged.
            FunnelgateError: See `refusal_of`.
        """
        check_picture(data, self.settings.max_pixels)
        with self.holder.pin(query.generation) as served:
            one = served.generation
            found = ask_ranked(one, [data], query.k, query.category, query.box, self.withheld())[0]
            if isinstance(found, PictureError):
                raise refusal_of_picture(found)
            asked, ranked = found
            answer = answer_of(served.number, asked, ranked)
            return SearchReply(spaces=_spaces(served, asked.route.categories), **dict(answer))

    def by_vector(self, data: bytes, query: SearchQuery) -> PlainReply:
        """Search by the JSON of a `VectorQuery`; the category in the body goes before the one in the address.

        Raises:
            Refusal: It is no such JSON.
            FunnelgateError: See `refusal_of`; above all `SpaceMismatch`.
        """
        body = parse_json(data, VectorQuery)
        vector = body.array()
        category = body.category or query.category
        wanted = None if category is None else (category,)
        with self.holder.pin(query.generation, body.space_id, category) as served:
            generation = served.generation
            ranked = search_ranked(
                lambda count: generation.search_vectors(vector, wanted, count, body.space_id)[0],
                generation.ranking,
                query.k,
                withheld=self.withheld(),
                rows_of=generation.rows_of,
            )
            entries = served.manifest.categories
            searched = wanted or [
                name for name, entry in entries.items() if entry.rows and entry.space_id == body.space_id
            ]
            return PlainReply(
                generation=served.number,
                spaces=_spaces(served, searched),
                object=None,
                others=(),
                reason=_EVERY if category is None else f"category {category!r} was asked for",
                results=plain_results(ranked),
            )


def _spaces(served: Served, categories: Sequence[str]) -> dict[str, str]:
    return {name: served.manifest.categories[name].space_id for name in categories}
