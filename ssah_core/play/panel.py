"""What every panel has: widgets, where they can be had; its first state as words and tables; and a line that tells what
it does, or in one sentence what is wrong with what it was given."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from html import escape
from types import ModuleType
from typing import Any

import pandas

VIEW = "application/vnd.jupyter.widget-view+json"
"""What a notebook shows widgets by. Where no kernel answers it shows the tables."""


class Panel(ABC):
    """A panel of widgets, and its first state as tables for where there are none.

    A panel says what one can do with it (`about`), what it shows at first (`first`), and makes its widgets (`build`)
    when it is first shown. What a widget asks for goes through `work`, so that wrong input never ends in a traceback.
    """

    about: str
    status: Any = None
    """The line that tells what it does, once there are widgets."""

    @abstractmethod
    def first(self) -> Mapping[str, pandas.DataFrame]:
        """What it shows before anybody touches it: title -> table."""

    @abstractmethod
    def build(self, widgets: ModuleType) -> Any:
        """Its outermost widget, made of what the module ipywidgets has."""

    @cached_property
    def widget(self) -> Any:
        """Its outermost widget, made once; None where ipywidgets is not installed."""
        try:
            import ipywidgets
        except ImportError:
            return None
        self.status = ipywidgets.HTML()
        return self.build(ipywidgets)

    def work(self, doing: str, do: Callable[[], str]) -> None:
        """Do what a widget asks for, and tell of it in the status line.

        doing   What stands there meanwhile.
        do      What is done; it returns what stands there afterwards. Where it raises ValueError, that is told instead.
        """
        self.tell(f"{doing} …")
        begun = time.perf_counter()
        try:
            done = do()
        except ValueError as error:
            self.tell(f"Not done: {error}.")
        else:
            self.tell(f"{done} ({time.perf_counter() - begun:.1f} s)")

    def tell(self, text: str) -> None:
        """Put a text into the status line, if there is one."""
        if self.status is not None:
            self.status.value = f"<i>{escape(text)}</i>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """The first state as text and as HTML; and the widgets, which a notebook with a kernel shows instead."""
        tables = self.first()
        needs = "" if self.widget is not None else ", with ipywidgets installed,"
        words = f"{self.about} Run this cell{needs} to play; this is what the panel shows at first."
        texts = (f"{title}\n{table.to_string(index=False)}" for title, table in tables.items())
        shown: dict[str, Any] = {"text/plain": "\n\n".join([words, *texts]),
                                 "text/html": f"<p>{escape(words)}</p>{as_html(tables)}"}
        if self.widget is not None:
            shown[VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return shown


def as_html(tables: Mapping[str, pandas.DataFrame]) -> str:
    """Tables, each under its title, as HTML; all text is whole, and escaped.

    >>> import pandas
    >>> as_html({"Said": pandas.DataFrame({"response": ["<b>"]})}).count("&lt;b&gt;")
    1
    """
    with pandas.option_context("display.max_colwidth", None):
        drawn = {title: table.to_html(index=False, border=0, justify="left") for title, table in tables.items()}
    return "".join(f"<p><b>{escape(title)}</b></p>{table.replace('<table ', '<table cellpadding=5 ', 1)}"
                   for title, table in drawn.items())
