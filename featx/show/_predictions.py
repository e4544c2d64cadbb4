"""What a network takes videos for: frames with the most probable classes as bars."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from featx.errors import FeatxError, UsageError, nearest
from featx.extraction.backends import PROB
from featx.extraction.engine import Rows, Sink
from featx.extraction.extract import Report
from featx.extraction.prepare import prepare
from featx.extraction.settings import Hooks, Settings
from featx.report.picture import check_picture, drawable, save_picture
from featx.show._clips import Frames
from featx.show._words import model_name, plural
from featx.video.cutting import Summary
from featx.video.pool import ClipArrived, PoolEvent
from featx.video.source import Source, find_videos
from featx.video.worker import Failed, Restarted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A picture of more rows cannot be read.
MOST_VIDEOS = 24
N_FRAMES = 4


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A video's most probable classes, by the mean of its clips' probabilities, the most probable first.

    label: the true class, and label_from: whether it was given or is the folder's name; None where it is not known;
    rank: its place among all classes, from 1, and label_probability.
    """

    video: str
    path: str
    clips: int
    seconds: float
    classes: list[str]
    probabilities: list[float]
    label: str | None
    label_from: Literal["given", "folder"] | None
    rank: int | None
    label_probability: float | None


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What was drawn; named: whether the weights name their classes, which have numbers otherwise; failures: (path, reason)."""

    out: str
    model: str
    weights: dict[str, Any]
    precision: str
    input: str
    num_classes: int
    named: bool
    videos: list[Prediction]
    failures: list[tuple[str, str]]


def predictions(
    inputs: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: Settings,
    *,
    top: int = 5,
    label: str | None = None,
    root: str | None = None,
    hooks: Hooks | None = None,
) -> Predictions:
    """Draw frames of videos with the `top` most probable classes, the mean over all clips, as bars.

    As figure 3 of Leong et al. 2020 and figure 4 of Hara et al. 2017. Classes have the names that the weights bring, else
    their numbers from 0. label: the videos' true class; without it, a video's folder where that is named as a class.
    settings.layers is not looked at.
    Raises UsageError for more videos than a picture can show, FeatxError if none can be read.
    """
    kind = check_picture(out)
    sources = find_videos(inputs, root=root).sources
    if len(sources) > MOST_VIDEOS:
        raise UsageError(
            f"{len(sources)} videos do not fit into one picture: give up to {MOST_VIDEOS}"
        )
    if top < 1:
        raise UsageError(f"top is {top}: give 1 or more")
    from featx.weights.checkpoint import load_model

    loaded = load_model(settings.architecture, settings.weights, seed=settings.seed)
    if not loaded.model.has_classifier:
        raise UsageError(
            f"weights {settings.weights!r} have no classifier, and so predict nothing: give weights that have one"
        )
    names = loaded.labels or tuple(str(i) for i in range(loaded.model.num_classes))
    if label is not None and label not in names:
        known = (
            nearest(label, names)
            if loaded.labels
            else f": these have no names, give a number from 0 to {len(names) - 1}"
        )
        raise UsageError(f"label {label!r} is no class of these weights{known}")
    prepared = prepare(replace(settings, layers=[PROB]), loaded=loaded)
    hooks = hooks or Hooks()
    if hooks.on_start:
        hooks.on_start(Report(os.fspath(out), len(sources), settings=prepared.recorded))
    means, frames = _Means(sources), _SpreadFrames()
    prepared.run(
        [prepared.job(key, source.path) for key, source in enumerate(sources)],
        means,
        watch=frames.arrived,
        on_progress=hooks.on_progress,
    )
    if not means.done_videos:
        path, reason = means.failures[0]
        raise FeatxError(f"0 of {plural(len(sources), 'video')} could be read; {path}: {reason}")
    keys = sorted(means.done_videos)
    found = [
        _prediction(
            sources[key],
            *means.of(key),
            names,
            top,
            _label(sources[key], names, label, named=bool(loaded.labels)),
        )
        for key in keys
    ]
    result = Predictions(
        out=os.fspath(out),
        model=prepared.recorded.model.name,
        weights=dict(prepared.recorded.weights.values),
        precision=prepared.recorded.precision,
        input=prepared.decode.transform.input,
        num_classes=len(names),
        named=bool(loaded.labels),
        videos=found,
        failures=sorted(means.failures),
    )
    save_picture(_figure(result, [frames.of(key) for key in keys]), out, kind)
    return result


def _label(
    source: Source, names: Sequence[str], given: str | None, *, named: bool
) -> tuple[str, Literal["given", "folder"]] | None:
    if given is not None:
        return given, "given"
    folder = Path(os.path.abspath(source.path)).parent.name
    # A folder named 7 need not mean class number 7.
    return (folder, "folder") if named and folder in names else None


def _prediction(
    source: Source,
    probabilities: NDArray[np.float64],
    clips: int,
    seconds: float,
    names: Sequence[str],
    top: int,
    label: tuple[str, Literal["given", "folder"]] | None,
) -> Prediction:
    order = np.argsort(-probabilities, kind="stable")
    true = names.index(label[0]) if label else None
    return Prediction(
        video=source.id,
        path=source.text,
        clips=clips,
        seconds=seconds,
        classes=[names[i] for i in order[:top]],
        probabilities=[float(probabilities[i]) for i in order[:top]],
        label=label[0] if label else None,
        label_from=label[1] if label else None,
        rank=None if true is None else int(np.flatnonzero(order == true)[0]) + 1,
        label_probability=None if true is None else float(probabilities[true]),
    )


class _Means(Sink):
    """The engine's sink: the sum of each video's probabilities."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self.done_videos: dict[int, float] = {}  # key -> seconds
        self.failures: list[tuple[str, str]] = []
        self._rows: dict[int, dict[int, NDArray[np.float32]]] = defaultdict(dict)

    def of(self, key: int) -> tuple[NDArray[np.float64], int, float]:
        """Return a video's mean probabilities, number of clips and seconds."""
        rows = self._rows[key]
        # In the order of time, not of arrival: the same videos give the same bits.
        mean = np.stack([rows[clip] for clip in sorted(rows)]).mean(axis=0, dtype=np.float64)
        return cast(NDArray[np.float64], mean), len(rows), self.done_videos[key]

    def rows(self, key: int, clips: list[int], rows: Rows) -> None:
        self._rows[key].update(zip(clips, rows[PROB], strict=True))

    def restarted(self, key: int) -> None:
        self._rows.pop(key, None)

    def done(self, key: int, summary: Summary, batch_size: int) -> None:
        self.done_videos[key] = summary.duration_s

    def failed(self, key: int, reason: str) -> None:
        self.failures.append((self._sources[key].text, reason))


