"""A feature file's clips made searchable, once; later only what is new."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Literal

import numpy as np

from featx.errors import FeatxError
from featx.store.reader import FeatureStore
from featx.store.recorded import differences
from featx.system.files import created, disk_full
from featx.tasks.results import number_of, shown
from featx.tasks.retrieval import _faiss
from featx.tasks.retrieval._folder import (
    Cells,
    Damaged,
    Manifest,
    Opened,
    Recall,
    free_number,
    lock,
    open_index,
    publish,
    sweep,
    synced_sha256,
)
from featx.tasks.retrieval._nearest import measured
from featx.tasks.retrieval._place import Plan, chosen_layer, folder_of, stamp_of
from featx.tasks.retrieval._rows import Stored, unit
from featx.tasks.retrieval._segment import write_segment
from featx.tasks.retrieval._videos import changes, described

# Additions that are kept apart before they are made one.
MOST_SEGMENTS = 64
# Cells are placed anew when there are so many times the rows that they were placed by.
OUTGROWN = 2.0
# Videos of which a row is compared with the index's where a feature file was written since.
SAMPLED = 64

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class IndexReport:
    """How an indexing went.

    videos, clips: in the index. done: what was done. added: videos that were read. why: what was there is built anew.
    cells, probes: cells of faiss's index, and how many a search looks into; None, as recall, where a search is exhaustive.
    bytes: on the disk.
    """

    features: str
    index: str
    layer: str
    dims: int
    videos: int
    clips: int
    done: Literal["built", "added", "nothing"]
    added: int
    why: str
    exact: bool
    cells: int | None
    probes: int | None
    recall: Recall | None
    bytes: int
    seconds: float

    def __repr__(self) -> str:
        how = "exact" if self.exact else f"{self.probes} of {self.cells} cells"
        videos, clips = number_of(self.videos, "video"), number_of(self.clips, "clip")
        return shown(
            "IndexReport", f"{self.layer} of {self.features!r}", self.done, videos, clips, how
        )


def index(
    path: str | os.PathLike[str],
    *,
    layer: str | None = None,
    index: str | os.PathLike[str] | None = None,
    exact: bool | None = None,
    on_start: Callable[[Plan], None] = lambda plan: None,
    on_progress: Progress = lambda done, of: None,
) -> IndexReport:
    """Make an index of a feature file's clips, or add the videos that it lacks.

    layer: by default the narrowest one that is not prob. index: the folder, `path`.index by default, in which each layer
    has its own. exact: whether a search compares with every row; by default as before, and at first up to
    `featx.tasks.retrieval.EXACT_BYTES` of rows. on_start: called with what is to be done, if anything is; on_progress: with
    (videos read, in all). The index that is there stays until the new one is whole.
    Raises UsageError where a layer is unknown, there is too little room, or another run is writing the index.
    """
    stamp = stamp_of(path)
    with FeatureStore(path) as store:
        return index_store(
            store,
            path,
            stamp,
            layer=layer,
            index=index,
            exact=exact,
            on_start=on_start,
            on_progress=on_progress,
        )


def index_store(
    store: FeatureStore,
    path: str | os.PathLike[str],
    stamp: dict[str, int],
    *,
    layer: str | None,
    index: str | os.PathLike[str] | None,
    exact: bool | None = None,
    on_start: Callable[[Plan], None],
    on_progress: Progress,
) -> IndexReport:
    """Do what `index` does for a feature file that is open. path, stamp: the file's, of before it was opened."""
    began = monotonic()
    chosen, dims = chosen_layer(store, layer)
    folder = folder_of(path, chosen, index)
    with closing(lock(folder)):
        old, why, ids = _usable(folder, store, stamp)
        empty = Manifest(stamp, store.settings, chosen, dims)
        update = _Update(store, folder, old, ids, exact, empty)
        plan = update.plan(why)
        try:
            manifest = update.run(plan, on_start, on_progress)
        finally:
            sweep(folder)
    return IndexReport(
        features=os.fspath(path),
        index=str(folder),
        layer=chosen,
        dims=dims,
        videos=manifest.videos,
        clips=manifest.clips,
        done="nothing" if update.same else "built" if old is None else "added",
        added=plan.new,
        why=why,
        exact=manifest.cells is None,
        cells=manifest.cells.cells if manifest.cells else None,
        probes=manifest.cells.probes if manifest.cells else None,
        recall=manifest.recall,
        bytes=sum((folder / name).stat().st_size for name in manifest.files),
        seconds=monotonic() - began,
    )


def difference(opened: Opened, store: FeatureStore, stamp: dict[str, int]) -> tuple[str, list[str]]:
    """Say why an index's rows are not those of the feature file, empty if they are, and which videos are new, by id.

    A file that has not been written since, by its stamp, is not looked into.
    """
    if opened.manifest.features == stamp:
        return "", []
    if changed := differences(opened.manifest.settings, store.settings):
        return f"the file's settings are others: {changed}", store.ids
    found = changes(store, opened.table)
    return found.why or _other_rows(opened, store), found.new


