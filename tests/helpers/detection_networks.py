"""S-CNN's networks for tests of detection: tiny ones with random weights, in a folder as `featx detect train` leaves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny
import torch

from featx import create_model
from featx.clips import window_spec
from featx.datasets.untrimmed import Annotations, Instance
from featx.tasks.localization._networks import write_instances
from featx.weights.checkpoint import save_checkpoint

CLASSES = ("MoveLeft", "RotateCw")


LENGTHS = (16, 32, 64)


def instances(*spans: tuple[int, float]) -> Annotations:
    found = tuple(Instance("v", label, 0.0, seconds) for label, seconds in spans)
    return Annotations(
        name="val", classes=CLASSES, numbers=None, instances=found, ambiguous=(), videos=("v",)
    )


def write_networks(folder: Path, *, background: float = 0.0) -> Path:
    """Write two networks with random weights, whose probabilities differ by window. background: added to its logit."""
    for number, (stage, labels) in enumerate(
        (("proposal", ("background", "action")), ("localization", ("background", *CLASSES)))
    ):
        model = create_model(tiny.NAME, num_classes=len(labels), seed=number + 1)
        with torch.no_grad():
            classifier: Any = model.get_submodule(model.classifier)
            classifier.weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(number))
            classifier.bias[0] += background
        (folder / stage).mkdir()
        save_checkpoint(
            folder / stage / "last.safetensors",
            model,
            architecture=tiny.NAME,
            transform=tiny.ENTRY.transform,
            clip=window_spec(4, lengths=LENGTHS),
            info={"name": stage, "source": "a test", "licence": None, "labels": list(labels)},
        )
    write_instances(folder, instances((0, 1.0), (0, 0.7), (1, 2.4)))
    return folder
