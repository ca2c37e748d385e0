"""What the benchmarks make of times: ratios with honest intervals, and a comparison that fails for the worse alone."""

import doctest
import math
import sys
import time

import numpy
import pandas
import pytest
import torch
from benchmarks import __main__ as suite
from benchmarks import floors, page, pairs
from benchmarks.pairs import Ratio, paired, ratio, single
from benchmarks.profiles import compared

from ssah_core import plots
from ssah_core.records.doses import interval_of_median


@pytest.mark.parametrize("n", [6, 7, 20, 41])
def test_the_interval_covers_the_median_as_often_as_it_says(n):
    draws = numpy.random.default_rng(0).exponential(size=(2000, n))  # of median ln 2, and skewed as times are
    bounds = [interval_of_median(list(draw)) for draw in draws]
    covered = numpy.mean([low <= math.log(2) <= high for low, high in bounds])
    assert 0.94 <= covered and (n < 20 or covered <= 0.985)


def test_few_pairs_have_their_extremes():
    assert interval_of_median([3.0, 1.0, 2.0]) == (1.0, 3.0) and interval_of_median([2.0]) == (2.0, 2.0)


def test_either_goes_first_as_often_and_both_have_run_before():
    said = []
    found = paired("x", "a / b", lambda: said.append("a"), lambda: said.append("b"), pairs=4, goal=1.0)
    assert said == ["a", "b", *"ba", *"ab", *"ba", *"ab"] and found.pairs == 4 and found.goal == 1.0


def one(value: float, low: float, high: float) -> Ratio:
    return Ratio("x", "a / b", value, low, high, 7, 1.0, 1.05, 1.0)


def test_a_comparison_fails_where_an_interval_lies_above_what_is_committed():
    before = {"x": {"value": 1.0}}
    assert suite.slower(before, [one(1.2, 1.1, 1.3)]) and not suite.slower(before, [one(1.2, 0.99, 1.3)])
    assert not suite.slower(before, [one(0.5, 0.4, 0.6)]) and not suite.slower({}, [one(1.2, 1.1, 1.3)])


def test_memory_is_compared_though_it_was_measured_once():
    before = {"collect, memory": {"value": 1.0}, "make reproduce": {"value": 1.0}}
    once = lambda name, value: single(name, "a / b", value)  # noqa: E731
    assert not suite.slower(before, [once("collect, memory", 1.04), once("make reproduce", 2.0)])
    assert suite.slower(before, [once("collect, memory", 1.06)]) == [
        "collect, memory has become larger: 1.060 [1.060, 1.060], committed 1.000"]
    assert suite.is_compared(once("collect, memory", 1.0)) and not suite.is_compared(once("make reproduce", 1.0))


def test_compared_runs_write_nothing_and_say_what_is_slower(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SSAH_FIGURES", str(tmp_path))
    monkeypatch.setattr(suite, "GROUPS", {"one": lambda pairs: iter([one(1.0, 0.9, 1.1)])})
    monkeypatch.setattr(suite.processes, "is_idle", lambda: True)
    monkeypatch.setattr(sys, "argv", ["bench"])
    assert suite.main() == 0 and sorted(file.suffix for file in tmp_path.iterdir()) == [".json", ".png", ".svg"]
    kept = (tmp_path / "benchmarks.json").read_bytes()
    monkeypatch.setattr(suite, "GROUPS", {"one": lambda pairs: iter([one(1.5, 1.4, 1.6)])})
    monkeypatch.setattr(sys, "argv", ["bench", "--compare"])
    assert suite.main() == 1 and (tmp_path / "benchmarks.json").read_bytes() == kept
    said = capsys.readouterr()
    assert "x has become slower: 1.500 [1.400, 1.600], committed 1.000" in said.out and "MISSED" in said.out


def test_unknown_groups_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "speed"])
    with pytest.raises(SystemExit):
        suite.main()
    assert "'speed' is no group: choose of scoring, supervised" in capsys.readouterr().err


def test_the_figure_shows_what_was_missed():
    rows = [one(1.0, 0.9, 1.1).row(), {**one(1.5, 1.4, 1.6).row(), "name": "y", "goal": None, "floor": None}]
    figure = plots.plot_benchmarks(pandas.DataFrame(rows))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["x", "y"]


def test_a_ratio_is_the_median_of_pairs():
    found = ratio("x", "a / b", [1.0, 3.0, 2.0], 0.5, None, None)
    assert (found.value, found.low, found.high, found.pairs) == (2.0, 1.0, 3.0, 3)
    assert math.isnan(found.row()["goal"])


def test_a_profile_names_the_operation_that_is_done_once_more():
    square = torch.ones(64, 64)
    lines = compared(lambda: square @ square @ square.exp(), lambda: square @ square).splitlines()
    assert any("aten::exp" in line and "held against       0.0 ms" in line for line in lines)
    assert lines[-1].lstrip().startswith("all operations")


# -- the page ----------------------------------------------------------------------------------------------


def test_the_page_follows_from_what_is_kept():
    text = page.PAGE.read_text(encoding="utf-8")
    assert text == page.filled(text, suite.committed().values()), "run python -m tests.benchmarks --table"
    assert "(../figures/benchmarks.png)" in text


def test_a_missed_goal_needs_a_reason():
    with pytest.raises(ValueError, match="x misses its goal .1.200 of 1.05.: say why"):
        page.table([one(1.2, 1.1, 1.3).row()])
    with pytest.raises(ValueError, match=r"tests/README.md needs one .*: put them back"):
        page.filled("nothing", [])


@pytest.mark.parametrize("module", [page, pairs])
def test_examples_show_what_they_say(module):
    assert not doctest.testmod(module).failed


# -- floors ------------------------------------------------------------------------------------------------


def test_products_are_those_counted_by_hand():
    square, wide, head = 1024 ** 2, 1024 * 2688, 1024 * 4096
    whole = 6 * (4 * square + 3 * wide) + head
    trained = 0.2 * 6 * (2 * square + 3 * wide)
    assert floors.products(0.2) == pytest.approx((2 * whole - 3 * square + trained) / (3 * whole))
    assert floors.least_time(0.2, 0.0) == floors.products(0.2) > floors.least_time(0.2, 0.1)


def test_the_share_of_an_optimiser_is_that_of_the_clock(monkeypatch):
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad, now = torch.ones(1), [0.0]
    optimizer = torch.optim.SGD([weight])
    optimizer.register_step_pre_hook(lambda *given: now.append(now[-1] + 1))
    monkeypatch.setattr(time, "perf_counter", lambda: now[-1])

    def step():
        now.append(now[-1] + 3)
        optimizer.step()

    assert floors.optimizer_share(step) == 0.25


def test_activations_are_what_autograd_keeps_weights_apart():
    class Twice(torch.nn.Linear):
        def forward(self, input_ids, labels, use_cache):
            return super().forward(input_ids.float()).square()

    kept = floors.activations(Twice(floors.TOKENS, 3, bias=False))
    assert kept == floors.CHATS * (floors.TOKENS + 3) * 4  # what goes in, and what is squared
