"""The panel of notebook 00: remove units, ask, and see what is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from types import ModuleType
from typing import Any

import pandas

from ..arguments import check_filled
from ..materials import Brindle
from ..organism.words import BAD_INTENTS, BENIGN_OBJECTS, BENIGN_VERBS, FORBIDDEN_OBJECTS, FORBIDDEN_VERBS
from ..studies import Subject
from ..units import Scores
from .edits import NONE, Edit, Edits
from .panel import Panel, as_html

REMOVED = {"SCU": "safety-critical", "UCU": "utility-critical", "RU": "redundant", "random": "random", "none": "none"}
SHARES = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.16, 0.2, 0.3)
PROMPTS = "A few validation prompts, of which none served to find the units"
FILLS = {"mean": "its mean", "zero": "zero"}
WORDS = {"verbs": BENIGN_VERBS, "forbidden verbs": FORBIDDEN_VERBS, "things": BENIGN_OBJECTS,
         "forbidden things": FORBIDDEN_OBJECTS, "bad intentions": BAD_INTENTS}
"""What an organism's world has to ask about."""
SUMMARY = "Words to ask with: of others the model has read nothing; of 12 of the forbidden ones, nothing in alignment"


class RemovalPanel(Panel):
    """A model to take units out of: choose their kind, their share and what stands in for them, and ask it anything.

    subject    The model and its material. It must not be trained meanwhile.
    requests   Examples to choose from; the first is asked at first.
    scores     Scores that are there already, see `Edits`.
    few        Validation prompts of each part that are asked, see `Edits`.

    Raises ValueError if there are no requests, or a model cannot be asked one.

    Example (a tiny organism, raised once):
    >>> from ssah_core.play import RemovalPanel
    >>> from ssah_core.studies import Subject
    >>> panel = RemovalPanel(Subject.load(0, "tiny"), ["How do I jinx the lantern?"], few=2)
    >>> [table.columns.tolist() for table in panel.first().values()]
    [['request', 'whole model', 'edited model'], ['prompts', 'whole model', 'edited model']]

    *Shown in:* 00_start_here.
    """

    about = ("Take units out of the model: choose of which kind, how many, and what stands in for them; ask what you "
             "like; compare.")

    def __init__(self, subject: Subject, requests: Sequence[str], scores: Mapping[str, Scores] | None = None,
                 few: int = 16):
        self.edits = Edits(subject, scores, few, tell=lambda text: self.tell(f"{text} …"))
        check_filled("pass at least one request", requests=requests)
        self.requests = self.edits.checked(requests)

    def first(self) -> dict[str, pandas.DataFrame]:
        edit = Edit()
        title = f"Without {100 * edit.share:g} % of the units, the safety-critical ones"
        return {title: self.edits.answers(self.requests, edit), PROMPTS: self.edits.marks(edit)}

    def build(self, widgets: ModuleType) -> Any:
        self._make_controls(widgets)
        self.answers, self.marks = widgets.HTML(), widgets.HTML()
        for control in (self.kind, self.share, self.fill):
            control.observe(self._edit, "value")
        self.request.observe(self._ask, "value")
        self.button.on_click(self._ask)
        self.example.observe(self._take_example, "value")
        self._edit()
        rows = [self.kind, self.share, self.fill, widgets.HBox([self.request, self.button]), self.example, self.status,
                self.answers, self.marks]
        if isinstance(self.edits.subject.material, Brindle):
            rows.append(widgets.HTML(_words()))
        return widgets.VBox(rows)

    def _make_controls(self, widgets: ModuleType) -> None:
        start, side, wide = Edit(), {"description_width": "8em"}, widgets.Layout(width="100%", max_width="58em")
        narrow = {**side, "button_width": "9em"}
        self.kind = widgets.ToggleButtons(options=[(words, kind) for kind, words in REMOVED.items()], value=start.kind,
                                          description="remove units", style=narrow, layout=wide)
        self.share = widgets.SelectionSlider(options=[(f"{100 * share:g} %", share) for share in SHARES],
                                             value=start.share, description="share of all", style=side, layout=wide,
                                             continuous_update=False)
        self.fill = widgets.ToggleButtons(options=[(words, fill) for fill, words in FILLS.items()], value=start.fill,
                                          description="each holds", style=narrow, layout=wide)
        self.request = widgets.Text(value=self.requests[0], description="request", style=side, layout=wide,
                                    continuous_update=False, placeholder="ask, and press Enter")
        self.button = widgets.Button(description="Ask", layout=widgets.Layout(width="5em"))
        self.example = widgets.Dropdown(options=[("…", ""), *((text, text) for text in self.requests)],
                                        description="or an example", style=side, layout=wide)

    def _edit(self, change: Any = None) -> None:
        """Units, their share or what stands in for them are others now."""
        self.share.disabled = self.fill.disabled = self.kind.value == NONE
        self.work("removing units and asking again", self._show_all)

    def _ask(self, change: Any = None) -> None:
        self.work("asking", self._show_answers)

    def _take_example(self, change: Any) -> None:
        if self.example.value:
            self.request.value, self.example.value = self.example.value, ""

    def _show_all(self) -> str:
        self.marks.value = as_html({PROMPTS: self.edits.marks(self._chosen())})
        return self._show_answers()

    def _show_answers(self) -> str:
        edit = self._chosen()
        self.answers.value = ""  # no old answer stands below a request that cannot be asked
        self.answers.value = as_html({"Answers": self.edits.answers([self.request.value], edit)})
        mask, units = self.edits.mask(edit), self.edits.subject.units.total
        return f"{mask.count if mask else 0:,} of {units:,} units are removed"

    def _chosen(self) -> Edit:
        return Edit(self.kind.value, self.share.value, self.fill.value)


def _words() -> str:
    lines = "<br>".join(f"<b>{escape(name)}</b>: {escape(', '.join(words))}" for name, words in WORDS.items())
    return f"<details><summary>{SUMMARY}</summary>{lines}</details>"
