"""p values beside the intervals: that an effect stays near zero, and what is left of many tests at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy

from ..arguments import check_filled, check_kind, check_names, check_share, shown
from .effects import check_above_zero, checked_effects


def tost_p(values: Sequence[float], within: float) -> float:
    """p of "the mean effect is `within` or more away from 0", by two one-sided t tests: a small one says that it stays.

    values   one effect an organism
    within   largest effect that counts as none, above 0

    Equal values have no spread to test by: p is 0 where they are within, else 1. One value shows nothing: p is 1.
    Raises ValueError for values that are empty or not finite.
    Source: Schuirmann 1987, in `statsmodels.stats.weightstats.ttost_paired`.

    >>> round(tost_p([1.0, -2.0, 0.5, 1.5, -1.0], within=5), 4)
    0.0008
    """
    from statsmodels.stats.weightstats import ttost_paired  # here, since it takes a second to import

    values = checked_effects(values)
    check_above_zero(within=within)
    if numpy.ptp(values) == 0:
        return 0.0 if len(values) > 1 and abs(values[0]) <= within else 1.0
    return float(ttost_paired(values, numpy.zeros(len(values)), -within, within)[0])


def holm(ps: Mapping[str, float]) -> dict[str, float]:
    """p values by name, so raised that one false rejection among all of them stays as rare as the level says.

    Raises ValueError for what is no share, or none. Source: Holm 1979, in `statsmodels.stats.multitest.multipletests`.

    >>> holm({"a": 0.125, "b": 0.25, "c": 0.5})
    {'a': 0.375, 'b': 0.5, 'c': 0.5}
    """
    return _adjusted(ps, "holm")


def benjamini_hochberg(ps: Mapping[str, float]) -> dict[str, float]:
    """p values by name, so raised that the share of false ones among the rejected stays below the level.

    Raises ValueError for what is no share, or none. Source: Benjamini & Hochberg 1995, in
    `statsmodels.stats.multitest.multipletests`.

    >>> benjamini_hochberg({"a": 0.125, "b": 0.25, "c": 0.5})
    {'a': 0.375, 'b': 0.375, 'c': 0.5}
    """
    return _adjusted(ps, "fdr_bh")


def _adjusted(ps: Mapping[str, float], method: str) -> dict[str, float]:
    from statsmodels.stats.multitest import multipletests

    way = "pass one p value a name, at least one"
    check_kind(Mapping, way, ps=ps)
    check_filled(way, ps=list(ps))
    for name, p in ps.items():
        check_names(**{"a name of ps": name})
        check_share(**{f"ps[{shown(name)}]": p})
    return dict(zip(ps, map(float, multipletests(list(ps.values()), method=method)[1]), strict=True))
