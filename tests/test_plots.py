"""Figures: colours mean one thing and are told apart, every organism and interval is drawn, files stay equal."""

import base64
import io
import itertools
import json
import re
from pathlib import Path

import matplotlib.path
import matplotlib.pyplot as plt
import numpy
import pandas
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.container import ErrorbarContainer
from PIL import Image

from ssah_core import plots
from ssah_core.plots import diagram, drawing, marks, style
from ssah_core.plots.__main__ import redraw_all
from ssah_core.records import paths
from ssah_core.records.effects import sign_flip_interval
from ssah_core.studies.arms import HeldArm, PeftArm
from ssah_core.studies.finetuning_arms import MAIN_ARMS, REST_ARMS
from ssah_core.units import UnitKind

ROOM = Path(plots.__file__).parent
COMMITTED = sorted(file.with_suffix(".json") for file in (Path(__file__).parents[1] / "figures").glob("*.svg"))
DEUTERANOPIA = numpy.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                            [-0.011820, 0.042940, 0.968881]])  # Machado et al. 2009, severity 1.0, on linear RGB
XYZ = numpy.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                   [0.0193339, 0.1191920, 0.9503041]])


def linear(color: str) -> numpy.ndarray:
    rgb = numpy.array(to_rgb(color))
    return numpy.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: numpy.ndarray) -> numpy.ndarray:
    """CIELAB under D65, of linear RGB."""
    relative = XYZ @ rgb / numpy.array([0.95047, 1, 1.08883])
    x, y, z = numpy.where(relative > 0.008856, numpy.cbrt(relative), 7.787 * relative + 16 / 116)
    return numpy.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast_on_white(color: str) -> float:
    return 1.05 / (linear(color) @ XYZ[1] + 0.05)


def difference(one: str, other: str, eye: numpy.ndarray) -> float:
    return float(numpy.linalg.norm(lab((eye @ linear(one)).clip(0, 1)) - lab((eye @ linear(other)).clip(0, 1))))


# -- colours are meanings --------------------------------------------------------------------------------


def test_no_colour_stands_outside_the_table():
    for file in ROOM.glob("*.py"):
        text = file.read_text()
        assert file.name == "style.py" or not re.search(r"#[0-9a-fA-F]{3,8}\b", text), file.name
        assert not re.search(r"""color=["'](?!none|white)|palette=["'\[(]["']""", text), file.name


@pytest.mark.parametrize("meaning", style.MEANINGS)
def test_marks_stand_out_on_white(meaning):
    assert contrast_on_white(style.MEANINGS[meaning].color) >= 3


@pytest.mark.parametrize("family", style.FAMILIES)
def test_what_shares_a_figure_is_told_apart_with_and_without_green(family):
    found = [style.MEANINGS[meaning] for meaning in style.FAMILIES[family]]
    for one, other in itertools.combinations(found, 2):
        assert one.marker != other.marker
        assert difference(one.color, other.color, numpy.eye(3)) > 20
        assert difference(one.color, other.color, DEUTERANOPIA) > 15, (one, other)


def test_the_colour_test_sees_a_bad_pair():
    assert difference("#D55E00", "#8A7F00", DEUTERANOPIA) < 15 and contrast_on_white("#F0E442") < 3


def test_kinds_of_unit_and_marks_have_colours_of_their_own():
    alone = ("SCU", "UCU", "CU", "RU", "random", "whole", "ASR", "right answers", "utility")
    colors = [look.color for look in style.MEANINGS.values()]
    assert all(colors.count(style.MEANINGS[meaning].color) == 1 for meaning in alone)
    assert len(set(style.MEANINGS.values())) == len(style.MEANINGS)
    assert plots.look("RU 20 %") == plots.look("RU") != plots.look("top 20 %")


def test_a_name_without_a_meaning_is_refused_alone_and_gets_a_spare_look_among_others():
    with pytest.raises(ValueError, match="'mine'.*looks"):
        plots.look("mine")
    names = ["nothing", "SCU + 6 % CU", "SCU", "random, as many (0)", "yours", "theirs", "mine"]
    found = plots.looks(names)
    assert list(found) == names and len(set(found.values())) == len(names)
    assert len({look.color for look in plots.looks(["asr", "asr_unseen", "refused"]).values()}) == 3


