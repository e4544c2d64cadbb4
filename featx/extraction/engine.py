"""The pipeline: decoding processes, batches across videos, the network, and a sink for its rows.

Three kinds of thread work at once. The caller's own thread reads the decoding processes' events
and copies clips into batches; compute threads run the model, on CPU one a core with one
intra-operator thread each, since whole batches side by side have no barrier at which one core
waits for another (measured: 22 % more clips/s on two cores), on a GPU two, so that one batch is
copied while the other is computed; a delivery thread hands rows to the sink.

Every batch has the same shape, a partial one being filled up with zeros, so that a clip's row does
not depend on its neighbours, nor on how many workers there are.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError
from featx.system.interrupts import held, raise_held
from featx.system.processors import cpu_count
from featx.video.cutting import Summary
from featx.video.pool import ClipArrived, PoolEvent
from featx.video.worker import DecodeSettings, Done, Failed, Job, Noted, Progress, Restarted

if TYPE_CHECKING:
    import torch

    from featx.extraction.backends import Backend

Rows = dict[str, npt.NDArray[np.float32]]


class Sink:
    """Where rows go; this one does nothing with them. Called from one thread, a video's rows always before its `done`."""

    def rows(self, key: int, clips: list[int], rows: Rows) -> None:
        """Take rows of one video: clip numbers and, per layer, (len(clips), D) float32."""

    def restarted(self, key: int) -> None:
        """Forget the video's rows: it is decoded anew."""

    def done(self, key: int, summary: Summary, batch_size: int) -> None:
        """Take note that the video is decoded and all its rows have been given, computed `batch_size` clips at once."""

    def failed(self, key: int, reason: str) -> None:
        """Take note that the video cannot be read."""


class ClipSource(Protocol):
    """Where clips come from: the decoding processes (`featx.video.pool.Pool`), or frames in memory."""

    @property
    def idle(self) -> bool:
        """Whether every job has ended."""

    def submit(self, jobs: Iterable[Job]) -> None:
        """Queue videos."""

    def events(self, timeout: float) -> Iterator[PoolEvent]:
        """Yield what has happened, waiting up to `timeout` seconds; a clip's frames are valid until the next event."""

    def excuse(self) -> None:
        """Count no silence so far as hanging: the caller was busy and read no events."""


