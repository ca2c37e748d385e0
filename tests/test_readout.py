"""Probes are linear discriminant analysis, computed again from all states at once; and they find what is there."""

import copy

import numpy
import pytest
import torch
import toys

from ssah_core.models.hidden_states import read_states, render
from ssah_core.probing.linear_probe import Readout, _ClassMoments, fit_readout, linear_probe, signals

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
    x = torch.randn(400, 1, 1, 6, generator=generator, dtype=torch.float64)
    x[y] += 12.0 * torch.tensor([1.0, -1.0, 0, 0, 0, 2.0])
    random = torch.rand(400, generator=generator) < 0.5
    total = _ClassMoments(0, 0, 0)
    total.add(x[:200], torch.ones(200, 1, dtype=torch.bool), torch.stack([y, random])[:, :200])
    told = [((x[200:, 0, 0] @ weight[0, 0] + bias[0, 0] > 0) == labels[200:]).double().mean()
            for (weight, bias), labels in zip((total.fit(task, 0.1) for task in (0, 1)), (y, random), strict=True)]
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


def test_memory_does_not_grow_with_the_rows():
    model, y = toys.model(), torch.tensor(LABELS)
    sizes = []
    for n in (1, 4):
        total = _ClassMoments.collect(model, render(TOKENIZER, ROWS * n, True), (y.repeat(n),), (2,), (0,), 8)
        sizes.append(total.count.numel() + total.sums.numel() + total.second.numel())
    assert sizes[0] == sizes[1]


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


def test_another_file_is_no_readout(tmp_path):
    toys.model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds no read-out"):
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