def test_arms_that_share_a_figure_have_a_look_each_whichever_of_them_are_drawn():
    drawn = {*MAIN_ARMS, *REST_ARMS, HeldArm.REWOUND} - {HeldArm.RANDOM_REST}
    for arms in (drawn, set(PeftArm)):
        own = {arm: plots.look(arm) for arm in arms}
        assert len({look.color for look in own.values()}) == len(arms)
        assert plots.looks(sorted(arms)[1:]).items() <= own.items()


def test_every_arm_has_one_name_and_no_two_share_it():
    names = [plots.ARMS.get(arm, arm) for arm in HeldArm]
    assert len(set(names)) == len(HeldArm) and set(plots.ARMS) <= {*HeldArm, *map(HeldArm.RANDOM.draw, range(3))}


# -- organisms and intervals -----------------------------------------------------------------------------

SIX = [1.0, 2.0, 40.0, 98.0, 99.0, 100.0]


def rows(**columns) -> pandas.DataFrame:
    return pandas.DataFrame({"value": SIX, "seed": range(6), **columns})


def test_bounds_are_those_of_exact_sign_flips_within_what_is_possible():
    found = marks.with_intervals(rows(arm="a"), ["arm"]).iloc[0]
    plain = marks.with_intervals(rows(arm="a"), ["arm"], None).iloc[0]
    assert (plain.low, plain.high) == sign_flip_interval(SIX).bounds
    assert (found["mean"], found.low, found.high) == (numpy.mean(SIX), max(plain.low, 0), min(plain.high, 100))


def test_fewer_than_six_organisms_have_no_interval():
    for n in range(1, 6):
        for within in (marks.PERCENT, None):
            found = marks.with_intervals(rows(arm="a")[:n], ["arm"], within)
            assert found[["low", "high"]].isna().all(axis=None) and found["mean"][0] == numpy.mean(SIX[:n])


def bars(axis) -> list:
    return [found for found in axis.containers if isinstance(found, ErrorbarContainer)]


def test_a_row_has_a_dot_an_organism_and_one_mean_with_its_interval():
    _, axis = plt.subplots()
    table = pandas.concat([rows(arm="a"), rows(arm="b")[:1]])
    marks.draw_dots(axis, table, "arm", ["b", "a", "missing"], plots.look("SCU"))
    marks.name_rows(axis, ["b", "a"])
    assert [len(found.get_offsets()) for found in axis.collections if isinstance(found, PathCollection)] == [6]
    ends = bars(axis)[1].lines[2][0].get_segments()[0][:, 0]
    assert ends.tolist() == pytest.approx(list(sign_flip_interval(SIX, within=(0, 100)).bounds))
    assert [text.get_text() for text in axis.get_yticklabels()] == ["b", "a"] and axis.get_ylim() == (1.5, -0.5)


def test_one_value_has_the_interval_that_its_row_gives():
    _, axis = plt.subplots()
    table = rows(arm="a")[3:4].assign(low=90.0, high=99.0)
    marks.draw_dots(axis, table, "arm", ["a"], plots.look("SCU"))
    assert bars(axis)[0].lines[2][0].get_segments()[0][:, 0].tolist() == [90, 99]
    assert marks.what_is_drawn(table, ["arm"], each="model") == "one model, 95 % interval over its prompts"


def test_where_organisms_are_missing_a_mean_is_hollow_and_joined_by_no_line():
    _, axis = plt.subplots()
    table = pandas.concat([rows(arm="a", x=1), rows(arm="a", x=2), rows(arm="a", x=3)[:2]])
    marks.draw_lines(axis, table, "x", "arm", plots.looks("a"))
    whole, some = (bar.lines[0] for bar in bars(axis))
    assert (whole.get_xdata().tolist(), some.get_xdata().tolist()) == ([1, 2], [3])
    assert some.get_markerfacecolor() == "white" and some.get_linewidth() == 0 < whole.get_linewidth()


