"""Generated clips that no training shows through a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from featx.datasets import GENERATED_CLIPS
from featx.errors import FeatxError, UsageError
from featx.evaluation._protocols import Whole
from featx.evaluation._result import Evaluation
from featx.evaluation._run import check_classifier, places_of
from featx.extraction.backends import PROB
from featx.extraction.prepare import prepare
from featx.extraction.settings import Settings

if TYPE_CHECKING:
    from featx.weights.checkpoint import LoadedModel

# The first clips of the held-out stream: a standard error of 1.6 points at an accuracy of 50 %.
HELD_OUT = 1_000


def evaluate_generated(
    settings: Settings,
    dataset: str = GENERATED_CLIPS[0],
    *,
    seed: int | None = None,
    loaded: LoadedModel | None = None,
    on_progress: Callable[[int, int | None], None] = lambda *_: None,
) -> Evaluation:
    """Recognise the first HELD_OUT held-out generated clips, which are made on the device, and compare with their labels.

    settings: the network and the device; a clip's frames and size are the checkpoint's. With precision "auto" bf16 is for a GPU
        alone, as in training, so that the answers are those of the run's own validation.
    dataset: the stream's name, one of `featx.synthetic.motion.STREAMS`.
    seed: of the held-out stream; None for that of the checkpoint's run, where it was trained on generated clips, else 0.
    loaded: a model in memory, as for `evaluate`. on_progress: called with how many clips are recognised, of how many.

    Raises UsageError for a checkpoint without a classifier, or whose classes are others, or which takes flow.
    """
    from featx.extraction.backends.eager import resolve_device
    from featx.synthetic import motion
    from featx.weights.checkpoint import load_model

    if loaded is None:
        loaded = load_model(settings.architecture, settings.weights, seed=settings.seed)
    check_classifier(loaded)
    classes, places = places_of(loaded, motion.STREAMS[dataset], f"the {dataset} clips")
    own = _told(loaded)
    seed = own.get("seed", 0) if seed is None else seed
    if seed < 0:
        raise UsageError(f"seed is {seed}: give a whole number from 0")
    on_gpu = resolve_device(settings.machine.device).type == "cuda"
    exact = settings.machine.precision == "auto" and not on_gpu
    precision = "float32" if exact else settings.machine.precision
    # The clips are the network's input as they are: nothing is resized or cut.
    loaded = replace(loaded, transform=replace(loaded.transform, crops="center", flip=False))
    ready = prepare(replace(settings, layers=[PROB]).changed(precision=precision), loaded=loaded)
    transform, device = ready.decode.transform, ready.backend.device
    if transform.input != "rgb":
        raise UsageError(
            f"the input is {transform.input}, and generated clips are RGB frames: give a checkpoint for RGB"
        )
    probabilities, labels = [], []
    for first in range(0, HELD_OUT, ready.batch_size):
        # All batches have one size: a row does not depend on its neighbours, and what the last one has too many is cut off.
        made = motion.clips(
            range(first, first + ready.batch_size),
            seed=seed, frames=ready.decode.clip.frames, size=transform.crop, device=device, held_out=True,
            stream=dataset,
        )  # fmt: skip
        probabilities.append(ready.backend(transform.normalise(made.frames))[PROB])
        labels.append(made.labels)
        on_progress(min(first + ready.batch_size, HELD_OUT), HELD_OUT)
    rows = np.concatenate([each.cpu().numpy() for each in probabilities])[:HELD_OUT]
    if not np.isfinite(rows).all():
        raise FeatxError(
            "the probabilities of generated clips are no finite numbers: the weights are damaged, or training diverged"
        )
    truth = np.asarray(places, np.int64)[
        np.concatenate([each.cpu().numpy() for each in labels])[:HELD_OUT]
    ]
    # What is recorded of decoding is of videos.
    recorded = {
        name: value for name, value in ready.recorded.to_json().items() if name != "decoder"
    }
    stream = f"clips 0 to {HELD_OUT - 1} of the held-out stream of seed {seed}, generator version {motion.VERSION}"
    return Evaluation(
        protocol=Whole(name="held-out", clips=1, crops="center", source=stream),
        dataset=f"{HELD_OUT:,} held-out {dataset} clips",
        classes=classes,
        ids=tuple(f"held-out clip {place}" for place in range(HELD_OUT)),
        paths=("",) * HELD_OUT,
        labels=truth,
        also=((),) * HELD_OUT,
        probabilities=rows,
        clips=np.ones(HELD_OUT, np.int64),
        clips_right=(rows.argmax(axis=1) == truth).astype(np.int64),
        settings={
            **recorded,
            "generated": {"clips": HELD_OUT, "seed": seed, "generator": motion.VERSION},
        },
        notes=_notes(own, loaded, seed, motion.VERSION),
        unit="clip",
    )


def _told(loaded: LoadedModel) -> dict[str, int]:
    """Return the seed and the generator's version that a checkpoint was trained with; none where it says nothing of the kind."""
    told = loaded.weights_info.get("trained_on")
    if not isinstance(told, dict) or told.get("dataset") not in GENERATED_CLIPS:
        return {}
    # A file may say anything.
    return {
        name: value
        for name in ("seed", "generator")
        if type(value := told.get(name)) is int and value >= 0
    }


def _notes(own: dict[str, int], loaded: LoadedModel, seed: int, version: int) -> tuple[str, ...]:
    notes = []
    if own.get("generator", version) != version:
        notes.append(
            f"the checkpoint was trained on clips of generator version {own['generator']}, these are of version {version}"
        )
    if own.get("seed", seed) != seed:
        notes.append(
            f"the checkpoint's run was validated on held-out clips of seed {own['seed']}, these are of seed {seed}"
        )
    if note := loaded.weights_info.get("note"):
        notes.append(str(note))
    return tuple(notes)
