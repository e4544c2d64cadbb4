"""A dataset's videos as what a run is trained and validated on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from featx.datasets import Dataset
from featx.errors import UsageError
from featx.evaluation import Evaluation, recognise
from featx.extraction.settings import Machine
from featx.extraction.settings import Settings as ExtractionSettings
from featx.system.processors import cpu_count
from featx.training.clips import DrawSettings
from featx.training.loader import Loader, Stream
from featx.training.recipes import Recipe
from featx.training.settings import TrainSettings
from featx.transforms import Transform
from featx.video.flow_cache import check_folder
from featx.video.seek import DECODER

if TYPE_CHECKING:
    from featx.training.loop import Trainer
    from featx.training.plan import Plan
    from featx.training.processes import Processes
    from featx.weights.checkpoint import LoadedModel

# Slots of a decoding process: one clip may wait to be fetched while the next is decoded.
SLOTS = 2


@dataclass(frozen=True)
class Videos:
    """One side of a dataset to train on and, where there is one, another to validate on; a `featx.training.source.Source`."""

    settings: TrainSettings
    train: Dataset
    val: Dataset | None
    notes: Sequence[str]
    saves_epochs: bool = True

    @property
    def title(self) -> str:
        return self.train.title

    @property
    def size(self) -> str:
        return f"{len(self.train.items)} videos"

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def validated(self) -> str | None:
        return f"{len(self.val.items)} videos ({self.val.subset})" if self.val is not None else None

    @property
    def measured(self) -> Mapping[str, Any]:
        if self.val is None:
            return {}
        return {
            "protocol": self.settings.protocol,
            "on": self.val.title,
            "videos": len(self.val.items),
        }

    def check(self, recipe: Recipe, transform: Transform) -> None:
        """Raise UsageError where there are too few videos."""
        if recipe.batch > 1 and len(self.train.items) < 2:
            raise UsageError(f"{self.train.title} has one video: give more")

    def recorded(self) -> dict[str, Any]:
        """Return what run.json holds of the lists, by their digests, and of the validation."""
        s, train, val = self.settings, self.train, self.val
        return {
            "dataset": {"name": s.dataset.name, "split": s.dataset.split, "partial": s.dataset.partial,
                        "holdout": s.dataset.holdout,
                        "videos": len(train.items), "classes": list(train.classes), "absent": train.absent,
                        "list": _digest(train), "validation list": _digest(val) if val else None,
                        **({"made": dict(train.made)} if train.made else {})},
            "validate": {"subset": val.subset if val else None, "every": s.validate_every, "protocol": s.protocol,
                         "videos": len(val.items) if val else 0},
        }  # fmt: skip

    def epochs(self, recipe: Recipe) -> Stream:
        """Return the stream of clips, drawn in an order of its own in every epoch."""
        return Stream(
            self.train.items, clips_per_video=recipe.clips_per_video, seed=self.settings.run.seed
        )

    def batches(self, planned: Plan, trainer: Trainer) -> Loader:
        """Return a loader, whose decoding processes start when it is entered."""
        s, processes = self.settings, trainer.processes
        flow_cache = check_folder(s.flow_cache) if s.flow_cache is not None else None
        return Loader(
            self.epochs(planned.recipe),
            trainer.places(),
            DrawSettings(
                planned.clip,
                planned.transform,
                DECODER,
                SLOTS,
                flow_cache,
                planned.recipe.augmentation,
                max_pixels=s.run.machine.max_pixels,
            ),
            batch=trainer.part,
            workers=s.run.machine.workers or max(1, cpu_count() // processes.nearby),
            pin=processes.device.type == "cuda",
            timeout=s.run.machine.timeout,
        )

    def evaluated(
        self, planned: Plan, loaded: LoadedModel, precision: str, processes: Processes
    ) -> Evaluation:
        """Return what a network makes of the validation videos, by the settings' protocol."""
        if self.val is None:
            raise ValueError("there are no validation videos")
        s = self.settings
        machine = Machine(
            precision=precision,
            device=str(processes.device),
            workers=s.run.machine.workers,
            timeout=s.run.machine.timeout,
            max_pixels=s.run.machine.max_pixels,
        )
        settings = ExtractionSettings(model=s.model, machine=machine, flow_cache=s.flow_cache)
        return recognise(settings, self.val, protocol=s.protocol, loaded=loaded)

    def told(self, planned: Plan, clips: int) -> dict[str, Any]:
        """Return what a checkpoint tells of the videos; of which licence these are is not known."""
        train = self.train
        size = f"{len(train.items)} {'samples' if train.made else 'videos'}"
        return {
            "what": f"{train.title}: {size} of {len(train.classes)} classes",
            "licence": None,
            "trained_on": {
                "dataset": train.name,
                "split": train.split,
                "subset": train.subset,
                "videos": len(train.items),
                "absent": train.absent,
                **({"made": dict(train.made)} if train.made else {}),
            },
        }


def find_videos(settings: TrainSettings, data: Dataset | None) -> Videos:
    """Return the videos that settings name, or `data`, which has no validation side; errors as `load_dataset`'s."""
    if data is not None:
        return Videos(settings, _checked(data, settings), None, data.notes)
    train = settings.dataset.load("train")
    val, notes = _validation(settings)
    return Videos(settings, train, val, (*train.notes, *notes))


def _checked(data: Dataset, settings: TrainSettings) -> Dataset:
    """Return a dataset that was put together in memory, if it can be trained on by these settings."""
    if settings.dataset.name != data.name:
        raise UsageError(
            f"the dataset is {data.name!r} and the settings name {str(settings.dataset.name)!r}: give its own name"
        )
    if settings.validate not in (None, "none"):
        raise UsageError(
            f"validate is {settings.validate!r}, and a dataset in memory has no other side: leave it out"
        )
    if not data.items:
        raise UsageError(f"{data.title} has no videos: give some")
    return data


def _validation(settings: TrainSettings) -> tuple[Dataset | None, list[str]]:
    if settings.validate == "none":
        return None, []
    if settings.validate is not None:
        return settings.dataset.load(settings.validate), []
    if "val" in settings.dataset.lists.about.subsets:
        return settings.dataset.load("val"), []
    found = settings.dataset.load("test")
    return found, [
        f"validated on {found.title}, as the papers do: an accuracy there of best.safetensors, which it chose, flatters;"
        " last.safetensors is not chosen"
    ]


def _digest(dataset: Dataset) -> str:
    """Return what tells a list of videos, with their labels and parts, from another."""
    # Overlaps where there are any: lists without them have had the same digest before.
    items = [
        (
            item.id,
            item.label,
            item.start,
            item.end,
            *((item.overlap,) if item.overlap != 1.0 else ()),
        )
        for item in dataset.items
    ]
    return hashlib.sha256(json.dumps(items).encode()).hexdigest()
