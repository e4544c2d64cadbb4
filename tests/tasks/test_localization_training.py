"""S-CNN's three stages: they come to the same end however often they are stopped, and say what they cannot do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from click.testing import CliRunner
from told import telling, tells

from featx.clips import window_spec
from featx.datasets import DatasetRef, Item
from featx.errors import FeatxError, UsageError
from featx.extraction.settings import Machine
from featx.synthetic.layouts import write_dataset
from featx.tasks.cli.detect_train import train as command
from featx.tasks.localization import Matching, NetworkSettings, networks_json, train_networks
from featx.tasks.localization._networks import read_networks
from featx.tasks.localization._train import gather
from featx.tasks.localization._training_sets import STAGES, training_set
from featx.training import RunOptions, finished, make_plan, run_training, train_settings
from featx.weights.checkpoint import load_model
from featx.weights.statefile import read_state

MATCHING = Matching()


@pytest.fixture(scope="module", autouse=True)
def network(tiny_network: None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # Half a second for each of the many runs here; test_training.py looks at the curves.
        patch.setattr("featx.training.curves.plot_curves", lambda *_, **__: None)
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("data")
    write_dataset(
        "thumos14",
        base,
        classes=["move_left", "rotate_cw"],
        per_class=1,
        seconds=12.0,
        size=(48, 64),
    )
    return base / "thumos14"


OVERRIDES = {"duration": "2", "unit": "iterations", "batch": "4", "proposal.lr": "0.01"}


def settings(where: Path, *, seed: int = 0, **values: Any) -> NetworkSettings:
    asked = {
        "model": tiny.NAME,
        "weights": "random",
        "root": str(where),
        "overrides": OVERRIDES,
        "run": RunOptions(seed=seed, machine=Machine(device="cpu", workers=1)),
    }
    return NetworkSettings(**{**asked, **values})


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three networks that nothing interrupted."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    seen: list[Any] = []
    report = train_networks(
        settings(root),
        out,
        on_stage=lambda *told: seen.append(told),
        on_indexed=lambda *told: seen.append(told),
    )
    assert [each.stage for each in report.networks] == list(STAGES)
    assert seen[:3] == [(0, 2), (1, 2), (2, 2)]
    assert [(stage, samples.total) for stage, _, samples, _ in seen[3:]] == [
        (n.stage, n.samples.total) for n in report.networks
    ]
    return out


def info(out: Path, stage: str) -> dict[str, Any]:
    found: dict[str, Any] = read_state(out / stage / "last.safetensors").described["info"]
    return found


def test_checkpoints_say_which_windows_and_classes_they_are_for(whole: Path) -> None:
    labels = {"proposal": ("background", "action")}
    for stage in STAGES:
        loaded = load_model(tiny.NAME, finished(whole / stage) or "")
        assert loaded.labels == labels.get(stage, ("background", "MoveLeft", "RotateCw"))
        assert loaded.clip == window_spec(4)
    assert [info(whole, stage)["training"]["loss" if stage == "localization" else "recipe"] for stage in STAGES] == [
        "scnn-proposal", "scnn-classification", "overlap",
    ]  # fmt: skip
    assert [info(whole, stage)["training"]["lr"] for stage in STAGES] == [0.01, 0.001, 0.001]
    began = info(whole, "localization")["training"]["from"]
    assert began["sha256"] == read_state(whole / "classification" / "last.safetensors").sha256
    instances = read_networks(whole).instances
    assert instances is not None
    assert set(instances.classes) == {"MoveLeft", "RotateCw"}
    told = info(whole, "localization")
    made = told["trained_on"]["made"]
    assert (made["stage"], made["tiou"]) == (
        "localization",
        {"positive": 0.7, "best": 0.5, "background": 0.3},
    )
    assert made["generated"] is True
    samples = made["trimmed"] + made["windows"] + made["background"]
    assert tells(told["source"], f"{samples} samples", "3 classes")


def test_windows_have_the_overlap_that_the_annotations_give(root: Path) -> None:
    material = gather(window_spec(4), root=str(root))
    assert sum(len(matched.row) for _, matched in material.videos) > 2
    for video, matched in material.videos:
        assert (matched.overlap > 0.5).all()
        assert (video.end <= 12 + 1e-9).all()
    whole_frames = make_plan(
        train_settings(
            model=tiny.NAME,
            dataset="thumos14",
            recipe="scnn-localization",
            clip=window_spec(4),
            validate="none",
        ),
        training_set(
            "localization",
            material.annotations.classes,
            material.trimmed,
            material.videos,
            matching=MATCHING,
            seed=0,
        )[0],
    )
    assert whole_frames.recipe.augmentation.temporal == "whole"


def test_three_stages_interrupted_after_every_update_come_to_the_same_numbers(
    whole: Path, root: Path, tmp_path: Path
) -> None:
    stops = 0
    while True:
        try:
            train_networks(
                settings(root),
                tmp_path / "run",
                on_progress=lambda _: signal.raise_signal(signal.SIGINT),
            )
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 3  # of two updates each, at the latest after the second
    for stage in STAGES:
        for name in ("steps.csv", "last.safetensors"):
            assert (tmp_path / "run" / stage / name).read_bytes() == (
                whole / stage / name
            ).read_bytes(), (stage, name)


def test_what_is_finished_is_not_trained_again_and_other_settings_are_refused(
    whole: Path, root: Path
) -> None:
    before = {stage: (whole / stage / "last.safetensors").stat().st_mtime_ns for stage in STAGES}
    report = train_networks(settings(root), whole)
    assert [each.report.new for each in report.networks] == [0, 0, 0]
    assert {
        stage: (whole / stage / "last.safetensors").stat().st_mtime_ns for stage in STAGES
    } == before
    for values, differ in (
        ({"overrides": {**OVERRIDES, "proposal.lr": "0.02"}}, ("recipe.lr", 0.01, 0.02)),
        ({"matching": Matching(positive=0.6)}, ("dataset.made.tiou.positive", 0.7, 0.6)),
        ({"fps": None}, ("clip.fps", 25.0, None)),
        ({"stage": "localization", "seed": 1}, ("seed", 0, 1)),
    ):
        with pytest.raises(UsageError, match=telling(*differ)):
            train_networks(settings(root, **values), whole)


def test_a_stage_alone_needs_the_one_it_starts_from(
    whole: Path, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=telling(tmp_path / "run" / "classification")):
        train_networks(settings(root, stage="localization"), tmp_path / "run")
    long = {**OVERRIDES, "duration": "3"}
    with pytest.raises(KeyboardInterrupt):
        train_networks(
            settings(root, stage="classification", overrides=long),
            tmp_path / "run",
            on_progress=lambda _: signal.raise_signal(signal.SIGINT),
        )
    assert (tmp_path / "run" / "classification" / "last.safetensors").exists()
    with pytest.raises(UsageError, match=telling(tmp_path / "run" / "classification")):
        train_networks(settings(root, stage="localization"), tmp_path / "run")
    # With the classification network there, weights of a backbone are not asked for.
    again = train_networks(settings(root, stage="localization", weights=None), whole)
    assert [each.stage for each in again.networks] == ["localization"]


@pytest.mark.parametrize(
    ("values", "differ"),
    [
        ({"stage": "localization", "lengths": (16, 32)}, ("16, 32, 64", "16, 32 ")),
        ({"stage": "localization", "fps": None}, ("25 fps",)),
        ({"stage": "localization", "crop": 16}, ("28 pixels", "16 pixels")),
        ({"stage": "proposal", "overlap": 0.5}, (0.25, 0.5)),
        ({"overlap": 0.5}, (0.25,)),
    ],
)
def test_a_network_that_would_not_go_with_the_others_is_refused_before_it_is_trained(
    whole: Path, root: Path, tmp_path: Path, values: dict[str, Any], differ: tuple[object, ...]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole / "classification", out / "classification")
    with pytest.raises(UsageError, match=telling("classification", *differ)):
        train_networks(settings(root, **values), out)
    assert [path.name for path in out.iterdir()] == ["classification"]
    (out / "classification" / "run.json").write_text("{}")
    with pytest.raises(FeatxError, match=telling("run.json")):
        train_networks(settings(root, stage="proposal"), out)


def test_killed_at_any_time_the_same_command_continues(
    whole: Path, root: Path, tmp_path: Path
) -> None:
    """By kill -9 in the second stage of the command, whose results are the function's to the bit."""
    args = ["detect", "train", "--model", tiny.NAME, "--weights", "random", "--root", str(root)]
    args += ["--device", "cpu", "--workers", "1", "--save-seconds", "0", str(tmp_path / "run")]
    args += [a for name, value in OVERRIDES.items() for a in ("--set", f"{name}={value}")]
    env = dict(os.environ)
    with subprocess.Popen(
        tiny.command(*args), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
    ) as process:
        steps = tmp_path / "run" / "classification" / "steps.csv"
        while process.poll() is None:
            if steps.exists() and len(steps.read_bytes().splitlines()) > 1:
                process.kill()
                break
            time.sleep(0.005)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "run" / "localization").exists()
    report = train_networks(settings(root), tmp_path / "run")
    told = networks_json(report)
    assert [each["report"]["steps"] for each in told["networks"]] == [2, 2, 2]
    assert [each["report"]["new"] for each in told["networks"]][::2] == [0, 2]
    assert told["networks"][0]["samples"]["trimmed"] == 8
    assert told["clip"] == window_spec(4).to_dict()
    for stage in STAGES:
        for name in ("steps.csv", "last.safetensors"):
            assert (tmp_path / "run" / stage / name).read_bytes() == (
                whole / stage / name
            ).read_bytes(), (stage, name)


