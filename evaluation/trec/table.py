"""The measures, one row each, in trec_eval's order; and the names that stand for several."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from numpy.typing import NDArray

from evaluation.trec import binary, graded
from evaluation.trec.lists import Lists
from reporting.errors import UsageError, nearest


class Summary(StrEnum):
    """What a measure says over all queries."""

    MEAN = "mean"
    SUM = "sum"
    """A whole number; with `--complete` unanswered queries are part of it (num_rel)."""
    GEOMETRIC = "geometric"
    """exp of the mean logarithm; says nothing of one query."""
    QUERIES = "queries"
    """The number of queries averaged over; says nothing of one query."""
    RUN_ID = "run_id"
    NOTHING = "nothing"
    """Only of single queries."""


class Parameter(StrEnum):
    """What may follow a measure's name."""

    NONE = "none"
    CUT = "cut"
    """A rank >= 1: `P_10`."""
    SHARE = "share"
    """A number >= 0 with two decimals: `iprec_at_recall_0.25`."""
    OPTION = "option"
    """A number that replaces a default which the name does not show: `set_F`, `set_F_2.0`."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A row of the table.

    Attributes:
        name: Of the family, as trec_eval names it.
        values: (Lists, parameter) -> (n,) float64, or (n,) str objects.
        parameter: What may follow the name.
        defaults: Parameters of the bare name.
        summary: What it says over all queries.
    """

    name: str
    values: Callable[[Lists, float], NDArray[Any]]
    parameter: Parameter = Parameter.NONE
    defaults: tuple[float, ...] = (0,)
    summary: Summary = Summary.MEAN


@dataclass(frozen=True, slots=True)
class Asked:
    """A measure with its parameter: one number a query.

    Attributes:
        name: As trec_eval prints it, e.g. `ndcg_cut_10`.
        measure: Its row.
        parameter: 0 where the measure takes none.
    """

    name: str
    measure: Measure
    parameter: float


_CUTS = (5, 10, 15, 20, 30, 100, 200, 500, 1000)
_TENTHS = tuple(tenth / 10 for tenth in range(11))
_MULTIPLES = tuple(fifth / 5 for fifth in range(1, 11))
_CUT, _SHARE, _OPTION = Parameter.CUT, Parameter.SHARE, Parameter.OPTION
_SUM, _GEOMETRIC = Summary.SUM, Summary.GEOMETRIC

MEASURES = (
    Measure("runid", binary.retrieved, summary=Summary.RUN_ID),
    Measure("num_q", binary.retrieved, summary=Summary.QUERIES),
    Measure("num_ret", binary.retrieved, summary=_SUM),
    Measure("num_rel", binary.relevant, summary=_SUM),
    Measure("num_rel_ret", binary.relevant_retrieved, summary=_SUM),
    Measure("map", binary.average_precision),
    Measure("gm_map", binary.log_average_precision, summary=_GEOMETRIC),
    Measure("Rprec", binary.r_precision),
    Measure("bpref", binary.bpref),
    Measure("recip_rank", binary.reciprocal_rank),
    Measure("iprec_at_recall", binary.interpolated_precision, _SHARE, _TENTHS),
    Measure("P", binary.precision, _CUT, _CUTS),
    Measure("relstring", graded.relevance_string, _OPTION, (10,), Summary.NOTHING),
    Measure("recall", binary.recall, _CUT, _CUTS),
    Measure("infAP", binary.inferred_average_precision),
    Measure("gm_bpref", binary.log_bpref, summary=_GEOMETRIC),
    Measure("Rprec_mult", binary.r_precision_multiple, _SHARE, _MULTIPLES),
    Measure("utility", binary.utility),
    Measure("11pt_avg", binary.eleven_point_average),
    Measure("binG", binary.binary_g),
    Measure("G", graded.normalised_gain),
    Measure("dcg", graded.dcg),
    Measure("ideal_dcg", graded.ideal_dcg),
    Measure("ndcg", graded.ndcg),
    Measure("ndcg_rel", graded.ndcg_rel),
    Measure("Rndcg", graded.r_ndcg),
    Measure("ndcg_cut", graded.ndcg_cut, _CUT, _CUTS),
    Measure("map_cut", binary.average_precision_cut, _CUT, _CUTS),
    Measure("relative_P", binary.relative_precision, _CUT, _CUTS),
    Measure("success", binary.success, _CUT, (1, 5, 10)),
    Measure("set_P", binary.set_precision),
    Measure("set_relative_P", binary.set_relative_precision),
    Measure("set_recall", binary.set_recall),
    Measure("set_map", binary.set_average_precision),
    Measure("set_F", binary.set_f, _OPTION, (1.0,)),
    Measure("num_nonrel_judged_ret", binary.nonrelevant_retrieved, summary=_SUM),
    Measure("yaap", binary.yaap),
    Measure("rbp", graded.rank_biased_precision, _OPTION, (0.9,)),
    Measure("rbp_resid", graded.rank_biased_residual, _OPTION, (0.9,)),
    Measure("unj", binary.unjudged, _CUT, (5, 10, 20)),
)
_BY_NAME = {one.name: one for one in MEASURES}
_COUNTS = ("runid", "num_q", "num_ret", "num_rel", "num_rel_ret")
NICKNAMES = {
    "official": (*_COUNTS, "map", "gm_map", "Rprec", "bpref", "recip_rank", "iprec_at_recall", "P"),
    "set": (*_COUNTS, "utility", "set_P", "set_relative_P", "set_recall", "set_map", "set_F"),
    "all_trec": tuple(one.name for one in MEASURES if one.name not in ("dcg", "ideal_dcg", "yaap")),
}
"""Names that stand for several measures."""


