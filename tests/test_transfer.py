"""Attribute transfer: halves of the calibration sets, kinds by thresholds, tables across halves, what they say."""

from itertools import product
from types import SimpleNamespace

import pandas
import pytest
import torch

from ssah_core.plots import draw, transfer
from ssah_core.plots.__main__ import redraw_all
from ssah_core.records.claim_list import list_claims, list_records
from ssah_core.studies import attribute_transfer as study
from ssah_core.studies.subject import WAYS, Subject
from ssah_core.units.importance import Scores
from ssah_core.units.labels import label_units
from ssah_core.units.masks import UnitKind

SITES = {"mlp.0": 7, "attn.0": 5}
SHARES = {"SCU": 0.25, "UCU": 0.25, "RU": 0.25}
SIZES = {"SCU": 0.1, "UCU": 0.1, "RU": 0.2}
SETS = dict.fromkeys(WAYS, SIZES)
KINDS = list(map(str, UnitKind))


def scores(seed: int, criterion: str = "variance", scale: float = 1.0) -> Scores:
    """Random scores of twelve units, all different."""
    generator = torch.Generator().manual_seed(seed)
    safety, utility = ({site: scale * torch.rand(n, generator=generator, dtype=torch.float64)
                        for site, n in SITES.items()} for _ in range(2))
    return Scores(criterion, safety, utility, {site: safety[site] - utility[site] for site in SITES})


def flat(part) -> list[float]:
    return [float(x) for site in SITES for x in part[site]]


def kinds_of(labels) -> list[str]:
    units = [(site, unit) for site, n in SITES.items() for unit in range(n)]
    return [kind for site, unit in units for kind in UnitKind if labels.mask(kind)[site][unit]]


def stub(found: Scores):
    """A subject of which only the scores are known."""
    return SimpleNamespace(scores=lambda way: found, units=SimpleNamespace(sizes=SITES))


def ranked(found: Scores) -> dict:
    return study.strengths(dict.fromkeys(("SCU", "UCU", "RU"), found))


# -- kinds by thresholds --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_kinds_by_thresholds_are_those_of_a_loop_over_the_units(seed):
    before, after = scores(seed), scores(seed + 100)
    rank = {"SCU": lambda s, u: s - u, "UCU": lambda s, u: u - s, "RU": lambda s, u: -(s + u)}
    pairs = lambda found: list(zip(flat(found.safety), flat(found.utility), strict=True))  # noqa: E731
    least = {kind: sorted((rank[kind](*pair) for pair in pairs(before)), reverse=True)[2] for kind in rank}
    expected = [next((kind for kind in rank if rank[kind](*pair) >= least[kind]), "CU") for pair in pairs(after)]
    found = study.thresholds(ranked(before), SHARES)
    assert found == pytest.approx(least)
    assert kinds_of(study.label_above(ranked(after), found, SITES)) == expected


def test_by_its_own_thresholds_a_model_has_the_same_scu_as_by_shares():
    own = ranked(scores(0))
    labels = study.label_above(own, study.thresholds(own, SHARES), SITES)
    assert labels.mask("SCU") == label_units(scores(0), scu=0.25, ucu=0, ru=0).mask("SCU")


def test_where_all_scores_fall_all_units_become_ru_by_the_thresholds_of_before_but_not_of_after():
    before, after, one = stub(scores(1)), stub(scores(1, scale=0.01)), dict.fromkeys(SHARES, 1 / 12)
    assert study.table(before, after, WAYS["paper"], one, "thresholds").sum().to_dict() == pytest.approx(
        {"SCU": 0, "UCU": 0, "CU": 0, "RU": 100})
    by_after = study.table(before, after, WAYS["paper"], one, "thresholds", reference=after).sum().to_dict()
    assert by_after == pytest.approx({"SCU": 100 / 12, "UCU": 100 / 12, "CU": 75, "RU": 100 / 12})


