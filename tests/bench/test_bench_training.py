"""Training measured: the figures agree with each other, and nothing unreadable is measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from conftest import encode
from tiny import NAME
from told import telling

from featx.bench import bench_training, to_json
from featx.bench._feeds import chosen_recipe, decoded
from featx.bench._training import _Bench
from featx.cli import cli
from featx.errors import UsageError
from featx.extraction.settings import Machine

FAST = {"batch": "4", "augmentation": "none"}


pytestmark = pytest.mark.usefixtures("tiny_network")


def test_figures_agree(tmp_path: Path) -> None:
    for i in range(3):
        encode(tmp_path / f"{i}.mp4", 20, seed=i)
    told: list[str] = []
    (found,) = bench_training(
        [NAME],
        [tmp_path],
        overrides=FAST,
        machine=Machine(device="cpu", workers=1),
        seconds=0.2,
        rounds=2,
        progress=told.append,
    )
    assert (found.model, found.recipe, found.batch, found.passes, found.videos) == (
        NAME,
        "tran2017-ucf101",
        4,
        1,
        3,
    )
    assert (found.precision, found.device, found.matmul, found.of_matmul) == (
        "float32",
        "cpu",
        None,
        None,
    )
    low, high = found.fraction_range
    assert 0 < low <= found.fraction <= high
    assert found.ceiling < min(found.decode, found.step)
    assert found.binding == ("input pipeline" if found.decode < found.step else "training step")
    # Two rounds: a median is their mean, and the fraction is the mean of the rounds' own.
    assert found.fraction == pytest.approx((low + high) / 2)
    assert told == [
        f"{NAME} {n}/2: {what}"
        for n in (1, 2)
        for what in ("input pipeline alone", "training step alone", "together")
    ]
    assert to_json([found])[0]["fraction"] == found.fraction


def test_measuring_does_the_whole_update_and_learns_nothing(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 20)
    feed = decoded([str(path)], workers=1, timeout=60.0)
    overrides = {**FAST, "accumulate": "2"}
    named = chosen_recipe(tiny.ENTRY.family, None, overrides, generated_clips=False)
    ready = _Bench(NAME, feed, named, Machine(device="cpu"), compiled=False)
    before = {k: v.clone() for k, v in ready._trainer.model.state_dict().items()}
    ready.round(0.05, "", lambda _: None)
    after = ready._trainer.model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    # In training mode batch norm's statistics move; with a rate of 0 no weight does.
    assert changed == {name for name in before if "running" in name or "num_batches" in name}
    # ... and each update was made: momentum has the gradients, of both passes' parts.
    state = ready._trainer.optimizer.state
    assert len(state) == len(list(ready._trainer.model.parameters()))
    assert all(s["momentum_buffer"].abs().max() > 0 for p, s in state.items() if p.ndim > 1)
    batches = {int(v) for name, v in after.items() if "num_batches" in name}
    assert batches == {2 * ready._trainer.state.step}


def test_generated_clips_are_measured_without_videos() -> None:
    told: list[str] = []
    overrides = {"batch": "4"}
    (found,) = bench_training(
        [NAME],
        dataset="generated",
        overrides=overrides,
        machine=Machine(device="cpu"),
        seconds=0.05,
        rounds=1,
        progress=told.append,
    )
    assert (found.recipe, found.videos, found.workers, found.batch) == (
        "generated-motion",
        None,
        None,
        4,
    )
    # The generator works where the network does: neither hides behind the other.
    assert found.ceiling == pytest.approx(1 / (1 / found.decode + 1 / found.step))
    assert found.binding == ("generator" if found.decode < found.step else "training step")
    assert (found.matmul, found.of_matmul, found.together_of_matmul) == (None, None, None)
    assert told == [
        f"{NAME} 1/1: {what}" for what in ("generator alone", "training step alone", "together")
    ]


def test_unreadable_videos_and_empty_measurements_are_refused(tmp_path: Path) -> None:
    encode(tmp_path / "a.mp4", 20)
    (tmp_path / "bad.mp4").write_bytes(b"")
    with pytest.raises(UsageError, match=telling("bad.mp4")):
        bench_training(
            [NAME],
            [tmp_path],
            overrides=FAST,
            machine=Machine(device="cpu", workers=1),
            seconds=0.1,
            rounds=1,
        )
    with pytest.raises(UsageError, match=telling("0 rounds")):
        bench_training([NAME], [tmp_path], rounds=0)
    with pytest.raises(UsageError, match=telling("bf16", "float32")):
        bench_training([NAME], [tmp_path], machine=Machine(device="cpu", precision="bf16"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--train", "--layers", "pool5"], ("--layers", "--train")),
        (["--recipe", "tran2017-ucf101"], ("--recipe", "--train")),
        (["--dataset", "generated"], ("--dataset", "--train")),
        (["--train", "--dataset", "generated", "--workers", "2"], ("--workers",)),
        (["--train", "--dataset", "generated", "videos"], ("'videos'",)),
        (
            ["--train", "--dataset", "generated", "--recipe", "semi-cnn"],
            ("augmentation", "none"),
        ),
        (["--train", "--recipe", "tran2017"], ("'tran2017'", "tran2017-ucf101")),
        (["--train", "--set", "batches=2"], ("'batches'", "batch")),
        (["--train", "--model", "res3"], ("'res3'", "res3d")),
    ],
)
def test_options_of_the_other_measurement_are_refused(
    arguments: list[str], told: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError, match=telling(*told)):
        cli.main(["bench", *arguments], standalone_mode=False)
