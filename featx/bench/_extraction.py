"""How fast extraction is, how fast the machine lets it be, and what binds it.

Decoding alone (D clips/s, every core), the backbone alone on resident batches (B clips/s) and the
whole extraction, feature file included, are measured in turn, several rounds of them, because
machines drift. The ceiling is 1 / (1/D + 1/B) on CPU, where both share the cores, and min(D, B) on
a GPU, where they overlap.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, cycle, islice
from pathlib import Path
from time import perf_counter

from featx.bench._machine import ceiling, check, matmul_rate, side_by_side, videos
from featx.errors import UsageError
from featx.extraction.cascade import CascadeBackend
from featx.extraction.engine import Rows, Sink
from featx.extraction.prepare import Prepared, prepare
from featx.extraction.settings import Settings
from featx.store.journal import Journal, Origin
from featx.store.writer import publish
from featx.video.cutting import Summary
from featx.video.pool import ClipArrived, Pool
from featx.video.source import Stamp
from featx.video.worker import Failed, Hello, Job

_NO_ORIGIN = Origin("", Stamp(0, 0))


@dataclass
class Measured:
    """One model's figures; rates are medians over the rounds, in clips/s.

    fraction: end to end over the ceiling, the median of the rounds' own ratios, with the smallest and largest.
    video_rate: seconds of video done in a second. matmul: what the processor reaches on large matrix products in
    this precision, in 1e12 multiply-adds/s, and of_matmul: the backbone's share of it.
    params and multiply_adds: of the network, millions and 1e9. input: "rgb", or "flow" or "rgbf" and the flow's method.
    share: of the clips, that a second network saw, which the ceiling takes into account; None where there is no second.
    """

    model: str
    device: str
    precision: str
    batch_size: int
    decode: float
    backbone: float
    end_to_end: float
    ceiling: float
    fraction: float
    fraction_range: tuple[float, float]
    binding: str
    video_rate: float
    matmul: float
    of_matmul: float
    params: float
    multiply_adds: float
    input: str
    share: float | None = None


def bench(
    models: Sequence[str],
    inputs: Sequence[str | os.PathLike[str]] = (),
    *,
    settings: Settings,
    seconds: float = 10.0,
    rounds: int = 3,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Measured]:
    """Measure models on videos, or on generated ones where none are given.

    settings: its `model` is replaced by each of `models`. seconds: how long each measurement lasts.
    Raises UsageError if a video cannot be read: a figure must not rest on videos that were left out.
    """
    check(rounds, seconds)
    with tempfile.TemporaryDirectory(prefix="featx-bench-") as folder:
        paths = videos(inputs, Path(folder), progress)
        prepared = {name: prepare(replace(settings, model=name)) for name in models}
        return measured_in_rounds(
            prepared, paths, Path(folder), seconds=seconds, rounds=rounds, progress=progress
        )


def measured_in_rounds(
    prepared: Mapping[str, Prepared],
    paths: list[str],
    folder: Path,
    *,
    seconds: float,
    rounds: int,
    progress: Callable[[str], None],
    share: float | None = None,
) -> list[Measured]:
    """Measure prepared models, by name, in turn, several times. share: of the clips, that a second network is to see."""
    raw: dict[str, list[dict[str, float]]] = {name: [] for name in prepared}
    for number in range(rounds):
        for name, ready in prepared.items():
            before = raw[name][-1] if raw[name] else None
            label = f"{name} {number + 1}/{rounds}"
            raw[name].append(
                _round(ready, paths, folder, seconds, before, label, progress, share or 0.0)
            )
    return [_summary(name, prepared[name], raw[name]) for name in prepared]


def _round(
    ready: Prepared,
    paths: list[str],
    folder: Path,
    seconds: float,
    before: dict[str, float] | None,
    label: str,
    progress: Callable[[str], None],
    share: float,
) -> dict[str, float]:
    progress(f"{label}: matrix multiplication")
    matmul = matmul_rate(ready.backend.device.type, ready.backend.precision, min(seconds, 2.0))
    progress(f"{label}: decoding alone")
    decode = decode_rate(ready, paths, seconds)
    progress(f"{label}: backbone alone")
    backbone = backbone_rate(ready, seconds)
    top = ceiling(ready.backend.device.type, decode, backbone / (1 + share))
    progress(f"{label}: end to end")
    clips_a_video = before["clips_a_video"] if before else _clips_a_video(ready, paths)
    videos = max(1, round((before["end_to_end"] if before else top) * seconds / clips_a_video))
    whole = end_to_end(ready, list(islice(cycle(paths), videos)), folder)
    top = ceiling(ready.backend.device.type, decode, backbone / (1 + whole["share"]))
    return {
        "matmul": matmul,
        "decode": decode,
        "backbone": backbone,
        "ceiling": top,
        "clips_a_video": clips_a_video,
        **whole,
    }


def _jobs(ready: Prepared, paths: Sequence[str], repeat: bool) -> Iterator[Job]:
    chosen = cycle(paths) if repeat else iter(paths)
    return (ready.job(key, path) for key, path in zip(count(), chosen, strict=False))


def _started(pool: Pool, workers: int) -> None:
    """Wait until every decoding process is up, so that their start is not counted."""
    while workers:
        workers -= sum(isinstance(event, Hello) for event in pool.events(1.0))


def _clips_a_video(ready: Prepared, paths: Sequence[str]) -> float:
    clips = 0
    plain = replace(
        ready.decode, transform=replace(ready.decode.transform, input="rgb", flow=None)
    )  # as many, much sooner
    with replace(ready, decode=plain).pool() as pool:
        pool.submit(_jobs(ready, paths, repeat=False))
        while not pool.idle:
            for event in pool.events(1.0):
                if isinstance(event, Failed):
                    raise UsageError(
                        f"{paths[event.key]} cannot be read ({event.reason}): measure on videos that can"
                    )
                clips += isinstance(event, ClipArrived)
    return clips / len(paths)


def decode_rate(ready: Prepared, paths: Sequence[str], seconds: float) -> float:
    """Return clips/s of decoding alone, with every worker, over at least `seconds`."""
    clips = 0
    with ready.pool() as pool:
        _started(pool, ready.workers)
        # Jobs enough for any machine: a worker takes the next one when it has ended one.
        pool.submit(islice(_jobs(ready, paths, repeat=True), max(1000, 100 * len(paths))))
        began = perf_counter()
        # One clip at the least: TV-L1 takes seconds for it.
        while ((spent := perf_counter() - began) < seconds or not clips) and not pool.idle:
            clips += sum(isinstance(event, ClipArrived) for event in pool.events(0.1))
    return clips / spent


def backbone_rate(ready: Prepared, seconds: float) -> float:
    """Return clips/s of the backbone alone, on batches that are in place already."""
    import torch

    extractor, decode = ready.backend, ready.decode
    if isinstance(extractor, CascadeBackend):
        extractor = extractor.first
    side = decode.transform.crop

    def make() -> Callable[[], object]:
        x = (
            torch.rand(
                (ready.batch_size, 3, decode.clip.frames, side, side), device=extractor.device
            )
            * 4
            - 2
        )
        x = x.to(memory_format=torch.channels_last_3d)

        def call() -> None:
            out = extractor(x)
            if extractor.device.type == "cuda":
                next(iter(out.values()))[:1].cpu()  # waits for this thread's stream

        return call

    return side_by_side(extractor.device.type, seconds, make) * ready.batch_size


class _TimedSink(Sink):
    """The real sink's work, the journal on disk, and a note of what was done. second: the layer of a second network."""

    def __init__(self, journal: Journal, second: str | None) -> None:
        self._journal, self._second = journal, second
        self.seconds = 0.0
        self.passed = 0
        self.failed_reason = ""

    def rows(self, key: int, clips: list[int], rows: Rows) -> None:
        self._journal.add(str(key), clips, rows, _NO_ORIGIN)
        if self._second is not None:
            self.passed += int(rows[self._second].any(axis=1).sum())

    def restarted(self, key: int) -> None:
        self._journal.forget(str(key))

    def done(self, key: int, summary: Summary, batch_size: int) -> None:
        self.seconds += summary.duration_s
        self._journal.end(str(key), summary, _NO_ORIGIN)

    def failed(self, key: int, reason: str) -> None:
        self.failed_reason = reason


