"""`featx.create_model` and `featx.list_models`: networks by name, untrained or with weights, and what they say of themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from told import telling
from torch import nn

import featx
from featx.clips import ClipSpec
from featx.errors import FeatxError, UsageError
from featx.models import build_model
from featx.transforms import Transform
from featx.weights.checkpoint import load_model, save_checkpoint
from featx.weights.manifest import list_checkpoints

CLIP = ClipSpec(frames=4, step=1, stride=4)
TRANSFORM = Transform(resize=28, crop=28, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))


pytestmark = pytest.mark.usefixtures("tiny_network")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    info = {"name": "small one", "labels": ["a", "b"], "licence": "CC0-1.0"}
    model = build_model(tiny.NAME, num_classes=2, seed=4)
    save_checkpoint(path, model, architecture=tiny.NAME, transform=TRANSFORM, clip=CLIP, info=info)
    return path


def same(one: nn.Module, two: nn.Module) -> bool:
    theirs = two.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


# ---- untrained


def test_without_weights_a_network_is_untrained_and_in_training_mode() -> None:
    model = featx.create_model(tiny.NAME, num_classes=5, seed=1)
    assert model.training
    assert model.num_classes == 5
    assert same(model, build_model(tiny.NAME, num_classes=5, seed=1))
    assert (model.clip, model.transform) == (tiny.ENTRY.clip, tiny.ENTRY.transform)
    assert model.labels is None
    assert model.weights_info is None
    assert same(featx.create_model(tiny.NAME, weights=False, num_classes=5, seed=1), model)


def test_a_models_own_options() -> None:
    model = featx.create_model("c3d", num_classes=2, dropout=0.25)
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.25}
    with pytest.raises(UsageError, match=telling("dropuot")):
        featx.create_model("c3d", dropuot=0.25)
    with pytest.raises(UsageError, match=telling("dropout")):
        featx.create_model(tiny.NAME, dropout=0.25)


# ---- with weights


def test_a_file_of_weights_brings_its_own_clip_transform_and_labels(checkpoint: Path) -> None:
    for weights in (checkpoint, str(checkpoint)):
        model = featx.create_model(tiny.NAME, weights=weights)
        assert not model.training
        assert (model.clip, model.transform, model.labels) == (CLIP, TRANSFORM, ("a", "b"))
        assert model.weights_info == load_model(tiny.NAME, checkpoint).weights_info
        assert model.weights_info["name"] == "small one"
        assert same(model, build_model(tiny.NAME, num_classes=2, seed=4))


def test_weights_with_options(tmp_path: Path) -> None:
    model = build_model("c3d_b5", num_classes=2, seed=0)
    torch.save(model.state_dict(), path := tmp_path / "c3d_b5.pth")
    made = featx.create_model("c3d_b5", weights=path, dropout=0.25)
    assert {m.p for m in made.modules() if isinstance(m, nn.Dropout)} == {0.25}
    assert same(made, model)


def test_random_weights_are_in_evaluation_mode_and_say_so() -> None:
    model = featx.create_model(tiny.NAME, weights="random", seed=3)
    assert not model.training
    assert model.weights_info is not None
    assert (model.weights_info["name"], model.weights_info["seed"]) == ("random", 3)
    assert same(model, build_model(tiny.NAME, seed=3))


def test_true_takes_the_registered_checkpoint_that_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATX_CACHE", str(tmp_path))
    name = "res3d_half"
    model = featx.create_model(name, weights=True)
    assert same(model, load_model(name, None).model)
    assert model.weights_info is not None
    assert model.weights_info["name"] in {
        c.name for c in list_checkpoints() if c.architecture == name
    }
    with pytest.raises(UsageError, match=telling("c3d_b5")):
        featx.create_model("c3d_b5", weights=True)


def test_wrong_use(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match=telling("weights", "init_2d")):
        featx.create_model("semi_resnet18", weights="random", init_2d={})
    with pytest.raises(UsageError, match=telling(2, 3)):
        featx.create_model(tiny.NAME, weights=checkpoint, num_classes=3)
    with pytest.raises(UsageError, match=telling("tiny_resnet")):
        featx.create_model("res3d", weights=checkpoint)
    # Whoever knows nothing of featx catches ValueError.
    with pytest.raises(ValueError, match=telling("res3f")):
        featx.create_model("res3f")
    assert issubclass(UsageError, FeatxError)


# ---- names


def test_names_are_filtered_as_a_shell_does() -> None:
    names = featx.list_models()
    assert names == sorted(names)
    assert featx.list_models("*res3d*") == [name for name in names if "res3d" in name] != []
    assert featx.list_models("res3d") == ["res3d"]
    assert featx.list_models(["c3d", "semi_vgg*", "semi_vgg16"]) == ["c3d", "semi_vgg16"]
    assert featx.list_models("nothing*") == []


def test_names_of_models_with_a_registered_checkpoint() -> None:
    with_weights = featx.list_models(weights=True)
    assert set(with_weights) == {c.architecture for c in list_checkpoints()}
    assert {"res3d", "r3d_18"} <= set(with_weights)
    assert featx.list_models("r3d*", weights=True) == ["r3d_18"]


# ---- models of other packages

PLUGIN = """
from featx.models import ModelEntry, model_entry, register

known = model_entry("res3d")
register(ModelEntry(**{**vars(known), "name": "theirs"}))
"""
LISTED = "import featx; print(featx.list_models('theirs'), featx.create_model('res2d').training)"


@pytest.mark.parametrize(("content", "listed"), [(PLUGIN, "['theirs'] True"), ("1 / 0", "[] True")])
def test_another_package_registers_models_by_an_entry_point(
    tmp_path: Path, content: str, listed: str
) -> None:
    (tmp_path / "their_networks.py").write_text(content)
    about = tmp_path / "theirs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[featx.models]\ntheirs = their_networks\n")
    script = f"import sys; sys.path.append({str(tmp_path)!r}); {LISTED}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == listed
    assert ("ZeroDivisionError" in done.stderr) == (content != PLUGIN)
