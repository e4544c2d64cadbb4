"""The whole of temporal localization on generated video: three networks trained, actions found, held against chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import registered, residual

from featx.clips import ClipSpec
from featx.datasets import thumos14
from featx.synthetic.layouts import write_dataset
from featx.tasks.localization import NetworkSettings, detect, train_networks
from featx.tasks.localization._detect import evaluate_found
from featx.tasks.localization._types import Windows
from featx.transforms import Transform

# Res3D's stages with one block each, a quarter of the width, on 40 x 40 pixels.
SMALL = residual(
    "small_res3d",
    width=16,
    num_classes=5,
    clip=ClipSpec(frames=8, step=2, stride=16),
    transform=Transform(resize=(46, 61), crop=40, mean=(128.0,) * 3, std=(64.0,) * 3),
)
# From nothing, where the recipes fine-tune: other rates, and no mirror image, which would turn what moves left around.
FROM_NOTHING = {
    "lr": "0.02",
    "last_layer": "1",
    "last_bias": "1",
    "batch": "16",
    "augmentation.flip": "0",
    "duration": "16",
    "classification.duration": "24",
    "classification.schedule.every": "6",
    "localization.duration": "8",
    "localization.schedule.every": "2",
    "localization.lr": "0.005",
}


def shuffled(windows: Windows, seed: int) -> Windows:
    """What the localization network says of the windows, class and score, given to others of them."""
    order = np.random.default_rng(seed).permutation(len(windows))
    return replace(windows, score=windows.score[order], label=windows.label[order])


@pytest.fixture
def small() -> Iterator[None]:
    with registered(SMALL):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_networks_trained_on_generated_video_find_its_actions(tmp_path: Path) -> None:
    classes = ["move_left", "rotate_cw", "grow", "move_down"]
    write_dataset("thumos14", tmp_path, classes=classes, per_class=12, seconds=30.0, size=(48, 64))
    root, networks = str(tmp_path / "thumos14"), tmp_path / "networks"
    train_networks(
        NetworkSettings(model=SMALL.name, weights="random", root=root, overrides=FROM_NOTHING),
        networks,
    )
    out = str(tmp_path / "found.json")
    done = detect(
        networks=str(networks), subset="test", root=root, out=[out], tious=(0.5,), bootstrap=200
    )
    at = done.evaluations[0].thresholds[0]
    truth = thumos14.load_annotations("test", root=root)
    chance = [
        evaluate_found(
            replace(done.found, windows=shuffled(done.found.windows, seed)), truth, tious=(0.5,)
        )[0]
        .thresholds[0]
        .mean_ap
        for seed in range(5)
    ]
    print(f"mAP at 0.5: {at.mean_ap:.3f} {at.interval}, shuffled {np.round(chance, 3)}")
    # The least the interval allows, against the luckiest shuffle.
    assert at.interval is not None
    assert at.interval[0] >= 3 * max(chance)