def test_a_curve_has_a_line_an_organism_and_intervals_that_stand_side_by_side():
    _, axis = plt.subplots()
    table = pandas.concat([rows(arm=arm, x=x) for arm in "ab" for x in (1, 2)])
    marks.draw_lines(axis, table, "x", "arm", plots.looks("abc"), spread=0.1)
    assert len(axis.lines) == 2 * (6 + 1 + 2)  # organisms; the mean and its two caps
    at = [bar.lines[0].get_xdata().tolist() for bar in bars(axis)]
    assert at == [pytest.approx([0.95, 1.95]), pytest.approx([1.05, 2.05])]


def test_a_legend_shows_colour_and_marker_of_every_name():
    figure, _ = plt.subplots()
    marks.legend_below(figure, plots.looks(["SCU", "RU"]), "thin: one organism", line=True)
    handles = marks.legend_of(plots.looks(["SCU", "RU"]))
    assert [(h.get_label(), h.get_marker(), h.get_linewidth()) for h in handles] == [("SCU", "o", 0), ("RU", "^", 0)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["SCU", "RU"]


def test_a_legend_names_an_interval_only_where_one_is_drawn():
    many, few = rows(arm="a"), rows(arm="b")[:5]
    said = [marks.what_is_drawn(table, ["arm"]) for table in (many, few, pandas.concat([many, few]))]
    assert said == [f"faint: one organism; mark: mean{more}"
                    for more in (", 95 % interval", "", ", 95 % interval where there are 6 or more")]
    assert marks.what_is_drawn(few, ["arm"], line=True, each="order") == "thin: one order; thick: mean"


# -- single figures --------------------------------------------------------------------------------------


def test_the_first_figure_speaks_in_words_and_shows_shares_with_wilson_intervals():
    counts = pandas.DataFrame([(name, question, n, 100) for question in ("malicious requests", "useful questions")
                               for name, n in (("none", 0), ("SCU", 95), ("random", 1))],
                              columns=["removed", "question", "right", "n"])
    figure = plots.plot_removal(counts)
    assert [text.get_text() for text in figure.axes[0].texts] == ["0 %", "95 %", "1 %"]
    assert "SCU" not in " ".join(text.get_text() for text in figure.axes[0].get_yticklabels())
    low, high = bars(figure.axes[0])[3].lines[2][0].get_segments()[0][:, 0]
    assert (round(low), round(high)) == (89, 98)


def test_arms_are_held_against_the_named_one_organism_by_organism_and_sorted_by_it():
    table = pandas.concat([rows(arm=arm, metric="asr").assign(value=lambda t, less=less: t.value - less)
                           for arm, less in (("SCU", 10.0), ("nothing", 0.0), ("rewound", 8.0))])
    axis = plots.plot_arms(table, against="nothing").axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["SCU + 6 % CU, put back\nafter", "SCU"]
    assert [bar.lines[0].get_xdata()[0] for bar in bars(axis)] == [-8, -10]
    assert bars(axis)[0].lines[2][0].get_segments()[0][:, 0].tolist() == pytest.approx([-8, -8])


def test_arms_are_compared_at_doses_that_both_have():
    late, early = rows(metric="asr", dose=8), rows(metric="asr", dose=4)
    table = pandas.concat([early.assign(arm="all weights", value=10.0), late.assign(arm="all weights", value=90.0),
                           late.assign(arm="LoRA", value=95.0)])
    assert [bar.lines[0].get_xdata()[0] for bar in bars(plots.plot_arms(table, against="all weights").axes[0])] == [5]


def test_a_course_says_how_many_points_were_never_reached():
    table = pandas.concat([rows(attack="new", arm=arm, steps=steps) for arm in ("nothing", "SCU") for steps in (1, 2)])
    titles = [plots.plot_attack(part).legends[0].get_title().get_text() for part in (table, table[:-3])]
    assert "reached" not in titles[0] and "never reached: 3 of 24 comparisons" in titles[1]


def test_an_arm_that_reached_nothing_is_named_and_counted():
    table = pandas.concat([rows(attack="new", arm="nothing", steps=steps) for steps in (1, 2)])
    title = plots.plot_attack(table, never=["LoRA"]).legends[0].get_title().get_text()
    assert "never reached: 12 of 24 comparisons\nLoRA never" in title


def test_an_arm_that_is_compared_at_some_doses_says_at_how_many():
    table = pandas.concat([rows(arm=arm, metric="asr", dose=dose) for arm, doses in (("all", (1, 2)), ("LoRA", (2,)))
                           for dose in doses])
    axis = plots.plot_arms(table, against="all").axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["LoRA (6 of 12 comparisons)"]
    assert axis.get_xlim()[0] <= -5 and axis.get_xlim()[1] >= 5
    unlike = pandas.DataFrame({"arm": ["all"] * 3 + ["LoRA"] * 3, "metric": "asr", "value": 0.0,
                               "seed": [0, 0, 1, 0, 1, 1], "dose": [1, 2, 1, 1, 1, 2]})  # as many rows, other doses
    axis = plots.plot_arms(unlike, against="all").axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["LoRA (2 of 3 comparisons)"]
    with pytest.raises(ValueError, match="against is 'nothing', which is no arm of the table: pass one of all, LoRA"):
        plots.plot_arms(table, against="nothing")


def test_changes_have_a_scale_of_their_own_in_every_panel():
    table = pandas.concat([rows(who=who, arm="a").assign(value=lambda t, by=by: t.value - by)
                           for who, by in (("few", 60.0), ("many", 99.0))])
    axes = plots.plot_conditions(table, panel="who", row="arm", mark="who", points=True).axes
    assert axes[0].get_xlim() != axes[1].get_xlim() and axes[1].get_xlim()[0] < -40


def test_depth_is_a_line_an_organism_beside_its_likes():
    table = pandas.concat([rows(metric=metric, dose=dose).assign(value=2) for dose in (1, 2)
                           for metric in ("to_refusal", "to_answer")])
    axes = plots.plot_depth(table).axes
    heights = [line.get_ydata()[0] for line in axes[0].lines]
    assert len(heights) == 6 == len(set(heights)) and abs(sum(heights) / 6 - 2) < 1e-9


def test_ways_that_do_little_share_one_row():
    table = pandas.concat([rows(way=f"w{i}", metric=metric).assign(value=float(i) if metric == "harm_right" else 0.0)
                           for i in range(5) for metric in ("harm_right", "utility")])
    axis = plots.plot_choices(table, best=2).axes[0]
    names = [text.get_text() for text in axis.get_yticklabels()]
    assert names == ["w4", "w3", "3 other ways (one dot a way: its mean)"]
    dots = [found for found in axis.collections if isinstance(found, PathCollection)]
    assert sorted(dots[2].get_offsets()[:, 0]) == [0, 1, 2]
    assert [bool(bar.lines[2]) for bar in bars(axis)] == [True, True, False]


def test_a_share_stands_beside_the_whole_model_with_every_organism():
    table = pandas.concat([rows(metric=metric, removed=removed) for metric in ("utility", "asr") for removed in (0, 1)])
    axis, = plots.plot_share(table, title="4 % removed").axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["ASR (refusal words)", "utility"]
    assert [bar.lines[0].get_color() for bar in bars(axis)] == [
        plots.look(name).color for name in ("whole", "whole", "asr", "utility")]
    assert [len(found.get_offsets()) for found in axis.collections if isinstance(found, PathCollection)] == [6] * 4
    assert axis.get_title() == "4 % removed"


def test_conditions_have_a_row_each_and_marks_side_by_side():
    table = pandas.concat([rows(state=state, by=by, mark=mark) for state in ("before", "after") for by in ("x", "y")
                           for mark in ("asr", "utility")])
    names = {"x": "one", "before": "at first"}
    figure = plots.plot_conditions(table, panel="state", row="by", mark="mark", names=names)
    first, second = figure.axes
    assert (first.get_title(), second.get_title()) == ("at first", "after")
    assert [text.get_text() for text in first.get_yticklabels()] == ["one", "y"]
    heights = [bar.lines[0].get_ydata()[0] for bar in bars(first)]
    assert heights[0] < heights[2] < heights[1] < heights[3]  # ASR of both rows, then utility, below
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ASR (refusal words)", "utility"]
    for alone in ({"panel": "mark", "row": "by", "mark": "mark"}, {"panel": "mark", "row": "by", "mark": "state"}):
        figure = plots.plot_conditions(table[table.state == "before"], **alone)
        assert not figure.legends[0].get_texts() and "mean" in figure.legends[0].get_title().get_text()


def test_courses_have_a_line_a_condition_over_all_places():
    table = pandas.concat([rows(metric="asr", units=units, count=n) for units in ("SCU", "random") for n in (1, 2, 4)])
    axis, = plots.plot_courses(table, panel="metric", x="count", line="units", xlabel="units removed").axes
    assert axis.get_xscale() == "log" and list(axis.get_xticks()) == [1, 2, 4] and len(bars(axis)) == 2


def test_the_diagram_shows_a_unit_of_each_half_and_spells_out_the_four_kinds():
    figure = plots.plot_unit_diagram(plots.four_kinds())
    block, plane = figure.axes
    parts = [text.get_text() for text in block.texts]
    assert [parts.count(name) for name in ("what feeds it", "its activation", "what it writes")] == [2, 2, 2]
    assert {"attention", "MLP", "v", "o", "gate", "up", "down"} <= set(parts)
    units = [patch for patch in block.patches if patch.get_facecolor() == to_rgba(diagram.UNIT)]
    assert len(units) == 3 + 4  # a row of v, a channel, a column of o; rows of gate and of up, a channel, a column
    told = " ".join(text.get_text() for text in plane.texts)
    assert all(row.kind in told and row.name in told and row.needed in told for row in plots.four_kinds().itertuples())
    plt.close(figure)


def test_the_kinds_of_the_diagram_are_those_of_the_code_and_its_regions_are_cut_as_labels_are():
    assert {row.kind: f"{row.name}: {row.needed}".replace("\n", " ") for row in plots.four_kinds().itertuples()} == {
        "SCU": "safety-critical: needed for safety, hardly for utility",
        "UCU": "utility-critical: needed for utility, hardly for safety", "CU": "complex: needed for both",
        "RU": "redundant: needed for neither"}
    assert plots.four_kinds().kind.tolist() == list(UnitKind)
    dots = [(kind, utility, safety) for kind, region in diagram.REGIONS.items() for utility, safety in region.dots]
    for kind, utility, safety in dots:
        found = ("SCU" if safety - utility > diagram.APART else "UCU" if utility - safety > diagram.APART
                 else "RU" if utility + safety < diagram.LOW else "CU")
        assert found == kind and matplotlib.path.Path(diagram.REGIONS[kind].corners).contains_point((utility, safety))
    areas = [_area(region.corners) for region in diagram.REGIONS.values()]
    assert sum(areas) == pytest.approx(1)  # every unit is of one kind


def _area(corners) -> float:
    x, y = numpy.array(corners).T
    return abs(x @ numpy.roll(y, 1) - y @ numpy.roll(x, 1)) / 2


def test_no_words_of_the_diagram_lie_over_each_other_and_all_can_be_read(cache):
    figure = plots.draw("units", plots.plot_unit_diagram, plots.four_kinds()).figure
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    words = [text for axis in figure.axes for text in axis.texts if text.get_text()]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in words]
    assert [(one, other) for (one, box), (other, against) in itertools.combinations(boxes, 2)
            if box.shrunk(0.96, 0.9).overlaps(against.shrunk(0.96, 0.9))] == []
    points = 700 / figure.get_figwidth() / 72  # pixels a point, of a picture 700 pixels wide
    assert min(text.get_fontsize() for text in words) * points >= 9


