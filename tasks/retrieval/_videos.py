"""Which videos and clips an index holds: enough to say what a row is without the feature file, and whether that has changed."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.store.reader import FeatureStore
from featx.store.schema import is_text, problem_of_attribute, problem_of_id
from featx.system.files import check_stored

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A video of an index.

    clips: how many. fingerprint: of the file, as `featx extract` stored it. digest: see `digest_of`.
    begin, end: seconds by its own timestamps. frames: how many.
    """

    id: str
    path: str
    fingerprint: str
    digest: str
    clips: int
    frames: int
    begin: float
    end: float


@dataclass(frozen=True, eq=False)
class Table:
    """The videos of an index in the order of its rows, and their clips.

    frames: (N, 2) int64, [start, end) in source frames; times: (N, 2) float64, seconds; N rows in all.
    """

    videos: Sequence[Entry]
    frames: Ints
    times: Floats

    def __post_init__(self) -> None:
        if not all(isinstance(v.clips, int) and v.clips > 0 for v in self.videos):
            raise ValueError("it has a video whose clips are no number of clips")
        n = sum(video.clips for video in self.videos)
        if self.frames.shape != (n, 2) or self.times.shape != (n, 2):
            raise ValueError(
                f"{n} clips of videos, frames {self.frames.shape}, times {self.times.shape}"
            )

    @property
    def firsts(self) -> Ints:
        """(V + 1,) int64: the first row of each video, and the number of rows."""
        return np.concatenate(
            [[0], np.cumsum([video.clips for video in self.videos], dtype=np.int64)]
        )

    def rows_of(self, numbers: Iterable[int]) -> list[tuple[int, int]]:
        """Return the rows of the videos of these numbers, [start, end) each."""
        firsts = self.firsts
        return [(int(firsts[n]), int(firsts[n + 1])) for n in sorted(numbers)]


def digest_of(attrs: Mapping[str, Any], frames: Ints) -> str:
    """Return what tells a video's rows from others: a sha256 of its attributes, the file's fingerprint among them, and clips.

    Their times are left out: they follow from the file and the frames, and half the time of a comparison is reading them.
    """
    told = json.dumps(attrs, sort_keys=True, default=str).encode()
    return hashlib.sha256(told + frames.astype("<i8").tobytes()).hexdigest()


def described(store: FeatureStore, ids: Sequence[str]) -> Table:
    """Return the table of these videos of a feature file."""
    videos, frames, times = [], [np.empty((0, 2), np.int64)], [np.empty((0, 2), np.float64)]
    for video_id in ids:
        video = store[video_id]
        frames.append(video.clip_frames)
        times.append(video.clip_times)
        videos.append(_entry(video_id, video.attrs, frames[-1], times[-1]))
    return Table(videos, np.concatenate(frames), np.concatenate(times))


def _entry(video_id: str, attrs: Mapping[str, Any], frames: Ints, times: Floats) -> Entry:
    begin = float(times[:, 0].min()) if len(times) else 0.0
    return Entry(
        id=video_id,
        path=str(attrs["path"]),
        fingerprint=str(attrs.get("fingerprint", "")),
        digest=digest_of(attrs, frames),
        clips=len(frames),
        frames=int(attrs["frames"]),
        begin=begin,
        end=begin + float(attrs["duration_s"]),
    )


def joined(tables: Sequence[Table]) -> Table:
    """Return tables one after the other as one."""
    return Table(
        [video for each in tables for video in each.videos],
        np.concatenate([each.frames for each in tables]),
        np.concatenate([each.times for each in tables]),
    )


def packed(table: Table) -> bytes:
    """Return a table as the bytes of a file."""
    content = io.BytesIO()
    videos = json.dumps([asdict(video) for video in table.videos]).encode()
    np.savez(
        content, videos=np.frombuffer(videos, np.uint8), frames=table.frames, times=table.times
    )
    return content.getvalue()


def unpacked(content: bytes) -> Table:
    """Return the table that `packed` made; ValueError, KeyError or TypeError if it is none."""
    check_stored(file := io.BytesIO(content))
    with np.load(file, allow_pickle=False) as arrays:
        videos: list[dict[str, Any]] = json.loads(arrays["videos"].tobytes())
        table = Table([Entry(**video) for video in videos], arrays["frames"], arrays["times"])
    for video in table.videos:
        _check_entry(video)
    if len({video.id for video in table.videos}) != len(table.videos):
        raise ValueError("it has a video twice")
    for kind, array in ((np.int64, table.frames), (np.float64, table.times)):
        if array.dtype != kind or not np.isfinite(array).all():
            raise ValueError(f"its clips' places are {array.dtype}, or not finite")
    return table


def _check_entry(video: Entry) -> None:
    """Raise ValueError for a video that is none; times of clips are the file's own, and only shown."""
    texts = video.id, video.path, video.fingerprint, video.digest
    if not all(map(is_text, texts)) or problem_of_id(video.id):
        raise ValueError("it has a video whose id or path is no text")
    for name in ("frames", "duration_s"):
        value = video.frames if name == "frames" else video.end - video.begin
        if why := problem_of_attribute(name, value):
            raise ValueError(f"{name} of {video.id!r} {why}")


@dataclass(frozen=True)
class Changes:
    """What is in a feature file and not in its index, ids in order, and what is in the index and there no more, or other now."""

    new: list[str]
    gone: list[str]
    changed: list[str]

    @property
    def why(self) -> str:
        """Why rows of the index are wrong now; empty if none are."""
        said = []
        for ids, what in ((self.gone, "not in the file any more"), (self.changed, "other now")):
            if ids:
                more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
                said.append(f"{ids[0]!r}{more} {'is' if len(ids) == 1 else 'are'} {what}")
        return ", ".join(said)


def changes(store: FeatureStore, table: Table) -> Changes:
    """Compare a feature file with its index, video by video, reading no rows."""
    known = {video.id: video.digest for video in table.videos}
    return Changes(
        new=[i for i in store.ids if i not in known],
        gone=[i for i in known if i not in store],
        changed=[
            i
            for i in store.ids
            if i in known and digest_of((video := store[i]).attrs, video.clip_frames) != known[i]
        ],
    )