def test_the_command_says_what_is_trained_on(whole: Path, root: Path, tmp_path: Path) -> None:
    args = ["--model", tiny.NAME, "--weights", "random", "--device", "cpu", "--workers", "1"]
    args += [a for name, value in OVERRIDES.items() for a in ("--set", f"{name}={value}")]
    done = CliRunner().invoke(
        command, [*args, "--root", str(root), "--json", str(whole)], standalone_mode=False
    )
    assert done.return_value == 0, done.output
    told = json.loads(done.stdout)
    assert [each["stage"] for each in told["networks"]] == list(STAGES)
    samples = told["networks"][0]["samples"]
    assert samples["background"] == samples["trimmed"] + samples["windows"]
    assert (
        sum(each["trimmed"] + each["windows"] for each in samples["classes"].values())
        == samples["background"]
    )
    assert told["clip"]["scales"] == [1, 2, 4, 8, 16, 32]
    (note,) = told["notes"]
    assert tells(note, "generated")
    said = " ".join(done.stderr.split())
    assert tells(said, "8 trimmed videos", "4 frames", "16, 32, 64, 128, 256, 512", "25 frames")
    assert max(map(len, done.stderr.splitlines())) <= 100
    # A video that cannot be read costs that video, and the exit status says so.
    some = tmp_path / "thumos14"
    shutil.copytree(root, some)
    (some / "validation" / "video_validation_0000002.mp4").write_bytes(b"no video")
    args += ["--stage", "proposal", "--fps", "own"]
    short = CliRunner().invoke(
        command, [*args, "--root", str(some), str(tmp_path / "run")], standalone_mode=False
    )
    assert short.return_value == 1, short.output
    assert tells(short.stderr, "video_validation_0000002")
    assert not tells(" ".join(short.stderr.split()), "25 frames")
    assert info(tmp_path / "run", "proposal")["trained_on"]["made"]["unread"] == [
        "video_validation_0000002"
    ]