@pytest.mark.parametrize("file", COMMITTED, ids=lambda file: file.stem)
def test_every_committed_figure_has_its_function(file):
    saved = json.loads(file.read_text())
    assert callable(getattr(plots, saved["plot"])) and saved["plot"].startswith("plot_")


# -- files and alternative text --------------------------------------------------------------------------

LOSSES = pandas.concat([rows(stage=stage, step=step) for stage in ("instructed", "aligned") for step in (1, 2)])


def test_a_drawn_figure_shows_in_a_notebook_with_its_alternative_text(cache):
    plt.close("all")
    drawn = plots.draw("losses", plots.plot_losses, LOSSES, alt='Losses "fall" & rest')
    shown, _ = drawn._repr_mimebundle_()
    assert 'alt="Losses &quot;fall&quot; &amp; rest"' in shown["text/html"] == drawn._repr_html_()
    assert set(shown) == {"text/html", "text/plain"}  # one picture, once
    assert shown["text/plain"] == f"Figure losses: {drawn.alt}" and not plt.get_fignums()


def test_a_notebook_has_the_pixels_of_the_file(cache):
    drawn = plots.draw("losses", plots.plot_losses, LOSSES, alt="Falling.")
    inside = base64.b64decode(drawn.html.split("base64,")[1].split('"')[0])
    of = lambda png: Image.open(png).convert("RGB").tobytes()  # noqa: E731
    assert of(io.BytesIO(inside)) == of(paths.figures() / "losses.png") and len(inside) < len(drawn.png)


