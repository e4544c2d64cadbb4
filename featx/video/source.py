"""Which files are meant: files, folders, patterns and lists to videos with ids."""

from __future__ import annotations

import codecs
import glob
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from featx.errors import UsageError
from featx.video.reader import SUFFIXES

LIST_SUFFIXES = frozenset({".txt", ".lst", ".list"})
# Names inside a video's group; a video whose id ends in one, below another video's, keeps its suffix.
RESERVED = frozenset({"clip_frames", "clip_times"})
_PIECE = 64 << 10
# Names at the top of the file.
_OWN = frozenset({".videos", ".failures"})


@dataclass(frozen=True)
class Stamp:
    """By which a file that changed is told from one that did not: bytes, and nanoseconds of its last change."""

    size: int
    modified: int


@dataclass(frozen=True)
class Source:
    """A file to extract from. id: its group in the feature file; path: as given, to open it; text: the path as stored."""

    id: str
    path: str

    @property
    def text(self) -> str:
        """The path as it is stored: absolute, bytes that are not UTF-8 written as escapes."""
        return as_text(os.path.abspath(self.path))

    def stamp(self) -> Stamp:
        """Return the file's size and time of change; decoding says why, where it cannot be told."""
        try:
            status = os.stat(self.path)
        except OSError:
            return Stamp(-1, -1)
        return Stamp(status.st_size, status.st_mtime_ns)

    def fingerprint(self) -> str:
        """Return a sha256 over the file's size and its first, middle and last 64 KiB; empty if it cannot be read."""
        try:
            with open(self.path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                digest = hashlib.sha256(str(size).encode())
                for start in (0, max(0, size // 2 - _PIECE // 2), max(0, size - _PIECE)):
                    file.seek(start)
                    digest.update(file.read(_PIECE))
        except OSError:
            return ""
        return digest.hexdigest()


@dataclass
class Found:
    """What the inputs came to. ignored: how many files in folders have which suffix that is not a video's."""

    sources: list[Source] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


def find_videos(
    inputs: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    *,
    layers: Iterable[str] = (),
    root: str | None = None,
) -> Found:
    """Resolve inputs to videos, sorted by id.

    inputs: a file; a folder, searched recursively for video suffixes; a glob pattern; a text file, or "-" for standard
        input, with one path a line. A text file is known by its suffix (.txt, .lst, .list), or, where the suffix is not a
        video's either, by its first line, which is a path that is there.
    layers: names that ids must not be taken for. root: what ids are relative to; without it the
        folder given, or, for single files, the deepest folder that holds them all.
    Raises UsageError if an input does not exist, no video is found, or two videos get the same id.
    """
    if isinstance(inputs, str | os.PathLike):
        inputs = [inputs]
    found = Found()
    paths: dict[str, str] = {}  # path -> root
    singles: list[str] = []
    for given in inputs:
        text = os.fspath(given)
        listed = _listed(text)
        for path in [text] if listed is None else listed:
            if os.path.isdir(path):
                for file in _videos(path, found.ignored):
                    paths.setdefault(file, path)
            elif os.path.lexists(path) or listed:
                singles.append(
                    path
                )  # what a list names and is not there fails with its reason, like any other file
            elif glob.has_magic(path) and (matches := sorted(glob.glob(path, recursive=True))):
                # "**" names what is in a folder beside the folder: the files are enough then.
                folders_too = "**" not in path
                singles += [m for m in matches if not os.path.isdir(m)]
                singles += [
                    f
                    for m in matches
                    if folders_too and os.path.isdir(m)
                    for f in _videos(m, found.ignored)
                ]
            else:
                raise UsageError(f"no such file, folder or pattern: {path}")
    if singles:
        folders = [os.path.dirname(os.path.abspath(p)) for p in singles]
        common = os.path.commonpath(folders)
        for path in singles:
            paths.setdefault(path, common)
    if not paths:
        ignored = f" ({sum(found.ignored.values())} other files are there)" if found.ignored else ""
        given_text = ", ".join(os.fspath(given) for given in inputs) or "nothing"
        raise UsageError(
            f"no videos found in {given_text}{ignored}: give files, folders, patterns or a list"
        )
    unique = {
        os.path.realpath(os.path.dirname(p)) + os.sep + os.path.basename(p): (p, r)
        for p, r in paths.items()
    }
    found.sources = sorted(_named(list(unique.values()), layers, root), key=lambda s: s.id)
    return found


def as_text(path: str) -> str:
    """Return a path as text that any encoder takes: bytes that are not UTF-8 are written as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _listed(given: str) -> list[str] | None:
    """Return the paths in a list; None if what is given is none."""
    if given == "-":
        lines = sys.stdin.buffer.read() if sys.stdin is not None else b""
    elif os.path.isfile(given) and _is_list(given):
        lines = Path(given).read_bytes()
    else:
        return None
    where = "the list on standard input" if given == "-" else f"the list {as_text(given)}"
    lines = _in_utf8(lines, where)
    for number, line in enumerate(lines.split(b"\n"), start=1):
        if b"\0" in line:
            raise UsageError(
                f"{where} has a NUL byte in line {number}, which no path has: save it as plain text, one path a line"
            )
    return [os.fsdecode(line.rstrip(b"\r")) for line in lines.split(b"\n") if line.strip()]


def _is_list(given: str) -> bool:
    """Return whether a file is a list, by its suffix, or, where that says nothing, because its first line is a path."""
    suffix = os.path.splitext(given)[1].lower()
    if suffix in LIST_SUFFIXES or suffix in SUFFIXES:
        return suffix in LIST_SUFFIXES
    try:
        with open(given, "rb") as file:
            head = file.read(_PIECE).lstrip()
    except OSError:  # decoding says why
        return False
    first = head.removeprefix(codecs.BOM_UTF8).partition(b"\n")[0].strip()
    return bool(first) and b"\0" not in first and os.path.lexists(os.fsdecode(first))


def _in_utf8(content: bytes, where: str) -> bytes:
    """Return a list without its byte order mark, in UTF-8 where that says another encoding; without one, as it is."""
    if content.startswith(codecs.BOM_UTF8):
        return content.removeprefix(codecs.BOM_UTF8)
    # UTF-32's mark in one order begins with UTF-16's.
    for encoding, marks in (
        ("UTF-32", (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)),
        ("UTF-16", (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)),
    ):
        if content.startswith(marks):
            try:
                return content.decode(encoding).encode()
            except UnicodeError:
                raise UsageError(
                    f"{where} begins as {encoding} and does not go on so: save it as UTF-8, one path a line"
                ) from None
    return content


def _videos(folder: str, ignored: Counter[str]) -> list[str]:
    """Return the files below a folder that have a video's suffix, and count the others; links to folders are followed, once."""
    files: list[str] = []
    seen: set[str] = set()

    def unreadable(error: OSError) -> None:
        raise UsageError(f"cannot read folder {error.filename}: {error.strerror}")

    for place, folders, names in os.walk(folder, followlinks=True, onerror=unreadable):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        # An empty folder named like a video is listed, and then fails with its reason.
        names += [f for f in folders if _is_video(f) and not os.listdir(os.path.join(place, f))]
        files += [os.path.join(place, name) for name in sorted(names) if _is_video(name)]
        ignored.update(
            os.path.splitext(name)[1].lower() or "no suffix"
            for name in names
            if not _is_video(name)
        )
    return files


def _is_video(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def check_ids(ids: Iterable[str], layers: Iterable[str]) -> None:
    """Raise UsageError if a folder in one id would stand where a dataset of another id's group does."""
    ids = set(ids)
    reserved = RESERVED | set(layers)
    for video_id in ids:
        parts = video_id.split("/")
        if parts[0] in _OWN and len(parts) > 1:
            raise UsageError(
                f"{video_id!r} is below a folder named {parts[0]}, which the feature file uses itself: give `root`"
            )
        for i in range(1, len(parts)):
            if parts[i] in reserved and "/".join(parts[:i]) in ids:
                owner = "/".join(parts[:i])
                raise UsageError(
                    f"{video_id!r} would stand where {parts[i]} of {owner!r} does: rename one of them"
                )


def _named(paths: list[tuple[str, str]], layers: Iterable[str], root: str | None) -> list[Source]:
    whole: list[tuple[str, str]] = []  # (id with its suffix, path)
    for path, own_root in paths:
        base = os.path.abspath(root if root is not None else own_root)
        relative = os.path.relpath(os.path.abspath(path), base)
        if relative.startswith(os.pardir + os.sep):
            raise UsageError(
                f"{as_text(path)} is not below the root {base}: give a `root` that holds every video"
            )
        whole.append((as_text(relative).replace(os.sep, "/"), path))
    stems = Counter(os.path.splitext(name)[0] for name, _ in whole)
    reserved = RESERVED | set(layers)
    named: dict[str, str] = {}
    for name, path in whole:
        stem = os.path.splitext(name)[0]
        parent, _, last = stem.rpartition("/")
        taken = stems[stem] > 1 or (last in reserved and parent in stems) or stem.startswith(".")
        video_id = name if taken else stem
        if video_id in named:
            raise UsageError(
                f"{as_text(path)} and {as_text(named[video_id])} would both be {video_id!r}: give `root`"
            )
        named[video_id] = path
    return [Source(video_id, path) for video_id, path in named.items()]
