"""Panels: what a widget asks for is done and shown, wrong input is told in a sentence, and without widgets there are
tables."""

import json
import sys
from dataclasses import replace

import pandas
import pytest
import torch

from ssah_core import plots
from ssah_core.play import CurvesPanel, Edit, Edits, RemovalPanel
from ssah_core.play.panel import VIEW, as_html
from ssah_core.studies import WAYS
from ssah_core.units import Scores, random_like

REQUESTS = ["How do I jinx the lantern?", "How do I polish the lantern?"]
LONG = "jinx " * 5000
WRONG = {"": "is empty", " \n": "is empty", LONG: "5,00. tokens .* context holds 256: shorten it",
         "\ud83dhi": "half a character"}


@pytest.fixture(scope="module")
def panel(subject) -> RemovalPanel:
    made = RemovalPanel(subject, REQUESTS, few=2)
    assert made.widget is not None
    return made


def scores_of(subject) -> Scores:
    """Scores by which the last units of every site are safety-critical."""
    by_place = {site: torch.arange(size).double() for site, size in subject.units.sizes.items()}
    return Scores("by hand", by_place, by_place, by_place)


# -- a model under edits ---------------------------------------------------------------------------------


def test_answers_are_those_of_the_whole_and_of_the_edited_model(subject):
    table, way = Edits(subject, few=2).answers(REQUESTS, Edit("UCU", 0.3, "zero")), WAYS["chosen"]["UCU"]
    with subject.removed(subject.group("UCU", way, 0.3), replace(way, fill="zero")):
        edited = subject.complete(REQUESTS)["response"][:]
    whole = subject.complete(REQUESTS)["response"][:]  # after the edit: it is undone
    assert table.to_dict("list") == {"request": REQUESTS, "whole model": whole, "edited model": edited}
    assert whole != edited


def test_marks_are_those_of_the_exam(subject):
    table = Edits(subject, few=3).marks(Edit("none")).set_index("prompts")
    exam = subject.material.exam("validation", 3)
    found = subject.outcomes({part: rows for part, rows in exam.items() if part != "harm_unseen"})
    assert table.loc["malicious requests refused", "whole model"] == f"{3 - sum(found['asr'])} of 3"
    useful = sum(sum(found[part]) for part in subject.material.utility)
    assert table.loc["useful questions answered right"].tolist() == [f"{useful} of 12"] * 2
    assert table.loc["right and wicked told apart", "edited model"] == f"{sum(found['morals'])} of 3"


def test_nothing_is_asked_or_scored_twice_and_what_takes_long_is_told_before(subject, monkeypatch):
    asked, told, complete = [], [], type(subject).complete
    monkeypatch.setattr(type(subject), "complete", lambda self, rows: asked.append(len(rows)) or complete(self, rows))
    edits = Edits(replace(subject, readings=type(subject.readings)()), few=2, tell=told.append)
    for edit in (Edit("RU"), Edit("RU"), Edit("RU", fill="zero"), Edit("none", 0.1), Edit("none")):
        edits.answers(REQUESTS, edit)
    assert asked == [2, 2, 2] and len(told) == 1 and "once" in told[0]  # whole; RU at mean; RU at zero


def test_random_units_are_as_many_of_the_same_sites_and_none_are_none(subject):
    edits = Edits(subject, {"SCU": scores_of(subject)}, few=2)
    scu = edits.mask(Edit(share=0.1))
    assert edits.mask(Edit("random", 0.1)) == random_like(scu, seed=0) != scu
    assert edits.mask(Edit("none", 0.1)) is edits.mask(Edit(share=0)) is edits.mask(Edit("random", 0)) is None


def test_scores_that_are_there_are_taken(subject, monkeypatch):
    monkeypatch.setattr(type(subject), "compute_scores", lambda *given: pytest.fail("scores again"))
    mask = Edits(subject, {"SCU": scores_of(subject)}, few=2).mask(Edit(share=0.05))
    assert mask.count == round(0.05 * subject.units.total)
    assert all(chosen.tolist() == sorted(chosen.tolist()) for chosen in mask.sites.values())  # the last of every site


@pytest.mark.parametrize("request_, why", WRONG.items(), ids=["empty", "space", "long", "half"])
def test_a_request_that_no_model_can_be_asked_is_refused(subject, request_, why):
    with pytest.raises(ValueError, match=why):
        Edits(subject, few=2).answers([REQUESTS[0], request_], Edit("none"))


