"""Probes are linear discriminant analysis, computed again from all states at once; and they find what is there."""

import copy
import importlib
from pathlib import Path

import numpy
import pytest
import torch
import toys
from threadpoolctl import threadpool_limits

from ssah_core.models.hidden_states import read_states, render, stream
from ssah_core.probing.discriminant import discriminant
from ssah_core.probing.linear_probe import Readout, fit_readout, linear_probe, signals

probes = importlib.import_module("ssah_core.probing.linear_probe")  # the room's name of it is the function
TOKENIZER = toys.tokenizer()
NOUNS, VERBS = ("lantern", "kettle", "basket"), ("polish", "mend", "lift", "take", "sweep", "brush")
ROWS = [{"prompt": f"how do i {verb} the {noun} {end}", "response": "one two" if noun == "kettle" else "one two three"}
        for verb in VERBS for noun in NOUNS for end in ("?", "now ?")]
LABELS = [row["prompt"].split()[3] in VERBS[:3] for row in ROWS]
TRAIN, TEST = slice(0, None, 2), slice(1, None, 2)
POSITIONS = (-2, 0, 1, 4)


def probe(model, labels=LABELS, **more):
    settings = {"positions": POSITIONS, "batch_size": 5, **more}
    return linear_probe(model, TOKENIZER, ROWS[TRAIN], labels[TRAIN], test=ROWS[TEST], test_labels=labels[TEST],
                        **settings)


def lda(x: numpy.ndarray, y: numpy.ndarray, ridge: float) -> tuple[numpy.ndarray, float]:
    """Weight and bias from all states [row, hidden] of two classes."""
    means = [x[y == c].mean(0) for c in (0, 1)]
    centred = numpy.concatenate([x[y == c] - means[c] for c in (0, 1)])
    covariance = centred.T @ centred / (len(x) - 2)
    sd = numpy.sqrt(numpy.diag(covariance))
    shrunk = (1 - ridge) * covariance / numpy.outer(sd, sd) + ridge * numpy.eye(len(sd))
    weight = numpy.linalg.inv(shrunk) @ ((means[1] - means[0]) / sd) / sd
    return weight, -weight @ (means[0] + means[1]) / 2


def test_a_probe_is_linear_discriminant_analysis():
    model = toys.model()
    found = probe(model, ridge=0.3)
    x, there = read_states(model, render(TOKENIZER, ROWS[TRAIN], True), POSITIONS)
    z, held = read_states(model, render(TOKENIZER, ROWS[TEST], True), POSITIONS)
    y, truth = numpy.array(LABELS[TRAIN]), numpy.array(LABELS[TEST])
    assert not held[:, -1].all()
    for layer in (1, 2):
        for at in range(len(POSITIONS)):
            weight, bias = lda(x[there[:, at], layer, at].numpy(), y[there[:, at]], 0.3)
            numpy.testing.assert_allclose(found.weight[layer, at], weight, rtol=1e-6, atol=1e-8)
            numpy.testing.assert_allclose(found.bias[layer, at], bias, rtol=1e-6)
            told = (z[held[:, at], layer, at].numpy() @ weight + bias > 0) == truth[held[:, at]]
            wanted = numpy.mean([told[truth[held[:, at]] == c].mean() for c in (False, True)])
            assert found.accuracy[layer, at] == pytest.approx(wanted)


def test_a_class_that_is_there_is_told_and_random_labels_are_not():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(400) % 2 == 1
    x = torch.randn(400, 6, generator=generator, dtype=torch.float64)
    x[y] += 12.0 * torch.tensor([1.0, -1.0, 0, 0, 0, 2.0])
    random = torch.rand(400, generator=generator) < 0.5
    told = []
    for labels in (y, random):
        weight, bias = discriminant(x[:200], labels[:200], 0.1)
        told.append(((x[200:] @ weight + bias > 0) == labels[200:]).double().mean())
    assert told[0] == 1.0 and 0.4 < told[1] < 0.6


def test_the_decisive_word_is_read_where_it_stands():
    """The verb is four tokens before the last in half of the prompts, and five in the others."""
    model = toys.model()
    short = [n for n, row in enumerate(ROWS) if not row["prompt"].endswith("now ?")]
    rows, labels = [ROWS[n] for n in short], [LABELS[n] for n in short]
    found = linear_probe(model, TOKENIZER, rows, labels, test=rows, test_labels=labels, positions=(-4, -3), layers=(0,))
    assert found.accuracy.tolist() == [[1.0, 0.5]]  # and the next word says nothing


