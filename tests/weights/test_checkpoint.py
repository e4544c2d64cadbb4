"""Checkpoints: loading, saving, and files that are none or do not fit."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import pickle
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors
import torch
from conftest import assert_one_sentence
from foreign_networks import video_forward, video_state
from told import telling, tells
from torch import nn

from featx import create_model
from featx.clips import ClipSpec
from featx.errors import FeatxError, UsageError
from featx.models import model_entry
from featx.models.registry import skeleton
from featx.synthetic import motion
from featx.transforms import TRAN2017
from featx.weights import manifest
from featx.weights.checkpoint import load_model, save_checkpoint
from featx.weights.manifest import find, path_of

CLIP = ClipSpec(frames=4, step=3, stride=5, tail="pad")
INFO = {
    "name": "mine",
    "source": "a test",
    "licence": "CC0-1.0",
    "metrics": {"top-1": 12.5},
    "labels": ["hop", "skip", "jump"],
}


pytestmark = pytest.mark.usefixtures("cache")


# ---- torchvision's layout; test_state.py has the others


@pytest.fixture(scope="module")
def torchvision_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("torchvision") / "r3d_18.pth"
    torch.save(video_state("r3d_18"), path)
    return path


def small_clips(n: int = 2) -> torch.Tensor:
    return torch.randn(n, 3, 8, 40, 40, generator=torch.Generator().manual_seed(4))


def test_torchvisions_layout_loads_and_agrees(torchvision_file: Path) -> None:
    state = video_state("r3d_18")
    loaded = load_model("r3d_18", torchvision_file)
    assert loaded.model.num_classes == 400
    with torch.no_grad():
        ours, theirs = loaded.model(small_clips()), video_forward(state, small_clips())
    # The same float32 operations in the same order; only the mean of 9 numbers a channel may sum otherwise.
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert theirs.std() > 0.1
    assert loaded.weights_info == {
        "name": "r3d_18.pth",
        "sha256": hashlib.sha256(torchvision_file.read_bytes()).hexdigest(),
        "source": "a file of the user's",
        "licence": None,
        "seed": None,
    }
    assert loaded.transform == model_entry("r3d_18").transform


def test_the_registered_checkpoint_loads_once_fetched(
    torchvision_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(torchvision_file.read_bytes()).hexdigest()
    checkpoint = replace(find("r3d_18-kinetics400"), sha256=digest[:8])
    monkeypatch.setattr(manifest, "list_checkpoints", lambda: [checkpoint])
    remedy = "featx weights fetch r3d_18-kinetics400"
    with pytest.raises(UsageError, match=telling(remedy)):
        load_model("r3d_18", "r3d_18-kinetics400")
    with pytest.raises(UsageError, match=telling("r3d_18", remedy, "random")):
        load_model("r3d_18", None)
    cache.mkdir()
    path_of(checkpoint.name).symlink_to(torchvision_file)
    loaded = load_model("r3d_18", None)
    assert loaded.weights_info == {
        "name": "r3d_18-kinetics400",
        "sha256": digest,
        "source": checkpoint.source,
        "licence": checkpoint.licence,
        "seed": None,
    }
    assert (loaded.transform, loaded.clip) == (checkpoint.transform, checkpoint.clip)
    assert json.loads(json.dumps(loaded.weights_info)) == loaded.weights_info
    with pytest.raises(UsageError, match=telling("r3d_18-kinetics400", "r3d_18", "res3d")):
        load_model("res3d", "r3d_18-kinetics400")
    with pytest.raises(UsageError, match=telling(400, 10)):
        load_model("r3d_18", None, num_classes=10)


def test_torchvisions_file_for_another_model(torchvision_file: Path) -> None:
    with pytest.raises(UsageError, match=telling("r3d_18", "res3d")):
        load_model("res3d", torchvision_file)


# ---- random weights


def test_random_weights_are_explicit_and_repeatable() -> None:
    state = torch.get_rng_state()
    one, two = (
        load_model("res2d", "random", seed=3, num_classes=4),
        load_model("res2d", "random", seed=3, num_classes=4),
    )
    other = load_model("res2d", "random", seed=4, num_classes=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert one.weights_info == {
        "name": "random",
        "sha256": None,
        "source": "untrained",
        "licence": None,
        "seed": 3,
    }
    assert other.weights_info["seed"] == 4
    assert not one.model.training
    assert (one.transform, one.clip) == (TRAN2017, model_entry("res2d").clip)
    name = "fc.weight"
    assert torch.equal(one.model.get_parameter(name), two.model.get_parameter(name))
    assert not torch.equal(one.model.get_parameter(name), other.model.get_parameter(name))


@pytest.mark.parametrize("architecture", ["res3d", "res3d_half"])
def test_the_weights_that_ship_are_a_networks_own(architecture: str) -> None:
    loaded = load_model(architecture, None)
    assert loaded.weights_info["name"] == f"{architecture}-motion"
    assert loaded.labels == motion.CLASSES
    state = loaded.model.state_dict()
    assert all(
        value.dtype is torch.float32 for value in state.values() if value.is_floating_point()
    )
    # It knows what generated motion it sees, from other clips than it was trained on.
    made = motion.clips(
        range(24), seed=9, frames=8, size=56, device=torch.device("cpu"), held_out=True
    )
    with torch.inference_mode():
        found = loaded.model(loaded.transform.normalise(made.frames)).argmax(1)
    # Three quarters are right (docs/weights.md); 24 at the rate of chance would have none or one.
    assert (found == made.labels).sum() >= 12


@pytest.mark.parametrize("architecture", ["res3d", "c3d", "res2d"])
def test_without_weights_the_choices_are_told(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "list_checkpoints", list)
    with pytest.raises(UsageError, match=telling(architecture, "weights", "random")) as caught:
        load_model(architecture, None)
    assert_one_sentence(caught.value)


# ---- our own files


@pytest.fixture(scope="module")
def own_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "mine.safetensors"
    model = create_model("res2d", num_classes=3, seed=1)
    save_checkpoint(
        path,
        model,
        architecture="res2d",
        transform=replace(TRAN2017, crop=96),
        clip=CLIP,
        info=INFO,
    )
    return path


def test_a_saved_model_comes_back_whole(own_file: Path) -> None:
    model = create_model("res2d", num_classes=3, seed=1).eval()
    loaded = load_model("res2d", str(own_file))
    assert [p.name for p in own_file.parent.iterdir()] == ["mine.safetensors"]
    assert loaded.clip == CLIP
    assert loaded.transform == replace(TRAN2017, crop=96)
    assert loaded.labels == ("hop", "skip", "jump")
    digest = hashlib.sha256(own_file.read_bytes()).hexdigest()
    assert loaded.weights_info == {
        "name": "mine",
        "sha256": digest,
        "source": "a test",
        "licence": "CC0-1.0",
        "seed": None,
    }
    wanted, got = model.state_dict(), loaded.model.state_dict()
    assert list(wanted) == list(got)
    assert all(torch.equal(wanted[name], got[name]) for name in wanted)
    assert all(p.requires_grad for p in loaded.model.parameters())
    assert not loaded.model.training


def test_saving_is_atomic_and_checked(own_file: Path, tmp_path: Path) -> None:
    model = create_model("res2d", num_classes=3, seed=1)
    path = tmp_path / "mine.safetensors"
    digest = save_checkpoint(
        path,
        model,
        architecture="res2d",
        transform=replace(TRAN2017, crop=96),
        clip=CLIP,
        info=INFO,
    )
    assert path.read_bytes() == own_file.read_bytes()  # nothing of the time or the place goes in
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()

    def save(to: Path, architecture: str) -> None:
        save_checkpoint(
            to, model, architecture=architecture, transform=TRAN2017, clip=CLIP, info={}
        )

    with pytest.raises(UsageError, match=telling("res3d")):
        save(tmp_path / "a.safetensors", "res3d")
    with pytest.raises(UsageError, match=telling("a.pth", ".safetensors")):
        save(tmp_path / "a.pth", "res2d")
    with pytest.raises(FeatxError, match=telling("nowhere")):
        save(tmp_path / "nowhere" / "a.safetensors", "res2d")
    assert [p.name for p in tmp_path.iterdir()] == ["mine.safetensors"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    model = create_model("res2d", num_classes=3, seed=1)
    with pytest.raises(FeatxError, match=telling(path)):
        save_checkpoint(path, model, architecture="res2d", transform=TRAN2017, clip=CLIP, info={})
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["mine.safetensors"]


def test_a_file_of_another_model_names_both(own_file: Path) -> None:
    with pytest.raises(UsageError, match=telling("res2d", "c3d")):
        load_model("c3d", own_file)
    with pytest.raises(UsageError, match=telling(3, 5)):
        load_model("res2d", own_file, num_classes=5)
    assert load_model("res2d", own_file, num_classes=3).model.num_classes == 3


# ---- files that do not fit or are no checkpoints


def small_state() -> dict[str, torch.Tensor]:
    return {
        name: torch.zeros_like(value, device="cpu")
        for name, value in skeleton("res2d", num_classes=2).state_dict().items()
    }


def test_plain_state_dicts_load(tmp_path: Path) -> None:
    model = create_model("res2d", num_classes=2, seed=5).eval()
    state = model.state_dict()
    half = {
        f"module.{name}": value.half() if value.is_floating_point() else value
        for name, value in state.items()
    }
    without = {
        name: value for name, value in state.items() if not name.endswith("num_batches_tracked")
    }
    for content in (state, {"state_dict": state, "epoch": 3}, {"model": half}, without):
        torch.save(content, tmp_path / "a.pt")
        loaded = load_model("res2d", tmp_path / "a.pt").model
        for name, value in loaded.state_dict().items():
            tolerance = 1e-3 if content.keys() == {"model"} else 0
            assert value.dtype == state[name].dtype
            torch.testing.assert_close(value, state[name], rtol=tolerance, atol=tolerance)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    state = small_state()
    del state["res3a.projection.conv.weight"], state["res3b.conv1.bn.bias"]
    state["extra"] = torch.zeros(1)
    state["res5b.conv2.bn.weight"] = torch.zeros(7)
    torch.save(state, path)
    with pytest.raises(UsageError) as caught:
        load_model("res2d", path)
    assert_one_sentence(caught.value)
    lacking, besides = ("res3a.projection.conv.weight", 1), "extra"
    other = "res5b.conv2.bn.weight", "torch.float32 (7,)", "torch.float32 (512,)"
    assert tells(caught.value, path, "res2d", *lacking, besides, *other)


class Payload:
    """What a hostile pickle holds: unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def damaged(tmp_path: Path, own_file: Path) -> dict[str, bytes]:
    buffer = io.BytesIO()
    torch.save({"conv1.conv.weight": "text"}, buffer)
    names = io.BytesIO()
    torch.save([1, 2, 3], names)
    evil = io.BytesIO()
    torch.save({"a": Payload(tmp_path / "owned")}, evil)
    header = {
        "__metadata__": {"featx": json.dumps({"architecture": "res2d", "clip": {"frames": 0}})}
    }
    whole = own_file.read_bytes()
    described = safetensors.serialize({}, metadata=header["__metadata__"])
    return {
        "empty.pth": b"",
        "text.pth": b"this is no checkpoint",
        "truncated.pth": buffer.getvalue()[:-40],
        "strings.pth": buffer.getvalue(),
        "list.pt": names.getvalue(),
        "hostile.pth": evil.getvalue(),
        "pickled.pt": pickle.dumps(Payload(tmp_path / "owned")),
        "empty.safetensors": b"",
        "text.safetensors": b"this is no checkpoint",
        "truncated.safetensors": whole[: len(whole) // 2],
        "nothing.safetensors": bytes(described),
    }


def test_what_is_no_checkpoint_is_told_in_one_sentence(tmp_path: Path, own_file: Path) -> None:
    for name, content in damaged(tmp_path, own_file).items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(FeatxError, match=telling(name)) as caught:
            load_model("res2d", path)
        assert_one_sentence(caught.value)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "description",
    [
        '{"format": 1, "architecture": "res2d", "info": {}}',
        "[]",
        "{",
        '{"format": 1, "clip": {"frames": 0}, "info": {}}',
        "3",
    ],
)
def test_a_damaged_description(tmp_path: Path, description: str) -> None:
    import safetensors.torch

    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(small_state(), path, {"featx": description})
    with pytest.raises(FeatxError, match=telling(path)) as caught:
        load_model("res2d", path)
    assert_one_sentence(caught.value)