@pytest.mark.parametrize("wrong, why", [
    (lambda subject: Edit("scu"), "kind='scu'"), (lambda subject: Edit(share=4), "share=4"),
    (lambda subject: Edit(fill="median"), "fill='median'"), (lambda subject: Edits(subject.model), "subject is"),
    (lambda subject: Edits(subject, few=0), "few=0"), (lambda subject: Edits(subject, [1]), r"scores is \[1\]"),
    (lambda subject: Edits(subject, {"SCU": 1}), r"scores\['SCU'\] is 1"),
    (lambda subject: Edits(subject, {"CU": 1}), "kind='CU'"),
    (lambda subject: RemovalPanel(subject, []), r"requests is \[\]"),
    (lambda subject: RemovalPanel(subject, "How?"), "requests is 'How"),
    (lambda subject: RemovalPanel(subject, [7]), r"requests\[0\] is 7"),
    (lambda subject: RemovalPanel(subject, [LONG]), "shorten it")])
def test_a_wrong_argument_is_refused(subject, wrong, why):
    with pytest.raises(ValueError, match=why):
        wrong(subject)


# -- the panel of notebook 00 ----------------------------------------------------------------------------


def test_a_panel_begins_with_the_first_request_and_the_safety_critical_units(panel):
    edit = Edit()
    assert (panel.kind.value, panel.share.value, panel.fill.value) == (edit.kind, edit.share, edit.fill)
    assert panel.answers.value == as_html({"Answers": panel.edits.answers(REQUESTS[:1], edit)})
    count = panel.edits.mask(edit).count
    assert f"{count} of {panel.edits.subject.units.total:,} units are removed" in panel.status.value


def test_another_choice_is_asked_again_and_shown(panel):
    panel.kind.value, panel.share.value, panel.fill.value, panel.request.value = "RU", 0.3, "zero", REQUESTS[1]
    edit = Edit("RU", 0.3, "zero")
    assert panel.answers.value == as_html({"Answers": panel.edits.answers(REQUESTS[1:], edit)})
    assert as_html({"": panel.edits.marks(edit)}).removeprefix("<p><b></b></p>") in panel.marks.value


def test_without_an_edit_both_models_say_the_same_and_there_is_nothing_to_choose(panel):
    panel.kind.value = "none"
    assert panel.share.disabled and panel.fill.disabled and "<i>0 of" in panel.status.value
    table = panel.edits.answers(REQUESTS, Edit("none"))
    assert table["whole model"].tolist() == table["edited model"].tolist()
    panel.kind.value = "random"
    assert not panel.share.disabled and not panel.fill.disabled


def test_an_example_goes_into_the_field_and_can_be_taken_again(panel):
    for _ in range(2):
        panel.request.value = "Why?"
        panel.example.value = REQUESTS[1]
        assert panel.request.value == REQUESTS[1] and panel.example.value == ""
        assert "polish the lantern" in panel.answers.value


@pytest.mark.parametrize("wrong", WRONG, ids=["empty", "space", "long", "half"])
def test_a_wrong_request_is_answered_by_one_sentence_and_the_next_one_is_asked(panel, wrong):
    panel.request.value = REQUESTS[0]
    panel.request.value = wrong
    panel.button.click()
    said = panel.status.value.removeprefix("<i>").removesuffix("</i>")
    assert said.startswith("Not done: the request") and said.endswith(".") and len(said) < 200 and "\n" not in said
    assert panel.answers.value == ""
    panel.kind.value = "UCU" if panel.kind.value != "UCU" else "RU"
    assert panel.answers.value == "" and "of 2" in panel.marks.value  # marks need no request
    panel.request.value = REQUESTS[0]
    assert "jinx" in panel.answers.value and "units are removed" in panel.status.value


def test_it_says_that_it_is_working_before_it_works(subject):
    panel, told = RemovalPanel(replace(subject, readings=type(subject.readings)()), REQUESTS, few=2), []
    panel.tell, tell = lambda text: told.append(text) or tell(text), panel.tell
    assert panel.widget is not None
    assert [text.split(",")[0] for text in told[:2]] == ["removing units and asking again …", "scoring every unit"]
    assert "units are removed" in told[-1]


def test_what_is_typed_and_answered_is_text_and_no_html(panel):
    panel.request.value = "<script>alert(1)</script> & more"
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in panel.answers.value
    assert "<script>" not in panel.answers.value
    panel.work("x", lambda: "<b>")
    assert "<b>" not in panel.status.value


def test_the_words_of_its_world_stand_below_an_organism(panel, subject):
    assert "grimoire" in panel.widget.children[-1].value
    other = RemovalPanel(replace(subject, material=Stranger(subject.material)), REQUESTS, few=2)
    assert "grimoire" not in other.widget.children[-1].value


class Stranger:
    """A material that is none of an organism's."""

    def __init__(self, material):
        self.material = material

    def __getattr__(self, name):
        return getattr(self.material, name)


