"""How fast both networks of temporal localization search video, against decoding alone and the backbone alone."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from featx.bench._extraction import Measured, measured_in_rounds
from featx.bench._machine import check, videos
from featx.clips import window_spec
from featx.errors import UsageError
from featx.extraction.backends import PROB
from featx.extraction.cascade import Cascade
from featx.extraction.prepare import Prepared, prepare
from featx.extraction.settings import Settings
from featx.models import build_model, model_entry
from featx.video.pool import ClipArrived
from featx.weights.checkpoint import save_checkpoint

_CLASSES = {
    "proposal": ("background", "action"),
    "localization": ("background", *(f"class {n}" for n in range(1, 21))),
}
# Windows from which the threshold is found that lets the share through.
_SAMPLE = 256


def bench_detection(
    models: Sequence[str],
    inputs: Sequence[str | os.PathLike[str]] = (),
    *,
    settings: Settings,
    share: float = 0.15,
    seconds: float = 10.0,
    rounds: int = 3,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Measured]:
    """Measure windows/s of decoding, of one network on resident batches, and of both networks, from files to a feature file.

    settings: how the machine is used; its `model` is replaced by each of `models`. share: of the windows that the localization
    network is to see; the S-CNN authors' proposal network let 79,475 windows of THUMOS'14's test videos through, a seventh.
    Weights are random, and the threshold is such that about this share of the videos' own windows passes; what did is measured.
    Raises UsageError as `bench` does.
    """
    check(rounds, seconds)
    if not 0 <= share <= 1:
        raise UsageError(
            f"share is {share:g}: give the share of windows that are proposals, 0 to 1"
        )
    with tempfile.TemporaryDirectory(prefix="featx-bench-") as folder:
        paths = videos(inputs, Path(folder), progress)
        prepared = {
            name: _prepared(name, settings, share, paths, Path(folder), progress) for name in models
        }
        return measured_in_rounds(
            prepared,
            paths,
            Path(folder),
            seconds=seconds,
            rounds=rounds,
            progress=progress,
            share=share,
        )


def _prepared(
    name: str,
    settings: Settings,
    share: float,
    paths: list[str],
    folder: Path,
    progress: Callable[[str], None],
) -> Prepared:
    entry = model_entry(name)
    clip = window_spec(entry.clip.frames)
    files = {}
    for stage, classes in _CLASSES.items():
        files[stage] = str(folder / f"{name}-{stage}.safetensors")
        model = build_model(name, num_classes=len(classes), seed=0)
        info = {
            "name": f"untrained {stage} network",
            "source": "featx bench",
            "licence": None,
            "labels": list(classes),
        }
        save_checkpoint(
            files[stage], model, architecture=name, transform=entry.transform, clip=clip, info=info
        )
    progress(f"{name}: which windows pass")
    first = prepare(replace(settings, model=name, weights=files["proposal"], layers=[PROB]))
    threshold = _threshold(first, share, paths)
    cascade = Cascade(
        weights=files["localization"], gate="action", threshold=threshold, name="localization"
    )
    return prepare(replace(settings, model=name, weights=files["proposal"], cascade=cascade))


def _threshold(ready: Prepared, share: float, paths: list[str]) -> float:
    """Return the probability that a share of the videos' windows reaches, by the first network."""
    import torch

    from featx.video.worker import Failed

    if share == 0:
        return 1.0
    clips: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]] = []
    rng, seen = random.Random(0), 0
    with ready.pool() as pool:
        pool.submit(ready.job(key, path) for key, path in enumerate(paths))
        while not pool.idle:
            for event in pool.events(1.0):
                if isinstance(event, Failed):
                    raise UsageError(
                        f"{paths[event.key]} cannot be read ({event.reason}): measure on videos that can"
                    )
                if not isinstance(event, ClipArrived):
                    continue
                # Of all videos and lengths alike: what passes differs from video to video.
                seen += 1
                if len(clips) < _SAMPLE:
                    clips.append(event.frames[0].copy())
                elif (place := rng.randrange(seen)) < _SAMPLE:
                    clips[place] = event.frames[0].copy()
    found = []
    for at in range(0, len(clips), ready.batch_size):
        batch = torch.from_numpy(np.stack(clips[at : at + ready.batch_size])).to(
            ready.backend.device
        )
        found.append(
            ready.backend(ready.decode.transform.normalise(batch, mirrored=False))[PROB][:, 1]
            .cpu()
            .numpy()
        )
    return float(np.quantile(np.concatenate(found), 1 - share))
