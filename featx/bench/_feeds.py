"""Where the clips come from whose training is measured: a row of functions a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from featx.datasets import Item
from featx.models import ModelEntry
from featx.synthetic import motion
from featx.training import generated
from featx.training.batches import Batches, Epochs
from featx.training.clips import DrawSettings
from featx.training.loader import Loader, Stream
from featx.training.loop import Trainer
from featx.training.recipes import GENERATED_MOTION, Recipe, default_recipe, recipe
from featx.training.videos import SLOTS
from featx.video.seek import DECODER


@dataclass(frozen=True, kw_only=True)
class Feed:
    """What is the same for all models.

    what: makes the clips, in words. overlaps: whether it does so while a GPU computes. settles: whether it takes an epoch to
        come to its speed. videos, workers: as in MeasuredTraining. classes: of its labels; None where any will do.
    stream, batches: as of a `featx.training.source.Source`.
    """

    what: str
    overlaps: bool
    settles: bool
    videos: int | None
    workers: int | None
    classes: int | None
    stream: Callable[[Recipe], Epochs]
    batches: Callable[[ModelEntry, Trainer], Batches]


def chosen_recipe(
    family: str, name: str | None, overrides: Mapping[str, str], *, generated_clips: bool
) -> tuple[str, Recipe]:
    """Return a recipe and its name, by default that of a family of models or of generated clips.

    Raises UsageError for a recipe or field that does not exist, and for a recipe that is not for generated clips.
    """
    own = GENERATED_MOTION if generated_clips else default_recipe(family, finetune=False)
    chosen = recipe(name or own, overrides)
    if generated_clips:
        generated.check_recipe(chosen)
    return name or own, chosen


def decoded(paths: Sequence[str], *, workers: int, timeout: float) -> Feed:
    """Clips of videos, from decoding processes."""
    items = [Item(id=path, path=path, label=0) for path in paths]

    def stream(chosen: Recipe) -> Stream:
        return Stream(items, clips_per_video=chosen.clips_per_video, seed=0)

    def batches(entry: ModelEntry, trainer: Trainer) -> Loader:
        return Loader(
            stream(trainer.recipe),
            trainer.places(),
            DrawSettings(
                entry.clip, entry.transform, DECODER, SLOTS, None, trainer.recipe.augmentation
            ),
            batch=trainer.part,
            workers=workers,
            pin=trainer.processes.device.type == "cuda",
            timeout=timeout,
        )

    # A process looks for a video's key frames once, and remembers them: an epoch, in which all are seen, is not counted.
    return Feed(
        what="input pipeline", overlaps=True, settles=True, videos=len(items), workers=workers, classes=None,
        stream=stream, batches=batches,
    )  # fmt: skip


def made() -> Feed:
    """Clips that are generated on the device that trains."""

    def batches(entry: ModelEntry, trainer: Trainer) -> generated.Maker:
        place = trainer.processes.device
        return generated.Maker(
            trainer.places(),
            seed=0,
            frames=entry.clip.frames,
            size=entry.transform.crop,
            device=place,
        )

    return Feed(
        what="generator",
        overlaps=False,
        settles=False,
        videos=None,
        workers=None,
        classes=len(motion.CLASSES),
        stream=lambda _: generated.Stream(generated.EPOCH_CLIPS),
        batches=batches,
    )