@dataclass
class Stats:
    """How a run stands. seconds waited: by compute for clips, by decoding for compute, by compute for the sink.

    notes: what the user should know that is not a failure.
    """

    videos: int = 0
    failed: int = 0
    clips: int = 0
    decoded_clips: int = 0
    frames: dict[int, tuple[int, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    began: float = field(default_factory=monotonic)
    compute_waited: float = 0.0
    decode_waited: float = 0.0
    sink_waited: float = 0.0

    @property
    def binding(self) -> str:
        """Which stage the others wait for."""
        waits = {
            "decoding": self.compute_waited,
            "backbone": self.decode_waited,
            "writing": self.sink_waited,
        }
        return max(waits, key=lambda stage: waits[stage])


def compute_threads(device_type: str) -> int:
    """Return how many batches are computed side by side: one a core on CPU; on a GPU two, one being copied."""
    return 2 if device_type == "cuda" else cpu_count()


class _Batch:
    """Clips of several videos: (B, n_crops, T, crop, crop, 3) uint8, of which the first len(entries) are filled."""

    def __init__(self, size: int, settings: DecodeSettings, device: torch.device) -> None:
        import torch

        self.clips = torch.zeros(
            (size, *settings.clip_shape), dtype=torch.uint8, pin_memory=device.type == "cuda"
        )
        self.array = self.clips.numpy()
        self.entries: list[tuple[int, int, int]] = []  # (key, attempt, clip)


class Engine:
    """One run of the pipeline over any number of videos; `run` it once."""

    def __init__(
        self,
        backend: Backend,
        settings: DecodeSettings,
        source: ClipSource,
        sink: Sink,
        *,
        batch_size: int,
        watch: Callable[[PoolEvent], None] | None = None,
        on_progress: Callable[[Stats], None] | None = None,
    ) -> None:
        self._backend = backend
        self._settings = settings
        self._source = source
        self._watch = watch
        self._sink = sink
        self._device = backend.device
        self._on_progress = on_progress
        self.batch_size = batch_size
        self.stats = Stats()
        n_compute = compute_threads(self._device.type)
        self._empty: queue.Queue[_Batch] = queue.Queue()
        for _ in range(n_compute + 1):
            self._empty.put(_Batch(batch_size, settings, self._device))
        self._full: queue.Queue[_Batch] = queue.Queue()
        # Few: rows of an early layer can take hundreds of megabytes a batch.
        self._results: queue.Queue[Any] = queue.Queue(maxsize=n_compute)
        self._stop = threading.Event()
        self._no_more_batches = threading.Event()
        self._no_more_rows = threading.Event()
        self._error: BaseException | None = None
        self._attempt: dict[int, int] = {}
        self._sent: dict[int, int] = {}
        self._compute = [
            threading.Thread(target=self._guard, args=(self._compute_loop,), daemon=True)
            for _ in range(n_compute)
        ]
        self._delivery = threading.Thread(
            target=self._guard, args=(self._deliver_loop,), daemon=True
        )

    def run(self, jobs: Iterable[Job]) -> Stats:
        """Run every job to its end. On an exception, Ctrl-C included, the rows already computed are still delivered."""
        import torch

        threads_before = torch.get_num_threads()
        for thread in (*self._compute, self._delivery):
            thread.start()
        try:
            self._feed(jobs)
        except BaseException:
            self._stop.set()
            raise
        finally:
            with held(self._stop.set) as interrupts:
                self._join()
            torch.set_num_threads(threads_before)
        if self._error is not None:
            raise self._error
        raise_held(interrupts)
        return self.stats

    def _join(self) -> None:
        """End the threads, the compute threads first."""
        for ended, threads in (
            (self._no_more_batches, self._compute),
            (self._no_more_rows, [self._delivery]),
        ):
            ended.set()
            began = monotonic()
            for thread in threads:
                # With a timeout: a signal may be delivered to another thread, and its handler runs in this one when it wakes.
                while thread.is_alive():
                    thread.join(0.1)
            # Whoever is done waits for the rest: of a short run this is most of what there is to tell which stage binds.
            if threads is self._compute:
                self.stats.decode_waited += monotonic() - began
            else:
                self.stats.sink_waited += monotonic() - began

    # The caller's thread: events to batches.

    def _feed(self, jobs: Iterable[Job]) -> None:
        self._source.submit(jobs)
        batch: _Batch | None = None
        while not self._source.idle:
            for event in self._source.events(0.1):
                if self._watch is not None:
                    self._watch(event)
                if isinstance(event, ClipArrived):
                    batch = self._add(batch, event)
                else:
                    self._note(event)
                self._report()
            self._report()
        if batch is not None:
            batch.array[len(batch.entries) :] = 0
            self._full.put(batch)

    def _add(self, batch: _Batch | None, event: ClipArrived) -> _Batch | None:
        batch = batch or self._take_empty()
        batch.array[len(batch.entries)] = event.frames
        batch.entries.append((event.key, self._attempt.get(event.key, 0), event.clip))
        self._sent[event.key] = self._sent.get(event.key, 0) + 1
        self.stats.decoded_clips += 1
        if len(batch.entries) < len(batch.array):
            return batch
        self._full.put(batch)
        return None

    def _take_empty(self) -> _Batch:
        began = monotonic()
        while True:
            self._check()
            with contextlib.suppress(queue.Empty):
                batch = self._empty.get(timeout=0.1)
                break
            self._report()
        waited = monotonic() - began
        self.stats.decode_waited += waited
        if waited > 1:
            self._source.excuse()
        return batch

    def _note(self, event: PoolEvent) -> None:
        if isinstance(event, Progress):
            self.stats.frames[event.key] = (event.frames, event.of)
        elif isinstance(event, Noted):
            if event.note not in self.stats.notes:
                self.stats.notes.append(event.note)
        elif isinstance(event, Restarted):
            self._attempt[event.key] = self._attempt.get(event.key, 0) + 1
            self._sent.pop(event.key, None)
            self._put_result(event)
        elif isinstance(event, Done):
            self.stats.frames.pop(event.key, None)
            self._put_result((event, self._sent.pop(event.key, 0)))
        elif isinstance(event, Failed):
            self.stats.frames.pop(event.key, None)
            self._sent.pop(event.key, None)
            self._attempt[event.key] = self._attempt.get(event.key, 0) + 1
            self._put_result(event)

    def _put_result(self, item: Any) -> None:
        while True:
            self._check()
            with contextlib.suppress(queue.Full):
                self._results.put(item, timeout=0.1)
                return

    def _report(self) -> None:
        self._check()
        if self._on_progress is not None:
            self._on_progress(self.stats)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    # Compute threads: batches to rows.

    def _compute_loop(self) -> None:
        import torch

        cuda = self._device.type == "cuda"
        if not cuda:
            torch.set_num_threads(1)
        stream = torch.cuda.Stream(self._device) if cuda else None  # type: ignore[no-untyped-call]
        with (
            torch.inference_mode(),
            torch.cuda.stream(stream) if stream else contextlib.nullcontext(),
        ):
            while not self._stop.is_set():
                began = monotonic()
                try:
                    batch = self._full.get(timeout=0.05)
                except queue.Empty:
                    if self._no_more_batches.is_set():
                        return
                    continue
                finally:
                    self.stats.compute_waited += (monotonic() - began) / len(self._compute)
                rows = self._features(batch.clips, len(batch.entries))
                entries, batch.entries = batch.entries, []
                self._empty.put(batch)
                began = monotonic()
                self._results.put((entries, rows))
                self.stats.sink_waited += (monotonic() - began) / len(self._compute)

    def _features(self, clips: torch.Tensor, filled: int) -> Rows:
        """(B, n_crops, T, crop, crop, 3) uint8 -> layer -> (filled, D) float32; halves the batch when memory runs out."""
        import torch

        while True:
            size = self.batch_size
            try:
                parts = [
                    self._forward(_padded(clips[i : i + size], size))
                    for i in range(0, filled, size)
                ]
                return {
                    name: np.concatenate([p[name] for p in parts])[:filled] for name in parts[0]
                }
            except RuntimeError as error:  # of which torch.OutOfMemoryError is one; on CPU there is no kind of its own
                if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(
                    error
                ):
                    raise
                if size == 1:
                    raise FeatxError(
                        "not even one clip at a time fits in memory: choose smaller clips or crops"
                    ) from error
            # Out of the except block, where the failed forward pass's tensors are still held.
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            self.batch_size = min(self.batch_size, size // 2)

    def _forward(self, clips: torch.Tensor) -> Rows:
        transform = self._settings.transform
        on_device = clips.to(self._device, non_blocking=True)
        total: dict[str, torch.Tensor] = {}
        views = [
            (crop, mirrored) for crop in range(transform.n_crops) for mirrored in transform.mirrors
        ]
        for crop, mirrored in views:
            out = self._backend(transform.normalise(on_device[:, crop], mirrored=mirrored))
            total = {name: total[name] + value if total else value for name, value in out.items()}
        means = {
            name: value / len(views) if len(views) > 1 else value for name, value in total.items()
        }
        # .cpu() waits for the computation, and so for the copy of `clips`: the batch may be filled anew.
        return {name: value.cpu().numpy() for name, value in self._backend.finish(means).items()}

    # The delivery thread: rows to the sink, in an order that the sink can rely on.

    def _deliver_loop(self) -> None:
        delivered: dict[int, int] = {}
        ended: dict[int, tuple[Summary, int]] = {}
        attempts: dict[int, int] = {}

        def finish(key: int) -> None:
            if key in ended and delivered.get(key, 0) == ended[key][1]:
                self._sink.done(key, ended.pop(key)[0], self.batch_size)
                delivered.pop(key, None)
                self.stats.videos += 1

        for item in self._results_until_the_end():
            if isinstance(item, Restarted | Failed):
                attempts[item.key] = attempts.get(item.key, 0) + 1
                delivered.pop(item.key, None)
                self._sink.restarted(item.key)
                if isinstance(item, Failed):
                    self._sink.failed(item.key, item.reason)
                    self.stats.failed += 1
            elif isinstance(item[0], Done):
                done, sent = item
                ended[done.key] = (done.summary, sent)
                finish(done.key)
            else:
                entries, rows = item
                for key, places in _by_key(entries, attempts).items():
                    self._sink.rows(
                        key,
                        [entries[p][2] for p in places],
                        {n: r[places] for n, r in rows.items()},
                    )
                    delivered[key] = delivered.get(key, 0) + len(places)
                    self.stats.clips += len(places)
                    finish(key)

    def _results_until_the_end(self) -> Iterator[Any]:
        while True:
            try:
                yield self._results.get(timeout=0.05)
            except queue.Empty:
                if self._no_more_rows.is_set():
                    return

    def _guard(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            self._error = self._error or error
            self._stop.set()
            if threading.current_thread() is self._delivery:
                for _ in self._results_until_the_end():
                    pass  # the others must not wait for room for ever


def _by_key(entries: list[tuple[int, int, int]], attempts: dict[int, int]) -> dict[int, list[int]]:
    """Group a batch's places by video, leaving out clips of an attempt that has been given up."""
    places: dict[int, list[int]] = {}
    for place, (key, attempt, _) in enumerate(entries):
        if attempt == attempts.get(key, 0):
            places.setdefault(key, []).append(place)
    return places


def _padded(clips: torch.Tensor, size: int) -> torch.Tensor:
    if len(clips) == size:
        return clips
    padding = clips.new_zeros((size - len(clips), *clips.shape[1:]))
    import torch

    return torch.cat([clips, padding])
