"""The endless stream of training clips, in batches: decoded ahead by processes, the same whenever and however it is read.

Clip p of the stream belongs to epoch p // n (n clips an epoch), in which all clips come once, in an order drawn
from (seed, epoch); what the clip shows is drawn from (seed, epoch, place). Nothing else is random, so
that a stream continued at any place, or divided over any number of processes, is the same stream.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType

import numpy as np
import numpy.typing as npt
import torch

from featx.datasets._types import Item
from featx.errors import FeatxError
from featx.training.batches import Batch
from featx.training.clips import DrawJob, Drawn, DrawSettings
from featx.video.pool import ClipArrived, Pool, WorkerLost
from featx.video.seek import DECODER
from featx.video.worker import Done, Failed, Noted

# Batches that are decoded ahead of the one that is computed.
AHEAD = 2
# Videos tried for one place of a batch before the data are given up.
_ATTEMPTS = 20


class Stream:
    """Which clip stands at which place of the stream; arithmetic only."""

    def __init__(self, items: Sequence[Item], *, clips_per_video: int, seed: int) -> None:
        self.items = items
        self.clips_per_video = clips_per_video
        self.seed = seed

    @property
    def epoch_clips(self) -> int:
        """Clips in an epoch."""
        return len(self.items) * self.clips_per_video

    def job(self, place: int, attempt: int, key: int) -> tuple[DrawJob, int]:
        """Return what is to be decoded for a place, and the item's number.

        attempt: from 1, another video, drawn for the place, instead of one that cannot be read.
        """
        epoch, within = divmod(place, self.epoch_clips)
        number, choice = divmod(
            int(_order(self.seed, epoch, self.epoch_clips)[within]), self.clips_per_video
        )
        if attempt:
            number = int(
                np.random.default_rng((self.seed, 2, epoch, within, attempt)).integers(
                    len(self.items)
                )
            )
        item = self.items[number]
        job = DrawJob(
            key,
            item.path,
            DECODER,
            seed=(self.seed, 3, epoch, within, attempt),
            video=(self.seed, 4, number),
            choice=choice,
            start=item.start,
            end=item.end,
        )
        return job, number


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, n: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng((seed, 1, epoch)).permutation(n)


class Loader:
    """Batches of a stream, decoded in processes and collected by a thread; a context, whose `next` gives them without end.

    places: of every batch's clips, one batch after the other. settings: their `slots` is a decoding process's.
    pin: put the batches into memory that a GPU copies from by itself.

    Raises FeatxError where no video can be read.
    """

    def __init__(
        self,
        stream: Stream,
        places: Iterator[Sequence[int]],
        settings: DrawSettings,
        *,
        batch: int,
        workers: int,
        pin: bool = False,
        timeout: float = 120.0,
    ) -> None:
        self._stream, self._places, self._settings = stream, places, settings
        self._workers, self._timeout = workers, timeout
        self.notes: list[
            str
        ] = []  # what the user should be told, beside bad videos, which the batches tell of
        self._bad: dict[str, str] = {}
        shape = (batch, *settings.clip_shape[1:])
        self._free: queue.Queue[torch.Tensor] = queue.Queue()
        for _ in range(AHEAD + 1):
            self._free.put(torch.zeros(shape, dtype=torch.uint8, pin_memory=pin))
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._guard, daemon=True)

    def __enter__(self) -> Loader:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def next(self, timeout: float | None = None) -> Batch | None:
        """Return the next batch; None where it is not there within `timeout` seconds."""
        try:
            found = self._ready.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(found, BaseException):
            raise found
        return found

    # The loader's own thread.

    def _guard(self) -> None:
        try:
            with Pool(self._settings, workers=self._workers, timeout=self._timeout) as pool:
                self._run(pool)
        except WorkerLost as error:
            self._ready.put(FeatxError(str(error)))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread by `next`
            self._ready.put(error)

    def _run(self, pool: Pool) -> None:
        under_way: dict[int, _Place] = {}
        waiting: list[Batch] = []  # in the stream's order
        key = 0
        while not self._stop.is_set():
            while not self._free.empty():
                places = next(self._places)
                batch = self._new_batch(len(places))
                waiting.append(batch)
                for i, place in enumerate(places):
                    under_way[key] = _Place(batch, i, place)
                    self._submit(pool, under_way[key], key)
                    key += 1
            for event in pool.events(0.05):
                if isinstance(event, ClipArrived):
                    where = under_way[event.key]
                    where.batch.clips[where.index] = torch.from_numpy(event.frames[0])
                elif isinstance(event, Done):
                    self._fill(under_way.pop(event.key), event.summary)
                elif isinstance(event, Failed):
                    where = under_way[event.key]
                    item = self._stream.items[where.item]
                    self._bad[item.id] = event.reason
                    self._submit(pool, where, event.key)
                elif isinstance(event, Noted) and event.note not in self.notes:
                    self.notes.append(event.note)
            while waiting and not waiting[0].missing:
                self._ready.put(waiting.pop(0))

    def _new_batch(self, n: int) -> Batch:
        return Batch(
            clips=self._free.get(),
            labels=torch.zeros(n, dtype=torch.int64),
            overlaps=torch.ones(n),
            sides=[0] * n,
            flips=[False] * n,
            ids=[""] * n,
            missing=n,
            _free=self._free,
        )

    def _submit(self, pool: Pool, where: _Place, key: int) -> None:
        """Have the place's video decoded, or the next one drawn for the place if it is known to be unreadable."""
        while True:
            job, number = self._stream.job(where.place, where.attempt, key)
            item = self._stream.items[number]
            if (reason := self._bad.get(item.id)) is None:
                break
            where.batch.replaced[item.id, reason] += 1
            where.attempt += 1
            if where.attempt > _ATTEMPTS:
                raise FeatxError(
                    f"{len(self._bad)} videos cannot be read, {item.path} among them ({reason}): {_ATTEMPTS} tried for one clip"
                    " in vain; mend the videos or their paths"
                )
        where.item = number
        pool.submit([job])

    def _fill(self, where: _Place, drawn: Drawn) -> None:
        batch, i = where.batch, where.index
        item = self._stream.items[where.item]
        batch.labels[i], batch.overlaps[i] = item.label, item.overlap
        batch.sides[i], batch.flips[i], batch.ids[i] = drawn.side, drawn.flip, item.id
        batch.missing -= 1
        batch.damaged_frames += drawn.damaged_frames


@dataclass
class _Place:
    """A place of the stream whose clip is under way, and where it goes."""

    batch: Batch
    index: int
    place: int
    attempt: int = 0
    item: int = 0
