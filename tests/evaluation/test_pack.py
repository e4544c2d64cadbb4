"""Checkpoints stored smaller: the arithmetic, what it does to features, files that are wrong, and those that ship."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from conftest import encode
from tiny import ENTRY, NAME
from told import telling, tells

from featx import FeatureStore, create_model, extract
from featx.cli import cli
from featx.errors import FeatxError, UsageError
from featx.evaluation.pack import cosines, pack
from featx.extraction.settings import compose
from featx.weights import manifest
from featx.weights import quantize as storage
from featx.weights.checkpoint import load_model, save_checkpoint
from featx.weights.description import describe, in_words
from featx.weights.manifest import Checkpoint, row_text
from featx.weights.quantize import packed, unpacked
from featx.weights.statefile import read_state

INFO = {
    "name": "motions",
    "source": "a test's",
    "licence": "CC0-1.0",
    "labels": ["a", "b", "c"],
    "metrics": {"top1": 0.5},
    "trained_on": {"dataset": "generated", "clips": 1000, "generator": 1},
    "training": {"recipe": "none", "seed": 4, "updates": 10},
}


@pytest.fixture(scope="module", autouse=True)
def _stored_as_large(tiny_network: None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # All kernels here are small ones: they are stored as a trained network's large ones are.
        patch.setattr(storage, "_FEW", 0)
        yield


@pytest.fixture(scope="module")
def original(_stored_as_large: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "best.safetensors"
    model = create_model(NAME, num_classes=3, seed=4)
    save_checkpoint(
        path, model, architecture=NAME, transform=ENTRY.transform, clip=ENTRY.clip, info=INFO
    )
    return path


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    for i, frames in enumerate((17, 26)):
        encode(folder / f"v{i}.mp4", frames, seed=i)
    return folder


@pytest.fixture(scope="module")
def small(original: Path, two: Path) -> Path:
    path = original.parent / "small.safetensors"
    pack(original, path, [two], name="motions-small")
    return path


def save(path: Path, storage: Any, model: Any, info: dict[str, Any] = INFO) -> str:
    return save_checkpoint(
        path,
        model,
        architecture=NAME,
        transform=ENTRY.transform,
        clip=ENTRY.clip,
        info=info,
        storage=storage,
    )


# ---- the arithmetic


def some_state() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    kernel = (
        torch.randn(6, 5, 3, 3, 3, generator=draw)
        * torch.logspace(-6, 3, 6)[:, None, None, None, None]
    )
    kernel[2] = 0
    return {
        "conv.weight": kernel,
        "fc.weight": torch.randn(4, 7, generator=draw),
        "fc.bias": torch.randn(4, generator=draw),
        "bn.num_batches_tracked": torch.tensor(7),
    }


def test_small_kernels_of_an_int8_file_are_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    state = some_state()
    monkeypatch.setattr(storage, "_FEW", state["conv.weight"].numel())
    stored = packed(state, "int8")
    assert stored["conv.weight"].dtype is torch.int8
    assert stored["fc.weight"].dtype is torch.float16
    back = unpacked(stored, "int8")
    assert {value.dtype for name, value in back.items() if name.endswith("weight")} == {
        torch.float32
    }
    torch.testing.assert_close(back["fc.weight"], state["fc.weight"], rtol=2**-11, atol=0)


def test_int8_is_off_by_half_a_step_of_its_channel_at_most() -> None:
    state = some_state()
    stored = packed(state, "int8")
    assert {name: value.dtype for name, value in stored.items()} == {
        "conv.weight": torch.int8,
        "conv.weight.scale": torch.float32,
        "fc.weight": torch.int8,
        "fc.weight.scale": torch.float32,
        "fc.bias": torch.float32,
        "bn.num_batches_tracked": torch.int64,
    }
    back = unpacked(stored, "int8")
    assert list(back) == list(state)
    for name in ("conv.weight", "fc.weight"):
        largest = state[name].abs().flatten(1).amax(1)
        assert torch.equal(stored[name].abs().flatten(1).amax(1) == 127, largest > 0)
        off = (back[name] - state[name]).abs().flatten(1).amax(1)
        # Half of a 127th, and float32's own rounding of the division and the product.
        assert (off <= largest * (0.5 / 127) * (1 + 1e-4)).all()
        assert (off > 0).any()
    assert not back["conv.weight"][2].any()
    for name in ("fc.bias", "bn.num_batches_tracked"):
        assert torch.equal(back[name], state[name])


def test_float16_rounds_once() -> None:
    state = some_state()
    back = unpacked(packed(state, "float16"), "float16")
    assert all(back[name].dtype is value.dtype for name, value in state.items())
    assert torch.equal(back["fc.weight"], state["fc.weight"].half().float())
    assert torch.equal(back["fc.bias"], state["fc.bias"])


def test_what_float16_cannot_hold_is_refused() -> None:
    with pytest.raises(FeatxError, match=telling("fc.weight", 100000, "float16", "int8")):
        packed({"fc.weight": torch.full((2, 2), 1e5)}, "float16")


def test_cosines_of_rows_with_nothing_in_them() -> None:
    one = np.asarray([[3, 4], [0, 0], [0, 0], [1, 0]], np.float32)
    other = np.asarray([[6, 8], [0, 0], [0, 1], [0, 1]], np.float32)
    assert cosines(one, other).tolist() == [1.0, 1.0, 0.0, 0.0]


# ---- files


@pytest.mark.parametrize(("storage", "share"), [("int8", 0.4), ("float16", 0.6)])
def test_a_packed_file_loads_as_float32(
    original: Path, tmp_path: Path, storage: Any, share: float
) -> None:
    model = load_model(NAME, original).model
    digest = save(tmp_path / "a.safetensors", storage, model)
    assert digest == save(tmp_path / "b.safetensors", storage, model)
    loaded = load_model(NAME, tmp_path / "a.safetensors")
    wanted = unpacked(packed(model.state_dict(), storage), storage)
    got = loaded.model.state_dict()
    assert list(got) == list(model.state_dict())
    assert all(torch.equal(got[name], value) for name, value in wanted.items())
    assert all(p.dtype is torch.float32 and p.requires_grad for p in loaded.model.parameters())
    assert loaded.weights_info["sha256"] == digest
    # This network has many numbers that are not a kernel's; a res3d comes to 0.25 and 0.5.
    assert (tmp_path / "a.safetensors").stat().st_size < share * original.stat().st_size
    # A featx that does not know packed files says so, and does not take int8 tensors for another network's.
    assert read_state(tmp_path / "a.safetensors").described["format"] == 2
    assert read_state(original).described["format"] == 1


def test_packing_again_what_was_loaded_changes_nothing(small: Path) -> None:
    state = load_model(NAME, small).model.state_dict()
    again = unpacked(packed(state, "int8"), "int8")
    # A channel's largest is 127 steps again; the step may come out in another last bit.
    assert all(
        torch.allclose(again[name], value, rtol=1e-6, atol=0) for name, value in state.items()
    )


def rewritten(small: Path, path: Path, change: Any, **description: Any) -> Path:
    """Write a packed file again with its tensors and its description changed."""
    data = small.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    told = json.loads(header["__metadata__"]["featx"]) | description
    state = safetensors.torch.load(data)
    change(state)
    safetensors.torch.save_file(state, path, {"featx": json.dumps(told)})
    return path


KERNEL = "conv1.conv.weight"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop(f"{KERNEL}.scale"), ("int8",)),
        (lambda s: s.pop(KERNEL), (f"{KERNEL}.scale", "int8")),
        (
            lambda s: s.update({f"{KERNEL}.scale": torch.ones(3)}),
            (f"{KERNEL}.scale", "float32", "(3,)", "(5, 3, "),
        ),
        (lambda s: s[f"{KERNEL}.scale"].fill_(torch.nan), (f"{KERNEL}.scale",)),
        (lambda s: s[f"{KERNEL}.scale"].mul_(-1), (f"{KERNEL}.scale",)),
        (
            lambda s: s.update({f"{KERNEL}.scale": s[f"{KERNEL}.scale"].half()}),
            (f"{KERNEL}.scale", "float16", "float32"),
        ),
        (lambda s: s.update({KERNEL: s[KERNEL].float()}), (f"{KERNEL}.scale", "int8")),
        (lambda s: s.update({KERNEL: s[KERNEL][:, :2].contiguous()}), (NAME,)),
    ],
)
def test_an_inconsistent_file_is_one_sentence(
    small: Path, tmp_path: Path, change: Any, told: tuple[str, ...]
) -> None:
    path = rewritten(small, tmp_path / "odd.safetensors", change)
    with pytest.raises(FeatxError, match=telling(path, KERNEL, *told)) as caught:
        load_model(NAME, path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("storage", ["int4", None, 8, ["int8"]])
def test_an_unknown_storage_is_named(small: Path, tmp_path: Path, storage: Any) -> None:
    path = rewritten(small, tmp_path / "new.safetensors", lambda s: None, storage=storage)
    with pytest.raises(FeatxError, match=telling(path, storage, "float32", "float16", "int8")):
        load_model(NAME, path)


@pytest.mark.parametrize(
    "info", [{"trained_on": "ucf101"}, {"metrics": [1]}, {"name": 3}, {"labels": 3}]
)
def test_info_of_another_kind_is_a_damaged_description(
    small: Path, tmp_path: Path, info: dict[str, Any]
) -> None:
    path = rewritten(small, tmp_path / "odd.safetensors", lambda s: None, info={**INFO, **info})
    with pytest.raises(FeatxError, match=telling(path, *info)):
        load_model(NAME, path)


# ---- measured on videos


def rows_of(weights: Path, videos: Path, out: Path) -> dict[str, np.ndarray]:
    extract(
        [videos],
        out,
        settings=compose(
            model=NAME, weights=str(weights), precision="float32", device="cpu", workers=1
        ),
    )
    with FeatureStore(out) as store:
        return {
            layer: np.concatenate([video[layer] for video in store.values()]).astype(np.float64)
            for layer in store.layers
        }


def test_what_is_measured_is_what_extraction_gives(
    original: Path, small: Path, two: Path, tmp_path: Path
) -> None:
    before, after = (rows_of(path, two, tmp_path / f"{path.stem}.h5") for path in (original, small))
    measured = describe(small).metrics["packed"]
    assert (measured["storage"], measured["videos"]) == ("int8", 2)
    assert list(measured["cosine"]) == sorted(before) == ["pool5", "prob", "res5a"]
    for layer, found in measured["cosine"].items():
        a, b = before[layer], after[layer]
        assert len(a) == measured["clips"] == 5
        expected = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        # The same float32 rows: what differs is the order of float64 sums.
        assert found["least"] == pytest.approx(expected.min(), abs=1e-9)
        assert found["mean"] == pytest.approx(expected.mean(), abs=1e-9)
    assert 0.999 <= measured["cosine"]["res5a"]["least"] < 1


def test_the_file_says_what_the_original_said_and_what_it_was_made_of(
    original: Path, small: Path
) -> None:
    made, before = describe(small), describe(original)
    kept = (
        "architecture",
        "num_classes",
        "transform",
        "clip",
        "licence",
        "trained_on",
        "training",
        "labels",
    )
    assert all(getattr(made, name) == getattr(before, name) for name in kept)
    assert made.name == "motions-small"
    assert tells(made.source, "a test's", "int8", "best.safetensors", before.sha256)
    assert made.metrics["top1"] == 0.5


def test_features_too_far_off_leave_everything_as_it_was(
    original: Path, two: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"old")
    with pytest.raises(FeatxError, match=telling(out, "int8", 5, 1, "float16")):
        pack(original, out, [two], least=1.0)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(FeatxError, match=telling("bad.mp4")):
        pack(original, out, [two, tmp_path / "bad.mp4"])
    assert out.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.mp4", "out.safetensors"]


def test_without_a_classifier_the_other_layers_are_compared(two: Path, tmp_path: Path) -> None:
    model = create_model(NAME, seed=1)
    model.has_classifier = False
    save(tmp_path / "bare.safetensors", "float32", model, {"source": None})
    made = pack(
        tmp_path / "bare.safetensors", tmp_path / "new" / "half.safetensors", [two], to="float16"
    )
    assert sorted(made.layers) == ["pool5", "res5a"]
    assert made.layers["res5a"].least > 0.999999  # 11 bits
    found = describe(made.path)
    assert (found.name, found.num_classes) == ("bare (float16)", None)
    assert not load_model(NAME, made.path).model.has_classifier


@pytest.mark.parametrize(
    ("given", "out", "how", "told"),
    [
        ("best.safetensors", "best.safetensors", {}, ("best.safetensors",)),
        ("best.safetensors", "a.pth", {}, ("a.pth", ".safetensors")),
        ("best.safetensors", ".", {}, (".safetensors",)),
        ("best.safetensors", "a.safetensors", {"to": "int4"}, ("'int4'", "int8", "float16")),
        ("best.safetensors", "a.safetensors", {"to": "float32"}, ("'float32'", "int8", "float16")),
        ("best.safetensors", "a.safetensors", {"least": 1.5}, ("least", 1.5)),
        ("small.safetensors", "a.safetensors", {}, ("small.safetensors", "int8")),
        ("best.pth", "a.safetensors", {}, ("best.pth", ".safetensors")),
        ("none.safetensors", "a.safetensors", {}, ("none.safetensors",)),
        ("bare.safetensors", "a.safetensors", {}, ("bare.safetensors",)),
    ],
)
def test_what_cannot_be_packed(
    original: Path,
    small: Path,
    two: Path,
    given: str,
    out: str,
    how: dict[str, Any],
    told: tuple[object, ...],
) -> None:
    safetensors.torch.save_file({"a": torch.zeros(1)}, original.parent / "bare.safetensors")
    before = original.read_bytes()
    with pytest.raises(UsageError, match=telling(*told)):
        pack(original.parent / given, original.parent / out, [two], **how)
    assert original.read_bytes() == before
    assert not (original.parent / "a.safetensors").exists()


# ---- those that ship


@pytest.fixture
def shipped(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """Register the small file as one that ships, after one of the same model that is to be fetched."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / small.name).write_bytes(small.read_bytes())
    row = describe(small)
    fetched = replace(
        row, name="motions-real", file=None, url="http://127.0.0.1:9/real.safetensors"
    )
    (tmp_path / "weights" / "manifest.json").write_text(
        f'{{"format": 1, "checkpoints": [{row_text(fetched)}, {row_text(row)}]}}', encoding="utf-8"
    )
    monkeypatch.setattr(manifest, "_shipped", lambda file: tmp_path / "weights" / file)
    monkeypatch.setenv("FEATX_CACHE", str(tmp_path / "cache"))
    return row


