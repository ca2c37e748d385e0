"""Objects of units show themselves in a few lines, however large the model, and no name can write HTML."""

from html.parser import HTMLParser

import pytest
import torch

from ssah_core import Moments, Scores, UnitLabels, UnitMask, label_units
from ssah_core.freezing import FrozenReport
from ssah_core.units import show

BIG = {f"{kind}.{block}": size for block in range(126) for kind, size in (("attn", 16384), ("mlp", 53248))}  # of 405 B


def things(sizes):
    generator = torch.Generator().manual_seed(0)
    part = {site: torch.rand(size, generator=generator, dtype=torch.float64) for site, size in sizes.items()}
    scores = Scores("fisher", part, part, part)
    mask, labels = UnitMask({site: x < 0.1 for site, x in part.items()}), label_units(scores, scu=0.1, ucu=0.2, ru=0.3)
    return [mask, labels, Moments(10**7, part, part), scores, FrozenReport(10**9, 0, 10**9, 7)]


class Reader(HTMLParser):
    """Tags and text of HTML."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def test_objects_of_a_large_model_are_short_as_text_and_as_html():
    assert len(show.table_by_block("UnitMask", BIG, BIG)) <= 2900
    for thing in things({site: size // 256 for site, size in BIG.items()}):
        assert len(repr(thing)) < 200 and repr(thing).count("\n") < 4, repr(thing)
        assert len(thing._repr_html_()) <= 3000 and Reader(thing._repr_html_()).tags.count("tr") <= 14


def test_a_mask_says_its_counts_and_shares():
    mask = UnitMask({"attn.0": torch.arange(4) < 1, "mlp.0": torch.arange(8) < 2, "attn.1": torch.arange(4) < 0,
                     "mlp.1": torch.arange(8) < 8})
    assert repr(mask) == "<UnitMask: 11 of 24 units (45.8%): attn 1 of 8 (12.5%), mlp 10 of 16 (62.5%)>"
    text = " ".join(Reader(mask._repr_html_()).text)
    for row in ("block 0 1  25.0% 2  25.0%", "block 1 0  0.0% 8  100.0%", "all 1  12.5% 10  62.5%"):
        assert row in text


def test_blocks_are_folded_without_losing_any():
    sizes = {f"mlp.{block}": 1 for block in range(25)}
    text = Reader(show.table_by_block("all", sizes, sizes)).text
    assert [word for word in text if word.startswith("block")] == [
        "block 0–2", "block 3–5", "block 6–8", "block 9–11", "block 12–14", "block 15–17", "block 18–20", "block 21–23",
        "block 24"]
    assert [word.strip() for word in text if word.strip().isdigit()] == ["3"] * 8 + ["1", "25"]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>.0", "a" * 5000, "&amp;", '"><img src=x>'])
def test_names_of_sites_are_escaped_and_cut(name):
    for thing in things({name: 3, "mlp.0": 2, "x.1": 1, "y.²": 1, f"z.{'9' * 5000}": 1})[:4]:
        html = thing._repr_html_()
        assert not {"script", "img"} & set(Reader(html).tags) and len(html) < 3000 and len(repr(thing)) < 6000


def test_a_criterion_cannot_write_html():
    part = {"mlp.0": torch.ones(2, dtype=torch.float64)}
    assert "<b>" not in Scores("<b>bold</b>" * 99, part, part, part)._repr_html_()


def test_empty_objects_show_themselves():
    for thing in (UnitMask({}), Moments(0, {}, {}), UnitMask({"mlp.0": torch.zeros(0, dtype=torch.bool)})):
        assert repr(thing) and thing._repr_html_()


def test_labels_are_a_row_a_kind():
    one = UnitMask({"attn.0": torch.tensor([True, False]), "mlp.0": torch.tensor([True])})
    labels = UnitLabels({"SCU": one, "UCU": one & ~one, "CU": ~one, "RU": one & ~one})
    assert repr(labels) == "<UnitLabels of 3 units: SCU 2 (66.7%), UCU 0 (0.0%), CU 1 (33.3%), RU 0 (0.0%)>"
    assert "SCU 1  50.0% 1  100.0% UCU 0  0.0%" in " ".join(Reader(labels._repr_html_()).text)
