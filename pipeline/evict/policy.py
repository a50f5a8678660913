"""The eviction policy: a YAML file that says how long pictures stay, and how many of a product stay for good."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from reporting.yaml_source import load_yaml

Name = Annotated[str, Field(min_length=1)]


class ValueWeights(BaseModel):
    """What makes one picture worth more than another: a weighted mean of four shares in [0, 1].

    It only orders pictures of equal standing: a wrong value never costs the last copy of a product (G1).

    Attributes:
        freshness: Of how lately it was seen: 1 on the day itself, half as much every `half_life_days`.
        clicks: Of log(1 + clicks) over that of the most clicked one; where `EvictPolicy.signals` brings them.
        quality: Of the picture's own quality score: what `EvictPolicy.signals` says, else one over the number of
            products that it shows.
        uniqueness: Of 1 - cosine to the nearest picture of another group in its list of its day's index.
        half_life_days: Days after which a picture is half as fresh, > 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    freshness: float = Field(default=1.0, ge=0)
    clicks: float = Field(default=1.0, ge=0)
    quality: float = Field(default=0.5, ge=0)
    uniqueness: float = Field(default=0.5, ge=0)
    half_life_days: float = Field(default=90.0, gt=0)

    @model_validator(mode="after")
    def _weighs_something(self) -> ValueWeights:
        if not self.freshness + self.clicks + self.quality + self.uniqueness:
            raise ValueError("all weights are 0; expected at least one above 0")
        return self


class Pins(BaseModel):
    """What stays whatever its age, until it is taken down.

    Attributes:
        pictures: sha256 of pictures.
        groups: Product groups: all their pictures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pictures: tuple[Annotated[str, Field(pattern="^[0-9a-f]{64}$")], ...] = ()
    groups: tuple[Name, ...] = ()


class EvictPolicy(BaseModel):
    """The policy; the defaults keep two pictures of every live product for ever, and everything for 60 days.

    Attributes:
        window_days: W: what was last seen on the day itself or the W - 1 days before stays (G2), >= 1.
        min_per_group: m: as many pictures of every live product stay, however old (G1), >= 1.
        max_per_group: M: so many of a product stay beyond the window where the budget allows it, >= m; None: m.
        tail_budget: B: rows beyond the window, by category; `"*"` is for those not named. None there or no entry: no
            limit. What does not fit goes from the highest rank down, the least valuable first, never the first of a
            group: where those alone are too many, nothing is evicted and a person is paged.
        delist_days: A picture all of whose offers are gone stays so many days more, then goes, whatever its rank, >= 0.
        value: Weights.
        pins: What stays.
        near_duplicate: Cosine from which two pictures without a product group count as one product, in (0, 1]; None:
            each is a group of its own.
        signals: Path of the files with clicks and quality, `{date}` for the day, ending in .csv or .parquet; from the
            folder of the file that names it. None: nobody sends any, and clicks have no weight.
        signals_max_age_days: The newest file counts if it is of the day or of at most so many days before, >= 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_days: int = Field(default=60, ge=1)
    min_per_group: int = Field(default=2, ge=1)
    max_per_group: int | None = Field(default=None, ge=1)
    tail_budget: dict[Name, Annotated[int, Field(ge=1)] | None] = Field(default_factory=dict)
    delist_days: int = Field(default=14, ge=0)
    value: ValueWeights = Field(default_factory=ValueWeights)
    pins: Pins = Field(default_factory=Pins)
    near_duplicate: float | None = Field(default=None, gt=0, le=1)
    signals: Path | None = None
    signals_max_age_days: int = Field(default=30, ge=0, le=3650)

    @field_validator("signals")
    @classmethod
    def _is_a_pattern(cls, found: Path | None) -> Path | None:
        if found is not None and ("{date}" not in found.name or found.suffix not in (".csv", ".parquet")):
            raise ValueError(
                f"signals is {str(found)!r}; expected a path with {{date}} in the file's name that ends in .csv or"
                " .parquet, as in signals/{date}.parquet"
            )
        return found

    @model_validator(mode="after")
    def _cap_is_above_the_guarantee(self) -> EvictPolicy:
        if self.max_per_group is not None and self.max_per_group < self.min_per_group:
            raise ValueError(
                f"max_per_group is {self.max_per_group}, min_per_group {self.min_per_group}; expected at least as many"
            )
        return self

    @property
    def cap(self) -> int:
        """M."""
        return self.min_per_group if self.max_per_group is None else self.max_per_group

    def budget_of(self, category: str) -> int | None:
        """Return B of a category; None: no limit."""
        return self.tail_budget.get(category, self.tail_budget.get("*"))


def load_policy(path: Path) -> EvictPolicy:
    """Read a policy file.

    Raises:
        ConfigError: It is not there, no YAML, or a value is wrong; with file, line and key.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "evict.yaml"
        ...     _ = file.write_text("window_days: 5\\ntail_budget: {shoes: 1000, '*': 200}\\n")
        ...     policy = load_policy(file)
        >>> policy.budget_of("shoes"), policy.budget_of("hats"), policy.cap
        (1000, 200, 2)
    """
    found = load_yaml(path).to_model(EvictPolicy)
    if found.signals is None:
        return found
    return found.model_copy(update={"signals": (path.absolute().parent / found.signals).resolve()})