def test_a_row_is_what_the_file_says(shipped: Checkpoint) -> None:
    assert manifest.find("motions-small") == shipped
    assert manifest.verify("motions-small") == shipped.sha256
    assert row_text(shipped).count("\n") < 40


def test_what_ships_is_taken_and_brings_what_it_was_trained_on(shipped: Checkpoint) -> None:
    loaded = load_model(NAME, None)
    assert loaded.weights_info == {
        "name": "motions-small",
        "sha256": shipped.sha256,
        "source": shipped.source,
        "licence": "CC0-1.0",
        "seed": None,
        "trained_on": {"dataset": "generated", "clips": 1000, "generator": 1},
    }
    assert (loaded.labels, loaded.clip) == (("a", "b", "c"), ENTRY.clip)


def test_what_was_fetched_goes_before_what_ships(shipped: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    manifest.path_of("motions-real").write_bytes(
        (tmp_path / "weights" / "small.safetensors").read_bytes()
    )
    assert load_model(NAME, None).weights_info["name"] == "motions-real"


def test_a_shipped_file_that_is_missing_or_another(shipped: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "weights" / "small.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for use in (manifest.verify, manifest.fetch, lambda name: load_model(NAME, name)):
        with pytest.raises(FeatxError, match=telling("motions-small", digest)):
            use("motions-small")
    path.unlink()
    for use in (manifest.verify, lambda name: load_model(NAME, name)):
        with pytest.raises(FeatxError, match=telling("motions-small", path)):
            use("motions-small")


def test_extract_says_which_weights_it_took_by_itself(
    shipped: Checkpoint, two: Path, tmp_path: Path
) -> None:
    done = CliRunner().invoke(
        cli, ["extract", "--model", NAME, str(two), str(tmp_path / "out.h5"), "--workers", "1"]
    )
    assert done.exit_code == 0, done.output
    told = "weights", "motions-small", "generated motion", "CC0-1.0"
    shown = CliRunner().invoke(cli, ["info", str(tmp_path / "out.h5")]).output
    for text in (done.stderr, shown):
        assert any(tells(line, *told) for line in text.splitlines())
    with FeatureStore(tmp_path / "out.h5") as store:
        assert store.settings.to_json()["weights"]["trained_on"] == {
            "dataset": "generated",
            "clips": 1000,
            "generator": 1,
        }


def test_what_no_network_takes_is_not_described_as_one(original: Path, tmp_path: Path) -> None:
    path = rewritten(
        original,
        tmp_path / "odd.safetensors",
        lambda s: s.update({KERNEL: s[KERNEL][:, :2].contiguous()}),
    )
    with pytest.raises(FeatxError, match=telling(NAME, KERNEL)):
        describe(path)
    path = rewritten(original, tmp_path / "odd.safetensors", lambda s: s[KERNEL].fill_(torch.nan))
    with pytest.raises(FeatxError):
        describe(path)


def test_a_registered_checkpoint_is_described_by_its_name(shipped: Checkpoint) -> None:
    assert describe(shipped.name) == shipped


def test_a_name_from_a_file_cannot_talk_to_the_terminal() -> None:
    told = in_words({"name": "\x1b[31mred\nline", "source": "a file", "licence": None})
    assert told.isprintable()
    assert tells(told, r"\x1b[31mred\nline", "a file")


def test_the_command_line(shipped: Checkpoint, original: Path, two: Path, tmp_path: Path) -> None:
    out = tmp_path / "made.safetensors"
    asked = [
        "weights",
        "pack",
        str(original),
        str(out),
        str(two),
        "--name",
        "motions-small",
        "--json",
    ]
    made = json.loads(CliRunner().invoke(cli, asked).stdout)
    assert (made["sha256"], made["clips"]) == (shipped.sha256, 5)
    row = json.loads(CliRunner().invoke(cli, ["weights", "describe", str(out), "--json"]).output)
    assert Checkpoint.from_row(row) == replace(shipped, file="made.safetensors")
    text = CliRunner().invoke(cli, ["weights", "describe", str(out)]).output
    assert tells(text, "clips", 1000, "dataset", "generated")
    listed = CliRunner().invoke(cli, ["weights", "list"]).output.splitlines()
    assert [line.split()[:3] for line in listed[2:]] == [
        ["motions-real", NAME, "to"],
        ["motions-small", NAME, "here"],
    ]


@pytest.mark.parametrize(
    ("info", "told"),
    [
        ({"name": "random", "seed": 3}, ("random", "seed 3", "untrained")),
        ({"name": "a", "source": "theirs", "licence": "MIT"}, ("a", "theirs", "licence", "MIT")),
        ({"name": "a", "source": None}, ("a", "licence", "not")),
        (
            {
                "name": "a",
                "trained_on": {"dataset": "ucf101", "split": 1, "subset": "train", "videos": 9537},
            },
            ("a", "ucf101", "split 1", "train", "9,537 videos", "licence", "not"),
        ),
    ],
)
def test_weights_in_words(info: dict[str, Any], told: tuple[str, ...]) -> None:
    text = in_words(info)
    assert tells(text, *told)
    assert ("untrained" in text) == (info["name"] == "random")
