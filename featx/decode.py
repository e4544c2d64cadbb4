"""Video to clips: the work of one decoding process.

A video is decoded once, in order. Frames are cut as they come, held for no longer than a clip's
span, and every clip is written to a free slot of the memory shared with the parent. `main` is the
process: it takes videos one at a time from its pipe and answers with the events below, so that
whatever a file does to its decoder, it does to this process alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.clips import ClipSpec, Ticks, clip_end, clip_indices, starts
from featx.flow import Flow, OpticalFlow, with_flow
from featx.flow_cache import FlowCache, Mismatch, Stamp, Writer, stamp_of
from featx.transforms import Transform
from featx.video import DecoderChoice, Frame, NotExact, VideoError, VideoReader, open_video

Clip = npt.NDArray[np.uint8]
# Seconds that one frame may fill when a video is resampled.
MOST_ON_SCREEN = 600.0


@dataclass(frozen=True)
class DecodeSettings:
    """What turns a video into clips, and the shared memory that they go to.

    flow_cache: a folder that `flow_cache.check_folder` gave, in which flow is kept; None keeps none.
    """

    clip: ClipSpec
    transform: Transform
    decoder: DecoderChoice
    slots: int
    flow_cache: str | None = None

    @property
    def clip_shape(self) -> tuple[int, int, int, int, int]:
        """(n_crops, T, crop, crop, 3), uint8: what one slot holds."""
        side = self.transform.crop
        return (self.transform.n_crops, self.clip.frames, side, side, 3)

    @property
    def clip_bytes(self) -> int:
        """Bytes of one slot."""
        return int(np.prod(self.clip_shape))


@dataclass(frozen=True)
class Summary:
    """What a video turned out to be, once it is decoded to its end; the attributes of its group in the feature file.

    clip_frames: (T, 2) int64, [start, end) in source frames; clip_times: (T, 2) float64 seconds.
    """

    decoder: str
    frames: int
    fps: float
    width: int
    height: int
    rotation: int
    codec: str
    duration_s: float
    container_frames: int
    damaged_frames: int
    looped: bool
    clip_frames: npt.NDArray[np.int64]
    clip_times: npt.NDArray[np.float64]


# What a worker tells its parent; `key` is the parent's number of the video.
@dataclass(frozen=True)
class Hello:
    """The process has started and can take videos."""


@dataclass(frozen=True)
class ClipReady:
    key: int
    clip: int
    slot: int


@dataclass(frozen=True)
class Progress:
    key: int
    frames: int
    of: int


@dataclass(frozen=True)
class Restarted:
    """The clips sent so far are void: another decoder begins the video anew."""

    key: int
    reason: str


@dataclass(frozen=True)
class Noted:
    """Something to tell the user that is not a failure."""

    key: int
    note: str


@dataclass(frozen=True)
class Done:
    key: int
    summary: Summary


@dataclass(frozen=True)
class Failed:
    key: int
    reason: str


Event = Hello | ClipReady | Progress | Restarted | Noted | Done | Failed


@dataclass(frozen=True)
class Job:
    """One video to decode.

    wanted: clip numbers to send, None for all; without: those to leave out; again: this is the second try.
    """

    key: int
    path: str
    decoder: DecoderChoice
    wanted: frozenset[int] | None = None
    without: frozenset[int] = frozenset()
    again: bool = False

    def sends(self, clip: int) -> bool:
        """Return whether this clip is to be sent."""
        return clip not in self.without and (self.wanted is None or clip in self.wanted)

    def anew(self) -> Job:
        """Return the job begun anew with the exact decoder; what its clips gave before is void."""
        return replace(self, decoder="pyav", without=frozenset(), again=True)


def clips_of(
    video: Iterable[Frame], spec: ClipSpec, cut: Callable[[Clip], Clip], sends: Callable[[int], bool] = lambda _: True
) -> Iterator[tuple[int, list[Clip]]]:
    """Yield (number, its `spec.frames` cut frames) for every clip of a video, in order, decoding each frame once.

    video: its frames, in order. cut: (H, W, 3) uint8 -> what is kept of a frame. sends: which clips are
    wanted; no flow is computed for the others. Raises VideoError if, resampled, one frame would
    fill more than MOST_ON_SCREEN seconds: a broken timestamp would otherwise make any number of clips.
    Where the clips lie is told by `summarise`, afterwards.
    """
    ticks = Ticks(spec.fps) if spec.fps is not None else None
    window: deque[Callable[[], Clip] | None] = deque(maxlen=spec.span)
    n = 0  # sampled frames so far
    number = 0
    for frame in video:
        if ticks and frame.end - frame.time > MOST_ON_SCREEN:
            gap = frame.end - frame.time
            raise VideoError(f"frame {frame.index} stays on screen for {gap:.0f} s by its timestamps: extract it without --fps")
        shown = ticks.on(frame.time, frame.end) if ticks else 1
        kept: Callable[[], Clip] | None = None
        for _ in range(shown):
            if kept is None and _needed(n, spec):
                kept = frame.keep(cut)
            window.append(kept)
            n += 1
            start = number * spec.stride
            if start + spec.span == n:
                if sends(number):
                    yield number, _held(list(window)[:: spec.step])
                number += 1
    rest = starts(n, spec)[number:]
    first = n - len(window)  # the sampled frame that window[0] is
    for start in rest:
        if sends(number):
            yield number, _held([window[i - first] for i in clip_indices(start, n, spec)])
        number += 1


def _held(frames: list[Callable[[], Clip] | None]) -> list[Clip]:
    """Return a clip's frames; RuntimeError, rather than a clip with holes, if `_needed` was wrong about one."""
    held = [frame() for frame in frames if frame is not None]
    if len(held) != len(frames):
        raise RuntimeError("a frame that a clip shows was not kept")
    return held


