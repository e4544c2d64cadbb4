"""Video to clips: the work of one decoding process.

A video is decoded in order, its clips are cut as `featx.video.cutting` does, and every clip is written to a
free slot of the memory shared with the parent. `main` is the process: it takes videos one at a time
from its pipe and answers with the events below, so that whatever a file does to its decoder, it does
to this process alone.
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
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

import numpy as np

from featx.clips import ClipSpec, Sampling
from featx.errors import FeatxError
from featx.transforms import Transform
from featx.video.cutting import Clip, clips_of, sampled_frames, summarise
from featx.video.decoders import MAX_PIXELS, announce, decoder_named
from featx.video.flow import Flow, OpticalFlow, with_flow
from featx.video.flow_cache import FlowCache, Mismatch, Stamp, Writer, stamp_of
from featx.video.reader import Frame, NotExact, VideoReader, open_video


@dataclass(frozen=True)
class DecodeSettings:
    """What turns a video into clips, and the shared memory that they go to.

    decoder: name of the one that decodes the videos.
    max_pixels: most pixels of a frame that is decoded.
    flow_cache: a folder that `flow_cache.check_folder` gave, in which flow is kept; None keeps none.
    """

    clip: ClipSpec
    transform: Transform
    decoder: str
    slots: int
    flow_cache: str | None = None
    max_pixels: int = field(default=MAX_PIXELS, kw_only=True)

    @property
    def clip_shape(self) -> tuple[int, int, int, int, int]:
        """(n_crops, T, crop, crop, 3), uint8: what one slot holds."""
        side = self.transform.crop
        return (self.transform.n_crops, self.clip.frames, side, side, 3)

    @property
    def clip_bytes(self) -> int:
        """Bytes of one slot."""
        return int(np.prod(self.clip_shape))

    def worker(self, link: Connection, memory: mmap.mmap, complaints: Callable[[], int]) -> Worker:
        """Make the worker that a decoding process runs."""
        return Worker(link, self, memory, complaints)


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
    """The job has ended well. summary: of the video; a worker of another kind tells what it has to tell."""

    key: int
    summary: Any


@dataclass(frozen=True)
class Failed:
    key: int
    reason: str


Event = Hello | ClipReady | Progress | Restarted | Noted | Done | Failed


@dataclass(frozen=True)
class Job:
    """One video to decode.

    wanted: clip numbers to send, None for all; without: those to leave out; again: this is the second try.
    start, end: the part that clips are cut from, seconds from the video's first frame (see `clips.Sampling`);
        None is the video's own beginning or end.
    """

    key: int
    path: str
    decoder: str
    wanted: frozenset[int] | None = None
    without: frozenset[int] = frozenset()
    again: bool = False
    start: float | None = None
    end: float | None = None

    @property
    def whole(self) -> bool:
        """Whether clips are cut from all of the video."""
        return self.start is None and self.end is None

    def sampling(self, spec: ClipSpec) -> Sampling:
        """Return which frames are sampled, for one pass over the video."""
        return Sampling(spec.fps, start=self.start, end=self.end)

    def sends(self, clip: int) -> bool:
        """Return whether this clip is to be sent."""
        return clip not in self.without and (self.wanted is None or clip in self.wanted)

    def anew(self) -> Job:
        """Return the job begun anew by its decoder's fallback; the clips sent so far are void."""
        fallback = decoder_named(self.decoder).fallback
        return replace(self, decoder=fallback, without=frozenset(), again=True)


