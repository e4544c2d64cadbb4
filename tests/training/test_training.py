"""Training runs: what they leave, that nothing stops them from coming to the same end, and what they refuse."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from conftest import featx
from told import telling, tells
from training_runs import same_run

from featx import create_model, list_models
from featx.clips import ClipSpec
from featx.errors import FeatxError, UsageError
from featx.synthetic.render import write_videos
from featx.training import (
    RECIPES,
    Recipe,
    TrainHooks,
    Validation,
    make_plan,
    run_training,
    train_settings,
)
from featx.training.folder import RunFolder
from featx.training.freezing import freeze, stage_of
from featx.training.loader import Stream
from featx.training.loop import Trainer, optimizer, schedule
from featx.training.processes import Processes
from featx.training.videos import Videos
from featx.weights.checkpoint import load_model
from featx.weights.statefile import read_state

MODEL = tiny.NAME
SMALL: dict[str, Any] = {
    "model": MODEL, "device": "cpu", "recipe": "tran2017-ucf101", "workers": 1,
    "overrides": {"batch": "9", "clips_per_video": "1", "duration": "3", "unit": "epochs", "schedule.every": "3"},
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("tiny_network")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_videos(
        folder, per_class=6, seconds=0.8, size=(48, 64), classes=["move_left", "rotate_cw", "grow"]
    )
    return folder


@pytest.fixture(scope="module")
def whole(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    run_training(train_settings(dataset=str(videos), **SMALL), out)
    return out


def rows(run: Path, name: str) -> list[dict[str, str]]:
    with contextlib.closing(RunFolder(run)) as folder:
        return folder.rows(name)


def test_a_run_leaves_checkpoints_that_say_what_they_are(
    whole: Path, videos: Path, tmp_path: Path
) -> None:
    settings = train_settings(dataset=str(videos), **SMALL)
    plan = make_plan(settings)
    assert isinstance(plan.source, Videos)
    assert [
        len(plan.source.train.items),
        len(plan.source.val.items if plan.source.val else ()),
    ] == [
        12,
        6,
    ]  # one of three groups of each class is held out
    steps = rows(whole, "steps.csv")
    assert [int(row["step"]) for row in steps] == list(
        range(1, 5)
    )  # 3 epochs of 12 clips, 9 an update
    assert [int(row["epoch"]) for row in steps] == [1, 1, 2, 3]
    assert [float(row["lr"]) for row in steps] == pytest.approx([0.01] * 3 + [0.001])
    epochs = rows(whole, "epochs.csv")
    assert [int(row["step"]) for row in epochs] == [2, 3, 4]
    assert all(0 < float(row["val_loss"]) < 20 for row in epochs)
    for name in ("last", "best"):
        loaded = load_model(MODEL, whole / f"{name}.safetensors")
        assert loaded.labels == ("grow", "move_left", "rotate_cw")
        assert (loaded.transform.crop, loaded.clip.frames) == (28, 4)
        assert loaded.weights_info["trained_on"]["dataset"] == plan.source.train.name
    info = read_state(whole / "last.safetensors").described["info"]
    assert info["training"]["recipe"] == "tran2017-ucf101"
    assert (
        Recipe.from_dict(
            {k: v for k, v in info["training"].items() if k in RECIPES["semi-cnn"].to_dict()}
        )
        == plan.recipe
    )
    assert info["metrics"]["top1"] == pytest.approx(float(epochs[-1]["val_top1"]))
    assert (whole / "curves.png").stat().st_size > 10_000
    assert list(whole.glob("events.out.tfevents.*"))
    out = tmp_path / "features.h5"
    extract = tiny.command(
        "extract", "--model", MODEL, "--weights", whole / "best.safetensors", videos / "grow", out
    )
    done = subprocess.run(extract, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_an_interrupted_run_comes_to_the_same_numbers(
    whole: Path, videos: Path, tmp_path: Path
) -> None:
    settings = train_settings(dataset=str(videos), **SMALL)

    def interrupt(progress: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    stops = 0
    while True:
        try:
            run_training(settings, tmp_path / "run", hooks=TrainHooks(on_progress=interrupt))
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 2  # at the latest after the update that follows the signal
    same_run(whole, tmp_path / "run")


def test_a_run_stopped_while_it_saves_comes_to_the_same_numbers(
    whole: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = train_settings(dataset=str(videos), **SMALL)
    save, saved = RunFolder.save, []

    def stopped(folder: RunFolder, state: Any) -> None:
        saved.append(1)
        if (
            len(saved) % 3
        ):  # two of three times, when the tables and the checkpoint are written and the state is not
            raise KeyboardInterrupt
        save(folder, state)

    monkeypatch.setattr(RunFolder, "save", stopped)
    stops = 0
    while True:
        try:
            run_training(settings, tmp_path / "run")
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 4
    same_run(whole, tmp_path / "run")


def test_a_finished_run_is_not_touched_again(videos: Path, tmp_path: Path) -> None:
    settings = train_settings(dataset=str(videos), validate="none", **SMALL)
    run_training(settings, tmp_path / "run")
    names = ("steps.csv", "epochs.csv", "last.safetensors", "state.pt")
    before = [(tmp_path / "run" / name).read_bytes() for name in names]
    report = run_training(settings, tmp_path / "run")
    assert report is not None
    assert report.new == 0
    assert [(tmp_path / "run" / name).read_bytes() for name in names] == before
    assert len(rows(tmp_path / "run", "epochs.csv")) == 3


def test_a_killed_run_comes_to_the_same_numbers(whole: Path, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    args = ["train", "--model", MODEL, "--device", "cpu", "--recipe", "tran2017-ucf101",
            "--workers", 1, "--save-seconds", 0, "--dataset", videos, out]  # fmt: skip
    args += [a for name, value in SMALL["overrides"].items() for a in ("--set", f"{name}={value}")]
    kills = 0
    for made in (1, 2, 3):  # killed at once when so many updates are written
        process = subprocess.Popen(
            tiny.command(*args), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        while process.poll() is None:
            steps = out / "steps.csv"
            if steps.exists() and len(steps.read_bytes().splitlines()) > made:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        process.communicate()
    done = subprocess.run(tiny.command(*args), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert kills
    same_run(whole, out)
    again = subprocess.run(tiny.command(*args), capture_output=True, text=True, timeout=240)
    assert again.returncode == 0
    assert tells(again.stdout, out)


def test_a_rerun_with_other_settings_says_what_differs(
    whole: Path, videos: Path, tmp_path: Path
) -> None:
    other = {**SMALL["overrides"], "lr": "0.02"}
    with pytest.raises(UsageError, match=telling("recipe.lr", 0.01, 0.02)):
        run_training(train_settings(dataset=str(videos), **{**SMALL, "overrides": other}), whole)
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "photo.jpg").touch()
    with pytest.raises(UsageError, match=telling(tmp_path / "things", "photo.jpg")):
        run_training(train_settings(dataset=str(videos), **SMALL), tmp_path / "things")


def test_two_runs_of_one_folder_the_second_stops(videos: Path, tmp_path: Path) -> None:
    held = RunFolder(tmp_path / "run")
    with pytest.raises(UsageError, match=telling(tmp_path / "run", os.getpid())):
        run_training(train_settings(dataset=str(videos), **SMALL), tmp_path / "run")
    held.close()


def test_a_loss_that_is_not_finite_stops_the_run_and_is_not_saved(
    videos: Path, tmp_path: Path
) -> None:
    wild = {**SMALL["overrides"], "lr": "1e30"}
    with pytest.raises(FeatxError, match=telling("update", "lr")):
        run_training(
            train_settings(dataset=str(videos), **{**SMALL, "overrides": wild}), tmp_path / "run"
        )
    with contextlib.closing(RunFolder(tmp_path / "run")) as folder:
        state = folder.state()
    assert state is None or all(value.isfinite().all() for value in state["model"].values())


def test_a_corrupt_video_is_replaced_counted_and_told(videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    write_videos(folder, per_class=3, seconds=0.8, size=(48, 64), classes=["move_left", "grow"])
    bad = folder / "grow" / "grow_g01_c01.mp4"
    bad.write_bytes(bad.read_bytes()[:500])
    report = run_training(train_settings(dataset=str(folder), **SMALL), tmp_path / "run")
    assert report is not None
    ((video, reason, times),) = report.replaced
    assert "grow_g01_c01" in video
    assert "moov" in reason
    assert times >= 3
    assert (
        read_state(tmp_path / "run" / "last.safetensors").described["info"]["training"]["replaced"]
        == times
    )

    def interrupt(progress: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    again = None
    while again is None:
        with contextlib.suppress(KeyboardInterrupt):
            again = run_training(
                train_settings(dataset=str(folder), **SMALL),
                tmp_path / "again",
                hooks=TrainHooks(on_progress=interrupt),
            )
    assert again.replaced == report.replaced


def test_fine_tuning_takes_the_weights_and_gives_a_new_classifier(
    whole: Path, videos: Path, tmp_path: Path
) -> None:
    two = tmp_path / "two"
    write_videos(two, per_class=3, seconds=0.8, size=(48, 64), classes=["move_left", "grow"])
    settings = train_settings(
        dataset=str(two), weights=str(whole / "best.safetensors"),
        **{**SMALL, "overrides": {**SMALL["overrides"], "freeze": "conv4", "duration": "2"}},
    )  # fmt: skip
    plan = make_plan(settings)
    assert any(tells(note, "classifier", "2 classes") for note in plan.notes)
    report = run_training(settings, tmp_path / "run")
    assert report is not None
    before = load_model(MODEL, whole / "best.safetensors").model.state_dict()
    after = load_model(MODEL, tmp_path / "run" / "last.safetensors").model.state_dict()
    for name, value in before.items():
        frozen = (stage_of(name) or 9) <= 4
        if name.split(".")[0] != "fc":
            # Frozen stages keep their batch norm's statistics too; what is above them moves.
            assert torch.equal(value, after[name]) == frozen, name
    same_again = train_settings(
        dataset=str(videos), weights=str(whole / "best.safetensors"), **SMALL
    )
    assert not any("classifier" in note for note in make_plan(same_again).notes)


def test_every_model_can_be_frozen_at_every_stage() -> None:
    from featx.models.registry import skeleton

    for name in list_models():
        model = skeleton(name)
        stages = [
            stage_of(child)
            for child, module in model.named_children()
            if next(module.parameters(), None) is not None
        ]
        assert stages[-1] is None
        known = [stage for stage in stages if stage is not None]
        assert known == sorted(known), name
        assert set(known) == {1, 2, 3, 4, 5}, name
        freeze(model, "conv5")
        left = {path.split(".")[0] for path, p in model.named_parameters() if p.requires_grad}
        assert left <= {"fc", "fc6", "fc7", "fc8"}, name


# ---------------------------------------------------------------- the loop's arithmetic


def trainer(recipe: Recipe, n: int = 9, processes: Processes | None = None) -> Trainer:
    from featx.datasets import Item

    items = [Item(id=str(i), path="", label=0) for i in range(n)]
    model = create_model(MODEL, num_classes=3, seed=0)
    stream = Stream(items, clips_per_video=recipe.clips_per_video, seed=0)
    from featx.models import model_entry

    return Trainer(
        model,
        recipe,
        stream,
        model_entry(MODEL).transform,
        processes or Processes(torch.device("cpu")),
        seed=0,
    )


RECIPE = replace(RECIPES["tran2017-ucf101"], batch=6, duration=5, unit="epochs", clips_per_video=1)


def test_epochs_end_with_the_update_that_shows_their_last_clip() -> None:
    made = trainer(RECIPE)
    assert [made.step_after(epoch) for epoch in range(1, 6)] == [2, 3, 5, 6, 8]
    assert [made.epochs_at(step) for step in range(9)] == [0, 0, 1, 2, 2, 3, 4, 4, 5]
    assert (made.steps, made.epochs) == (8, 5)
    assert trainer(replace(RECIPE, batch=30)).steps == 2
    assert trainer(replace(RECIPE, unit="iterations")).steps == 5


@pytest.mark.parametrize(("accumulate", "world"), [(1, 1), (3, 1), (1, 3), (3, 2), (2, 3)])
def test_passes_and_processes_divide_the_same_clips(accumulate: int, world: int) -> None:
    recipe = replace(RECIPE, batch=12, accumulate=accumulate)
    seen: list[tuple[int, int]] = []
    for rank in range(world):
        made = object.__new__(Trainer)  # its arithmetic alone: several processes cannot be had here
        plain = trainer(recipe)
        made.__dict__.update(plain.__dict__)
        made.processes = Processes(torch.device("cpu"), rank, world, world)
        made.state = replace(plain.state, step=4)
        places = made.places()
        seen += [
            (step, place)
            for step in range(4, 7)
            for _ in range(accumulate)
            for place in next(places)
        ]
    assert sorted(seen) == [(place // 12, place) for place in range(48, 84)]


def test_rates_of_the_last_layer_and_the_schedules() -> None:
    model = create_model(MODEL, num_classes=3, seed=0)
    row = replace(RECIPES["scnn-proposal"], dampening=0.5)
    made = optimizer(model, row)
    assert [group["lr"] for group in made.param_groups] == pytest.approx([0.001, 0.01, 0.02])
    assert sum(p.numel() for group in made.param_groups for p in group["params"]) == sum(
        p.numel() for p in model.parameters()
    )
    assert {(g["momentum"], g["dampening"], g["weight_decay"]) for g in made.param_groups} == {
        (0.9, 0.5, 0.00005)
    }
    falls = schedule(made, row, updates=100)
    made.step()
    assert isinstance(falls, torch.optim.lr_scheduler.StepLR)
    rates = []
    for _ in range(8):
        falls.step()
        rates.append(made.param_groups[0]["lr"])
    assert rates == pytest.approx([0.001] * 3 + [0.0005] * 4 + [0.00025])


def test_a_plateau_lowers_the_rate_after_ten_epochs_without_gain_three_times_at_most() -> None:
    made = trainer(RECIPES["hara2017-kinetics"])
    rates = []
    for epoch in range(60):
        made.epoch_ended(Validation(loss=1.0 if epoch else 2.0, top1=0.5, top5=1.0))
        rates.append(made.lr)
    # The best loss is epoch 2's; the ten after it gain nothing.
    assert [rates[10], rates[11]] == pytest.approx([0.1, 0.01])
    assert rates[21] == pytest.approx(0.001)
    assert rates[31] == rates[-1] == pytest.approx(0.0001)
    with pytest.raises(FeatxError, match=telling("validation")):
        made.epoch_ended(None)


def test_accumulated_passes_make_the_update_of_one_batch(videos: Path, tmp_path: Path) -> None:
    # Batch norm sees one pass at a time; frozen, it sees nothing, and the updates are the same sums in another order.
    base = {**SMALL["overrides"], "freeze": "conv5", "duration": "4", "unit": "iterations"}
    states = []
    for accumulate in ("1", "3"):
        settings = train_settings(
            dataset=str(videos),
            **{**SMALL, "overrides": {**base, "batch": "6", "accumulate": accumulate}},
        )
        run_training(settings, tmp_path / accumulate)
        states.append(read_state(tmp_path / accumulate / "last.safetensors").state)
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-5, atol=1e-6)
    losses = [[float(r["loss"]) for r in rows(tmp_path / a, "steps.csv")] for a in ("1", "3")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_two_processes_train_as_one_does(videos: Path, tmp_path: Path) -> None:
    """Two of torchrun's processes (gloo) with half a batch each: one process's two passes, batch norm's batches included."""
    overrides = {**SMALL["overrides"], "batch": "6", "duration": "4", "unit": "iterations"}
    threads = torch.get_num_threads()
    torch.set_num_threads(
        1
    )  # as each of the two has: sums in another order become other sums within a few updates
    try:
        one = {**overrides, "accumulate": "2"}
        run_training(
            train_settings(dataset=str(videos), validate="none", **{**SMALL, "overrides": one}),
            tmp_path / "one",
        )
    finally:
        torch.set_num_threads(threads)
    args = ["train", "--model", MODEL, "--device", "cpu", "--recipe", "tran2017-ucf101",
            "--workers", 1, "--dataset", videos, tmp_path / "two"]  # fmt: skip
    args += [a for name, value in overrides.items() for a in ("--set", f"{name}={value}")]
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, *tiny.command(*args)[1:]], capture_output=True, text=True, timeout=240, env=env
    )
    assert done.returncode == 0, done.stderr
    losses = [
        [float(r["loss"]) for r in rows(tmp_path / name, "steps.csv")] for name in ("one", "two")
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert [row["step"] for row in rows(tmp_path / "two", "epochs.csv")] == ["2", "4"]
    a, b = (read_state(tmp_path / name / "last.safetensors").state for name in ("one", "two"))
    for name, value in a.items():
        if (
            "running" not in name and "tracked" not in name
        ):  # each process has its own statistics of its clips; the first one's are kept
            torch.testing.assert_close(value, b[name], rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"recipe": "tran2018"}, ("'tran2018'",)),
        ({"model": "res3e"}, ("'res3e'", "res3d")),
        ({"precision": "bf16"}, ("bf16",)),
        ({"precision": "half"}, ("'half'", "auto", "bf16", "float32")),
        ({"weights": "nothing.pth"}, ("nothing.pth",)),
        (
            {
                "crop": 8,
                "model": "hara_resnet18",
                "frames": 16,
                "overrides": {"batch": "7", "accumulate": "2"},
            },
            (7, 2),
        ),
        ({"validate": "none", "recipe": "hara2018-scratch"}, ("hara2018-scratch", "schedule.kind")),
        ({"validate_every": 2, "recipe": "hara2018-scratch"}, ("epoch",)),
        ({"validate": "dev"}, ("'dev'",)),
        ({"protocol": "best"}, ("'best'",)),
        ({"workers": 0}, ("workers", 0)),
        ({"seed": -1}, ("seed", -1)),
        ({"model": "c3d", "crop": 16, "frames": 16}, ("16x16",)),
        ({"clip": ClipSpec(frames=4, stride=4), "step": 2}, ("step",)),
    ],
)
def test_wrong_settings_are_told_in_a_sentence(
    videos: Path, tmp_path: Path, values: dict[str, Any], told: tuple[object, ...]
) -> None:
    with pytest.raises(UsageError, match=telling(*told)):
        run_training(train_settings(dataset=str(videos), **{**SMALL, **values}), tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def test_the_command_tells_wrong_use(videos: Path, tmp_path: Path) -> None:
    wrong = featx("train", "--model", "res2d", "--dataset", videos, "--set", "lr", tmp_path / "run")
    assert (wrong.returncode, tells(wrong.stderr, "Error:", "--set lr")) == (2, True)
    gone = featx(
        "train",
        "--model",
        "res2d",
        "--dataset",
        "ucf101",
        tmp_path / "run",
        env={"FEATX_DATA": str(tmp_path / "data")},
    )
    assert gone.returncode == 2
    assert tells(gone.stderr, "ucf101", tmp_path / "data")
    assert gone.stderr.count("\n") == 1
    recipes = featx("train", "--list-recipes")
    assert recipes.returncode == 0
    assert all(name in recipes.stdout for name in RECIPES)
