"""Kept scores are those that would be computed, and are computed anew for whatever they hang on."""

from dataclasses import replace

import pytest
import torch

from ssah_core.records import cache
from ssah_core.studies import subject as studied
from ssah_core.studies.score_cache import with_scores
from ssah_core.studies.subject import SEARCHED, WAYS, Subject
from ssah_core.units.attribution import search


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cache.paths, "cache", lambda: tmp_path)
    return tmp_path / "scores"


@pytest.fixture
def counted(monkeypatch):
    calls, compute = [], Subject.compute_scores
    monkeypatch.setattr(Subject, "compute_scores",
                        lambda self, way, rounds: calls.append(way) or compute(self, way, rounds))
    return calls


def all_ways():
    return set(way for ways in WAYS.values() for way in ways.values())


def test_scores_are_kept_once_and_read_back_bit_for_bit(subject, counted):
    plain, kept, again = subject.but(), with_scores(subject.but()), with_scores(subject.but())
    assert sorted(way.label for way in counted) == sorted(way.label for way in all_ways())
    for way in all_ways():
        for other in (kept.scores(way), again.scores(way)):
            assert other.criterion == plain.scores(way).criterion
            for part in ("safety", "utility", "contrast"):
                one, two = getattr(plain.scores(way), part), getattr(other, part)
                assert list(one) == list(two) and all(torch.equal(one[site], two[site]) for site in one)


@pytest.mark.parametrize("first", [0.004, 0.02, 0.035, 0.2])
def test_a_search_that_stops_early_has_the_same_units_first(subject, first):
    assert SEARCHED == search.__kwdefaults__["share"]
    way = WAYS["chosen"]["SCU"]
    whole, early = subject.but(), with_scores(subject.but(), ("chosen",), first)
    for share in (first / 2, first):
        assert early.group("SCU", way, share) == whole.group("SCU", way, share)
    assert all(torch.equal(early.scores(way).safety[site], safety) for site, safety in whole.scores(way).safety.items())


def test_a_search_makes_no_more_rounds_than_it_needs(subject, monkeypatch):
    asked = []
    monkeypatch.setattr(studied, "search", lambda *args, **more: asked.append(more) or search(*args, **more))
    with_scores(subject.but(), ("chosen",), 0.02)
    assert asked == [{"share": pytest.approx(0.02), "rounds": 4}]


def test_the_subject_that_asks_is_not_changed_and_what_is_known_is_not_asked_again(subject, counted):
    plain = subject.but()
    first = with_scores(plain, ("chosen",))
    ways = set(WAYS["chosen"].values())
    assert not any(way in plain.readings for way in ways) and all(way in first.readings for way in ways)
    before = len(counted)
    second = with_scores(first)
    assert all(second.scores(way) is first.scores(way) for way in ways) and before < len(counted) == len(all_ways())


def test_the_share_of_a_whole_search_is_exactly_that_of_search():
    for way in all_ways() | {replace(way, rounds=1) for way in all_ways()}:
        assert SEARCHED * way.rounds / way.rounds == search.__kwdefaults__["share"]


@pytest.mark.parametrize("change", ["weights", "half", "batch size"])
def test_another_model_other_prompts_or_batches_are_computed_anew(subject, counted, change, monkeypatch):
    with_scores(subject.but(), ("chosen",))
    before, other = len(counted), subject.but()
    if change == "weights":
        model = type(subject.model)(subject.model.config)
        model.load_state_dict(subject.model.state_dict())
        with torch.no_grad():
            next(model.parameters()).view(-1)[0] += 1e-3
        other = subject.but(model=model.eval())
    elif change == "half":
        other = subject.but(half=0)
    else:
        monkeypatch.setattr(type(subject.material), "batch_size", 7)
    with_scores(other, ("chosen",))
    assert len(counted) == 2 * before > 0