def test_the_control_task_can_be_memorised_by_type_and_by_nothing_else():
    model = toys.model()
    rows = [row for row in ROWS if not row["prompt"].endswith("now ?")]
    labels = [row["prompt"].split()[3] in VERBS[:3] for row in rows]
    settings = dict(test=rows, test_labels=labels, positions=(-4,), layers=(0,))
    typed = linear_probe(model, TOKENIZER, rows, labels, types=lambda row: row["prompt"].split()[3], **settings)
    blind = linear_probe(model, TOKENIZER, rows, labels, types=lambda row: row["prompt"].split()[5], **settings)
    assert typed.control.item() == 1.0 and typed.selectivity.item() == 0.0  # one verb, one label, drawn or not
    assert blind.control.item() == pytest.approx(0.5)  # the noun is not told by the verb


def test_the_control_follows_its_seed():
    model = toys.model()
    controls = [probe(model, seed=seed).control for seed in (0, 0, 1)]
    assert torch.equal(controls[0].nan_to_num(), controls[1].nan_to_num())
    assert not torch.equal(controls[0].nan_to_num(), controls[2].nan_to_num())


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_nothing_depends_on_the_batch_size(family):
    model = toys.model(family)
    a, b = (probe(model, batch_size=size) for size in (1, 64))
    torch.testing.assert_close(a.weight[1:], b.weight[1:], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(a.accuracy, b.accuracy)


def test_layers_are_read_together_where_there_is_room_and_nothing_depends_on_it(monkeypatch):
    model, read = toys.model(), []
    monkeypatch.setattr(probes, "stream", lambda model, chats, positions, layers, size: read.append(tuple(layers)) or
                        stream(model, chats, positions, layers, size))
    together = probe(model)
    size = len(ROWS[TRAIN]) * len(POSITIONS) * 16 * 8
    monkeypatch.setattr(probes, "ROOM", 2 * size)
    in_twos = probe(model)
    monkeypatch.setattr(probes, "ROOM", size - 1)
    alone = probe(model)
    assert read == [(0, 1, 2), (0, 1, 2), (0, 1), (2,), (0, 1, 2), (0,), (1,), (2,), (0, 1, 2)]  # each, then the test
    for other in (in_twos, alone):
        assert torch.equal(other.weight.nan_to_num(), together.weight.nan_to_num())
        assert torch.equal(other.accuracy.nan_to_num(), together.accuracy.nan_to_num())


# --- the discriminant ---


def drawn(n: int, hidden: int) -> tuple[torch.Tensor, torch.Tensor]:
    """States far from zero with correlated channels of unlike size, and classes of unlike size that differ."""
    generator = torch.Generator().manual_seed(n + hidden)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    y = torch.arange(n) < n // 3
    x = draw(n, hidden) @ draw(hidden, hidden) * draw(hidden).exp() + 5
    x[y] += draw(hidden)
    return x, y


@pytest.mark.parametrize("n, hidden", [(400, 6), (30, 20), (12, 40)])
@pytest.mark.parametrize("ridge", [0.01, 0.3, 1.0])
def test_a_discriminant_is_its_closed_form_with_fewer_rows_than_channels_too(n, hidden, ridge):
    x, y = drawn(n, hidden)
    weight, bias = discriminant(x, y, ridge)
    wanted, middle = lda(x.numpy(), y.numpy(), ridge)
    numpy.testing.assert_allclose(weight, wanted, rtol=1e-9, atol=1e-9 * abs(wanted).max())
    assert bias == pytest.approx(middle, rel=1e-9)


def test_a_channel_that_is_constant_within_each_class_tells_them_and_one_that_is_constant_in_both_says_nothing():
    x, y = drawn(30, 6)
    x[:, 4], x[:, 5] = y.double() / 3, 0.1
    weight, bias = discriminant(x, y, 0.1)
    signal = x @ weight + bias
    assert torch.equal(signal > 0, y) and signal.isfinite().all()
    moved = x.clone()
    moved[:, 4] = 1 / 3 - moved[:, 4]
    assert torch.equal(moved @ weight + bias > 0, ~y)  # it outweighs all others
    other, _ = discriminant(x[:, :5], y, 0.1)
    torch.testing.assert_close(weight[:4], other[:4], rtol=1e-6, atol=0)


def test_what_is_the_same_for_all_has_no_signal():
    weight, bias = discriminant(torch.full((8, 3), 0.1, dtype=torch.float64), torch.arange(8) < 3, 0.1)
    assert abs(float(weight.sum() * 0.1 + bias)) < 1e-9
    assert discriminant(torch.zeros(8, 3, dtype=torch.float64), torch.arange(8) < 3, 0.1)[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("labels", [[False, True], [True, True], []])
def test_two_tokens_are_enough_and_one_class_is_not(labels):
    x = torch.tensor([[0.0, 1.0], [2.0, 1.0]], dtype=torch.float64)[:len(labels)]
    weight, bias = discriminant(x, torch.tensor(labels, dtype=torch.bool), 0.1)
    assert weight.isnan().all() == (len(set(labels)) < 2)
    assert len(set(labels)) < 2 or (x @ weight + bias > 0).tolist() == labels


@pytest.mark.parametrize("n, hidden", [(3000, 96), (150, 400)])
def test_threads_change_no_bit(n, hidden):
    x, y = drawn(n, hidden)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            found.append(discriminant(x, y, 0.1))
    assert torch.equal(found[0][0], found[1][0]) and found[0][1] == found[1][1]


# --- what has no probe ---


def test_a_position_that_a_class_lacks_has_no_number():
    rows = [{**row, "response": "one" if label else "one two three"} for row, label in zip(ROWS, LABELS, strict=True)]
    found = linear_probe(toys.model(), TOKENIZER, rows, LABELS, test=rows, test_labels=LABELS, positions=(1, 4),
                         layers=(2,))
    assert found.accuracy.isnan().tolist() == [[False, True]]
    with pytest.raises(ValueError, match="layer 2 at position 4 has no probe"):
        found.readout(2, 4)
    with pytest.raises(ValueError, match="layer 1 at position 1 has no probe"):
        found.readout(1, 1)


def test_a_readout_over_positions_takes_every_token_as_a_row():
    model, positions = toys.model(), (0, 1, 4)
    readout = fit_readout(model, TOKENIZER, ROWS, LABELS, layer=1, positions=positions, batch_size=5)
    x, there = read_states(model, render(TOKENIZER, ROWS, True), positions, (1,))
    y = numpy.array(LABELS)[:, None].repeat(3, 1)
    weight, bias = lda(x[:, 0][there].numpy(), y[there.numpy()], 0.1)
    numpy.testing.assert_allclose(readout.weight, weight, rtol=1e-6, atol=1e-8)
    assert readout.bias == pytest.approx(bias)
    signal = signals(model, TOKENIZER, readout, ROWS, positions, batch_size=7)
    assert torch.equal(signal.isnan(), ~there)
    torch.testing.assert_close(signal[there], x[:, 0][there] @ readout.weight + readout.bias)


def test_a_readout_is_kept_on_disk(tmp_path):
    readout = Readout(3, torch.randn(5, dtype=torch.float64), -0.25)
    readout.save(tmp_path / "direction.safetensors")
    again = Readout.load(tmp_path / "direction.safetensors")
    assert (again.layer, again.bias) == (3, -0.25) and torch.equal(again.weight, readout.weight)


def test_a_readout_whose_writing_is_stopped_leaves_the_one_that_is_there(tmp_path, monkeypatch):
    file, ones = tmp_path / "direction.safetensors", torch.ones(5, dtype=torch.float64)
    Readout(3, ones, -0.25).save(file)

    def stops(self, content):
        with self.open("wb") as begun:
            begun.write(content[:9])
        raise KeyboardInterrupt
    monkeypatch.setattr(Path, "write_bytes", stops)
    with pytest.raises(KeyboardInterrupt):
        Readout(4, ones, 0.5).save(file)
    assert Readout.load(file).layer == 3 and list(tmp_path.iterdir()) == [file]


def test_another_file_is_no_readout(tmp_path):
    toys.model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds no (whole )?read-out"):
        Readout.load(tmp_path / "model.safetensors")


@pytest.mark.parametrize("rows, labels, message", [
    (ROWS, [True] * len(ROWS), "rows holds one class alone"), ([], [], "rows is empty"),
    (ROWS, LABELS[1:], "36 rows but 35 labels"),
    ([{"prompt": "how ?"}, {"prompt": "lift"}], [True, False], "a row has no response")])
def test_rows_that_teach_nothing_are_refused(rows, labels, message):
    with pytest.raises(ValueError, match=message):
        fit_readout(toys.model(), TOKENIZER, rows, labels, layer=1)


def test_a_test_of_one_class_and_a_missing_chat_template_are_refused():
    with pytest.raises(ValueError, match="test holds one class alone"):
        linear_probe(toys.model(), TOKENIZER, ROWS, LABELS, test=ROWS[:2], test_labels=[True, True])
    plain = copy.deepcopy(TOKENIZER)
    plain.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        fit_readout(toys.model(), plain, ROWS, LABELS, layer=1)