def test_by_attribution_the_search_s_first_ranking_counts_and_its_scale_does_not():
    found = scores(2, "attribution")
    safety, utility = torch.tensor(flat(found.safety)), torch.tensor(flat(found.utility))
    strength = ranked(found)["SCU"]
    assert strength.argsort().tolist() == (safety / (utility + utility.median())).argsort().tolist()
    assert float(strength.abs().mean()) == pytest.approx(1)
    larger = {site: 7 * part for site, part in found.safety.items()}
    larger = Scores("attribution", larger, found.utility, found.contrast)
    assert torch.allclose(ranked(larger)["SCU"], strength)


def test_by_attribution_a_dead_unit_is_none_that_safety_needs():
    found = scores(2, "attribution")
    is_dead = {site: torch.arange(len(part)) > 0 for site, part in found.safety.items()}
    dead = Scores("attribution", *({site: part.masked_fill(is_dead[site], 0) for site, part in parts.items()}
                                   for parts in (found.safety, found.utility)), found.contrast)
    strength = ranked(dead)["SCU"]
    assert bool(strength.isfinite().all()) and not strength[torch.cat(list(is_dead.values()))].any()


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="rule='share' is unknown: choose one of shares, thresholds"):
        study.table(stub(scores(0)), stub(scores(1)), WAYS["paper"], SHARES, "share")


# -- an organism ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(subject):
    return pandas.DataFrame([row for attack in study.TRAINED.values()
                             for row in study.transfers(0, "tiny", attack, SETS)])


def test_the_halves_share_no_row_and_leave_none_out(subject):
    first, second = study.halves(subject, SETS)
    for name, whole in subject.sets.items():
        a, b = first.sets[name].to_list(), second.sets[name].to_list()
        assert len(a) + len(b) == len(whole) and a == list(whole)[::2] and b == list(whole)[1::2]


def test_moments_are_read_off_the_half(subject):
    first, second = study.halves(subject, SETS)
    both = first.moments("safety", "response") + second.moments("safety", "response")
    whole = subject.moments("safety", "response")
    assert both.count == whole.count > first.moments("safety", "response").count
    assert all(torch.allclose(both.mean[site], whole.mean[site]) for site in whole.mean)


def tables(rows):
    shares = rows[rows.metric == "share"]
    for about, group in shares.groupby(["way", "rule", "change", "held"]):
        yield about, group.pivot(index="before", columns="after", values="value")


def test_every_table_covers_all_units(rows):
    found = dict(tables(rows))
    changes = [("none", "nothing"), *product(("benign", "new"), ("nothing", study.HELD)), ("alignment", "nothing")]
    about = list(product(("chosen", "paper"), study.RULES))
    assert set(found) == {(*way_and_rule, *change) for way_and_rule in about for change in changes}
    assert all(table.to_numpy().sum() == pytest.approx(100) for table in found.values())


def test_the_noise_floor_has_no_direction_and_is_no_identity(rows):
    for (_, rule, change, _), table in tables(rows):
        if (rule, change) == ("shares", "none"):
            assert (table.to_numpy() == pytest.approx(table.to_numpy().T)) and table.to_numpy().trace() < 100


def test_training_moves_units_and_every_model_is_asked(rows):
    found = {about: table.to_numpy() for about, table in tables(rows)}
    for attack in ("benign", "new"):
        assert (found["paper", "shares", attack, "nothing"] != found["paper", "shares", "none", "nothing"]).any()
        assert any((found[*about, attack, "nothing"] != found[*about, attack, study.HELD]).any()
                   for about in product(("chosen", "paper"), study.RULES))
    assert rows[rows.metric == "asr"].groupby(["change", "held"]).size().tolist() == [1] * 5


def test_alignment_is_measured_by_the_thresholds_of_the_aligned_model(subject, rows):
    old, new = study.halves(Subject.load(0, "tiny", "instructed"), SETS), study.halves(subject, SETS)
    crossed = [(old[0], new[1]), (old[1], new[0])]
    by = lambda which: sum(study.table(*pair, WAYS["paper"], SIZES, "thresholds", pair[which])  # noqa: E731
                           for pair in crossed) / 2
    found = dict(tables(rows))["paper", "thresholds", "alignment", "nothing"].loc[KINDS, KINDS].to_numpy()
    assert found == pytest.approx(by(1).to_numpy())
    assert found != pytest.approx(by(0).to_numpy())


