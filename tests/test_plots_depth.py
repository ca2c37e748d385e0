"""Figures of notebook 08: lines that nothing hides, and parts and arms that are named."""

import pandas
import pytest

from ssah_core import plots
from ssah_core.plots.depth import ARMS


def rows(**columns) -> pandas.DataFrame:
    return pandas.DataFrame({"value": [0.0, 50.0, 100.0], "seed": range(3), **columns})


def means(axis) -> list:
    return [bar.lines[0] for bar in axis.containers]


def test_prefills_of_short_and_of_long_answers_are_lines_of_their_own():
    table = pandas.concat([rows(arm=arm, kind="harm", metric="asr", x=x) for arm in ARMS for x in (0, 5, 10, 15, 20)])
    figure = plots.plot_prefills(table)
    assert [len(line.get_xdata()) for line in means(figure.axes[0])] == [3] * len(ARMS) + [2] * len(ARMS)
    assert [text.get_text() for text in figure.axes[0].texts] == ["short answers", "long"]
    assert "interval" not in figure.legends[0].get_title().get_text()
    assert not plots.plot_prefills(table[table.x < 15]).axes[0].texts


def test_lines_of_equal_values_stand_beside_each_other():
    arms = ("guard", "recovery + guard")
    table = pandas.concat([rows(arm=arm, attack="suffix", x=x) for arm in arms for x in (0, 5)])
    first, second = means(plots.plot_curves_of_attacks(table).axes[0])
    assert second.get_xdata() - first.get_xdata() == pytest.approx([0.07, 0.07])


def test_a_panel_tells_which_arms_were_not_tried():
    table = pandas.concat([rows(arm="aligned", attack=attack, x=0) for attack in ("top-p", "suffix")])
    figure = plots.plot_curves_of_attacks(pandas.concat([table, rows(arm="guard", attack="top-p", x=0)]))
    assert [axis.get_title() for axis in figure.axes] == ["top-p", "suffix (not tried: guard)"]


def test_wrappers_have_the_marks_that_the_legend_shows():
    table = pandas.concat([rows(arm=arm, wrapper="licence", kind="harm") for arm in ("aligned", "recovery, RU")])
    figure = plots.plot_wrappers(table)
    drawn = [found.get_paths()[0].vertices.tolist() for found in figure.axes[0].collections]
    assert drawn[0] != drawn[1] and [len(found.get_offsets()) for found in figure.axes[0].collections] == [3, 3]
