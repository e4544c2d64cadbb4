"""Rows on their way to the feature file: an append-only folder of parts that no kill can tear.

An HDF5 file that is being modified may be unreadable after a kill, so it is written once, at the
end, from parts. A part holds the rows of any number of videos, or a stretch of one; it is written
aside, synced and renamed, so that a part that has its name is whole. What a part says:

    magic, then records: uint32 header length, JSON header, the arrays' bytes, uint32 CRC-32 of all three.
    header: {"video": id, "kind": "rows", "arrays": [[name, dtype, shape], ...]}   array "clips": the rows' clip numbers
            {"video": id, "kind": "done", "summary": {...}, "arrays": [...]}       everything there is has been written

The folder is `<out>.parts`; a lock in it keeps two runs from writing the same file.
"""

from __future__ import annotations

import json
import math
import shutil
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError, UsageError
from featx.system.files import disk_full, lock_folder, sync_folder, write_atomically
from featx.video.cutting import Summary
from featx.video.source import Stamp

_MAGIC = b"featx part 1\n"
_COMMIT_BYTES = 64 << 20
# A run commits at least this often, and more often at first: whenever a twentieth of its time is at stake. A run that is
# killed again and again within seconds of its start still gets on.
_COMMIT_SECONDS = 5.0
_COMMIT_SHARE = 0.05
_COMMIT_SOONEST = 0.25

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a video's rows are from. path: as stored; stamp: by which a change of the file is noticed.

    computed_by: what computed the rows, in words. fingerprint: of the file's content, known when the video has ended.
    """

    path: str
    stamp: Stamp
    fingerprint: str = ""
    computed_by: str = ""


@dataclass(slots=True)
class Entry:
    """What the parts hold of one video: stretches of rows (clip numbers and where their arrays lie), and its summary."""

    stretches: list[tuple[npt.NDArray[np.int64], dict[str, Place]]] = field(default_factory=list)
    summary: Summary | None = None
    origin: Origin | None = None

    @property
    def whole(self) -> bool:
        """Whether the video has ended and the rows of all its clips are there."""
        return self.summary is not None and len(self.clips) == len(self.summary.clip_frames)

    @property
    def clips(self) -> frozenset[int]:
        """The numbers of the clips whose rows are there."""
        return frozenset(int(c) for clips, _ in self.stretches for c in clips)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an array lies in a part."""

    path: Path
    offset: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def read(self) -> npt.NDArray[Any]:
        """Return the array, mapped, not loaded."""
        return np.memmap(
            self.path, dtype=self.dtype, mode="r", offset=self.offset, shape=self.shape
        )


