"""Training and fine-tuning of the backbones, as the papers do."""

from featx.training.loop import Progress, Validation
from featx.training.plan import Plan, TrainSettings, plan
from featx.training.recipes import RECIPES, Recipe, Schedule, recipe
from featx.training.run import TrainReport, train
from featx.training.sampling import AUGMENTATIONS, Augmentation, augmentation

__all__ = [
    "AUGMENTATIONS",
    "RECIPES",
    "Augmentation",
    "Plan",
    "Progress",
    "Recipe",
    "Schedule",
    "TrainReport",
    "TrainSettings",
    "Validation",
    "augmentation",
    "plan",
    "recipe",
    "train",
]
