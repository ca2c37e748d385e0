"""The panel of notebook 03: what was measured with more and more units of a kind removed, organism by organism."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pandas

from .. import plots
from ..arguments import check_kind
from ..plots.removal import GROUPS, MARKS, WAYS
from ..plots.style import NAMES
from ..records import prose
from .panel import Panel, as_html

COLUMNS = ("way", "group", "share", "metric", "value", "seed")
NONE = "none"


class CurvesPanel(Panel):
    """Marks of every organism, with as large a share of a kind of unit removed as one likes.

    table   Rows of `ablation_curves`: `way`, `group`, `share`, `metric`, `value` (%), `seed`; those of the whole model
            have the group "none".

    Raises ValueError if a column or the rows are missing.

    >>> import pandas
    >>> from ssah_core.play import CurvesPanel
    >>> rows = pandas.DataFrame({"way": "chosen", "group": ["none", "SCU"], "share": [0.0, 0.04], "metric": "asr",
    ...                          "value": [1.0, 97.0], "seed": 0})
    >>> [table.to_numpy().tolist() for table in CurvesPanel(rows).first().values()]
    [[['0 %', '1'], ['4 %', '97']]]

    *Shown in:* 03_label_units.
    """

    about = "Choose how units are ranked, of which kind and how many are removed; see every organism."

    def __init__(self, table: pandas.DataFrame):
        check_kind(pandas.DataFrame, "pass rows of ablation_curves", table=table)
        missing = [column for column in COLUMNS if column not in table]
        if missing or not set(table.group) & set(GROUPS):
            what = f"has no {', '.join(missing)}" if missing else f"has no rows of {', '.join(GROUPS)}"
            raise ValueError(f"table {what}: pass rows of ablation_curves")
        self.table = table[table.metric.isin(MARKS)]
        self.ways = list(dict.fromkeys(table.way))

    def first(self) -> dict[str, pandas.DataFrame]:
        way, group = self.ways[0], self._groups(self.ways[0])[0]
        rows = self._rows(way, group)
        means = rows.groupby(["share", "metric"]).value.agg(lambda values: prose.between(values.tolist()))
        by_share = means.unstack("metric")
        told = pandas.DataFrame({"share of all": [f"{100 * share:g} %" for share in by_share.index],
                                 **{NAMES[mark]: by_share[mark].tolist() for mark in MARKS if mark in by_share}})
        title = f"{GROUPS[group]} removed, ranked by {_words(way)}"
        return {f"% of prompts, mean (lowest to highest organism): {title}": told}

    def build(self, widgets: ModuleType) -> Any:
        side, wide, way = {"description_width": "8em"}, widgets.Layout(width="100%", max_width="58em"), self.ways[0]
        self.way = widgets.Dropdown(options=[(_words(way), way) for way in self.ways],
                                    description="ranked by", style=side, layout=wide)
        self.group = widgets.ToggleButtons(options=self._groups(way), description="units removed", layout=wide,
                                           style={**side, "button_width": "6em"})
        shares = self._shares(way, self.group.value)
        self.share = widgets.SelectionSlider(options=shares, value=shares[len(shares) // 2][1], style=side, layout=wide,
                                             description="share of all", continuous_update=False)
        self.picture, self.numbers = widgets.HTML(), widgets.HTML()
        self.way.observe(self._take_way, "value")
        self.group.observe(self._take_group, "value")
        self.share.observe(self._draw, "value")
        self._draw()
        return widgets.VBox([self.way, self.group, self.share, self.status, self.picture, self.numbers])

    def _take_way(self, change: Any = None) -> None:
        """Another way, which may have been measured for other groups and shares."""
        groups = self._groups(self.way.value)
        kept = self.group.value if self.group.value in groups else groups[0]
        _offer(self.group, groups, kept, self._take_group)
        self._take_group()

    def _take_group(self, change: Any = None) -> None:
        shares = self._shares(self.way.value, self.group.value)
        nearest = min((share for _, share in shares), key=lambda share: abs(share - self.share.value))
        _offer(self.share, shares, nearest, self._draw)
        self._draw()

    def _draw(self, change: Any = None) -> None:
        self.work("drawing", self._show)

    def _show(self) -> str:
        way, group, share = self.way.value, self.group.value, self.share.value
        rows = self._rows(way, group)
        rows = rows[rows.share.isin([0.0, share])].assign(removed=rows.share > 0)
        title = f"{100 * share:g} % of all units removed: {GROUPS[group]}"
        numbers = _numbers(rows)
        alt = "; ".join(f"{row.mark}: {row[2]} (whole model: {row[3]})" for row in numbers.itertuples())
        self.picture.value = plots.sketch("share", plots.plot_share, rows, alt=f"{title}. {alt}.", title=title).html
        self.numbers.value = as_html({"Mean over organisms, 95 % interval": numbers})
        return f"{rows.seed.nunique()} organisms"

    def _rows(self, way: str, group: str) -> pandas.DataFrame:
        """Rows of one curve, and of the whole models, whose share is 0."""
        return self.table[(self.table.way == way) & self.table.group.isin([NONE, group])]

    def _groups(self, way: str) -> list[str]:
        return [group for group in GROUPS if group in set(self.table.group[self.table.way == way])]

    def _shares(self, way: str, group: str) -> list[tuple[str, float]]:
        rows = self._rows(way, group)
        return [(f"{100 * share:g} %", share) for share in sorted(rows.share[rows.group == group].unique())]


def _words(way: str) -> str:
    return WAYS.get(way, way).replace("\n", " ")


def _offer(control: Any, options: Sequence, value: Any, changed: Callable[[Any], None]) -> None:
    """Give a control other options and one of them, as one change, of which `changed` is not told."""
    control.unobserve(changed, "value")
    control.options = options
    control.value = value
    control.observe(changed, "value")


def _numbers(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Each mark with units removed, in the whole model, and from the lowest to the highest organism."""
    found = []
    for metric in (metric for metric in MARKS if metric in set(rows.metric)):
        values = {removed: rows.value[(rows.metric == metric) & (rows.removed == removed)].tolist()
                  for removed in (True, False)}
        found.append({"mark": NAMES[metric], "units removed": prose.percent(values[True], 0),
                      "whole model": prose.percent(values[False], 0) if values[False] else "not measured",
                      "lowest to highest organism": f"{min(values[True]):.0f} to {max(values[True]):.0f} %"})
    return pandas.DataFrame(found)