class _SpreadFrames:
    """Keeps few frames of each video, evenly spread over it, though its length is not known before its end."""

    def __init__(self) -> None:
        self._every: dict[int, int] = defaultdict(lambda: 1)
        self._kept: dict[int, list[Frames]] = defaultdict(
            list
        )  # the middle frame of every so manieth clip

    def arrived(self, event: PoolEvent) -> None:
        """Keep a clip's middle frame, or not; clips of a video arrive in their order."""
        if isinstance(event, ClipArrived):
            kept, clip = self._kept[event.key], event.frames[0]
            if event.clip % self._every[event.key] == 0:
                kept.append(clip[len(clip) // 2].copy())
            if len(kept) == 4 * N_FRAMES:
                del kept[1::2]
                self._every[event.key] *= 2
        elif isinstance(event, Restarted | Failed):
            self._kept.pop(event.key, None)
            self._every.pop(event.key, None)

    def of(self, key: int) -> list[Frames]:
        """Return up to N_FRAMES frames (crop, crop, 3) of a video."""
        kept = self._kept[key]
        return [kept[round(i)] for i in np.linspace(0, len(kept) - 1, min(len(kept), N_FRAMES))]


def _figure(result: Predictions, frames: Sequence[Sequence[Frames]]) -> Figure:
    from matplotlib.figure import Figure

    cell, head, gap = 1.25, 0.5, 0.42
    strip = N_FRAMES * cell
    width, height = strip + 4.2, head + len(frames) * (cell + gap) + 0.1
    figure = Figure(figsize=(width, height), dpi=110)
    for number, (found, shown) in enumerate(zip(result.videos, frames, strict=True), start=1):
        bottom = height - head - number * (cell + gap) + 0.05
        axes = figure.add_axes((0.12 / width, bottom / height, strip / width, cell / height))
        axes.set_xlim(0, N_FRAMES)
        axes.set_ylim(0, 1)
        axes.axis("off")
        for column, image in enumerate(shown):
            axes.imshow(image, extent=(column + 0.01, column + 0.99, 0, 1), aspect="auto")
        bars = figure.add_axes(
            ((strip + 0.25) / width, bottom / height, 3.8 / width, cell / height)
        )
        _draw_bars(bars, found)
        text, colour = _row_title(found)
        figure.text(
            0.14 / width,
            (bottom + cell + 0.05) / height,
            text,
            ha="left",
            va="bottom",
            fontsize=8.5,
            color=colour,
            parse_math=False,
        )
    figure.text(
        0.5,
        1 - 0.12 / height,
        _title(result),
        ha="center",
        va="top",
        fontsize=9.5,
        parse_math=False,
    )
    return figure


def _draw_bars(axes: Axes, found: Prediction) -> None:
    places = range(len(found.classes))
    colours = ["tab:green" if name == found.label else "lightsteelblue" for name in found.classes]
    axes.barh(places, found.probabilities, color=colours, height=0.85)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(found.classes) - 0.5, -0.5)
    axes.axis("off")
    size = min(8.5, 42 / len(found.classes))
    for place, name, probability in zip(places, found.classes, found.probabilities, strict=True):
        axes.text(
            0.01, place, drawable(name, most=36), va="center", fontsize=size, parse_math=False
        )
        axes.text(1, place, f"{100 * probability:.1f} %", va="center", ha="right", fontsize=size)


def _row_title(found: Prediction) -> tuple[str, str]:
    text = f"{drawable(found.video, most=40)}: {plural(found.clips, 'clip')}, {found.seconds:.1f} s"
    if found.label is None:
        return text, "black"
    where = "as its folder says" if found.label_from == "folder" else "as given"
    rank = (
        ""
        if found.label in found.classes
        else f", rank {found.rank} with {100 * (found.label_probability or 0):.1f} %"
    )
    text += f"; true: {drawable(found.label, most=30)}, {where}{rank}"
    return text, "darkgreen" if found.rank == 1 else "firebrick"


def _title(result: Predictions) -> str:
    n_top = len(result.videos[0].classes)
    numbers = "" if result.named else "; these weights do not name them: they are numbered from 0"
    failed = (
        f"; {plural(len(result.failures), 'video')} could not be read" if result.failures else ""
    )
    who = drawable(model_name(result.model, result.weights, result.input), most=80)
    lines = [
        f"{who}: the {n_top} most probable of {result.num_classes} classes{numbers}",
        f"probabilities are the mean over all clips of a video{failed}",
    ]
    return "\n".join(lines)
