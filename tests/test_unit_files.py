"""Masks, labels, moments and scores come back from their files as they were; any other file is refused."""

import json
import random

import pytest
import torch
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ssah_core import Moments, Scores, UnitLabels, UnitMap, UnitMask, label_units
from ssah_core.units import describe, files, read_about

ABOUT = {"model": "a toy", "calibration": "five chats", "criterion": "by hand", "note": "tab\tand “quotes”"}
SIZES = {"attn.10": 3, "mlp.10": 5, "attn.9": 1}
BYTES = torch.tensor([0, 1, 2, 1, 0], dtype=torch.uint8).view(torch.bool)


def numbers(seed=0, sizes=SIZES):
    generator = torch.Generator().manual_seed(seed)
    return {site: torch.randn(size, generator=generator, dtype=torch.float64) for site, size in sizes.items()}


def made(cls):
    scores = Scores("by hand", numbers(1), numbers(2), numbers(3))
    return {UnitMask: UnitMask({site: score > 0 for site, score in numbers().items()}), Scores: scores,
            UnitLabels: label_units(scores, scu=0.2, ucu=0.3, ru=0.2),
            Moments: Moments(7, numbers(4), {site: score.square() for site, score in numbers(5).items()})}[cls]


def flat(thing):
    """All that an object holds, in order."""
    if isinstance(thing, UnitMask):
        return [(site, mask.tolist()) for site, mask in thing.sites.items()]
    if isinstance(thing, UnitLabels):
        return [(str(kind), flat(thing.mask(kind))) for kind in ("SCU", "UCU", "CU", "RU")]
    numbers = lambda part: [(site, x.dtype, x.tolist()) for site, x in part.items()]  # noqa: E731
    return [(name, value if isinstance(value, int | str) else numbers(value)) for name, value in vars(thing).items()]


EVERY = pytest.mark.parametrize("cls", [UnitMask, UnitLabels, Moments, Scores])


@EVERY
def test_an_object_comes_back_with_its_sites_in_order(cls, tmp_path):
    thing, path = made(cls), tmp_path / "thing.safetensors"
    thing.save(path, about=ABOUT)
    assert flat(cls.load(path)) == flat(thing) and list(tmp_path.iterdir()) == [path]
    thing.save(path)  # over the old one, and without a word about it
    assert flat(cls.load(str(path))) == flat(thing)


@EVERY
def test_a_file_tells_what_it_is_of(cls, tmp_path):
    made(cls).save(tmp_path / "thing", about=ABOUT)
    told = read_about(tmp_path / "thing")
    assert told["kind"] == cls.__name__ and told["about"] == ABOUT and told["sizes"] == SIZES
    assert list(told["sizes"]) == list(SIZES) and told["format"] == 1 and told["version"]


def test_a_model_is_described_by_its_name_and_architecture(tmp_path):
    model = toys.model()
    assert describe(model) == {"model": "not stated", "architecture": "LlamaForCausalLM"}
    model.save_pretrained(tmp_path)
    assert describe(type(model).from_pretrained(tmp_path))["model"] == str(tmp_path)


def test_what_is_said_about_an_object_is_text(tmp_path):
    with pytest.raises(ValueError, match="about=.*is not of text: pass strings"):
        made(UnitMask).save(tmp_path / "mask", about={"model": 7})
    assert not list(tmp_path.iterdir())


def test_labels_that_leave_a_unit_out_are_not_saved(tmp_path):
    none = made(UnitMask) & ~made(UnitMask)
    for cu in (made(UnitMask), none):
        with pytest.raises(ValueError, match="no kind or several"):
            UnitLabels({"SCU": none, "UCU": none, "CU": cu, "RU": none}).save(tmp_path / "labels")


@EVERY
def test_an_object_is_not_changed_by_a_file_that_is_overwritten(cls, tmp_path):
    made(cls).save(tmp_path / "thing")
    loaded = cls.load(tmp_path / "thing")
    (tmp_path / "thing").write_bytes(b"\0" * (tmp_path / "thing").stat().st_size)
    assert flat(loaded) == flat(made(cls))


