"""The clips, or videos, of a feature file that are most like a query."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.errors import UsageError
from featx.store.reader import FeatureStore
from featx.store.recorded import Recorded
from featx.tasks.results import number_of, shown
from featx.tasks.retrieval._folder import Damaged, Opened, Recall, open_index
from featx.tasks.retrieval._index import IndexReport, difference, index_store
from featx.tasks.retrieval._nearest import LEAST, REFINE, Nearest
from featx.tasks.retrieval._place import Plan, chosen_layer, folder_of, stamp_of
from featx.tasks.retrieval._question import Computing, Question, asked, pair, pair_of_ints
from featx.tasks.retrieval._rows import Floats, Ints, Rows
from featx.tasks.retrieval._videos import Table
from featx.tasks.times import seconds_of

if TYPE_CHECKING:
    from torch import nn

MOST = 10_000
# float32 products round by less than this.
ROUNDING = 1e-5


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A clip that was found, or a whole video, whose clip is None. frames: [start, end); times: seconds."""

    rank: int
    cosine: float
    video: str
    path: str
    clip: int | None
    frames: tuple[int, int]
    times: tuple[float, float]
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What was found, the most alike first.

    left_out: ids of videos that are the query itself. per_video: how many clips of a video at the most, 0 for any number.
    videos, clips: that were searched. recall: of the index; None where the search was exhaustive, and so of all videos.
    indexed: what was done to the index before, if anything.
    """

    features: str
    index: str
    layer: str
    settings: Recorded
    query: Question
    hits: list[Hit]
    whole_videos: bool
    per_video: int
    left_out: list[str]
    videos: int
    clips: int
    exact: bool
    recall: Recall | None
    notes: list[str]
    indexed: IndexReport | None
    seconds: float

    def __repr__(self) -> str:
        found = number_of(len(self.hits), "video" if self.whole_videos else "clip")
        best = f"best {self.hits[0].cosine:.4f} in {self.hits[0].video!r}" if self.hits else ""
        of = f"of {self.videos if self.whole_videos else self.clips:,} in {self.features!r}"
        return shown("SearchResult", f"like {self.query.name!r}", found, best, of, notes=self.notes)


def search(
    path: str | os.PathLike[str],
    query: str | os.PathLike[str],
    *,
    at: str | float | None = None,
    by_id: bool = False,
    k: int = 10,
    videos: bool = False,
    per_video: int = 3,
    own: bool = False,
    layer: str | None = None,
    index: str | os.PathLike[str] | None = None,
    weights: str | None = None,
    project: str | os.PathLike[str] | None = None,
    model: nn.Module | None = None,
    html: str | os.PathLike[str] | None = None,
    on_index: Callable[[Plan], None] = lambda plan: None,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
    on_query: Callable[[Any], None] | None = None,
) -> SearchResult:
    """Find the `k` clips, or `videos`, of a feature file that are most like a query, by the cosine of their features.

    query: a video file, whose features are computed as the file's were, or the id of a video in it (nothing else if `by_id`).
    at: the clip at this time, seconds or text such as 1:02.5; the mean over the whole video's clips by default.
    videos: compare with each video's mean instead of its clips. per_video: at most so many clips of a video, none that
    overlap; 0 for any. own: do not leave out the query's own video. layer, index: as for `index`, which is called first
    where the index lacks something. weights, project: the checkpoint's and the projection's file, where they are not at their
    recorded places. model: the module that made the file's rows, where that was one of yours.
    html: write a page with pictures of what was found, too. on_index, on_progress: as for `index`; on_query: called with
    an extraction's `Stats` while the query's features are computed.
    Raises UsageError for a query that is not there or a time out of the video, FeatxError for one that cannot be read.
    """
    began = monotonic()
    if not 1 <= k <= MOST:
        raise UsageError(f"k is {k}: give a whole number from 1 to {MOST}")
    if per_video < 0:
        raise UsageError(
            f"the clips of a video are {per_video} at the most: give 0, for any number, or more"
        )
    time = None if at is None else seconds_of(at)
    if html is not None:
        from featx.report.page import check_page

        check_page(html)
    stamp = stamp_of(path)
    with FeatureStore(path) as store:
        opened, indexed = _opened(
            store, path, stamp, layer, index, on_index, on_progress, videos=videos
        )
        computing = Computing(weights=weights, project=project, model=model, on_progress=on_query)
        question, row, notes = asked(
            store, opened, os.fspath(query), by_id=by_id, at=time, computing=computing
        )
        settings = store.settings
    excluded = [] if own else _own_videos(opened.table, question)
    hits = (
        _videos_like(opened, row, k, excluded)
        if videos
        else _clips_like(opened, row, k, excluded, per_video)
    )
    exhaustive = videos or opened.manifest.cells is None
    result = SearchResult(
        features=os.fspath(path),
        index=str(opened.folder),
        layer=opened.manifest.layer,
        settings=settings,
        query=question,
        hits=hits,
        whole_videos=videos,
        per_video=per_video,
        left_out=[opened.table.videos[n].id for n in excluded],
        videos=opened.manifest.videos,
        clips=opened.manifest.clips,
        exact=exhaustive,
        recall=None if exhaustive else opened.manifest.recall,
        notes=notes,
        indexed=indexed,
        seconds=monotonic() - began,
    )
    if html is not None:
        from featx.tasks.retrieval._page import write

        lacking = write(result, html)
        result = replace(result, notes=[*notes, *lacking], seconds=monotonic() - began)
    return result


def _opened(
    store: FeatureStore,
    path: str | os.PathLike[str],
    stamp: dict[str, int],
    layer: str | None,
    index: str | os.PathLike[str] | None,
    on_index: Callable[[Plan], None],
    on_progress: Callable[[int, int], None],
    *,
    videos: bool,
) -> tuple[Opened, IndexReport | None]:
    """Return the index, made or added to first where it is not up to date, and what was done then.

    videos: only their means are going to be searched, for which no cells are read.
    """
    chosen, _ = chosen_layer(store, layer)
    folder = folder_of(path, chosen, index)
    try:
        opened = open_index(folder)
        _ = opened.cells if opened and not videos else None
    except Damaged:
        opened = None
    if opened is not None:
        known = opened.manifest.features == stamp
        # Where it cannot be noted that a file, a copy it may be, has the rows of the index, it is found out every time.
        if known or (
            not os.access(folder, os.W_OK) and difference(opened, store, stamp) == ("", [])
        ):
            return opened, None
    report = index_store(
        store, path, stamp, layer=chosen, index=index, on_start=on_index, on_progress=on_progress
    )
    opened = open_index(folder)
    if opened is None:
        raise Damaged(f"{folder} was removed while it was being used: run the same command again")
    return opened, report if report.done != "nothing" else None


def _own_videos(table: Table, question: Question) -> list[int]:
    """Return the numbers of the videos that are the query's own file, or copies of it."""
    return [
        number
        for number, video in enumerate(table.videos)
        if video.id == question.video
        or (question.fingerprint and video.fingerprint == question.fingerprint)
    ]


