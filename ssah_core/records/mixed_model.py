"""A second look at an effect, prompt by prompt: a logistic model in which organisms, orders and triggers are drawn.

The verdicts rest on `ssah_core.records.effects`, which asks for less. This model says the same in odds, and how much of
the scatter comes from where: raising another organism, another order of chats, another trigger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy
import pandas
from scipy import sparse, stats
from scipy.special import expit
from statsmodels.genmod.bayes_mixed_glm import BayesMixedGLMResults, BinomialBayesMixedGLM

from ..arguments import check_kind, shown

COLUMNS = ("fulfilled", "arm", "organism", "order", "trigger")
GROUPS = {"organism": ["organism"], "organism:order": ["organism", "order"], "organism:arm": ["organism"],
          "trigger": ["trigger"]}
"""What is drawn, and the columns that tell its units apart; "organism:arm" is how far the arm moves an organism."""
PRIOR_EFFECT, PRIOR_SPREAD = 2.0, 1.0
"""Prior standard deviations: of the log-odds of intercept and arm, and of the logarithm of a spread (around 1)."""
START_SD = 0.6
STOP = {"maxiter": 2000, "maxfun": 5000, "ftol": 1e-10, "gtol": 1e-4}


@dataclass(frozen=True)
class MixedLogit:
    """What an arm does to the odds of fulfilment.

    >>> print(MixedLogit(1.0, 0.2, odds_ratio=2.72, low=1.84, high=4.02, spread={}, n=12000, converged=True))
    odds x 2.72 [1.84, 4.02]
    """

    log_odds: float
    """Of the arm against its control, in the middle organism, order and trigger."""
    sd: float
    """Posterior standard deviation of `log_odds`."""
    odds_ratio: float
    low: float
    """95 % interval of the odds ratio."""
    high: float
    spread: dict[str, float]
    """Standard deviation on the logit of each of `GROUPS`."""
    n: int
    """Rows."""
    converged: bool

    def __str__(self) -> str:
        return f"odds x {self.odds_ratio:.3g} [{self.low:.3g}, {self.high:.3g}]"


def mixed_logit(table: pandas.DataFrame) -> MixedLogit:
    """Log-odds of an arm, with organisms, their orders, their answers to the arm, and triggers as random effects.

    table   a row a prompt and arm: fulfilled (0 or 1), arm (0 control, 1 arm), organism, order, trigger

    The model is fitted by variational Bayes, from a fixed start, so that equal tables give equal numbers. That takes
    all effects as independent a posteriori, which makes the arm's spread several times too small; so `sd` is that of
    the Laplace approximation at the fit, where effects depend on each other and the spreads are taken as known. Arms
    that are all 0 or all 1 stay finite by the prior (standard deviation 2 on the logit). Raises ValueError for a table
    without a column, an arm, a second organism, or both outcomes.
    Source: Blei, Kucukelbir & McAuliffe 2017, in statsmodels' `BinomialBayesMixedGLM`. Departs: the Laplace spread.

    >>> rows = [(int((7 * o + 3 * r + 5 * t) % 10 < 2 + 5 * arm), arm, o, r, t)
    ...         for o in range(6) for r in range(3) for t in range(10) for arm in (0, 1)]
    >>> found = mixed_logit(pandas.DataFrame(rows, columns=COLUMNS))
    >>> found.n, found.low > 1
    (360, True)
    """
    _check(table)
    model = _model(table)
    count = model.k_fep + model.k_vcp + model.k_vc
    with numpy.errstate(over="ignore"):
        fit = model.fit_vb(numpy.zeros(count), numpy.full(count, START_SD), "L-BFGS-B", STOP)
    log_odds, sd = float(fit.fe_mean[1]), _laplace_sd(model, fit)
    half = sd * stats.norm.ppf(0.975)
    spread = dict(zip(GROUPS, map(float, numpy.exp(fit.vcp_mean)), strict=True))
    return MixedLogit(log_odds, sd, math.exp(log_odds), math.exp(log_odds - half), math.exp(log_odds + half), spread,
                      len(table), bool(fit.optim_retvals.success))


def _model(table: pandas.DataFrame) -> BinomialBayesMixedGLM:
    """The arm is coded -1/2 and 1/2: how far it moves an organism is then all but independent of where that stands."""
    arm = table["arm"].to_numpy(float) - 0.5
    columns, kinds = [], []
    for kind, (name, by) in enumerate(GROUPS.items()):
        unit = table.groupby(by, sort=True).ngroup().to_numpy()
        entries = arm if name == "organism:arm" else numpy.ones(len(table))
        columns.append(sparse.csr_array((entries, (numpy.arange(len(table)), unit))))
        kinds += [kind] * columns[-1].shape[1]
    return BinomialBayesMixedGLM(table["fulfilled"].to_numpy(float), numpy.column_stack([numpy.ones(len(table)), arm]),
                                 sparse.hstack(columns).tocsr(), numpy.array(kinds), PRIOR_SPREAD, PRIOR_EFFECT)


def _laplace_sd(model: BinomialBayesMixedGLM, fit: BayesMixedGLMResults) -> float:
    """Standard deviation of the arm from the curvature of the posterior in all effects at once."""
    rate = expit(model.exog @ fit.fe_mean + model.exog_vc @ fit.vc_mean)
    design = sparse.hstack([sparse.csr_array(model.exog), model.exog_vc]).tocsr()
    curvature = (design.T @ sparse.diags_array(rate * (1 - rate)) @ design).toarray()
    prior = numpy.concatenate([numpy.full(model.k_fep, PRIOR_EFFECT ** -2), numpy.exp(-2 * fit.vcp_mean)[model.ident]])
    return math.sqrt(numpy.linalg.inv(curvature + numpy.diag(prior))[1, 1])


def _check(table: pandas.DataFrame) -> None:
    way = f"pass a DataFrame with the columns {', '.join(COLUMNS)}"
    check_kind(pandas.DataFrame, way, table=table)
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise ValueError(f"table has no column {missing[0]!r}: {way}")
    if table[list(COLUMNS)].isna().any(axis=None):
        raise ValueError("table holds missing values: pass rows that are complete")
    for name in ("fulfilled", "arm"):
        found = list(table[name].unique())
        if not set(found) <= {0, 1}:
            raise ValueError(f"table[{name!r}] holds {shown(found)}: pass 0 and 1")
        if len(found) < 2:
            raise ValueError(f"table[{name!r}] holds {shown(found)} alone: pass rows with 0 and rows with 1")
    if len(found := list(table["organism"].unique())) < 2:
        raise ValueError(f"table['organism'] holds {shown(found)} alone: pass two organisms or more")