def known_names() -> tuple[str, ...]:
    """Return every name that trec_eval knows without parameters of one's own."""
    several = [one.name for measure in MEASURES for one in _defaults(measure)]
    return tuple(dict.fromkeys([*NICKNAMES, *_BY_NAME, *several]))


def asked_for(names: Iterable[str]) -> tuple[Asked, ...]:
    """Return what names ask for, each measure once, in the order asked.

    A family's bare name (`P`) gives its usual parameters; one of `NICKNAMES` gives all of its measures. `ndcg_cut.10`
    is taken as `ndcg_cut_10`.

    Raises:
        UsageError: an unknown name, with the nearest; a parameter the measure cannot take; no name at all.

    Example:
        >>> [one.name for one in asked_for(["map", "P_5", "success"])]
        ['map', 'P_5', 'success_1', 'success_5', 'success_10']
    """
    found = [one for name in names if name.strip() for one in _resolved(name.strip())]
    if not found:
        raise UsageError("no measure was asked for; name some, e.g. --measures map,ndcg_cut_10,recall_100")
    return tuple({one.name: one for one in found}.values())


def _resolved(name: str) -> tuple[Asked, ...]:
    if name in NICKNAMES:
        return tuple(one for family in NICKNAMES[name] for one in _defaults(_BY_NAME[family]))
    if name in _BY_NAME:
        return _defaults(_BY_NAME[name])
    families = [one for one in MEASURES if name.startswith((one.name + "_", one.name + "."))]
    takers = [one for one in families if one.parameter is not Parameter.NONE]
    if not takers:
        raise UsageError(f"unknown measure {name!r}; {nearest(name, known_names())}")
    measure = max(takers, key=lambda one: len(one.name))
    return (_parametrised(measure, name[len(measure.name) + 1 :], name),)


def _defaults(measure: Measure) -> tuple[Asked, ...]:
    if measure.parameter in (Parameter.NONE, Parameter.OPTION):
        return (Asked(measure.name, measure, measure.defaults[0]),)
    return tuple(Asked(_named(measure, parameter), measure, parameter) for parameter in measure.defaults)


def _named(measure: Measure, parameter: float) -> str:
    return (
        f"{measure.name}_{parameter:.2f}" if measure.parameter is Parameter.SHARE else f"{measure.name}_{parameter:g}"
    )


def _parametrised(measure: Measure, text: str, name: str) -> Asked:
    """Return a measure with a parameter that was given as text; the text is kept in the name of an option."""
    if measure.parameter is Parameter.CUT or measure.name == "relstring":
        if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 31):
            raise UsageError(
                f"unknown measure {name!r}: {measure.name} takes a whole number >= 1, as in {_example(measure)}"
            )
        return Asked(f"{measure.name}_{int(text)}", measure, int(text))
    try:
        number = float(text.removeprefix("p=") if measure.name.startswith("rbp") else text)
    except ValueError:
        number = -1.0
    if measure.parameter is Parameter.SHARE:
        if not 0 <= number <= 1e6 or number != float(f"{number:.2f}"):
            raise UsageError(
                f"unknown measure {name!r}: {measure.name} takes a number >= 0 of at most two decimals, "
                f"as in {_example(measure)}"
            )
        return Asked(_named(measure, number), measure, number)
    share = measure.name.startswith("rbp")
    if not 0 < number < (1.0 if share else 1e6):
        wanted = "a number above 0 and below 1" if share else "a number above 0"
        raise UsageError(f"unknown measure {name!r}: {measure.name} takes {wanted}, as in {_example(measure)}")
    return Asked(f"{measure.name}_{text}", measure, number)


def _example(measure: Measure) -> str:
    return {"rbp": "rbp_p=0.8", "rbp_resid": "rbp_resid_p=0.8", "set_F": "set_F_2.0", "relstring": "relstring_20"}.get(
        measure.name, _named(measure, measure.defaults[-1])
    )