def _clips_like(
    opened: Opened, row: Rows, k: int, excluded: Sequence[int], per_video: int
) -> list[Hit]:
    cells = opened.manifest.cells
    near = Nearest(opened.rows, opened.cells, probes=cells.probes if cells else 0)
    table = opened.table
    without = table.rows_of(excluded)
    fetch = max(LEAST, REFINE * k)
    while True:
        cosines, numbers, all_ = near(row, fetch, without)
        hits = _chosen(table, cosines, numbers, k, per_video)
        # Not before everything as near as the last of them has been seen: of equals the first by name goes first.
        if all_ or (
            len(hits) == k and (cells is not None or cosines[-1] < hits[-1].cosine - ROUNDING)
        ):
            return hits
        fetch *= 4


def _chosen(table: Table, cosines: Floats, numbers: Ints, k: int, per_video: int) -> list[Hit]:
    """Return the first k clips by cosine, then id, then time, of which no video has more than `per_video`, apart in time."""
    firsts = table.firsts
    which = np.searchsorted(firsts, numbers, side="right") - 1
    found = sorted(
        zip(cosines.tolist(), which.tolist(), (numbers - firsts[which]).tolist(), strict=True),
        key=lambda each: (-each[0], table.videos[each[1]].id, each[2]),
    )
    taken: dict[int, list[tuple[float, float]]] = {}
    hits: list[Hit] = []
    for cosine, number, clip in found:
        times = pair(table.times[firsts[number] + clip])
        before = taken.setdefault(number, [])
        if per_video and (
            len(before) >= per_video or any(a < times[1] and times[0] < b for a, b in before)
        ):
            continue
        before.append(times)
        frames = pair_of_ints(table.frames[firsts[number] + clip])
        hits.append(_hit(table, len(hits) + 1, cosine, number, clip, frames, times))
        if len(hits) == k:
            break
    return hits


def _videos_like(opened: Opened, row: Rows, k: int, excluded: Sequence[int]) -> list[Hit]:
    table = opened.table
    near = Nearest(opened.means)
    fetch = max(LEAST, REFINE * k)
    without = [(n, n + 1) for n in sorted(excluded)]
    while True:
        cosines, numbers, all_ = near(row, fetch, without)
        found = sorted(
            zip(cosines.tolist(), numbers.tolist(), strict=True),
            key=lambda x: (-x[0], table.videos[x[1]].id),
        )[:k]
        if all_ or cosines[-1] < found[-1][0] - ROUNDING:
            break
        fetch *= 4
    return [
        _hit(
            table,
            rank,
            cosine,
            n,
            None,
            (0, table.videos[n].frames),
            (table.videos[n].begin, table.videos[n].end),
        )
        for rank, (cosine, n) in enumerate(found, start=1)
    ]


def _hit(
    table: Table,
    rank: int,
    cosine: float,
    number: int,
    clip: int | None,
    frames: tuple[int, int],
    times: tuple[float, float],
) -> Hit:
    video = table.videos[number]
    return Hit(
        rank=rank,
        cosine=cosine,
        video=video.id,
        path=video.path,
        clip=clip,
        frames=frames,
        times=times,
        fingerprint=video.fingerprint,
    )
