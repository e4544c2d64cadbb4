"""Features of frames that are in memory: what `extract` stores, without a file."""

from __future__ import annotations

import contextlib
import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError, UsageError
from featx.extraction.engine import Rows, Sink
from featx.extraction.prepare import prepare
from featx.extraction.settings import Settings, compose, takes_options, whole
from featx.video.cutting import clips_of, sampled_frames, summarise
from featx.video.flow import OpticalFlow, threads_kept, with_flow
from featx.video.frames import MemoryVideo
from featx.video.pool import ClipArrived, PoolEvent
from featx.video.reader import Frame, VideoError
from featx.video.worker import DecodeSettings, Done, Failed, Job

if TYPE_CHECKING:
    import torch
    from torch import nn
    from typing_extensions import Unpack

    from featx.clips import ClipSpec
    from featx.extraction.cascade import Cascade
    from featx.extraction.settings import (
        ClipOptions,
        Layout,
        Machine,
        Options,
        TransformOptions,
    )
    from featx.transforms import Transform

_SHAPES = "(T, H, W, 3), or (N, T, H, W, 3) for N videos"
# Times matter only where clips are resampled, and `fps` must be given then.
_ANY_RATE = 25.0


class Extractor:
    """A network made ready, which turns frames in memory into clip features.

    `encode` gives what `featx.extract` stores for a video whose decoder gives these frames: to the
    bit for the same device, precision and batch size, if the frames are decoded as packed RGB, or
    have the network's frame size already. Of the machine, decoder, workers and timeout are for
    files, and have no effect here.

    Args:
        model: A name of `featx.list_models()`, or a module of yours, as in `featx.extract`.
        weights: A registered checkpoint, a file, or "random". None is the model's own, if it is on this machine.
        layers: Names as in the paper, or module paths. None is the model's own.
        seed: Seed for random weights.
        clip: A `ClipSpec`, or `ClipOptions`; their fields may be given one by one too.
        transform: A `Transform`, or `TransformOptions`; likewise.
        machine: A `Machine`; likewise. Clips are computed `batch_size` at once, the last batch filled up.
        project: A projection's file, whose layer's rows are projected.
        cascade: A second network for some of the clips.
        layout: Order of the dimensions that a module of yours takes: "NCTHW" or "NTCHW".
        settings: All of the above, composed.
        **options: Fields of `ClipOptions`, `TransformOptions` and `Machine`, such as `stride=8` or `device="cpu"`.

    Attributes:
        notes: What the user should know, a sentence each.

    Raises:
        UsageError: For anything unknown, impossible or not at hand.
    """

    @takes_options
    def __init__(
        self,
        model: str | nn.Module = "res3d",
        *,
        weights: str | os.PathLike[str] | None = None,
        layers: Sequence[str] | None = None,
        seed: int = 0,
        clip: ClipOptions | ClipSpec | None = None,
        transform: TransformOptions | Transform | None = None,
        machine: Machine | None = None,
        project: str | os.PathLike[str] | None = None,
        cascade: Cascade | None = None,
        layout: Layout = "NCTHW",
        settings: Settings | None = None,
        **options: Unpack[Options],
    ) -> None:
        asked = compose(
            model,
            weights=weights,
            layers=layers,
            seed=seed,
            clip=clip,
            transform=transform,
            machine=machine,
            project=project,
            cascade=cascade,
            layout=layout,
            **options,
        )
        asked = whole(settings, asked)
        if asked.flow_cache is not None:
            raise UsageError(
                f"flow_cache is {os.fspath(asked.flow_cache)!r}, which keeps the flow of files, and"
                " frames in memory are none: leave it out"
            )
        self._name = asked.model if isinstance(asked.model, str) else type(asked.model).__name__
        self._prepared = prepare(asked)
        self.notes: tuple[str, ...] = tuple(self._prepared.notes)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers whose features `encode` gives, in order."""
        return self._prepared.backend.layers

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one clip's features by layer, unflattened: res5b of Res3D is (512, 1, 7, 7)."""
        return self._prepared.backend.shapes

    @property
    def clip(self) -> ClipSpec:
        """Which frames make a clip."""
        return self._prepared.decode.clip

    @property
    def transform(self) -> Transform:
        """How frames become the network's input."""
        return self._prepared.decode.transform

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self._prepared.backend.device

    @property
    def precision(self) -> str:
        """ "float32" or "bf16"."""
        return self._prepared.backend.precision

    def __repr__(self) -> str:
        from featx.weights.description import in_words

        side = self.transform.crop
        takes = f"clips of {self.clip.frames} frames of {side}x{side}"
        lines = [
            f"Extractor({self._name!r}: layers {', '.join(self.layers)}; {takes};"
            f" {self.precision} on {self.device})"
        ]
        lines.append(f"  weights: {in_words(self._prepared.recorded.weights.values)}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def encode(
        self, frames: npt.NDArray[np.uint8] | torch.Tensor, *, fps: float | None = None
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Return the clip features of one video, or of several of the same length.

        Args:
            frames: uint8 RGB, (T, H, W, 3) for a video of T frames, (N, T, H, W, 3) for N videos. A numpy array, or a
                torch tensor on the CPU. Frames of any size are resized as `extract` does; a video shorter than a clip
                is looped.
            fps: Frames a second. It is needed where the clips are resampled (`clip.fps`).

        Returns:
            A layer's features by its name, float32: (clips, D), or (N, clips, D) for N videos. Clips are in the order
            in which `extract` stores them; `shapes` says how D unflattens.

        Raises:
            UsageError: For frames of another type or shape, and where `fps` is lacking.
            FeatxError: If optical flow cannot be computed of these frames.
        """
        array = _checked(frames)
        rate = self._rate(fps)
        videos = array if array.ndim == 5 else array[None]
        sink = _Rows()
        jobs = [self._prepared.job(key, "") for key in range(len(videos))]
        with threads_kept() if self.transform.flow is not None else contextlib.nullcontext():
            source = _MemorySource(self._prepared.decode, videos, rate)
            self._prepared.run(jobs, sink, source=source)
        if sink.failures:
            key, reason = min(sink.failures.items())
            which = f"video {key} of the frames" if array.ndim == 5 else "the frames"
            raise FeatxError(f"{which} cannot be encoded: {reason}")
        stacked = {
            layer: np.stack([sink.stacked(key, layer) for key in range(len(videos))])
            for layer in self.layers
        }
        return stacked if array.ndim == 5 else {name: rows[0] for name, rows in stacked.items()}

    def _rate(self, fps: float | None) -> float:
        if fps is None:
            if self.clip.fps is not None:
                raise UsageError(
                    f"the clips are resampled to {self.clip.fps:g} frames a second, and the frames' own"
                    " rate is not known: give fps, in frames a second"
                )
            return _ANY_RATE
        if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0.001 <= fps <= 1000:
            raise UsageError(f"fps is {fps!r}: give the frames' rate, 0.001 to 1000 a second")
        return float(fps)


def _checked(frames: object) -> npt.NDArray[np.uint8]:
    """Return frames as an array; UsageError for anything but uint8 RGB frames, at least one."""
    import torch

    if isinstance(frames, torch.Tensor):
        if frames.device.type != "cpu":
            raise UsageError(f"frames is a tensor on {frames.device}: give frames.cpu()")
        kind, shape = str(frames.dtype).removeprefix("torch."), tuple(frames.shape)
    elif isinstance(frames, np.ndarray):
        kind, shape = str(frames.dtype), frames.shape
    else:
        raise UsageError(
            f"frames is a {type(frames).__name__}: give a uint8 array of shape {_SHAPES}"
        )
    if kind != "uint8":
        raise UsageError(
            f"frames is {kind} of shape {shape}: give uint8, RGB values from 0 to 255, of shape {_SHAPES}"
        )
    if len(shape) not in (4, 5) or shape[-1] != 3:
        raise UsageError(f"frames has shape {shape}: give {_SHAPES}, RGB")
    if not math.prod(shape):
        raise UsageError(f"frames has shape {shape}, which holds no pixel: give one frame or more")
    return frames.numpy() if isinstance(frames, torch.Tensor) else np.asarray(frames)


class _MemorySource:
    """Clips of videos in memory, for the engine; it says what the decoding processes say.

    Args:
        settings: How clips are cut.
        videos: (N, T, H, W, 3) uint8. The job of key k is for the k-th.
        fps: Frames a second.
    """

    def __init__(self, settings: DecodeSettings, videos: npt.NDArray[np.uint8], fps: float) -> None:
        self._settings, self._videos, self._fps = settings, videos, fps
        self._waiting: deque[Job] = deque()
        self._clip = np.empty(settings.clip_shape, np.uint8)
        method = settings.transform.flow
        self._flow = OpticalFlow(method) if method is not None else None

    @property
    def idle(self) -> bool:
        return not self._waiting

    def submit(self, jobs: Iterable[Job]) -> None:
        self._waiting.extend(jobs)

    def excuse(self) -> None:
        pass

    def events(self, timeout: float) -> Iterator[PoolEvent]:
        """Yield all of the next video's clips, and its end."""
        job = self._waiting[0]
        try:
            yield from self._video(job)
        except VideoError as error:
            yield Failed(job.key, str(error))
        self._waiting.popleft()

    def _video(self, job: Job) -> Iterator[PoolEvent]:
        spec, transform = self._settings.clip, self._settings.transform
        n_sampled = None
        if spec.count is not None:
            counted = sampled_frames(self._opened(job), job.sampling(spec))
            n_sampled = sum(shown for _, shown in counted)
        video = self._opened(job)
        shown: Iterable[Frame] = video
        if self._flow is not None:
            shown = with_flow(video, transform.input, self._flow)
        clips = clips_of(
            shown, spec, transform.cut, job.sends, sampling=job.sampling(spec), n_sampled=n_sampled
        )
        for number, frames in clips:
            for t, crops in enumerate(frames):
                self._clip[:, t] = crops
            yield ClipArrived(job.key, number, self._clip)
        yield Done(job.key, summarise(video, spec, sampling=job.sampling(spec)))

    def _opened(self, job: Job) -> MemoryVideo:
        return MemoryVideo(
            self._videos[job.key], fps=self._fps, frame_size=self._settings.transform.frame_size
        )


class _Rows(Sink):
    """Keeps all rows."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[int, dict[str, Any]]] = {}
        self.failures: dict[int, str] = {}

    def rows(self, key: int, clips: list[int], rows: Rows) -> None:
        kept = self._rows.setdefault(key, {})
        for place, clip in enumerate(clips):
            kept[clip] = {layer: values[place] for layer, values in rows.items()}

    def failed(self, key: int, reason: str) -> None:
        self.failures[key] = reason

    def stacked(self, key: int, layer: str) -> npt.NDArray[np.float32]:
        """Return a video's rows of a layer, (clips, D), in the clips' order."""
        by_clip = self._rows[key]
        return np.stack([by_clip[clip][layer] for clip in sorted(by_clip)])