def test_files_carry_the_text_and_the_png_is_small_and_sharp(cache):
    plots.draw("losses", plots.plot_losses, LOSSES, alt="Losses <fall>")
    svg = (paths.figures() / "losses.svg").read_text(encoding="utf-8")
    image = Image.open(paths.figures() / "losses.png")
    assert "<title>losses</title>\n <desc>Losses &lt;fall&gt;</desc>" in svg
    assert image.mode == "P" and image.text["Description"] == "Losses <fall>"
    assert min(image.info["dpi"]) == pytest.approx(150, abs=0.1) and image.width >= 1200
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_a_sketch_looks_as_the_figure_does_and_leaves_no_file(cache):
    plt.close("all")
    sketched = plots.sketch("losses", plots.plot_losses, LOSSES, alt="Falling.")
    assert not list(paths.figures().iterdir()) and not plt.get_fignums()
    assert sketched.png == plots.draw("losses", plots.plot_losses, LOSSES, alt="Falling.").png


def test_without_a_text_the_first_sentence_of_the_function_is_taken(cache):
    assert re.fullmatch(r"Losses while each stage is trained\. Means at step 2: instructed \S+; aligned \S+\.",
                        plots.draw("losses", plots.plot_losses, LOSSES).alt)
    for name in dir(plots):
        if name.startswith("plot_"):
            assert re.fullmatch(r"[A-Z].{25,}\.", drawing.described(getattr(plots, name))), name


