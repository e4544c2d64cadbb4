"""A dataset through a network: the extraction's own pipeline, with the class probabilities as its layer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from featx.clips import ClipSpec
from featx.datasets import GENERATED_CLIPS, Dataset, DatasetRef
from featx.errors import FeatxError, UsageError, nearest
from featx.evaluation._protocols import protocol_named
from featx.evaluation._result import Evaluation
from featx.extraction.backends import PROB
from featx.extraction.engine import Rows, Sink
from featx.extraction.extract import Report
from featx.extraction.prepare import prepare
from featx.extraction.progress import shown
from featx.extraction.settings import (
    ClipOptions,
    Hooks,
    Machine,
    Settings,
    TransformOptions,
    compose,
    takes_options,
)
from featx.system.terminal import bar
from featx.video.cutting import Summary

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from featx.extraction.settings import Options
    from featx.transforms import Transform
    from featx.weights.checkpoint import LoadedModel


class _Videos(Sink):
    """Takes the clips' probabilities and averages each video's once it is complete."""

    def __init__(self, ids: Sequence[str], accepted: Sequence[tuple[int, ...]]) -> None:
        self._ids, self._accepted = ids, accepted
        self._rows: dict[int, dict[int, npt.NDArray[np.float32]]] = {}
        self.means: dict[int, npt.NDArray[np.float32]] = {}
        self.clips = np.zeros(len(ids), np.int64)
        self.right = np.zeros(len(ids), np.int64)
        self.reasons: dict[int, str] = {}
        self.damaged: dict[int, int] = {}
        self.looped = 0

    def rows(self, key: int, clips: list[int], rows: Rows) -> None:
        if not np.isfinite(rows[PROB]).all():
            raise FeatxError(
                f"the probabilities of {self._ids[key]} are no finite numbers: the weights are damaged, or training diverged"
            )
        self._rows.setdefault(key, {}).update(zip(clips, rows[PROB], strict=True))

    def restarted(self, key: int) -> None:
        self._rows.pop(key, None)

    def done(self, key: int, summary: Summary, batch_size: int) -> None:
        by_clip = self._rows.pop(key)
        # In the clips' order, in which they need not have come: a sum's last bits depend on it.
        rows = np.stack([by_clip[clip] for clip in sorted(by_clip)])
        self.means[key] = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.clips[key] = len(rows)
        self.right[key] = int(np.isin(rows.argmax(axis=1), self._accepted[key]).sum())
        self.looped += summary.looped
        if summary.damaged_frames:
            self.damaged[key] = summary.damaged_frames

    def failed(self, key: int, reason: str) -> None:
        self.reasons[key] = reason


@takes_options
def evaluate(
    checkpoint: str | os.PathLike[str],
    dataset: str | os.PathLike[str] | DatasetRef | Dataset,
    *,
    protocol: str = "tran2017",
    subset: str = "test",
    root: str | os.PathLike[str] | None = None,
    split: int = 1,
    partial: bool = False,
    holdout: float = 0.2,
    model: str | None = None,
    seed: int | None = None,
    clip: ClipOptions | ClipSpec | None = None,
    transform: TransformOptions | Transform | None = None,
    machine: Machine | None = None,
    flow_cache: str | os.PathLike[str] | None = None,
    hooks: Hooks | None = None,
    progress: bool | None = None,
    **options: Unpack[Options],
) -> Evaluation:
    """Recognise a dataset's videos, or the labelled parts of them, and compare with the labels.

    The dataset's classes are found by name among the checkpoint's labels, all of which can be predicted. Videos that
    cannot be read are listed with their reasons and count as wrong.

    Args:
        checkpoint: A file, a registered checkpoint, or "random".
        dataset: A name such as "ucf101", a folder of class folders, a csv; "generated" for held-out generated clips;
            a `DatasetRef`; or a `Dataset` that is loaded already.
        protocol: Clips and crops to average: "clip", "tran2017", "hara" or "asymmetric".
        subset, root, split, partial, holdout: As `load_dataset` takes them, for a dataset by name.
        model: The checkpoint's model, where its file does not say.
        seed: Seed for random weights, 0 by default; of generated clips, by default that of the checkpoint's run.
        clip, transform, machine, flow_cache: As in `featx.extract`. What the protocol says is the protocol's.
        hooks: Functions called while videos pass.
        progress: True shows a progress bar, False shows none. None shows one if a person watches.
        **options: Fields of `ClipOptions`, `TransformOptions` and `Machine`, such as `device="cpu"`.

    Returns:
        Accuracies with their intervals, and every video's probabilities.

    Raises:
        UsageError: For a class that the checkpoint does not know, where it has no labels and another number of
            classes, or no classifier, and for wrong arguments.
        FeatxError: If not one video can be read.
    """
    from featx.evaluation._generated import evaluate_generated
    from featx.weights.checkpoint import architecture_of

    weights = os.fspath(checkpoint)
    asked = compose(
        model or architecture_of(weights),
        weights=weights,
        seed=seed or 0,
        clip=clip,
        transform=transform,
        machine=machine,
        flow_cache=flow_cache,
        **options,
    )
    if dataset in GENERATED_CLIPS:
        with bar("clip", progress=progress, lines=False) as passed:
            return evaluate_generated(asked, str(dataset), seed=seed, on_progress=passed)
    if not isinstance(dataset, Dataset):
        if not isinstance(dataset, DatasetRef):
            dataset = DatasetRef(
                name=dataset, root=root, split=split, partial=partial, holdout=holdout
            )
        dataset = dataset.load(subset)
    with shown(progress, hooks) as hooks:
        return recognise(asked, dataset, protocol=protocol, hooks=hooks)


def recognise(
    settings: Settings,
    dataset: Dataset,
    *,
    protocol: str = "tran2017",
    loaded: LoadedModel | None = None,
    hooks: Hooks | None = None,
) -> Evaluation:
    """Do what `evaluate` does, with settings that are composed and a dataset that is loaded.

    loaded: a network in memory, of the architecture `settings.model`, instead of the one that `settings` names.
    """
    from featx.weights.checkpoint import load_model

    hooks = hooks or Hooks()
    chosen = protocol_named(protocol)
    _leave_to_protocol(settings, protocol)
    if not dataset.items:
        raise UsageError(f"{dataset.title} has no videos: choose another split or subset")
    if loaded is None:
        loaded = load_model(settings.architecture, settings.weights, seed=settings.seed)
    check_classifier(loaded)
    classes, places = places_of(loaded, dataset.classes, dataset.title)
    own = loaded.clip
    loaded = replace(
        loaded, clip=chosen.clip(loaded.clip), transform=chosen.transform(loaded.transform)
    )
    ready = prepare(replace(settings, layers=[PROB]), loaded=loaded)
    if hooks.on_start is not None:
        hooks.on_start(Report("", len(dataset.items), settings=ready.recorded))
    items = dataset.items
    ids = [item.id for item in items]
    labels = [places[item.label] for item in items]
    also = tuple(tuple(places[other] for other in item.also) for item in items)
    jobs = [
        ready.job(key, item.path, start=item.start, end=item.end) for key, item in enumerate(items)
    ]
    videos = _Videos(ids, [(label, *others) for label, others in zip(labels, also, strict=True)])
    stats = ready.run(jobs, videos, on_progress=hooks.on_progress)
    if not videos.means:
        raise FeatxError(
            f"not one of the {len(items)} videos could be read; {items[0].path}: {videos.reasons[0]}"
        )
    probabilities = np.full((len(items), len(classes)), np.nan, np.float32)
    for key, mean in videos.means.items():
        probabilities[key] = mean
    return Evaluation(
        protocol=chosen,
        dataset=dataset.title,
        classes=classes,
        ids=tuple(ids),
        paths=tuple(item.path for item in items),
        labels=np.asarray(labels, np.int64),
        also=also,
        probabilities=probabilities,
        clips=videos.clips,
        clips_right=videos.right,
        failures=tuple(
            (ids[key], items[key].path, reason) for key, reason in sorted(videos.reasons.items())
        ),
        damaged=tuple((ids[key], frames) for key, frames in sorted(videos.damaged.items())),
        looped=videos.looped,
        absent=dataset.absent,
        settings=ready.recorded.to_json(),
        notes=(*dataset.notes, *_notes(classes, dataset, loaded, own), *stats.notes),
    )


def _leave_to_protocol(settings: Settings, protocol: str) -> None:
    """Raise UsageError for what a protocol decides; `extract` leaves it to its user."""
    given: dict[str, object] = {"layers": settings.layers}
    if isinstance(settings.clip, ClipOptions):
        given |= {name: getattr(settings.clip, name) for name in ("stride", "tail", "clips")}
    if isinstance(settings.transform, TransformOptions):
        given |= {name: getattr(settings.transform, name) for name in ("crops", "flip")}
    for name, value in given.items():
        if value is not None:
            raise UsageError(
                f"{name} is {value!r}: leave it out, protocol {protocol} says what it is"
            )


def check_classifier(loaded: LoadedModel) -> None:
    """Raise UsageError where a model recognises nothing."""
    if not loaded.model.has_classifier:
        raise UsageError(
            f"{loaded.weights_info['name']} has no classifier, so it recognises nothing: train or fine-tune it first"
        )


def places_of(
    loaded: LoadedModel, names: tuple[str, ...], title: str
) -> tuple[tuple[str, ...], list[int]]:
    """Return the network's classes, and for each of a dataset's `names` its place among them."""
    outputs = loaded.model.num_classes
    if loaded.labels is None:
        if outputs != len(names):
            raise UsageError(
                f"the checkpoint has {outputs} classes and no names for them, {title} has {len(names)}:"
                " give a checkpoint trained on this dataset"
            )
        return names, list(range(outputs))
    if len(loaded.labels) != outputs:
        raise UsageError(
            f"the checkpoint has {outputs} classes and {len(loaded.labels)} names for them: save it again with featx"
        )
    known = {name: place for place, name in enumerate(loaded.labels)}
    missing = [name for name in names if name not in known]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        hint = nearest(missing[0], known) if len(known) <= 20 else f"; it knows {len(known)} others"
        raise UsageError(
            f"the checkpoint does not know class {missing[0]!r}{others} of {title}{hint}"
        )
    return loaded.labels, [known[name] for name in names]


def _notes(
    classes: Sequence[str], dataset: Dataset, loaded: LoadedModel, own: ClipSpec
) -> list[str]:
    notes = []
    if loaded.labels is None:
        notes.append(
            "the checkpoint has no class names: its outputs are taken to be in the dataset's order"
        )
    if len(classes) > len(dataset.classes):
        notes.append(
            f"the checkpoint knows {len(classes)} classes, the dataset has {len(dataset.classes)}: any can be predicted"
        )
    if scales := own.scales[1:]:
        lengths, shortest = len(scales) + 1, own.at_scales[0].span
        notes.append(
            f"the checkpoint is for clips of {lengths} lengths: the shortest, of {shortest} frames, are evaluated"
        )
    if note := loaded.weights_info.get("note"):
        notes.append(str(note))
    return notes