class Journal:
    """The parts of one feature file under construction; the lock is held until `close`.

    Raises UsageError if another run holds the lock, or if the folder cannot be written.
    """

    def __init__(self, out: Path) -> None:
        self.folder = out.with_name(out.name + ".parts")
        if self.folder.is_symlink():
            raise UsageError(
                f"{self.folder} is a symbolic link: remove it, or choose another output"
            )
        self._lock = lock_folder(self.folder, name=out.name)
        self.entries: dict[str, Entry] = {}
        self._pending: dict[str, list[tuple[list[int], Arrays]]] = {}
        self._ended: dict[str, Summary] = {}
        self._origins: dict[str, Origin] = {}
        self._bytes = 0
        self._began = self._committed = monotonic()
        self._number = 0
        try:
            shutil.rmtree(self._done_with, ignore_errors=True)  # a removal that was cut off
            for torn in self.folder.glob("*.tmp"):
                torn.unlink()
            parts = sorted(p for p in self.folder.glob("*.part") if p.stem.isdecimal())
            if parts and self.settings is None:
                raise FeatxError(
                    f"{self.folder} holds rows without the settings they were made with: remove it, and rerun"
                )
            for path in parts:
                self._number = int(path.stem) + 1
                self._scan(path)
        except BaseException:
            self.close()
            raise

    @property
    def settings(self) -> dict[str, Any] | None:
        """What the run that began these parts was asked for; None if nothing has begun."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "settings.json").read_text())
        except FileNotFoundError:
            return None
        return found

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Write down the settings that all parts share."""
        with disk_full(self.folder):
            write_atomically(self.folder / "settings.json", json.dumps(settings, indent=1).encode())
            sync_folder(self.folder.parent)

    def add(self, video: str, clips: list[int], rows: Arrays, origin: Origin) -> None:
        """Take rows of a video; they are safe after the next `commit`, which comes every few seconds."""
        self._origins[video] = origin
        self._pending.setdefault(video, []).append((clips, rows))
        self._bytes += sum(a.nbytes for a in rows.values())
        self._commit_if_due()

    def end(self, video: str, summary: Summary, origin: Origin) -> None:
        """Take note that the video is whole."""
        self._origins[video] = origin
        self._ended[video] = summary
        self._commit_if_due()

    def forget(self, video: str) -> None:
        """Drop what was added of a video, committed or not."""
        self._pending.pop(video, None)
        self._ended.pop(video, None)
        if video in self.entries:
            self._write([({"video": video, "kind": "forget"}, {})])

    def commit(self) -> None:
        """Make everything added so far safe: it survives a kill or a power cut from here on."""
        records: list[tuple[dict[str, Any], Arrays]] = []
        for video, parts in self._pending.items():
            clips = np.concatenate([np.asarray(c, dtype=np.int64) for c, _ in parts])
            order = np.argsort(clips, kind="stable")
            arrays = {
                name: np.concatenate([rows[name] for _, rows in parts])[order]
                for name in parts[0][1]
            }
            records.append(
                (
                    {"video": video, "kind": "rows", "origin": asdict(self._origins[video])},
                    {"clips": clips[order], **arrays},
                )
            )
        for video, summary in self._ended.items():
            plain = {f.name: getattr(summary, f.name) for f in fields(Summary)}
            arrays = {k: v for k, v in plain.items() if isinstance(v, np.ndarray)}
            rest = {k: v for k, v in plain.items() if k not in arrays}
            header = {
                "video": video,
                "kind": "done",
                "summary": rest,
                "origin": asdict(self._origins[video]),
            }
            records.append((header, arrays))
        if records:
            self._write(records)
        self._pending.clear()
        self._ended.clear()
        self._origins.clear()
        self._bytes = 0
        self._committed = monotonic()

    def close(self) -> None:
        """Give the lock back; a folder in which nothing was begun goes with it."""
        if self._lock.closed:
            return
        if [p.name for p in self.folder.glob("*")] == ["lock"]:
            self.remove()
        self._lock.close()

    def remove(self) -> None:
        """Delete the parts, once the feature file made of them is in place, and give the lock back.

        They go all at once, by a rename: a run after a kill in between must not find some without the others.
        """
        shutil.rmtree(self._done_with, ignore_errors=True)
        self.folder.rename(self._done_with)
        sync_folder(self.folder.parent)
        self._lock.close()
        shutil.rmtree(self._done_with, ignore_errors=True)

    @property
    def _done_with(self) -> Path:
        return self.folder.with_name(self.folder.name + ".done")

    def _commit_if_due(self) -> None:
        now = monotonic()
        interval = min(_COMMIT_SECONDS, max(_COMMIT_SOONEST, _COMMIT_SHARE * (now - self._began)))
        if self._bytes >= _COMMIT_BYTES or now - self._committed > interval:
            self.commit()

    def _write(self, records: list[tuple[dict[str, Any], Arrays]]) -> None:
        path = self.folder / f"{self._number:08d}.part"
        with disk_full(self.folder):
            write_atomically(path, lambda file: _write_records(file, records))
        self._number += 1
        self._scan(path)

    def _scan(self, path: Path) -> None:
        for header, places in _read_records(path):
            video = header["video"]
            if header["kind"] == "forget":
                self.entries.pop(video, None)
                continue
            entry = self.entries.setdefault(video, Entry())
            origin = header["origin"]
            entry.origin = Origin(**{**origin, "stamp": Stamp(**origin["stamp"])})
            if header["kind"] == "rows":
                clips = np.array(places.pop("clips").read())
                entry.stretches.append((clips, places))
            else:
                arrays: dict[str, Any] = {k: np.array(p.read()) for k, p in places.items()}
                entry.summary = Summary(**header["summary"], **arrays)


def _write_records(file: BinaryIO, records: list[tuple[dict[str, Any], Arrays]]) -> None:
    file.write(_MAGIC)
    for header, arrays in records:
        header = {**header, "arrays": [[name, a.dtype.str, a.shape] for name, a in arrays.items()]}
        text = json.dumps(header).encode()
        crc = 0
        flat = [np.ascontiguousarray(a) for a in arrays.values() if a.size]
        contents: list[Any] = [memoryview(a).cast("B") for a in flat]  # type: ignore[arg-type]
        for chunk in (struct.pack("<I", len(text)), text, *contents):
            crc = zlib.crc32(chunk, crc)
            file.write(chunk)
        file.write(struct.pack("<I", crc))


def _read_records(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Place]]]:
    try:
        yield from _records(path)
    except (
        ValueError,
        KeyError,
        TypeError,
        struct.error,
    ) as error:  # what is not a record cannot be read as one
        raise FeatxError(
            f"{path} is damaged ({type(error).__name__}): remove it, and rerun"
        ) from error


def _records(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Place]]]:
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise FeatxError(f"{path} is not a part of a feature file: remove it, and rerun")
        while length := file.read(4):
            text = file.read(struct.unpack("<I", length)[0])
            crc = zlib.crc32(text, zlib.crc32(length))
            header = json.loads(text)
            places = {}
            for name, dtype, shape in header["arrays"]:
                places[name] = Place(path, file.tell(), dtype, tuple(shape))
                left = places[name].nbytes
                while left > 0 and (chunk := file.read(min(left, 1 << 20))):
                    crc = zlib.crc32(chunk, crc)
                    left -= len(chunk)
            if file.read(4) != struct.pack("<I", crc):
                raise FeatxError(f"{path} is damaged (its checksum is wrong): remove it, and rerun")
            yield header, places
