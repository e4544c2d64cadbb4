"""The papers' first claim: on videos whose class is motion alone, a 3D ResNet learns it and a 2D ResNet cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.datasets import load_dataset
from featx.evaluation import evaluate
from featx.generated import write_dataset
from featx.preparation import Settings
from featx.training import TrainSettings, train

CLASSES = ["move_left", "move_right", "move_up", "move_down"]
# As in README.md: 864 videos of 64 x 48 pixels to train on, crops of 32 x 32; no mirroring, which would change left and right.
OVERRIDES = {
    "lr": "0.003", "batch": "16", "unit": "epochs", "duration": "8", "clips_per_video": "1", "augmentation.flip": "0",
    "schedule.unit": "epochs", "schedule.every": "6",
}  # fmt: skip


@pytest.mark.slow
def test_res3d_beats_the_2d_resnet_by_twenty_points_on_motion(tmp_path: Path) -> None:
    write_dataset("ucf101", tmp_path, classes=CLASSES, per_class=300, seconds=1.2, size=(48, 64))
    root = tmp_path / "ucf101"
    accuracy = {}
    for model in ("res3d", "res2d"):
        settings = TrainSettings(
            model=model, dataset="ucf101", root=str(root), recipe="tran2017-ucf101", overrides=OVERRIDES, crop=32, device="cpu",
            validate="none",
        )  # fmt: skip
        train(settings, tmp_path / model)
        weights = str(tmp_path / model / "last.safetensors")
        test = load_dataset("ucf101", root=root, subset="test")
        found = evaluate(Settings(model=model, weights=weights, device="cpu"), test, protocol="tran2017")
        assert len(found.ids) == 336
        accuracy[model] = found.top1.value
    assert accuracy["res3d"] > accuracy["res2d"] + 0.2, accuracy
