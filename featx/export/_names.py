"""What exported videos are called: detectors know them by flat names, some with ActivityNet's v_ before them."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Sequence

from featx.errors import UsageError
from featx.export._timeline import Timeline

PREFIX = "v_"
_YOUTUBE = re.compile(r"v_[\w-]{11}")


def prefixed(name: str) -> str:
    """Return a name with ActivityNet's prefix, which is put before names that have none."""
    return name if name.startswith(PREFIX) else PREFIX + name


def known_as(name: str, annotated: Container[str]) -> str | None:
    """Return what annotations call a video: its name, or that without or with v_; None where they have none of these."""
    return next(
        (n for n in (name, name.removeprefix(PREFIX), PREFIX + name) if n in annotated), None
    )


def common_prefix(names: Sequence[str], annotated: Container[str] | None) -> str:
    """Return what a loader must put before the annotations' names to find the files: v_, or nothing."""
    if annotated is None:
        return PREFIX if names and all(_YOUTUBE.fullmatch(name) for name in names) else ""
    bare = [
        n
        for n in names
        if n not in annotated and n.startswith(PREFIX) and n.removeprefix(PREFIX) in annotated
    ]
    return (
        PREFIX if bare and all(n.startswith(PREFIX) and n not in annotated for n in names) else ""
    )


def check_names(videos: Iterable[Timeline], called: Callable[[str], str]) -> None:
    """Raise UsageError if two videos would get the same name."""
    ids: dict[str, str] = {}
    for video in videos:
        name = called(video.name)
        if name in ids:
            raise UsageError(
                f"{ids[name]!r} and {video.id!r} would both be {name!r}, as detectors know no folders:"
                " rename one of the videos and extract it again"
            )
        ids[name] = video.id


def side_of(name: str) -> str | None:
    """Return the side that G-TAD's loader takes a THUMOS'14 video for, which has `val` or `test` in its name."""
    return next((side for side in ("val", "test") if side in name), None)