def test_a_description_of_a_later_format(tmp_path: Path) -> None:
    import safetensors.torch

    safetensors.torch.save_file(
        small_state(), tmp_path / "a.safetensors", {"featx": '{"format": 3}'}
    )
    with pytest.raises(FeatxError, match=telling("a.safetensors", 3, 1, 2)):
        load_model("res2d", tmp_path / "a.safetensors")


@pytest.mark.parametrize("part", ["archive/data/0", "archive/more"])
def test_compressed_parts_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    buffer, path = io.BytesIO(), tmp_path / "a.pth"
    torch.save({"fc.weight": torch.zeros(1_000_000)}, buffer)
    with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(path, "w") as packed:
        for name in {*whole.namelist(), part}:
            kind = zipfile.ZIP_DEFLATED if name == part else zipfile.ZIP_STORED
            content = whole.read(name) if name in whole.namelist() else bytes(1000)
            packed.writestr(name, content, compress_type=kind)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it is read"))
    with pytest.raises(FeatxError, match=telling(path, part)) as raised:
        load_model("res3d", path)
    assert_one_sentence(raised.value)


def test_parts_that_claim_more_than_the_file_has_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer, path = io.BytesIO(), tmp_path / "a.pth"
    torch.save({"fc.weight": torch.zeros(3)}, buffer)
    data = bytearray(buffer.getvalue())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 20 : entry + 28] = struct.pack("<II", 1 << 30, 1 << 30)  # its sizes
    path.write_bytes(data)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it is read"))
    with pytest.raises(FeatxError, match=telling(path, len(data))):
        load_model("res3d", path)


