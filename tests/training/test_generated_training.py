"""Training on generated clips: the same clips however they are divided and however often a run is stopped."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from conftest import featx
from told import telling, tells
from training_runs import same_run

from featx import create_model
from featx.cli import cli
from featx.datasets import Dataset, load_dataset
from featx.errors import UsageError
from featx.evaluation import as_text, evaluate_generated, to_json
from featx.extraction.settings import compose
from featx.models import model_entry
from featx.synthetic import motion
from featx.training import RECIPES, TrainHooks, run_training, train_settings
from featx.training.generated import Maker, Stream
from featx.training.loop import Trainer
from featx.training.processes import Processes
from featx.training.recipes import one_cycle
from featx.training.run import validation_of
from featx.video import pool
from featx.weights.description import describe
from featx.weights.statefile import read_state

MODEL, CPU = tiny.NAME, torch.device("cpu")
OVERRIDES = {"batch": "4", "duration": "7"}
SMALL: dict[str, Any] = {
    "model": MODEL,
    "dataset": "generated",
    "device": "cpu",
    "seed": 3,
    "overrides": OVERRIDES,
}
HELD_OUT, EPOCH = 8, 12


@pytest.fixture(scope="module", autouse=True)
def network(tiny_network: None) -> Iterator[None]:
    """The tiny network, short epochs and few held-out clips: all that a run does, in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("featx.training.generated.EPOCH_CLIPS", EPOCH)
        for place in ("featx.training.generated", "featx.evaluation._generated"):
            patch.setattr(f"{place}.HELD_OUT", HELD_OUT)
        patch.setattr(
            "featx.training.curves.plot_curves", lambda *_, **__: None
        )  # half a second each, and the same as of videos
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted, and in which no decoding process is started."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            pool.Pool, "__enter__", lambda _: pytest.fail("a decoding process is started")
        )
        run_training(train_settings(**SMALL), out)
    return out


def table(run: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((run / name).read_text().splitlines()))


def trainer(*, accumulate: int = 1, rank: int = 0, world: int = 1) -> Trainer:
    from dataclasses import replace

    recipe = replace(RECIPES["generated-motion"], batch=12, accumulate=accumulate)
    model = create_model(MODEL, num_classes=len(motion.CLASSES), seed=0)
    made = Trainer(
        model, recipe, Stream(EPOCH), model_entry(MODEL).transform, Processes(CPU), seed=0
    )
    made.processes = Processes(
        CPU, rank, world, world
    )  # its arithmetic alone: several processes cannot be had here
    return made


# ---------------------------------------------------------------- the clips


@pytest.mark.parametrize(("accumulate", "world"), [(1, 1), (3, 1), (1, 2), (2, 3)])
def test_a_batch_is_the_same_in_one_part_or_in_many(accumulate: int, world: int) -> None:
    frames, labels = [], []
    parts = [[next(places) for _ in range(accumulate)] for rank in range(world)
             for places in [trainer(accumulate=accumulate, rank=rank, world=world).places()]]  # fmt: skip
    for turn in range(accumulate):
        for rank in range(world):
            batch = Maker(iter([parts[rank][turn]]), seed=3, frames=4, size=16, device=CPU).next()
            frames.append(batch.clips)
            labels.append(batch.labels)
    whole = motion.clips(range(12), seed=3, frames=4, size=16, device=CPU)
    assert torch.equal(torch.cat(frames), whole.frames)
    assert torch.equal(torch.cat(labels), whole.labels)


def test_a_batch_is_what_the_loop_takes() -> None:
    with Maker(iter([range(5), range(5, 8)]), seed=0, frames=4, size=16, device=CPU) as maker:
        for n in (5, 3):
            batch = maker.next(timeout=0.0)
            assert (batch.clips.shape, batch.clips.dtype) == ((n, 4, 16, 16, 3), torch.uint8)
            assert (batch.sides, batch.flips, batch.missing) == ([16] * n, [False] * n, 0)
            assert torch.equal(batch.overlaps, torch.ones(n))
            assert not batch.clips.requires_grad
            batch.release()
        assert batch.ids == ["generated clip 5", "generated clip 6", "generated clip 7"]


# ---------------------------------------------------------------- runs