def end_to_end(ready: Prepared, paths: Sequence[str], folder: Path) -> dict[str, float]:
    """Return clips/s and video seconds a second of an extraction, from files to a feature file, and a second network's share."""
    out = folder / "out.h5"
    journal = Journal(out)
    sink = _TimedSink(
        journal,
        ready.backend.layers[-1] if isinstance(ready.backend, CascadeBackend) else None,
    )
    with ready.pool() as pool:
        _started(pool, ready.workers)
        began = perf_counter()
        stats = ready.run(_jobs(ready, paths, repeat=False), sink, source=pool)
        journal.commit()
        if stats.failed:
            raise UsageError(
                f"a video cannot be read ({sink.failed_reason}): measure on videos that can"
            )
        publish(
            out, ready.recorded, entries=journal.entries, shapes=ready.backend.shapes, failures=[]
        )
        spent = perf_counter() - began
    journal.remove()
    out.unlink()
    return {
        "end_to_end": stats.clips / spent,
        "video_rate": sink.seconds / spent,
        "share": sink.passed / stats.clips,
    }


def _summary(name: str, ready: Prepared, rounds: list[dict[str, float]]) -> Measured:
    from featx.models import build_model
    from featx.models.count import count as count_model

    def median(key: str) -> float:
        return statistics.median(r[key] for r in rounds)

    decode = ready.decode
    counts = count_model(
        build_model(name, seed=0),
        (3, decode.clip.frames, decode.transform.crop, decode.transform.crop),
    )
    fractions = [r["end_to_end"] / r["ceiling"] for r in rounds]
    return Measured(
        model=name,
        device=str(ready.backend.device),
        precision=ready.backend.precision,
        batch_size=ready.batch_size,
        decode=median("decode"),
        backbone=median("backbone"),
        end_to_end=median("end_to_end"),
        ceiling=median("ceiling"),
        fraction=statistics.median(fractions),
        fraction_range=(min(fractions), max(fractions)),
        binding="decoding"
        if median("decode") < median("backbone") / (1 + median("share"))
        else "backbone",
        video_rate=median("video_rate"),
        matmul=median("matmul") / 1e12,
        of_matmul=statistics.median(
            r["backbone"] * counts.multiply_adds / r["matmul"] for r in rounds
        ),
        params=counts.params / 1e6,
        multiply_adds=counts.multiply_adds / 1e9,
        input=", ".join(filter(None, (decode.transform.input, decode.transform.flow))),
        share=median("share") if isinstance(ready.backend, CascadeBackend) else None,
    )
