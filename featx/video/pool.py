"""The parent's side of the decoding processes: start them, feed them, watch them, replace them.

Workers are plain subprocesses, not multiprocessing's: those import the caller's main module again,
so that a script without a `__main__` guard would start itself for ever. Clips come through
anonymous shared memory (a memfd), which no crash can leave behind and no size of /dev/shm limits.
"""

from __future__ import annotations

import mmap
import os
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from time import monotonic

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError
from featx.system.streams import hold_descriptors
from featx.video.decoders import announced, decoder_named
from featx.video.worker import ClipReady, DecodeSettings, Done, Event, Failed, Hello, Job, Restarted

# The child takes the parent's import path before importing anything of ours, so that it runs the same featx.
_START = "import sys; sys.path[:] = {path!r}; from featx.video.worker import main; main()"


class WorkerLost(FeatxError):
    """Decoding processes end as soon as they start; the message says what the last one printed."""


@dataclass(frozen=True)
class ClipArrived:
    """A clip's frames, (n_crops, T, crop, crop, 3) uint8, valid until the next event is asked for."""

    key: int
    clip: int
    frames: npt.NDArray[np.uint8]


PoolEvent = ClipArrived | Event


class _Process:
    def __init__(self, settings: DecodeSettings) -> None:
        self.memory_fd = _anonymous_file(settings.slots * settings.clip_bytes)
        self.printed_fd = _anonymous_file(0)
        ours, theirs = socket.socketpair()
        with theirs:
            fds = (theirs.fileno(), self.memory_fd)
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _START.format(path=sys.path),
                    *map(str, fds),
                    str(os.getpid()),
                ],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=self.printed_fd,
                stderr=self.printed_fd,
                start_new_session=True,  # Ctrl-C reaches the parent alone
                # One thread a worker: numpy's libraries would otherwise start one for every core.
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        self.link = Connection(ours.detach())
        self.link.send((announced(), settings))
        # Unmapped when the last view of a clip is gone, which may be after the process.
        memory = mmap.mmap(self.memory_fd, settings.slots * settings.clip_bytes)
        self.slots = np.frombuffer(memory, dtype=np.uint8).reshape(
            settings.slots, *settings.clip_shape
        )
        self.job: Job | None = None
        self.heard = monotonic()
        self.started = False

    def printed(self) -> str:
        size = os.lseek(self.printed_fd, 0, os.SEEK_END)
        lines = (
            os.pread(self.printed_fd, 2000, max(0, size - 2000))
            .decode("utf-8", "replace")
            .strip()
            .splitlines()
        )
        return lines[-1].strip() if lines else ""

    def end(self, *, patience: float = 0.0) -> tuple[int, str]:
        """Kill the process, unless it ends by itself within `patience` seconds, and return its exit status and last words."""
        try:
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        printed = self.printed()
        self.link.close()
        os.close(self.memory_fd)
        os.close(self.printed_fd)
        return status, printed


class Pool:
    """Decoding processes; use as a context, `submit` jobs, and read `events` until it is `idle`.

    timeout: seconds without a sign of life, while it has room to work in, after which a decoder is
    taken to hang. A video whose process dies is tried once more, as is one that hangs under a
    decoder that is not exact; the second time it is `Failed`. A new process takes the dead one's
    place.
    """

    def __init__(self, settings: DecodeSettings, *, workers: int, timeout: float = 120.0) -> None:
        self._settings = settings
        self._timeout = timeout
        self._processes: list[_Process] = []
        self._waiting: deque[Job] = deque()
        self._next_look = 0.0
        self._deaths_at_start = 0
        hold_descriptors()  # of a program that runs without standard streams
        for _ in range(workers):
            self._processes.append(_Process(settings))

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.end()
        self._processes.clear()

    def submit(self, jobs: Iterable[Job]) -> None:
        """Queue videos, to be decoded in this order."""
        self._waiting.extend(jobs)
        for process in self._processes:
            self._assign(process)

    @property
    def idle(self) -> bool:
        """Whether every job has ended."""
        return not self._waiting and all(p.job is None for p in self._processes)

    def pids(self) -> list[int]:
        """Return the process ids of the workers."""
        return [p.process.pid for p in self._processes]

    def events(self, timeout: float) -> Iterator[PoolEvent]:
        """Yield what has happened, waiting up to `timeout` seconds for the first; a clip's slot is free after its yield."""
        by_link = {p.link: p for p in self._processes}
        for link in wait(list(by_link), timeout):
            process = by_link[link]  # type: ignore[index]
            try:
                event: Event = process.link.recv()
            except (EOFError, OSError):
                yield from self._replace(process, hung=False)
                continue
            process.heard = monotonic()
            if isinstance(event, Hello):
                process.started = True
                self._deaths_at_start = 0
                yield event
            elif isinstance(event, ClipReady):
                yield ClipArrived(event.key, event.clip, process.slots[event.slot])
                _try_send(process.link.send, event.slot)
            elif isinstance(event, Done | Failed):
                process.job = None
                self._assign(process)
                yield event
            else:
                yield event
        if monotonic() > self._next_look:
            self._next_look = monotonic() + 0.5
            for process in list(self._processes):
                silent = monotonic() - process.heard
                # A full pipe of events waits for us, not for the decoder.
                patience = self._timeout if process.started else max(self._timeout, 60.0)
                if process.job is not None and silent > patience and not process.link.poll():
                    yield from self._replace(process, hung=True)

    def excuse(self) -> None:
        """Count no silence so far as hanging: the caller was busy and read no events."""
        for process in self._processes:
            process.heard = monotonic()

    def _assign(self, process: _Process) -> None:
        if process.job is None and self._waiting:
            process.job = self._waiting.popleft()
            process.heard = monotonic()
            _try_send(process.link.send, process.job)

    def _replace(self, process: _Process, *, hung: bool) -> Iterator[Event]:
        place = self._processes.index(process)
        job, started = process.job, process.started
        status, printed = process.end(patience=0.0 if hung else 2.0)
        if not started:
            self._deaths_at_start += 1
            if self._deaths_at_start > 3:
                del self._processes[place]
                said = f"exit status {status}" + (f": {printed}" if printed else "")
                raise WorkerLost(
                    f"decoding processes end as soon as they start ({said}); run the same command again"
                )
        self._processes[place] = fresh = _Process(self._settings)
        if job is not None and not started:
            self._waiting.appendleft(job)
        elif job is not None:
            ended = f"signal {-status}" if status < 0 else f"exit status {status}"
            said = f": {printed}" if printed and not hung else ""
            reason = (
                f"the decoder hangs (silent for {self._timeout:g} s)"
                if hung
                else f"the decoder crashed ({ended}){said}"
            )
            # A crash may be somebody else's doing, the kernel's out-of-memory killer's say: the video is tried once more.
            if not decoder_named(job.decoder).exact or not (hung or job.again):
                self._waiting.appendleft(job.anew())
                yield Restarted(job.key, reason)
            else:
                yield Failed(job.key, reason)
        self._assign(fresh)


def _try_send(send: Callable[[object], None], message: object) -> None:
    """Send to a worker that may have died: its death is read from the pipe, in its turn."""
    try:
        send(message)
    except OSError:
        return


def _anonymous_file(size: int) -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("featx", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        os.ftruncate(fd, size)
    except OSError as error:
        os.close(fd)
        raise FeatxError(
            f"decoding takes {size / 1e6:.0f} MB of shared memory, which cannot be had ({error.strerror}): take fewer"
            " workers, or raise the limit on files' sizes (ulimit -f)"
        ) from None
    return fd