def test_the_records_of_all_claims_are_among_the_moves(rows):
    claims = [claim for claim in list_claims() if claim.notebook.startswith("04")]
    needed = {id for claim in claims for id in (claim.record, claim.control) if id}
    found = study.moves(rows)
    assert claims and needed <= set(found.record) and needed <= set(list_records())
    assert not found.duplicated(["record", "seed"]).any()


# -- what the tables say --------------------------------------------------------------------------------

TABLE = {("SCU", "SCU"): 1.0, ("SCU", "CU"): 3.0, ("CU", "CU"): 75.0, ("CU", "SCU"): 1.0, ("CU", "RU"): 5.0,
         ("RU", "RU"): 12.0, ("RU", "CU"): 3.0}  # SCU 4 -> 2, UCU none, CU 81 -> 81, RU 15 -> 17


def long(square=TABLE, **about) -> pandas.DataFrame:
    about = {"way": "chosen", "rule": "shares", "change": "new", "held": "nothing", "seed": 0, "metric": "share",
             "n": 9, "judge": "none", **about}
    return pandas.DataFrame([{**about, "before": old, "after": new, "value": square.get((old, new), 0.0)}
                             for old in KINDS for new in KINDS])


def test_moves_by_hand():
    found = study.moves(long())
    assert found.set_index(["kind", "metric"]).value.to_dict() == pytest.approx({
        ("SCU", "kept"): 25, ("SCU", "to_cu"): 75, ("SCU", "size"): -50, ("CU", "kept"): 100 * 75 / 81,
        ("CU", "to_cu"): 100 * 75 / 81, ("CU", "size"): -100 * 0 / 81, ("RU", "kept"): 80, ("RU", "to_cu"): 20,
        ("RU", "size"): 100 * 2 / 15})


@pytest.mark.parametrize("about, record", [
    ({}, "transfer/new/scu_to_cu"), ({"change": "none"}, "transfer/none/scu_to_cu"),
    ({"held": study.HELD}, "transfer/new_held/scu_to_cu"), ({"way": "paper"}, "transfer_variance/new/scu_to_cu"),
    ({"way": "paper", "rule": "thresholds"}, "transfer_variance_thresholds/new/scu_to_cu")])
def test_each_measurement_has_its_record(about, record):
    assert record in set(study.moves(long(**about)).record)


def test_the_flow_shows_the_size_of_every_kind_on_both_sides():
    figure = transfer.plot_transfer(long())
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["SCU 4.0", "CU 81.0", "RU 15.0", "SCU 2.0", "CU 81.0", "RU 17.0", "before", "after"]  # no UCU


def test_ribbons_fill_each_bar_and_no_more():
    axis = transfer.plot_transfer(long()).axes[0]
    for side, edge in ((0, 0.05), (1, 0.95)):
        height = 0.0
        for ribbon in axis.collections:
            ends = [y for x, y in ribbon.get_paths()[0].vertices if x == pytest.approx(edge)]
            height += max(ends) - min(ends)
        bars = [bar for bar in axis.patches if bar.get_x() + bar.get_width() / 2 == pytest.approx(side)]
        assert height == pytest.approx(100) == sum(abs(bar.get_height()) for bar in bars)


def test_the_figures_can_be_drawn_again(cache):
    for name, plot in (("flows", transfer.plot_transfer), ("table", transfer.plot_transfer_table)):
        draw(name, plot, long()[["seed", "change", "before", "after", "value"]])
    draw("moves", transfer.plot_moves, study.moves(long())[["seed", "change", "kind", "value"]])
    assert redraw_all() == ["flows", "moves", "table"]


def test_the_table_is_in_per_cent_of_the_kind_and_blank_for_a_kind_that_was_not_there():
    texts = [text.get_text() for text in transfer.plot_transfer_table(long()).axes[0].texts]
    assert texts == ["25", "0", "75", "0", "1", "0", "93", "6", "0", "0", "20", "80"]
