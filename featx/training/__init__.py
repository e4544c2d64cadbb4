"""Training and fine-tuning of the backbones, as the papers do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featx.system.lazy import lazy

# Resolved on first use: the decoding processes import this package, and torch would cost each a second and 200 MB.
_PUBLIC = {
    "AUGMENTATIONS": "featx.training.sampling",
    "Augmentation": "featx.training.sampling",
    "Plan": "featx.training.plan",
    "Preset": "featx.training.plan",
    "Progress": "featx.training.loop",
    "RECIPES": "featx.training.recipes",
    "Recipe": "featx.training.recipes",
    "RunOptions": "featx.training.settings",
    "Schedule": "featx.training.recipes",
    "TrainHooks": "featx.training.run",
    "TrainReport": "featx.training.run",
    "TrainSettings": "featx.training.settings",
    "Validation": "featx.training.loop",
    "augmentation": "featx.training.sampling",
    "clock_frames": "featx.training.clips",
    "finished": "featx.training.folder",
    "make_plan": "featx.training.plan",
    "preset": "featx.training.plan",
    "recipe": "featx.training.recipes",
    "run_training": "featx.training.run",
    "train": "featx.training.run",
    "train_settings": "featx.training.settings",
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

__getattr__, __dir__ = lazy(__name__, _PUBLIC)
