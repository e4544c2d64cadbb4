"""Training clips in decoding processes: each decodes only the frames that one clip shows."""

from __future__ import annotations

import math
import mmap
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import monotonic

import numpy as np
import numpy.typing as npt

from featx.clips import ClipSpec
from featx.training.sampling import Augmentation, draw_crop, draw_flip, draw_frames, draw_window
from featx.video.cutting import MOST_ON_SCREEN
from featx.video.flow import with_flow
from featx.video.flow_cache import FlowCache, StoredVideo, stamp_of
from featx.video.reader import FrameSize, VideoError
from featx.video.seek import DECODER, FrameIndex, NotIndexed, Stretch, index_video, read_frames
from featx.video.worker import ClipReady, DecodeSettings, Job, Noted, Progress, Worker

# Videos whose index a process remembers: 16 bytes a frame, a few kilobytes for a clip of seconds.
_INDEXES = 20_000
_INDEX_FRAMES = 5_000_000
# Files of flow that a process keeps open, each of which it has read through once.
_FLOWS = 256


@dataclass(frozen=True)
class DrawSettings(DecodeSettings):
    """What turns a video into training clips; `clip` and `transform` are the network's own."""

    augmentation: Augmentation | None = None

    @property
    def clip_shape(self) -> tuple[int, int, int, int, int]:
        """(1, T, side, side, 3), uint8, for the largest crop that is drawn; smaller ones fill its top left corner."""
        side = self.drawn.largest_side(self.transform)
        return (1, self.clip.frames, side, side, 3)

    @property
    def drawn(self) -> Augmentation:
        """The augmentation; ValueError without one."""
        if self.augmentation is None:
            raise ValueError("give an augmentation")
        return self.augmentation

    def worker(self, link: Connection, memory: mmap.mmap, complaints: Callable[[], int]) -> Worker:
        """Make the worker that a decoding process runs."""
        return DrawWorker(link, self, memory, complaints)


@dataclass(frozen=True)
class DrawJob(Job):
    """One clip to draw. seed: of the draw; video: of the video, for windows that stay the same; choice: which of them."""

    seed: tuple[int, ...] = ()
    video: tuple[int, ...] = ()
    choice: int = 0


@dataclass(frozen=True)
class Drawn:
    """What a clip was drawn as. side: of the crop, in pixels; flip: whether it is to be mirrored."""

    side: int
    flip: bool
    damaged_frames: int


class DrawWorker(Worker):
    """One decoding process's side of the pipe, for training clips."""

    def __init__(
        self,
        link: Connection,
        settings: DrawSettings,
        memory: mmap.mmap,
        complaints: Callable[[], int],
    ) -> None:
        super().__init__(link, settings, memory, complaints)
        self._draws = settings
        self._indexes: OrderedDict[str, FrameIndex] = OrderedDict()
        self._frames = 0
        self._flows: OrderedDict[str, StoredVideo | None] = OrderedDict()

    def _decode(self, job: Job) -> Drawn:
        if not isinstance(job, DrawJob):
            raise TypeError(f"{type(job).__name__} is not a training clip's job")
        try:
            return self._draw(job, self._index(job))
        except NotIndexed:
            # Not remembered: the same draw must give the same clip whatever was drawn before.
            return self._draw(job, self._counted(job, decode=True))

    def _signs(self, job: Job) -> Callable[[], None]:
        """Return what tells the parent, now and then, that this process does not hang."""

        def alive() -> None:
            now = monotonic()
            if now - self._told > 0.5:
                self._told = now
                self._link.send(Progress(job.key, 0, 0))

        return alive

    def _counted(self, job: Job, *, decode: bool) -> FrameIndex:
        return index_video(
            job.path,
            decode=decode,
            max_pixels=self._settings.max_pixels,
            alive=self._signs(job),
        )

    def _index(self, job: Job) -> FrameIndex:
        found = self._indexes.get(job.path)
        if found is None:
            found = self._indexes[job.path] = self._counted(job, decode=False)
            self._frames += found.n_frames
            while len(self._indexes) > _INDEXES or (
                self._frames > _INDEX_FRAMES and len(self._indexes) > 1
            ):
                self._frames -= self._indexes.popitem(last=False)[1].n_frames
        return found

    def _draw(self, job: DrawJob, index: FrameIndex) -> Drawn:
        spec, augmentation, transform = self._draws.clip, self._draws.drawn, self._draws.transform
        sampled = (
            part_frames(index, job, spec)
            if augmentation.temporal == "whole"
            else sampled_frames(index, job, spec)
        )
        rate = len(sampled) / max(index.times[sampled[-1] + 1] - index.times[sampled[0]], 1e-6)
        window = draw_window(job.video, job.choice, len(sampled), rate, spec.span, augmentation)
        rng = np.random.default_rng(job.seed)
        shown = [
            int(sampled[window.start + k])
            for k in draw_frames(rng, len(window), spec, augmentation)
        ]
        stretch, images = self._images(job, index, shown)
        height, width = next(iter(images.values())).shape[:2]
        crop = draw_crop(rng, height, width, transform.crop, augmentation)
        slot = self._slot()
        for t, number in enumerate(shown):
            part = images[number][
                crop.top : crop.top + crop.side, crop.left : crop.left + crop.side
            ]
            self._slots[slot, 0, t, : crop.side, : crop.side] = part
        self._link.send(ClipReady(job.key, 0, slot))
        return Drawn(crop.side, draw_flip(rng, augmentation), stretch.damaged_frames)

    def _read(self, job: Job, index: FrameIndex, wanted: Iterable[int], size: FrameSize) -> Stretch:
        limit = self._settings.max_pixels
        alive = self._signs(job)
        return read_frames(job.path, index, wanted, frame_size=size, max_pixels=limit, alive=alive)

    def _images(
        self, job: Job, index: FrameIndex, shown: list[int]
    ) -> tuple[Stretch, dict[int, npt.NDArray[np.uint8]]]:
        """Return the frames' images as the network sees them; flow comes from the cache where it is kept, else is computed."""
        flow, transform = self._flow, self._draws.transform
        size = self._draws.drawn.resized(transform).frame_size
        if flow is None:
            stretch = self._read(job, index, shown, size)
            return stretch, {k: frame.image() for k, frame in stretch.frames.items()}
        stored = self._stored_flow(job, index)
        pairs = {k: [k] if stored is not None else _pair(k, index.n_frames) for k in shown}
        needed = {n for pair in pairs.values() for n in pair}
        stretch = self._read(job, index, needed, size)
        images = {}
        for k, pair in pairs.items():
            made = with_flow(
                [stretch.frames[n] for n in pair], transform.input, flow, stored=stored
            )
            images[k] = next(frame for frame in made if frame.index == k).image()
        return stretch, images

    def _stored_flow(self, job: Job, index: FrameIndex) -> StoredVideo | None:
        """Return the video's flow in the cache; None where it is not there."""
        folder, transform = self._draws.flow_cache, self._draws.transform
        if folder is None or transform.flow is None:
            return None
        if job.path not in self._flows:
            alive = self._signs(job)
            info = read_frames(job.path, index, [0], alive=alive).info
            size = self._draws.drawn.resized(transform).frame_size(info.height, info.width)
            cache = FlowCache(
                folder, job.path, DECODER, size, transform.flow, alive, stamp=stamp_of(job.path)
            )
            stored, why = cache.open()
            if stored is not None and stored.frames != index.n_frames:
                why = f"{cache.path} has {stored.frames} frames, {job.path} {index.n_frames}: the flow is computed"
                stored.close()
                stored = None
            if why:
                self._link.send(Noted(job.key, why))
            self._flows[job.path] = stored
            while len(self._flows) > _FLOWS:
                _, oldest = self._flows.popitem(last=False)
                if oldest is not None:
                    oldest.close()
        return self._flows[job.path]


