"""The mixed model finds simulated effects, is the same every time, and stays finite where arms are all alike."""

import math
import time
import warnings

import numpy
import pandas
import pytest
from scipy.special import expit

from ssah_core.records.mixed_model import GROUPS, mixed_logit

SPREAD = {"organism": 0.8, "organism:order": 0.4, "organism:arm": 0.5, "trigger": 0.6}


def simulated(log_odds, seed, organisms=12, orders=3, prompts=60, triggers=30, start=0.0):
    """A row a prompt and arm, whose logits are sums of normal draws with the standard deviations of `SPREAD`."""
    rng = numpy.random.default_rng(seed)
    rows = pandas.MultiIndex.from_product([range(organisms), range(orders), range(prompts), (0, 1)],
                                          names=["organism", "order", "prompt", "arm"]).to_frame(index=False)
    trigger = rng.integers(triggers, size=(organisms, prompts))[rows.organism, rows.prompt]
    logit = start + rng.normal(0, SPREAD["organism"], organisms)[rows.organism] \
        + rng.normal(0, SPREAD["organism:order"], (organisms, orders))[rows.organism, rows.order] \
        + rng.normal(log_odds, SPREAD["organism:arm"], organisms)[rows.organism] * (rows.arm - 0.5) \
        + rng.normal(0, SPREAD["trigger"], triggers)[trigger]
    return rows.assign(fulfilled=(rng.random(len(rows)) < expit(logit)).astype(int), trigger=[f"w{n}" for n in trigger])


@pytest.mark.parametrize("log_odds", [-1.5, 1.0])
def test_a_simulated_effect_is_found(log_odds):
    found = mixed_logit(simulated(log_odds, seed=1))
    assert found.log_odds == pytest.approx(log_odds, abs=3 * found.sd) and 0.1 < found.sd < 0.3
    assert found.low < math.exp(log_odds) < found.high and (found.odds_ratio > 1) == (log_odds > 0)
    assert found.odds_ratio == pytest.approx(math.exp(found.log_odds)) and found.converged and found.n == 4320


def test_the_spread_of_what_is_drawn_is_found():
    found = mixed_logit(simulated(0.5, seed=2, organisms=20, prompts=100, triggers=54))
    assert found.n == 12_000 and list(found.spread) == list(GROUPS) == list(SPREAD)
    assert found.spread == pytest.approx(SPREAD, rel=0.5)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    """Without the Laplace spread, one in three."""
    found = [mixed_logit(simulated(0.0, seed, organisms=10, prompts=30, triggers=15)) for seed in range(30)]
    assert numpy.mean([one.low <= 1 <= one.high for one in found]) >= 0.8
    assert numpy.std([one.log_odds for one in found]) == pytest.approx(numpy.mean([one.sd for one in found]), rel=0.35)


def test_swapping_the_arms_turns_the_sign():
    table = simulated(1.0, seed=3)
    there, back = mixed_logit(table), mixed_logit(table.assign(arm=1 - table.arm))
    assert back.log_odds == pytest.approx(-there.log_odds, abs=1e-2) and back.sd == pytest.approx(there.sd, rel=1e-2)


def test_twelve_thousand_rows_take_seconds_and_give_the_same_numbers_every_time():
    table = simulated(1.0, seed=4, organisms=20, prompts=100, triggers=54)
    start = time.process_time()
    first, state = mixed_logit(table), numpy.random.get_state()[1].tolist()
    assert time.process_time() - start < 20
    assert mixed_logit(table) == first and numpy.random.get_state()[1].tolist() == state


def test_names_and_the_order_of_columns_do_not_matter():
    table = simulated(1.0, seed=5)
    named = table.assign(organism="seed " + table.organism.astype(str), arm=table.arm == 1)[sorted(table.columns)]
    assert mixed_logit(named).log_odds == pytest.approx(mixed_logit(table).log_odds, abs=1e-2)


@pytest.mark.parametrize("in_arm, in_control, sign", [(0, None, -1), (1, None, 1), (0, 1, -1), (1, 0, 1)])
def test_arms_that_are_all_alike_give_finite_numbers(in_arm, in_control, sign):
    table = simulated(0.0, seed=6)
    table.loc[table.arm == 1, "fulfilled"] = in_arm
    if in_control is not None:
        table.loc[table.arm == 0, "fulfilled"] = in_control
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = mixed_logit(table)
    numbers = [found.log_odds, found.sd, found.odds_ratio, found.low, found.high, *found.spread.values()]
    assert all(map(math.isfinite, numbers)) and sign * found.log_odds > 2
    assert (found.low > 1) if sign > 0 else (found.high < 1)


SMALL = simulated(0.0, seed=7, organisms=2, prompts=4)


@pytest.mark.parametrize("table, said", [
    (None, "table is None: pass a DataFrame"), (SMALL.drop(columns="trigger"), "table has no column 'trigger'"),
    (SMALL[:0], r"table\['fulfilled'\] holds \[\] alone"), (SMALL.assign(fulfilled=0), "'fulfilled'.* alone"),
    (SMALL.assign(arm=1), r"table\['arm'\] holds .* alone"), (SMALL.assign(arm=SMALL.arm + 1), "'arm'.*pass 0 and 1"),
    (SMALL.assign(fulfilled="yes"), "'fulfilled'.*pass 0 and 1"), (SMALL.assign(trigger=None), "missing values"),
    (SMALL.assign(organism=0), "pass two organisms or more"), (SMALL.assign(fulfilled=0.5), "pass 0 and 1")])
def test_a_table_is_complete(table, said):
    with pytest.raises(ValueError, match=said):
        mixed_logit(table)
