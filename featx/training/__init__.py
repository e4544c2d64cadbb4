"""Training and fine-tuning of the backbones, as the papers do."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Resolved on first use: the decoding processes import this package, and torch would cost each a second and 200 MB.
_PUBLIC = {
    "AUGMENTATIONS": "sampling",
    "RECIPES": "recipes",
    "Augmentation": "sampling",
    "Plan": "plan",
    "Preset": "plan",
    "Progress": "loop",
    "Recipe": "recipes",
    "Schedule": "recipes",
    "RunOptions": "settings",
    "TrainHooks": "run",
    "TrainReport": "run",
    "TrainSettings": "settings",
    "Validation": "loop",
    "augmentation": "sampling",
    "clock_frames": "clips",
    "finished": "folder",
    "make_plan": "plan",
    "preset": "plan",
    "recipe": "recipes",
    "run_training": "run",
    "train": "run",
    "train_settings": "settings",
}

__all__ = [
    "AUGMENTATIONS",
    "RECIPES",
    "Augmentation",
    "Plan",
    "Preset",
    "Progress",
    "Recipe",
    "RunOptions",
    "Schedule",
    "TrainHooks",
    "TrainReport",
]
__all__ += [
    "TrainSettings",
    "Validation",
    "augmentation",
    "clock_frames",
    "finished",
    "make_plan",
    "preset",
    "recipe",
    "run_training",
    "train",
    "train_settings",
]

if TYPE_CHECKING:
    from featx.training.clips import clock_frames
    from featx.training.folder import finished
    from featx.training.loop import Progress, Validation
    from featx.training.plan import Plan, Preset, make_plan, preset
    from featx.training.recipes import RECIPES, Recipe, Schedule, recipe
    from featx.training.run import TrainHooks, TrainReport, run_training, train
    from featx.training.sampling import AUGMENTATIONS, Augmentation, augmentation
    from featx.training.settings import RunOptions, TrainSettings, train_settings


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'featx.training' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"featx.training.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value