def test_figures_are_the_same_bytes_when_drawn_again_and_keep_their_text(cache):
    plots.draw("losses", plots.plot_losses, LOSSES, alt="Falling.")
    files = [paths.figures() / f"losses.{kind}" for kind in ("svg", "png", "json")]
    before = [file.read_bytes() for file in files]
    (paths.figures() / "history.json").write_text("[]")
    assert redraw_all() == ["losses"] and [file.read_bytes() for file in files] == before


def test_a_colour_is_the_same_in_the_png_however_little_of_it_there_is(cache):
    table = rows(group="SCU", metric="utility").assign(value=0.0)
    marks_of_it = [table.assign(metric=metric) for metric in ("asr", "harm_right", "utility")]
    plots.draw("one", plots.plot_table1, pandas.concat(marks_of_it))
    colors = {color for _, color in Image.open(paths.figures() / "one.png").convert("RGB").getcolors(1 << 20)}
    assert tuple(int(255 * part + 0.5) for part in to_rgb(style.MEANINGS["SCU"].color)) in colors


def test_percentages_and_points_have_their_range():
    assert (marks.PERCENT, marks.POINTS) == ((0, 100), (-100, 100))


def test_a_description_names_means_where_all_end_at_one_place():
    rows = pandas.DataFrame([(arm, metric, steps, 10.0 * steps, seed) for arm in ("SCU", "nothing")
                             for metric in ("asr", "utility") for steps in (1, 2) for seed in ("0/0", "0/1")],
                            columns=["arm", "metric", "steps", "value", "seed"])
    said = " Means at steps 2: SCU, asr 20; SCU, utility 20; nothing, asr 20; nothing, utility 20."
    assert drawing.means_in(rows) == drawing.means_in(rows[["seed", "value", "steps", "metric", "arm"]]) == said
    assert drawing.means_in(rows[(rows.arm == "SCU") | (rows.steps == 1)]) == ""
    assert drawing.means_in(rows.assign(arm=[f"arm {n}" for n in range(len(rows))], steps=1)[rows.seed == "0/0"]) != ""
    many = pandas.concat([rows.assign(arm=f"arm {n}") for n in range(drawing.SPOKEN)])
    assert drawing.means_in(many) == ""
