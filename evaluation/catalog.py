"""The catalogue of record: what a user should be able to find, whether or not an index holds it."""

from __future__ import annotations

from datetime import date as Date
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Role(StrEnum):
    """What a picture of the catalogue is there for."""

    PRODUCT = "product"
    """A picture of a product; labels may point to its group."""
    SAME_STYLE = "same_style"
    """Distractor: a merchant's picture in the style of a product's, of another product."""
    NOISE = "noise"
    """Distractor: a picture that is not the style at all."""


class CatalogImage(BaseModel):
    """One picture of the catalogue; a picture that shows two products has two rows, which agree on the rest.

    Attributes:
        image_id: The name under which a system may return it: text without blanks; a 63-bit id is written in decimals.
        group_id: Product group, the unit of a label. A picture of unknown product is its own group.
        category: True category of the product.
        role: Product, or which kind of distractor; a distractor's group carries no label.
        sha256: Of the picture's bytes, hex; "" where it is not known (then leakage cannot be checked).
        near: Perceptual hash of 64 bits, hex; "" where none was made.
        path: Where the picture lies, relative to the set's root; "" where only its name is known.
        first_day: When it could first be found; None: always.
        last_day: When it was last seen; its age counts from here (design, "Eviction"); None: unknown.
        takedown_day: From this day on it must not be found; None: never.
        value: Orders, clicks or price, whatever the catalogue calls value; >= 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_id: str = Field(min_length=1, pattern=r"^\S+$")
    group_id: str = Field(min_length=1)
    category: str = Field(min_length=1)
    role: Role = Role.PRODUCT
    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    near: str = Field(default="", pattern="^([0-9a-f]{16})?$")
    path: str = ""
    first_day: Date | None = None
    last_day: Date | None = None
    takedown_day: Date | None = None
    value: float = Field(default=0.0, ge=0)

    def is_live(self, day: Date | None) -> bool:
        """Say whether it should be findable on a day; None: whether no takedown is on record at all."""
        if day is None:
            return self.takedown_day is None
        return (self.first_day is None or self.first_day <= day) and (
            self.takedown_day is None or day < self.takedown_day
        )
