"""A narrow network made wide: the same function, no two copies alike, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from told import telling, tells

from featx import create_model
from featx.errors import UsageError
from featx.models import model_entry
from featx.weights.checkpoint import load_model, save_checkpoint
from featx.weights.description import read_own
from featx.weights.widen import widen


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("narrow") / "narrow.safetensors"
    entry = model_entry("res3d_half")
    model = create_model("res3d_half", num_classes=5, seed=1)
    generator = torch.Generator().manual_seed(2)
    for name, value in model.named_buffers():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0, generator=generator)
    info = {
        "name": "small",
        "source": "drawn",
        "licence": "mine",
        "labels": list("abcde"),
        "trained_on": {"dataset": "generated"},
    }
    save_checkpoint(
        path,
        model,
        architecture="res3d_half",
        transform=entry.transform,
        clip=entry.clip,
        info=info,
    )
    return path


def test_the_wide_network_computes_what_the_narrow_one_does(narrow: Path, tmp_path: Path) -> None:
    made = widen(narrow, tmp_path / "wide.safetensors", architecture="res3d")
    assert made.copies == 2
    x = 50 * torch.randn(2, 3, 8, 40, 40, generator=torch.Generator().manual_seed(0))
    models = [
        load_model(name, path).model
        for name, path in (("res3d_half", narrow), ("res3d", Path(made.path)))
    ]
    with torch.inference_mode():
        before, after = (model(x) for model in models)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4 * float(before.abs().max()))


def test_the_copies_of_a_channel_are_weighed_differently(narrow: Path, tmp_path: Path) -> None:
    """Equal ones would have equal gradients for ever."""
    widen(narrow, tmp_path / "wide.safetensors", architecture="res3d")
    weights = dict(load_model("res3d", tmp_path / "wide.safetensors").model.named_parameters())
    kernels = [value for name, value in weights.items() if value.dim() == 5 and value.shape[1] > 3]
    assert len(kernels) > 10
    for kernel in kernels:
        first, second = kernel.chunk(2, 1)
        assert not torch.allclose(first, second)
    # The first layer's channels see the same three colours, and are told apart by what follows.
    head, tail = next(
        value for value in weights.values() if value.dim() == 5 and value.shape[1] == 3
    ).chunk(2, 0)
    assert torch.equal(head, tail)


def test_the_file_says_what_it_was_made_of(narrow: Path, tmp_path: Path) -> None:
    widen(narrow, tmp_path / "wide.safetensors", architecture="res3d", seed=3)
    file, told = read_own(tmp_path / "wide.safetensors")
    digest = read_own(narrow)[0].sha256
    assert told.architecture == "res3d"
    assert tells(told.info["name"], "res3d", "small")
    assert told.info["trained_on"] == {"dataset": "generated"}
    assert told.labels == tuple("abcde")
    assert str(digest) in told.info["source"]
    assert "seed 3" in told.info["source"]
    assert file.sha256 != digest


@pytest.mark.parametrize("other", ["res3d_34", "c3d", "res3d_half_not", "sr18"])
def test_another_network_is_refused(narrow: Path, tmp_path: Path, other: str) -> None:
    with pytest.raises(UsageError, match=telling(other)):
        widen(narrow, tmp_path / "wide.safetensors", architecture=other)
    assert not list(tmp_path.iterdir())


def test_a_file_is_not_widened_over_itself(narrow: Path) -> None:
    before = narrow.read_bytes()
    with pytest.raises(UsageError):
        widen(narrow, narrow, architecture="res3d")
    assert narrow.read_bytes() == before