def sampled_frames(index: FrameIndex, job: Job, spec: ClipSpec) -> npt.NDArray[np.int64]:
    """Return the source frames that clips are made of, as extraction samples them; VideoError where there is none."""
    times = index.times
    if job.whole and spec.fps is None:
        return np.arange(index.n_frames)
    if spec.fps is not None and np.max(np.diff(times)) > MOST_ON_SCREEN:
        raise VideoError(
            f"a frame stays on screen for {np.max(np.diff(times)):.0f} s by its timestamps: train without fps"
        )
    sampling = job.sampling(spec)
    frames = np.repeat(
        np.arange(index.n_frames),
        [sampling.on(times[i], times[i + 1]) for i in range(index.n_frames)],
    )
    if not len(frames):
        raise VideoError(
            f"not one of its frames lies in the part from {job.start:g} to {job.end:g} s"
        )
    return frames


def part_frames(index: FrameIndex, job: Job, spec: ClipSpec) -> npt.NDArray[np.int64]:
    """Return the sampled frames of a job's part, out of those of the whole video; VideoError where there is none.

    Ticks of `fps` are counted from the video's first frame, not from the part's, for a window shows what extraction shows of it.
    """
    times = index.times
    if spec.fps is None:
        frames, at = np.arange(index.n_frames), times[:-1] - times[0]
    else:
        frames = clock_frames(times, spec.fps)
        at = np.arange(len(frames)) / spec.fps
    first = 0 if job.start is None else int(np.searchsorted(at, job.start - 1e-6))
    end = len(at) if job.end is None else int(np.searchsorted(at, job.end - 1e-6))
    if first >= end:
        raise VideoError(
            f"not one of its frames lies in the part from {job.start or 0:g} to {job.end or math.inf:g} s"
        )
    return frames[first:end]


def clock_frames(times: npt.NDArray[np.float64], fps: float) -> npt.NDArray[np.int64]:
    """Return the frame on screen at each tick of `fps` from the first frame on, as `featx.clips.resample`, of hours at once.

    times: (n_frames + 1,) seconds, the last one being when the last frame leaves the screen. Raises VideoError where a frame
    stays for longer than any film shows one.
    """
    if len(times) < 2:
        return np.zeros(0, dtype=np.int64)
    if (longest := float(np.max(np.diff(times)))) > MOST_ON_SCREEN:
        raise VideoError(
            f"a frame stays on screen for {longest:.0f} s by its timestamps: sample without fps"
        )
    ends = times[1:].copy()
    ends[0] = max(ends[0], times[0] + 2e-6)
    ticks = np.maximum.accumulate(np.ceil((ends - 1e-6 - times[0]) * fps).astype(np.int64))
    return np.repeat(np.arange(len(ends)), np.diff(ticks, prepend=0))


def _pair(frame: int, n_frames: int) -> list[int]:
    """Return a frame and the one its flow is taken with, in order."""
    if n_frames == 1:
        return [frame]
    return [frame, frame + 1] if frame + 1 < n_frames else [frame - 1, frame]