class Worker:
    """One decoding process's side of the pipe."""

    def __init__(
        self,
        link: Connection,
        settings: DecodeSettings,
        memory: mmap.mmap,
        complaints: Callable[[], int],
    ) -> None:
        self._link = link
        self._settings = settings
        self._slots = np.frombuffer(memory, dtype=np.uint8).reshape(
            settings.slots, *settings.clip_shape
        )
        self._free = list(range(settings.slots))
        self._complaints = complaints
        self._told = 0.0
        method = settings.transform.flow
        self._flow = OpticalFlow(method) if method is not None else None
        self._cache = settings.flow_cache
        self._stamp: Stamp | None = (
            None  # of the video's file before it was opened, where flow is kept
        )
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
                if decoder_named(job.decoder).exact:  # it broke its word: nobody takes over
                    self._link.send(Failed(job.key, str(reason)))
                    return
                job = job.anew()
                self._link.send(Restarted(job.key, str(reason)))
            except Mismatch as reason:
                job = replace(job, without=frozenset())
                self._cached = False
                self._link.send(Restarted(job.key, str(reason)))
                self._link.send(Noted(job.key, f"{job.path}: {reason}: the flow is computed again"))
            except FeatxError as error:  # it is no video, or the decoder cannot be had here
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

    def _decode(self, job: Job) -> Any:
        spec, transform = self._settings.clip, self._settings.transform
        self._stamp = stamp_of(job.path) if self._cache is not None else None
        # Where evenly spread clips lie is known once all frames are decoded: by a first pass that converts none of them.
        n_sampled = None if spec.count is None else self._count(job)
        video = self._open(job)

        def alive() -> None:
            self._alive(job, video)

        def cut(image: Clip) -> Clip:
            alive()  # a clip's flow may take many seconds
            return transform.cut(image)

        video.on_packet = alive
        with self._input(video, job, alive) as shown:
            clips = clips_of(
                shown, spec, cut, job.sends, sampling=job.sampling(spec), n_sampled=n_sampled
            )
            for number, frames in clips:
                slot = self._slot()
                for t, crops in enumerate(frames):
                    self._slots[slot, :, t] = crops
                self._link.send(ClipReady(job.key, number, slot))
        return summarise(video, spec, sampling=job.sampling(spec))

    def _open(self, job: Job) -> VideoReader:
        spec = self._settings.clip
        return open_video(
            job.path,
            frame_size=self._settings.transform.frame_size,
            max_pixels=self._settings.max_pixels,
            decoder=job.decoder,
            in_time_order=spec.fps is not None or not job.whole,
            complaints=self._complaints,
        )

    def _count(self, job: Job) -> int:
        """Decode the video once for the number of its sampled frames."""
        video = self._open(job)
        video.on_packet = lambda: self._alive(job, video, counting=True)
        return sum(shown for _, shown in sampled_frames(video, job.sampling(self._settings.clip)))

    def _alive(self, job: Job, video: VideoReader, *, counting: bool = False) -> None:
        now = monotonic()
        if now - self._told > 0.5:
            self._told = now
            of = video.info.container_frames or round(video.info.duration_s * video.info.fps)
            self._link.send(Progress(job.key, 0 if counting else video.n_frames, of))

    @contextlib.contextmanager
    def _input(
        self, video: VideoReader, job: Job, alive: Callable[[], None]
    ) -> Iterator[Iterable[Frame]]:
        """Give the frames whose images are the model's input; flow is read from the cache, or kept there at the end."""
        transform, flow = self._settings.transform, self._flow
        if flow is None:
            yield video
            return
        if self._cache is None or self._stamp is None:
            yield with_flow(video, transform.input, flow)
            return
        size = transform.frame_size(video.info.height, video.info.width)
        cache = FlowCache(
            self._cache, job.path, video.decoder, size, flow.method, alive, stamp=self._stamp
        )
        stored, why = cache.open() if self._cached else (None, "")
        if stored is not None:
            with contextlib.closing(stored):
                frames = with_flow(video, transform.input, flow, stored=stored)
                yield frames
                _exhaust(frames)
                stored.check(video.n_frames)
                if not cache.unchanged():
                    raise Mismatch("the file was changed while it was read")
            return
        if why:
            self._link.send(Noted(job.key, why))
        with contextlib.closing(
            _Keeper(cache, lambda text: self._link.send(Noted(job.key, text)))
        ) as keeper:
            frames = with_flow(video, transform.input, flow, keep=keeper.add)
            yield frames
            _exhaust(frames)
            keeper.commit()

    def _slot(self) -> int:
        while not self._free:
            message = self._receive()
            if message is None:
                sys.exit(0)  # the parent is gone
            self._free.append(message)
        return self._free.pop()


def _exhaust(frames: Iterable[Frame]) -> None:
    """Go on to the video's end: clips of a part end before it, and flow is kept for all of the video."""
    deque(frames, maxlen=0)


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
            self._note(
                f"flow is not kept in the cache ({error.strerror or error}); the rows do not depend on it"
            )
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
        settings: DecodeSettings
        modules, settings = link.recv()
        announce(modules)
        memory = mmap.mmap(memory_fd, settings.slots * settings.clip_bytes)
        settings.worker(link, memory, _stderr_watch()).run()
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