def test_a_mask_of_another_model_is_refused_where_it_is_used(tmp_path):
    made(UnitMask).save(tmp_path / "mask")
    with pytest.raises(ValueError, match="mask does not fit the model"):
        UnitMap(toys.model()).slices(UnitMask.load(tmp_path / "mask"))


# --- files that are refused ---


@EVERY
def test_a_cut_file_is_refused(cls, tmp_path):
    path = tmp_path / "thing"
    made(cls).save(path, about=ABOUT)
    whole = path.read_bytes()
    for length in {*range(0, len(whole), 29), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="^[^\n]{10,400}$"):
            cls.load(path)


@EVERY
def test_a_flipped_bit_is_refused_or_changes_nothing(cls, tmp_path):
    path, draw = tmp_path / "thing", random.Random(0)
    made(cls).save(path, about=ABOUT)
    whole = path.read_bytes()
    for at in draw.sample(range(len(whole)), min(len(whole), 400)):
        changed = bytearray(whole)
        changed[at] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        try:
            assert flat(cls.load(path)) == flat(made(cls)), at
        except ValueError as error:
            assert "\n" not in str(error)


@EVERY
def test_a_file_of_another_kind_is_refused(cls, tmp_path):
    for other in {UnitMask, UnitLabels, Moments, Scores} - {cls}:
        made(other).save(tmp_path / "thing")
        with pytest.raises(ValueError, match=f"holds {other.__name__} and no .*that save of {cls.__name__} wrote"):
            cls.load(tmp_path / "thing")
    save_file({"a": torch.ones(3, dtype=torch.bool)}, tmp_path / "model", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="holds nothing of ssah"):
        cls.load(tmp_path / "model")
    for wrong in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="is no file"):
            cls.load(wrong)


def test_a_mask_file_of_before_is_refused_and_says_how_to_save_anew(tmp_path):
    save_file({"mlp.0": torch.ones(3, dtype=torch.bool)}, tmp_path / "old",
              metadata={"ssah": "UnitMask", "order": '["mlp.0"]'})
    with pytest.raises(ValueError, match="mask file without provenance.*save it with this version, save.path, about="):
        UnitMask.load(tmp_path / "old")


def rewritten(path, tensors=None, **header):
    """The file with other tensors or another header, whose digest is right again."""
    with safe_open(path, framework="pt") as file:
        now = {name: json.loads(text) for name, text in file.metadata().items()} | header
    tensors = load_file(path) | (tensors or {})
    names = [f"{part}/{site}" for part in ("units", "mean", "squares", "safety", "utility", "contrast", "kinds")
             for site in now["sizes"] if f"{part}/{site}" in tensors]
    now["digest"] = files.sealed(now, files.digest({name: tensors[name] for name in names}))
    save_file(tensors, path, metadata={name: json.dumps(value) for name, value in now.items()})


@pytest.mark.parametrize("cls, changes, sentence", [
    (UnitMask, {"format": 2}, "is of format 2 and this version of ssah reads format 1"),
    (UnitMask, {"about": None}, "mask file without provenance"),
    (UnitMask, {"sizes": {**SIZES, "mlp.10": 6}}, "'mlp.10' is torch.bool of shape .5,. where .* of shape .6,. is due"),
    (UnitMask, {"sizes": {"attn.10": 3}}, "tensors are not those of the sites"),
    (UnitMask, {"sizes": {**SIZES, "mlp.11": 1}}, "tensors are not those of the sites"),
    (UnitMask, {"sizes": {"attn.10": -3}}, "sites or facts are missing"),
    (UnitMask, {"tensors": {"units/mlp.10": torch.zeros(5)}}, "'mlp.10' is torch.float32"),
    (UnitMask, {"tensors": {"units/mlp.10": torch.zeros(5, 1, dtype=torch.bool)}}, "of shape .5, 1."),
    (UnitMask, {"tensors": {"units/mlp.10": BYTES}}, "neither true nor|digest"),
    (Scores, {"tensors": {"safety/mlp.10": torch.full((5,), torch.nan).double()}}, "not finite"),
    (Scores, {"facts": {}}, "does not name the criterion"),
    (Moments, {"facts": {"count": 1.5}}, "negative count"),
    (Moments, {"facts": {"count": -1}}, "negative count"),
    (Moments, {"tensors": {"squares/mlp.10": -torch.ones(5).double()}}, "negative count or sum of squares"),
    (UnitLabels, {"tensors": {"kinds/mlp.10": torch.tensor([0, 1, 2, 3, 4]).byte()}}, "does not know"),
    (UnitLabels, {"facts": {"kinds": ["SCU"]}}, "does not know")])