def _other_rows(opened: Opened, store: FeatureStore) -> str:
    """Say that a file written anew has other rows of the same videos, empty if not: by one row of some videos."""
    table, layer = opened.table, opened.manifest.layer
    firsts = table.firsts
    for number in np.unique(np.linspace(0, len(table.videos) - 1, SAMPLED).astype(np.int64)):
        video = table.videos[number]
        data = store[video.id].dataset(layer)
        if data.shape != (video.clips, opened.manifest.dims):
            return f"{video.id!r} has other rows now"
        known = opened.rows.take(firsts[number : number + 1])
        if not np.allclose(
            unit(data[:1]), known, rtol=0, atol=1e-6
        ):  # a few roundings of float32 up to 1
            return f"{video.id!r} has other rows now"
    return ""


def _usable(
    folder: Path, store: FeatureStore, stamp: dict[str, int]
) -> tuple[Opened | None, str, list[str]]:
    """Return the index that is there, if it can be added to, why not, and which videos are to be added, by id."""
    try:
        old = open_index(folder)
        if old is None:
            return None, "", store.ids
        old.verify()
        _ = old.cells
    except Damaged as error:
        return None, str(error), store.ids
    why, new = difference(old, store, stamp)
    if new and len(old.manifest.segments) >= MOST_SEGMENTS:
        why = why or f"it is of {len(old.manifest.segments)} additions"
    return (None, why, store.ids) if why else (old, "", new)


class _Update:
    """Brings an index up to date with a feature file.

    old: what is there and right. ids: of the videos to add. empty: the manifest of an index without rows.
    """

    def __init__(
        self,
        store: FeatureStore,
        folder: Path,
        old: Opened | None,
        ids: list[str],
        exact: bool | None,
        empty: Manifest,
    ) -> None:
        self._store, self._folder, self._old, self._empty = store, folder, old, empty
        self._before = old.manifest if old else empty
        self._new = described(store, ids)
        self._forced = self._before.forced if exact is None else exact
        clips = self._before.clips + len(self._new.frames)
        small = clips * empty.dims * 4 <= _faiss.EXACT_BYTES
        self._clips, self._exact = clips, small if self._forced is None else self._forced
        #: Whether there is nothing to do.
        self.same = not self._new.videos and self._exact == (self._before.cells is None)

    def plan(self, why: str) -> Plan:
        dims, new = self._empty.dims, len(self._new.videos)
        codes = 0 if self._exact or self.same else self._clips * dims
        return Plan(
            index=self._folder,
            layer=self._empty.layer,
            dims=dims,
            videos=len(self._store),
            clips=self._clips,
            new=new,
            size=(self._clips - self._before.clips + new) * dims * 4 + codes,
            exact=self._exact,
            why=why,
        )

    def run(self, plan: Plan, on_start: Callable[[Plan], None], on_progress: Progress) -> Manifest:
        """Do it, and return the manifest that is in place then."""
        manifest = replace(self._before, features=self._empty.features, forced=self._forced)
        if self.same:
            if manifest != self._before:
                publish(self._folder, manifest)
            return manifest
        if not plan.exact:
            _faiss.load()  # before rows are written for hours
        plan.check_room()
        on_start(plan)
        sweep(self._folder)
        number = free_number(self._folder)
        if self._new.videos:
            segment = write_segment(
                self._store,
                self._new,
                self._folder,
                layer=plan.layer,
                dims=plan.dims,
                number=number,
                on_progress=on_progress,
            )
            manifest = replace(manifest, segments=[*manifest.segments, segment])
        manifest = replace(manifest, cells=None, recall=None)
        if not plan.exact:
            manifest = self._with_cells(manifest, number)
        publish(self._folder, manifest)
        return manifest

    def _with_cells(self, manifest: Manifest, number: int) -> Manifest:
        """Write faiss's index of all rows, and return the manifest with it and with its recall."""
        stored = Stored(
            [(self._folder / s.rows, s.clips) for s in manifest.segments], manifest.dims
        )
        before = self._before.cells
        if (
            self._old is not None
            and before is not None
            and len(stored) <= OUTGROWN * before.trained
        ):
            cells, trained = self._old.cells, before.trained
        else:
            cells, trained = _faiss.train(stored), len(stored)
        _faiss.add(cells, stored)
        path = self._folder / f"cells-{number}.faiss"
        with disk_full(self._folder):
            created(path).close()
            try:
                _faiss.write(cells, path)
            except RuntimeError as error:  # faiss has no other
                raise FeatxError(
                    f"cannot write {path}: {str(error).splitlines()[0]}; is the disk full?"
                ) from error
            sha256 = synced_sha256(path)
        probes, recall = measured(stored, cells, Opened(self._folder, manifest).table.firsts)
        entry = Cells(
            file=path.name, sha256=sha256, cells=int(cells.nlist), probes=probes, trained=trained
        )
        return replace(manifest, cells=entry, recall=recall)
