"""Organisms and variants are measured beside each other, once, and give what one process gives."""

import pandas
import pytest

from ssah_core import measure_each
from ssah_core.studies import stages


@pytest.fixture
def two(monkeypatch):
    monkeypatch.setenv("SSAH_WORKERS", "2")


def rows(seeds, **more) -> pandas.DataFrame:
    return measure_each("losses", stages.losses, seeds, "tiny", **more)


def test_two_processes_measure_what_one_does_in_the_order_of_the_seeds(cache, two, monkeypatch):
    beside = rows([1, 0])
    assert list(dict.fromkeys(beside.seed)) == [1, 0]
    monkeypatch.setenv("SSAH_CACHE", str(cache / "other"))
    monkeypatch.setenv("SSAH_RECORDS", "ignore")
    monkeypatch.setenv("SSAH_WORKERS", "1")
    pandas.testing.assert_frame_equal(rows([1, 0]), beside)


def test_what_is_measured_is_not_measured_again(cache, two, monkeypatch):
    first = rows([0])
    monkeypatch.setattr(stages, "losses", None)  # would fail, here and in a worker
    pandas.testing.assert_frame_equal(measure_each("losses", _losses_of_the_past(), [0], "tiny"), first)


def _losses_of_the_past():
    def losses(seed, scale):
        raise AssertionError("measured again")

    losses.__module__ = stages.__name__
    return losses


def test_variants_are_studies_of_their_own(cache, monkeypatch):
    monkeypatch.setenv("SSAH_WORKERS", "1")  # a worker would look for the function in its module
    found = measure_each("dose", _doubled, [0, 1], "tiny", over={"a": {"factor": 1}, "b": {"factor": 2}}, each={1: {"more": 5}})
    assert found.value.tolist() == [0, 6, 0, 7]
    assert sorted(str(file.relative_to(cache.parent / "figures")) for file in (cache.parent / "figures").rglob("*.json")) == [
        f"measurements/dose/{name}/tiny-seed{seed}.json" for name in "ab" for seed in (0, 1)]


def _doubled(seed, scale, factor, more=0):
    return [{"metric": "x", "value": seed * factor + more, "seed": seed}]


_doubled.__module__ = stages.__name__  # a study's code version is that of its module


@pytest.mark.parametrize("workers, beside", [("", []), ("2", [2])])
def test_checkpoints_are_measured_one_after_another_unless_asked_otherwise(cache, monkeypatch, workers, beside):
    monkeypatch.setenv("SSAH_WORKERS", workers)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("ssah_core.records.cache.code_version", lambda module: module)
    started = []
    monkeypatch.setattr("ssah_core.records.measurements.map_runs", lambda function, runs, *_, **more: started.append(len(runs)))
    found = measure_each("dose", _named, [0, 1], "paper", checkpoints={"aligned": "some/model"})
    assert found.model.tolist() == ["some/model"] * 2 and started == beside


def _named(seed, scale, checkpoints=None):
    return [{"metric": "x", "value": seed, "model": checkpoints["aligned"]}]


def test_an_error_in_a_worker_is_the_callers(cache, two):
    with pytest.raises(ValueError, match="scale='small' has no organism|scale is 'small'"):
        measure_each("losses", stages.losses, [0, 1], "small")