def test_one_number_that_stands_for_many_is_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(1).expand(100_000, 100_000)}, tmp_path / "a.pth")
    with pytest.raises(FeatxError, match=telling(tmp_path / "a.pth", "fc.weight", 4 * 10**10)):
        load_model("res3d", tmp_path / "a.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_no_damaged_byte_escapes_as_another_error(tmp_path: Path, suffix: str) -> None:
    import random

    import safetensors.torch

    content = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    whole = (
        buffer.getvalue()
        if suffix == ".pth"
        else safetensors.torch.save(content, {"featx": '{"format": 1}'})
    )
    choice = random.Random(0)
    path = tmp_path / f"a{suffix}"
    for _ in range(150):
        damaged_bytes = bytearray(whole)
        for _ in range(choice.randint(1, 4)):
            damaged_bytes[choice.randrange(len(whole))] = choice.randrange(256)
        path.write_bytes(damaged_bytes[: choice.choice([len(whole), choice.randrange(len(whole))])])
        with pytest.raises(FeatxError):  # what can still be read does not fit the model
            load_model("res2d", path)


def test_safetensors_without_our_description_take_the_models_preprocessing(tmp_path: Path) -> None:
    import safetensors.torch

    safetensors.torch.save_file(small_state(), tmp_path / "a.safetensors")
    loaded = load_model("res2d", tmp_path / "a.safetensors")
    assert loaded.clip == model_entry("res2d").clip
    assert loaded.weights_info["name"] == "a.safetensors"
    assert isinstance(loaded.model, nn.Module)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("missing.pth", ()),
        ("folder.pt", ()),
        ("notes.txt", (".safetensors", ".pth", ".pt")),
        ("randm", ("random",)),
    ],
)
def test_wrong_names(
    tmp_path: Path, given: str, told: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.pt").mkdir()
    Path("notes.txt").write_text("")
    with pytest.raises(UsageError, match=telling(given, *told)) as caught:
        load_model("res2d", given)
    assert_one_sentence(caught.value)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"a": torch.zeros(3, 3).to_sparse()}, ("a", "torch.sparse_coo")),
        ({"a": torch.zeros(3, device="meta")}, ("a", "meta")),
        ({"a": torch.zeros(3), "module.a": torch.ones(3)}, ("module.",)),
    ],
)
def test_tensors_that_are_no_numbers_are_refused(
    tmp_path: Path, state: dict[str, torch.Tensor], told: tuple[str, ...]
) -> None:
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(FeatxError, match=telling("odd.pth", *told)):
        load_model("res3d", tmp_path / "odd.pth")


def flipped(data: bytes) -> bytes:
    """One bit flipped in the middle, which is a tensor's."""
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


def test_one_bit_flipped_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    torch.save(small_state(), file)
    load_model("res2d", file)
    file.write_bytes(flipped(file.read_bytes()))
    with pytest.raises(FeatxError, match=telling(file)):
        load_model("res2d", file)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = small_state()
    state["res3b.conv1.bn.running_mean"][5] = torch.nan
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(UsageError, match=telling("a.pth", "res3b.conv1.bn.running_mean")):
        load_model("res2d", tmp_path / "a.pth")


def test_an_object_in_the_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    torch.save({"state_dict": small_state(), "args": argparse.Namespace(lr=1)}, tmp_path / "a.pth")
    with pytest.raises(FeatxError, match=telling("a.pth", "argparse.Namespace")):
        load_model("res2d", tmp_path / "a.pth")
    (tmp_path / "empty.pth").write_bytes(b"")
    with pytest.raises(FeatxError, match=telling("empty.pth")):
        load_model("res2d", tmp_path / "empty.pth")
