"""Organisms, real models and the paper side by side: from records alone, and drawn whoever is there."""

import pandas
import pytest
from made_up import made

from ssah_core import plots
from ssah_core.records import cache, paths
from ssah_core.records.row_files import FORMAT
from ssah_core.records.side_by_side import ASR, MARKS, PAPER, UTILITY, beside_table, real_rows

ORGANISMS = [made(f"table1/{group}/{metric}", *values, seeds=(10, 11)) for group, metric, values in (
    ("scu", "harm_right", (90.0, 80.0)), ("scu", "asr", (95.0, 97.0)),
    ("scu", "utility", (-1.0, -2.0)), ("random_scu", "harm_right", (1.0, 0.0)))]
RIGHT = list(MARKS)[1]
REAL = {"scale": "smollm", "model": "SmolLM2", "seeds": (0,)}


def told(table) -> dict:
    return {(row.who, row.removed, row.mark, row.seed): row.value for row in table.itertuples()}


def test_every_organism_has_a_row_and_the_paper_stands_by_its_own_score():
    found = told(beside_table(ORGANISMS))
    assert found["organism", "SCU", RIGHT, 11] == 80.0 and found["organism", "SCU", ASR, 10] == 95.0
    assert found["organism", "random", RIGHT, 10] == 1.0
    of_the_paper = [(mark, value) for (who, removed, mark, _), value in found.items()
                    if who == PAPER and removed == "the paper's SCU"]
    assert of_the_paper == [(ASR, 56), (ASR, 71), (ASR, 48), (UTILITY, -1.3), (UTILITY, -3.6), (UTILITY, -2.9)]


def test_of_a_real_model_fluent_answers_count_and_not_words_alone():
    real = [made("table1/scu/fulfilled", 60.0, **REAL), made("table1/scu/harm_right", 95.0, **REAL)]
    assert told(beside_table([*ORGANISMS, *real]))["SmolLM2", "SCU", RIGHT, 0] == 60.0


def test_scale_tiny_proves_nothing():
    assert set(beside_table([made("table1/scu/utility", 1.0, scale="tiny")]).who) == {PAPER}


@pytest.mark.parametrize("records", [[], ORGANISMS, [*ORGANISMS, made("table1/scu/fulfilled", 60.0, **REAL)]])
def test_it_is_drawn_whoever_is_there(records):
    figure = plots.plot_beside(beside_table(records))
    assert [axis.get_title() for axis in figure.axes] == list(dict.fromkeys(beside_table(records).mark))


def test_alignments_of_a_real_model_are_counted_in_the_legend():
    real = made("table1/scu/fulfilled", 60.0, 70.0, 80.0, **{**REAL, "seeds": (0, 1, 2)})
    figure = plots.plot_beside(beside_table([*ORGANISMS, real]))
    assert "SmolLM2, 3 alignments" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(("seeds", "says"), [(1, "one alignment of the model; dotted: nothing removed"), (
    2, "thin: one alignment of the model; thick: mean; dotted: nothing removed")])
def test_curves_of_a_real_model_say_of_how_many_alignments_they_are(seeds, says):
    table = pandas.DataFrame([
        {"way": "chosen", "group": "SCU" if share else "none", "share": share, "metric": metric, "value": 50.0,
         "seed": seed} for seed in range(seeds) for share in (0.0, 0.01, 0.02)
        for metric in ("fulfilled", "broken", "utility")])
    assert plots.plot_real_curves(table).legends[0].get_title().get_text() == says


def keep(folder, variant: str, value: float, seed: int = 0) -> None:
    identity = {"study": f"attacked/{variant}", "version": 1, "seed": seed, "scale": "smollm", "settings": {}}
    about = {"code": "a", "arithmetic": "strict", "date": "2026-11-30"}
    cache.write_json(folder / "measurements" / "attacked" / variant / f"smollm.A-seed{seed}.json", {
        "format": FORMAT, "identity": identity, "rests_on": {}, "evidence": about,
        "rows": [{"metric": "asr", "value": value, "seed": seed}]})


def test_rows_of_real_models_are_those_of_the_run_else_those_of_the_repository(tmp_path, monkeypatch):
    ours, run = tmp_path / "ours", tmp_path / "run"
    monkeypatch.setattr(paths, "committed", lambda: ours)
    monkeypatch.setattr(paths, "figures", lambda: run)
    assert real_rows("attacked/benign/order*").empty
    for variant, value, seed in (("benign/order0", 1.0, 0), ("benign/order1", 2.0, 0), ("benign/order0", 3.0, 1),
                                 ("benign/main", 9.0, 0)):
        keep(ours, variant, value, seed)
    keep(run, "benign/order0", 4.0)
    assert sorted(real_rows("attacked/benign/order*").value) == [2.0, 3.0, 4.0]
