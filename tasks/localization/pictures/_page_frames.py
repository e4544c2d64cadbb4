"""Frames for a page: all that it shows of a video, read in one go."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from featx.errors import FeatxError
from featx.report.page import Markup, element, picture
from featx.tasks._time import stretch
from featx.tasks.localization.pictures._timeline_rows import spread_times
from featx.video.thumbnails import Film

# Of a stretch, and of a whole video; pixels.
PER_STRETCH, PER_VIDEO, HEIGHT = 4, 10, 96

Stretch = tuple[float, float]


@dataclass
class Reel:
    """A video's frames. seconds: its length. strip: over the whole of it; of: by stretch. why: there are none, a sentence."""

    seconds: float | None = None
    strip: list[bytes] = field(default_factory=list)
    of: dict[Stretch, list[bytes]] = field(default_factory=dict)
    why: str = ""


def read(
    wanted: Mapping[str, Iterable[Stretch]],
    whole: Iterable[str],
    videos: Mapping[str, str | os.PathLike[str]],
    progress: Callable[[int, int | None], None],
) -> dict[str, Reel]:
    """Return the frames of these stretches, and over the whole of some videos, by video.

    A video that is not among `videos`, or cannot be read, has none, and says why.
    """
    strips = set(whole)
    names = sorted({*wanted, *strips})
    reels = {}
    for done, name in enumerate(names):
        progress(done, len(names))
        reels[name] = (
            _reel(videos[name], tuple(wanted.get(name, ())), name in strips)
            if name in videos
            else Reel(why=_ABSENT)
        )
    progress(len(names), len(names))
    return reels


_ABSENT = "the video is not at hand"


def lacking(reels: Mapping[str, Reel]) -> list[str]:
    """Return a sentence for each video that is at hand and cannot be read."""
    return [
        f"no frames of {name}: {reel.why}"
        for name, reel in reels.items()
        if reel.why not in ("", _ABSENT)
    ]


def absent(reels: Mapping[str, Reel]) -> int:
    """Return how many videos are not at hand."""
    return sum(reel.why == _ABSENT for reel in reels.values())


def strip(reel: Reel, times: Stretch, name: str) -> Markup:
    """Return frames of a stretch side by side, or a word on why there are none."""
    if times not in reel.of:
        return element("div", f"no frames: {reel.why}", class_="gone")
    pictures = reel.of[times]
    each = [
        picture(jpeg, alt=f"frame {n} of {len(pictures)}: {name}, {stretch(times)}")
        for n, jpeg in enumerate(pictures, 1)
    ]
    return element("div", *each, class_="strip")


def _reel(path: str | os.PathLike[str], stretches: tuple[Stretch, ...], whole: bool) -> Reel:
    reel = Reel()
    try:
        film = Film(path)
        reel.seconds = film.duration
        over = spread_times(film.duration, PER_VIDEO) if whole else []
        inside = [
            start + t for start, end in stretches for t in spread_times(end - start, PER_STRETCH)
        ]
        jpegs = film.at([*over, *inside], height=HEIGHT)
    except FeatxError as error:
        reel.why = str(error)
        return reel
    reel.strip = jpegs[: len(over)]
    rest = jpegs[len(over) :]
    reel.of = {
        times: rest[n * PER_STRETCH : (n + 1) * PER_STRETCH] for n, times in enumerate(stretches)
    }
    return reel