def test_ctrl_c_is_told_by_the_exit_status(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("featx.tasks.localization._train.run_training", stopped)
    args = ["--model", tiny.NAME, "--weights", "random", "--root", str(root), str(tmp_path / "run")]
    done = CliRunner().invoke(command, args, standalone_mode=False)
    assert done.return_value == 130


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"weights": None}, ("tiny_resnet", "weights", "random")),
        ({"overrides": {"localization.lrr": "1"}}, ("'lrr'",)),
        ({"stage": "detection"}, ("stage", "'detection'")),
        ({"lengths": (16, 24)}, (16, 24)),
        ({"frames": 5}, (5,)),
        ({"overlap": 1.0}, ("overlap", 1)),
        ({"root": "/nowhere"}, ("thumos14", "/nowhere", "https")),
        ({"seed": -1, "root": "/nowhere"}, ("seed", -1)),
        ({"crop": 0, "root": "/nowhere"}, ("crop", 0)),
    ],
)
def test_wrong_settings_are_told_before_anything_is_written(
    root: Path, tmp_path: Path, values: dict[str, Any], told: tuple[object, ...]
) -> None:
    with pytest.raises(UsageError, match=telling(*told)):
        train_networks(settings(root, **values), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_parts_of_the_dataset_are_told(root: Path, tmp_path: Path) -> None:
    some = tmp_path / "thumos14"
    some.mkdir()
    for name in ("annotation_val", "validation", "val_video_info.csv"):
        (some / name).symlink_to(root / name)
    with pytest.raises(UsageError, match=telling(some, "UCF-101")):
        train_networks(settings(some), tmp_path / "run")
    (some / "UCF-101").symlink_to(root / "UCF-101")
    (some / "validation").unlink()
    (some / "validation").mkdir()
    (some / "validation" / "video_validation_0000001.mp4").symlink_to(
        root / "validation" / "video_validation_0000001.mp4"
    )
    with pytest.raises(FeatxError, match=telling(1, 2, "video_validation_0000002", "partial")):
        train_networks(settings(some), tmp_path / "run")
    (some / "validation" / "video_validation_0000002.mp4").write_bytes(b"no video")
    material = gather(window_spec(4), root=str(some))
    assert [name for name, _ in material.unread] == ["video_validation_0000002"]
    (some / "validation" / "video_validation_0000002.mp4").unlink()
    material = gather(window_spec(4), root=str(some), partial=True)
    assert (len(material.videos), material.absent, material.generated) == (1, 1, False)
    classes = material.annotations.classes
    data, _ = training_set(
        "proposal", classes, material.trimmed, material.videos, matching=MATCHING, seed=0
    )
    told = material.told(data)
    assert (told.absent, "generated" in told.made, "unread" in told.made) == (1, False, False)


def test_networks_are_not_written_among_other_things(root: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(UsageError, match=telling(tmp_path, "photo.jpg")):
        train_networks(settings(root), tmp_path)
    with pytest.raises(UsageError, match=telling(tmp_path / "photo.jpg")):
        train_networks(settings(root), tmp_path / "photo.jpg")


def test_fine_tuning_one_of_the_networks_gives_a_network_of_one_length_and_says_so(
    whole: Path, root: Path
) -> None:
    asked = train_settings(
        model=tiny.NAME,
        dataset=str(root / "UCF-101"),
        weights=str(whole / "localization" / "last.safetensors"),
        validate="none",
    )
    plan = make_plan(asked)
    assert plan.clip == replace(window_spec(4), scales=(1,))
    assert any(tells(note, "6 lengths", "16 frames") for note in plan.notes)
    plan = make_plan(replace(asked, recipe="scnn-localization"))
    assert plan.clip == window_spec(4)
    assert any(tells(note, "overlap", "'MoveLeft'", "background") for note in plan.notes)
    assert not any(
        "background" in note
        for note in make_plan(replace(asked, recipe="scnn-classification")).notes
    )


def test_a_dataset_in_memory_is_trained_on_under_its_own_name(root: Path, tmp_path: Path) -> None:
    material = gather(window_spec(4), root=str(root))
    data, _ = training_set(
        "localization",
        material.annotations.classes,
        material.trimmed,
        material.videos,
        matching=MATCHING,
        seed=0,
    )
    asked = train_settings(
        model=tiny.NAME, dataset="thumos14", recipe="scnn-localization", device="cpu", workers=1,
        overrides={"duration": "1", "unit": "iterations", "batch": "2"},
    )  # fmt: skip
    assert make_plan(asked, data).source.validated is None
    run_training(asked, tmp_path / "run", data)
    items = list(data.items)
    place = next(i for i, item in enumerate(items) if item.overlap < 1)
    items[place] = replace(items[place], overlap=0.5)
    with pytest.raises(UsageError, match=telling("dataset.list")):
        run_training(asked, tmp_path / "run", replace(data, items=tuple(items)))
    for given, told in (
        (replace(asked, dataset=DatasetRef(name="ucf101")), "ucf101"),
        (replace(asked, validate="test"), "test"),
    ):
        with pytest.raises(UsageError, match=telling(told)):
            make_plan(given, data)
    with pytest.raises(UsageError, match=telling(data.name)):
        make_plan(asked, replace(data, items=()))
    with pytest.raises(ValueError, match=telling("overlap", 0)):
        Item(id="w", path="w.mp4", label=1, overlap=0.0)