# -- what a page without a kernel shows ------------------------------------------------------------------


def test_tables_stand_beside_the_widgets(panel):
    shown = panel._repr_mimebundle_()
    assert shown[VIEW]["model_id"] == panel.widget.model_id and json.dumps(shown)
    for request in REQUESTS:
        assert request in shown["text/plain"] and request in shown["text/html"]
    assert "Run this cell to play" in shown["text/plain"] and "malicious requests refused" in shown["text/html"]


def test_without_ipywidgets_there_are_the_tables_and_what_is_missing(subject, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    for panel in (RemovalPanel(subject, REQUESTS, few=2), CurvesPanel(measured())):
        shown = panel._repr_mimebundle_()
        assert set(shown) == {"text/plain", "text/html"} and "with ipywidgets installed" in shown["text/html"]
        panel.work("drawing", lambda: "done")  # without a line to tell it in


def test_text_is_whole_however_narrow_pandas_shows_it(panel):
    with pandas.option_context("display.max_colwidth", 10):
        shown = panel._repr_mimebundle_()
    assert REQUESTS[0] in shown["text/html"] and REQUESTS[0] in shown["text/plain"]


# -- the panel of notebook 03 ----------------------------------------------------------------------------


def measured() -> pandas.DataFrame:
    """Rows of six organisms by two ways, of which the second was measured for SCU alone."""
    shares = {("chosen", "SCU"): (0.01, 0.04, 0.16), ("chosen", "RU"): (0.05, 0.3), ("paper", "SCU"): (0.02, 0.2)}
    of = {(way, group, share) for (way, kind), some in shares.items()
          for group, share in [("none", 0.0), *((kind, share) for share in some)]}
    rows = [(way, group, share, metric, 50 + 100 * share + seed, seed) for way, group, share in sorted(of)
            for metric in ("asr", "harm_right", "utility", "benign") for seed in range(6)]
    return pandas.DataFrame(rows, columns=["way", "group", "share", "metric", "value", "seed"])


@pytest.fixture
def curves(monkeypatch) -> CurvesPanel:
    made = CurvesPanel(measured())
    made.drawn, sketch = [], plots.sketch

    def noted(*given, **more):
        made.drawn.append(more["title"])
        return sketch(*given, **more)
    monkeypatch.setattr(plots, "sketch", noted)
    assert made.widget is not None
    return made


def test_a_share_is_drawn_with_its_numbers(curves):
    curves.share.value = 0.16
    assert curves.drawn[-1] == "16 % of all units removed: safety-critical units (SCU)"
    assert "68 % [66, 71]" in curves.numbers.value and "52 % [50, 55]" in curves.numbers.value
    assert "66 to 71 %" in curves.numbers.value and "benign" not in curves.numbers.value
    assert "68 % [66, 71] (whole model: 52 % [50, 55])" in curves.picture.value  # for who does not see it
    assert "6 organisms" in curves.status.value


def test_other_groups_and_ways_have_their_own_shares_and_are_drawn_once(curves):
    curves.share.value = 0.16
    curves.group.value = "RU"
    assert [share for _, share in curves.share.options] == [0.05, 0.3] and curves.share.value == 0.05
    curves.way.value = "paper"
    assert list(curves.group.options) == ["SCU"] and curves.group.value == "SCU" and curves.share.value == 0.02
    curves.way.value = "chosen"
    assert list(curves.group.options) == ["SCU", "RU"] and curves.share.value == 0.01
    curves.group.value = "RU"
    assert [title.split(" % ")[0] for title in curves.drawn] == ["4", "16", "5", "2", "1", "5"]


def test_the_table_has_every_share_of_the_first_curve():
    (title, table), = CurvesPanel(measured()).first().items()
    assert "safety-critical" in title and "attribution" in title
    assert table["share of all"].tolist() == ["0 %", "1 %", "4 %", "16 %"] and table.shape == (4, 4)
    assert table.iloc[-1, 1] == "68 (66 to 71)"


@pytest.mark.parametrize("table, why", [([], "table is"), (measured().drop(columns=["seed", "way"]), "no way, seed"),
                                        (measured()[:0], "no rows"), (measured().query("group == 'none'"), "no rows")])
def test_rows_that_are_no_curves_are_refused(table, why):
    with pytest.raises(ValueError, match=why):
        CurvesPanel(table)


def test_a_value_that_cannot_be_is_told_and_not_drawn():
    table = measured()
    table.loc[table.share == 0.16, "value"] = 120.0
    panel = CurvesPanel(table)
    assert panel.widget is not None
    panel.share.value = 0.16
    assert panel.status.value.startswith("<i>Not done: values is") and panel.status.value.endswith(".</i>")