def test_a_run_leaves_what_says_what_it_was_trained_on(whole: Path) -> None:
    steps, epochs = table(whole, "steps.csv"), table(whole, "epochs.csv")
    assert [int(row["epoch"]) for row in steps] == [
        1,
        1,
        1,
        2,
        2,
        2,
        3,
    ]  # 12 clips each, 4 an update
    assert [float(row["lr"]) for row in steps] == [0.05 * one_cycle(k, 7) for k in range(7)]
    assert [int(row["step"]) for row in epochs] == [3, 6, 7]
    recorded = json.loads((whole / "run.json").read_text())
    assert recorded["dataset"] == {
        "name": "generated", "generator": motion.VERSION, "classes": list(motion.CLASSES), "epoch": EPOCH,
    }  # fmt: skip
    assert recorded["recipe"]["name"] == "generated-motion"
    info = read_state(whole / "last.safetensors").described["info"]
    assert tuple(info["labels"]) == motion.CLASSES
    assert info["trained_on"] == {
        "dataset": "generated", "clips": 28, "generator": motion.VERSION, "seed": 3, "chosen_on": None,
    }  # fmt: skip
    assert f"28 clips of {len(motion.CLASSES)} motions" in info["source"]
    assert (info["metrics"]["clips"], info["metrics"]["seed"]) == (HELD_OUT, 3)
    assert info["metrics"]["top1"] == float(epochs[-1]["val_top1"])
    best = read_state(whole / "best.safetensors").described["info"]
    assert best["trained_on"]["chosen_on"] == "held-out generated clips"
    assert best["metrics"]["top1"] == max(float(row["val_top1"]) for row in epochs)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_interrupted_run_comes_to_the_same_numbers(
    whole: Path, tmp_path: Path, optimizer: str
) -> None:
    settings = train_settings(**{**SMALL, "overrides": {**OVERRIDES, "optimizer": optimizer}})
    if optimizer == "adamw":
        whole = tmp_path / "whole"
        run_training(settings, whole)

    def interrupt(progress: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    stops = 0
    while stops < 20:  # of 7 updates
        try:
            run_training(settings, tmp_path / "run", hooks=TrainHooks(on_progress=interrupt))
            break
        except KeyboardInterrupt:
            stops += 1
    assert 3 <= stops < 20
    same_run(whole, tmp_path / "run")


def test_a_run_that_dies_between_two_saves_comes_to_the_same_numbers(
    whole: Path, tmp_path: Path
) -> None:
    """An epoch's end writes no state here, unless it is the best: best.safetensors and the state that knows of it go together."""
    settings = train_settings(**SMALL)

    def die(epoch: int, found: Any) -> None:
        if epoch == 2:
            raise RuntimeError("dead")

    with pytest.raises(RuntimeError, match="dead"):
        run_training(settings, tmp_path / "run", hooks=TrainHooks(on_validation=die))
    saved = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert saved["best_epoch"] >= 1
    assert describe(tmp_path / "run" / "best.safetensors").metrics["top1"] == saved["best"]
    run_training(settings, tmp_path / "run")
    same_run(whole, tmp_path / "run")


def test_a_killed_run_comes_to_the_same_numbers(tmp_path: Path) -> None:
    args = [
        "train",
        "--model",
        MODEL,
        "--dataset",
        "generated",
        "--device",
        "cpu",
        "--save-seconds",
        0,
        "--validate",
        "none",
    ]
    args += [a for name, value in OVERRIDES.items() for a in ("--set", f"{name}={value}")]
    run = tmp_path / "run"
    process = subprocess.Popen(
        tiny.command(*args, run), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while process.poll() is None:
        steps = run / "steps.csv"
        if steps.exists() and len(steps.read_bytes().splitlines()) > 3:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    done = subprocess.run(tiny.command(*args, run), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert not tells(done.stderr, "Traceback")
    run_training(train_settings(**{**SMALL, "seed": 0, "validate": "none"}), tmp_path / "whole")
    # Their epochs are of other lengths, for the tests' are not the command's: the clips and the weights are the same.
    columns = ("step", "lr", "loss", "top1")
    ours, theirs = (table(tmp_path / name, "steps.csv") for name in ("whole", "run"))
    assert [[row[c] for c in columns] for row in ours] == [
        [row[c] for c in columns] for row in theirs
    ]
    a, b = (read_state(tmp_path / name / "last.safetensors").state for name in ("whole", "run"))
    assert all(torch.equal(value, b[name]) for name, value in a.items())


def test_clips_of_another_generator_are_not_trained_on_in_the_same_run(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = motion.VERSION
    monkeypatch.setattr(motion, "VERSION", version + 1)
    with pytest.raises(UsageError, match=telling("dataset.generator", version, version + 1)):
        run_training(train_settings(**SMALL), whole)


# ---------------------------------------------------------------- evaluation


@pytest.mark.parametrize("name", ["last", "best"])
def test_an_evaluation_gives_the_numbers_of_the_run(whole: Path, name: str) -> None:
    path = whole / f"{name}.safetensors"
    found = evaluate_generated(compose(model=MODEL, weights=str(path), device="cpu"))
    told, metrics = validation_of(found), read_state(path).described["info"]["metrics"]
    assert (told.loss, told.top1, told.top5) == (metrics["loss"], metrics["top1"], metrics["top5"])
    low, high = found.top1.interval()
    assert low <= told.top1 <= high
    assert f"held-out stream of seed 3, generator version {motion.VERSION}" in as_text(found)
    assert "video" not in as_text(found)
    values = to_json(found)
    assert (values["clips"], values["clip_top1"]["value"]) == (HELD_OUT, metrics["top1"])
    assert values["generated"] == {"clips": HELD_OUT, "seed": 3, "generator": motion.VERSION}
    assert not {"videos", "video_top1", "decoder"} & set(values)


def test_held_out_clips_of_another_seed_are_others_and_said_to_be(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = compose(model=MODEL, weights=str(whole / "last.safetensors"), device="cpu")
    other = evaluate_generated(settings, seed=4)
    assert any(tells(note, "seed 3", "seed 4") for note in other.notes)
    assert not (other.probabilities == evaluate_generated(settings).probabilities).all()
    version = motion.VERSION
    monkeypatch.setattr(motion, "VERSION", version + 1)
    assert any(
        tells(note, "generator", version, version + 1)
        for note in evaluate_generated(settings).notes
    )
    with pytest.raises(UsageError, match=telling("487 classes")):
        evaluate_generated(compose(model="res3d", weights="random", device="cpu"))
    with pytest.raises(UsageError, match=telling("seed", -1)):
        evaluate_generated(settings, seed=-1)


def test_the_command_evaluates(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [
        "eval",
        "--checkpoint",
        str(whole / "last.safetensors"),
        "--dataset",
        "generated",
        "--device",
        "cpu",
    ]
    cli.main([*args, "--json", "--predictions", str(tmp_path / "p.csv")], standalone_mode=False)
    (found,) = json.loads(capsys.readouterr().out)
    assert found["clip_top1"]["value"] == float(table(whole, "epochs.csv")[-1]["val_top1"])
    assert [row["id"] for row in table(tmp_path, "p.csv")] == [
        f"held-out clip {k}" for k in range(HELD_OUT)
    ]
    for option in (
        ["--protocol", "tran2017"],
        ["--split", "1"],
        ["--subset", "test"],
        ["--workers", "2"],
    ):
        with pytest.raises(UsageError, match=telling(option[0])):
            cli.main([*args, *option], standalone_mode=False)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"root": "videos"}, ("root", "'videos'")),
        ({"split": 2}, ("split", 2)),
        ({"partial": True}, ("partial", True)),
        ({"holdout": 0.5}, ("holdout", 0.5)),
        ({"protocol": "hara"}, ("protocol", "'hara'")),
        ({"flow_cache": "flow"}, ("flow_cache", "'flow'")),
        ({"validate": "test"}, ("test",)),
        ({"input": "flow"}, ("input", "flow")),
        ({"recipe": "tran2017-ucf101"}, ("augmentation", "none")),
        ({"overrides": {"augmentation.flip": "0.5"}}, ("augmentation", "none")),
        ({"overrides": {"clips_per_video": "2"}}, ("clips_per_video", "1")),
        ({"overrides": {"loss": "overlap"}}, ("loss", "softmax")),
        (
            {"validate": "none", "overrides": {"schedule.kind": "plateau"}},
            ("generated-motion", "schedule.kind"),
        ),
    ],
)
def test_what_only_videos_have_is_refused(
    tmp_path: Path, values: dict[str, Any], told: tuple[object, ...]
) -> None:
    with pytest.raises(UsageError, match=telling(*told)):
        run_training(train_settings(**{**SMALL, **values}), tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def test_generated_clips_are_no_dataset_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "generated").mkdir()
    with pytest.raises(UsageError, match=telling("'generated'", "featx train", "featx synth")):
        load_dataset("generated")
    data = Dataset(name="generated", split=1, subset="train", classes=("a",), items=())
    with pytest.raises(UsageError, match=telling("generated")):
        run_training(train_settings(**SMALL), tmp_path / "run", data)
    refused = featx(
        "train", "--model", "res2d", "--dataset", "generated", "--split", "1", tmp_path / "run"
    )
    assert (refused.returncode, tells(refused.stderr, "Error:", "--split")) == (2, True)


@pytest.mark.parametrize("frames", [1, 3])
def test_a_network_of_single_frames_is_trained_the_same_way(tmp_path: Path, frames: int) -> None:
    settings = train_settings(**{**SMALL, "model": "res2d", "crop": 16, "frames": frames, "validate": "none",
                                "overrides": {"batch": "2", "duration": "1"}})  # fmt: skip
    report = run_training(settings, tmp_path / "run")
    assert report is not None
    assert report.steps == 1
    assert json.loads((tmp_path / "run" / "run.json").read_text())["clip"]["frames"] == frames