def test_a_file_that_says_other_than_it_holds_is_refused(cls, changes, sentence, tmp_path):
    made(cls).save(tmp_path / "thing")
    rewritten(tmp_path / "thing", **changes)
    with pytest.raises(ValueError, match=sentence):
        cls.load(tmp_path / "thing")


def test_a_rewritten_file_without_a_change_is_read(tmp_path):  # or the test above would prove nothing
    for cls in (UnitMask, UnitLabels, Moments, Scores):
        made(cls).save(tmp_path / "thing")
        rewritten(tmp_path / "thing")
        assert flat(cls.load(tmp_path / "thing")) == flat(made(cls))


def test_a_hostile_header_is_refused(tmp_path):
    for text in ("[" * 100_000, "9" * 10_000, '"\\ud800"', "", "nul"):
        save_file({"a": torch.ones(1)}, tmp_path / "thing", metadata={"kind": '"UnitMask"', "sizes": text})
        for read in (UnitMask.load, read_about):
            if read is UnitMask.load or text[0:1] != '"':
                with pytest.raises(ValueError, match="^[^\n]{10,400}$"):
                    read(tmp_path / "thing")


# --- for all masks, moments and scores ---

sites = st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda name: name.isprintable()), st.integers(1, 9),
                        min_size=1, max_size=4)
few = settings(max_examples=25, deadline=None)


@st.composite
def masks(draw, count=1):
    sizes = draw(sites)
    some = lambda size: torch.tensor(draw(st.lists(st.booleans(), min_size=size, max_size=size)))  # noqa: E731
    return [UnitMask({site: some(size) for site, size in sizes.items()}) for _ in range(count)]


@st.composite
def vectors(draw, count=3, low=-1e300):
    sizes, finite = draw(sites), st.floats(low, 1e300, allow_nan=False)
    return [{site: torch.tensor(draw(st.lists(finite, min_size=size, max_size=size)), dtype=torch.float64)
             for site, size in sizes.items()} for _ in range(count)]


@few
@given(masks(3))
def test_masks_are_an_algebra_of_sets(found):
    a, b, c = found
    assert ~(a | b) == ~a & ~b and a & (b | c) == (a & b) | (a & c) and ~~a == a
    assert (a | b).count + (a & b).count == a.count + b.count and (a & ~a).count == 0 and (a | ~a).fraction == 1


@few
@given(found=masks())
def test_every_mask_comes_back(found, tmp_path_factory):
    path = tmp_path_factory.mktemp("mask") / "mask"
    found[0].save(path, about=ABOUT)
    assert flat(UnitMask.load(path)) == flat(found[0])


@few
@given(found=vectors(), name=st.text(max_size=9), count=st.integers(0, 2**60))
def test_all_scores_and_moments_come_back_bit_for_bit(found, name, count, tmp_path_factory):
    path, squares = tmp_path_factory.mktemp("thing") / "thing", {site: part.abs() for site, part in found[1].items()}
    for thing in (Scores(name, *found), Moments(count, found[0], squares)):
        thing.save(path)
        assert flat(type(thing).load(path)) == flat(thing)


@EVERY
@pytest.mark.parametrize("foreign", [b'{"prompt": "How?"}', b"", b"\x00" * 100, b"not of ssah"])
def test_a_file_of_somebody_else_is_not_overwritten(cls, foreign, tmp_path):
    path = tmp_path / "mine"
    path.write_bytes(foreign)
    with pytest.raises(ValueError, match="mine is there, and no file of ssah.s: give another name"):
        made(cls).save(path, about=ABOUT)
    assert path.read_bytes() == foreign and list(tmp_path.iterdir()) == [path]