def _needed(n: int, spec: ClipSpec) -> bool:
    """Return whether sampled frame `n` can be part of a clip, before it is known how many there are."""
    if spec.tail != "drop" or n < spec.span:
        return True  # the last clip, or the loop of a short video, takes frames off the grid
    last = n // spec.stride
    first = max(0, -(-(n - spec.span + 1) // spec.stride))
    return any((n - k * spec.stride) % spec.step == 0 for k in range(first, last + 1))


def summarise(video: VideoReader, spec: ClipSpec) -> Summary:
    """Return a decoded video's summary, with each clip's place in source frames and seconds."""
    times = video.times
    n_source = video.n_frames
    if spec.fps is None:
        sampled = np.arange(n_source)
    else:
        ticks = Ticks(spec.fps)
        counts = [ticks.on(times[i], times[i + 1]) for i in range(n_source)]
        sampled = np.repeat(np.arange(n_source), counts)
    n = len(sampled)
    first = starts(n, spec)
    # A clip ends where the next sampled frame begins, so that adjacent clips share no source frame.
    bounds = np.append(sampled, n_source)
    frames = np.asarray([(bounds[s], max(bounds[clip_end(s, n, spec)], bounds[s] + 1)) for s in first], dtype=np.int64)
    info = video.info
    return Summary(
        decoder=video.decoder,
        frames=n_source,
        fps=_rate(info.fps, n_source, float(times[-1] - times[0])),
        width=info.width,
        height=info.height,
        rotation=info.rotation,
        codec=info.codec,
        duration_s=float(times[-1] - times[0]),
        container_frames=info.container_frames,
        damaged_frames=video.damaged_frames,
        looped=n < spec.span,
        clip_frames=frames.reshape(-1, 2),
        clip_times=times[frames.reshape(-1, 2)],
    )


def _rate(claimed: float, frames: int, seconds: float) -> float:
    """Return the frame rate: the container's, unless the frames' own times belie it by more than a hundredth."""
    measured = frames / seconds if seconds > 0 else claimed
    return claimed if abs(measured - claimed) <= 0.01 * claimed else measured


class Worker:
    """One decoding process's side of the pipe."""

    def __init__(self, link: Connection, settings: DecodeSettings, memory: mmap.mmap, complaints: Callable[[], int]) -> None:
        self._link = link
        self._settings = settings
        self._slots = np.frombuffer(memory, dtype=np.uint8).reshape(settings.slots, *settings.clip_shape)
        self._free = list(range(settings.slots))
        self._complaints = complaints
        self._told = 0.0
        method = settings.transform.flow
        self._flow = OpticalFlow(method) if method is not None else None
        self._cache = settings.flow_cache
        self._stamp: Stamp | None = None  # of the video's file before it was opened, where flow is kept
        self._cached = True  # whether this video's flow may be read from there

    def run(self) -> None:
        """Decode videos until the parent closes the pipe."""
        self._link.send(Hello())
        while (message := self._receive()) is not None:
            if isinstance(message, Job):
                self._video(message)
            else:
                self._free.append(message)

    def _receive(self) -> Any:
        try:
            return self._link.recv()
        except EOFError:
            return None

    def _video(self, job: Job) -> None:
        self._cached = True
        while True:
            try:
                summary = self._decode(job)
            except NotExact as reason:
                job = job.anew()
                self._link.send(Restarted(job.key, str(reason)))
            except Mismatch as reason:
                job = replace(job, without=frozenset())
                self._cached = False
                self._link.send(Restarted(job.key, str(reason)))
                self._link.send(Noted(job.key, f"{job.path}: {reason}: the flow is computed again"))
            except VideoError as error:
                self._link.send(Failed(job.key, str(error)))
                return
            except MemoryError:
                self._link.send(Failed(job.key, "decoding it takes more memory than there is"))
                return
            except OSError as error:
                if isinstance(error, BrokenPipeError | ConnectionResetError):
                    raise
                self._link.send(Failed(job.key, f"cannot be read: {error.strerror or error}"))
                return
            else:
                self._link.send(Done(job.key, summary))
                return

    def _decode(self, job: Job) -> Summary:
        spec, transform = self._settings.clip, self._settings.transform
        self._stamp = stamp_of(job.path) if self._cache is not None else None
        video = open_video(
            job.path,
            frame_size=transform.frame_size,
            decoder=job.decoder,
            in_time_order=spec.fps is not None,
            complaints=self._complaints,
        )
        of = video.info.container_frames or round(video.info.duration_s * video.info.fps)

        def alive() -> None:
            now = monotonic()
            if now - self._told > 0.5:
                self._told = now
                self._link.send(Progress(job.key, video.n_frames, of))

        def cut(image: Clip) -> Clip:
            alive()  # a clip's flow may take many seconds
            return transform.cut(image)

        video.on_packet = alive
        with self._input(video, job, alive) as shown:
            for number, frames in clips_of(shown, spec, cut, job.sends):
                slot = self._slot()
                for t, crops in enumerate(frames):
                    self._slots[slot, :, t] = crops
                self._link.send(ClipReady(job.key, number, slot))
        return summarise(video, spec)

    @contextlib.contextmanager
    def _input(self, video: VideoReader, job: Job, alive: Callable[[], None]) -> Iterator[Iterable[Frame]]:
        """Give the frames whose images are the model's input; flow is read from the cache, or kept there at the end."""
        transform, flow = self._settings.transform, self._flow
        if flow is None:
            yield video
            return
        if self._cache is None or self._stamp is None:
            yield with_flow(video, transform.input, flow)
            return
        size = transform.frame_size(video.info.height, video.info.width)
        cache = FlowCache(self._cache, job.path, video, size, flow.method, alive, stamp=self._stamp)
        stored, why = cache.open() if self._cached else (None, "")
        if stored is not None:
            with contextlib.closing(stored):
                yield with_flow(video, transform.input, flow, stored=stored)
                stored.check(video.n_frames)
                if not cache.unchanged():
                    raise Mismatch("the file was changed while it was read")
            return
        if why:
            self._link.send(Noted(job.key, why))
        with contextlib.closing(_Keeper(cache, lambda text: self._link.send(Noted(job.key, text)))) as keeper:
            yield with_flow(video, transform.input, flow, keep=keeper.add)
            keeper.commit()

    def _slot(self) -> int:
        while not self._free:
            message = self._receive()
            if message is None:
                sys.exit(0)  # the parent is gone
            self._free.append(message)
        return self._free.pop()


class _Keeper:
    """Writes a video's flow to the cache as long as that can be written; the rows do not depend on it."""

    def __init__(self, cache: FlowCache, note: Callable[[str], None]) -> None:
        self._note = note
        self._writer: Writer | None = None
        with self._told():
            self._writer = cache.write()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._note(f"flow is not kept in the cache ({error.strerror or error}); the rows do not depend on it")
            self.close()

    def add(self, flow: Flow) -> None:
        if self._writer is not None:
            with self._told():
                self._writer.add(flow)

    def commit(self) -> None:
        if self._writer is not None:
            with self._told():
                self._writer.commit()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def main() -> None:
    """Run a decoding process; its parent passes the descriptors of its pipe and of the shared memory."""
    link_fd, memory_fd, parent = (int(a) for a in sys.argv[1:4])
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    link = Connection(link_fd)
    try:
        settings: DecodeSettings = link.recv()
        memory = mmap.mmap(memory_fd, settings.slots * settings.clip_bytes)
        Worker(link, settings, memory, _stderr_watch()).run()
    except (BrokenPipeError, ConnectionResetError, EOFError):
        pass  # the parent is gone, and so is the reason to go on
    os._exit(0)  # decoders' own threads must not hold the process up


def _stderr_watch() -> Callable[[], int]:
    """Return a function that tells how many bytes were written to stderr, which the parent made a file."""
    return lambda: os.lseek(2, 0, os.SEEK_END)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies (Linux): a hung decoder would not notice by itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
