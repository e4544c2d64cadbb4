"""An index's folder: files that a manifest names, which is replaced when they are all there.

manifest.json   what is indexed, how, and the names, sizes and sha256 of the files
rows-N.f32      (n, D) float32, little-endian: the clips' rows of the N-th addition, L2-normalised
means-N.f32     (v, D) float32: the videos' means, L2-normalised
videos-N.npz    which videos and clips they are
cells-N.faiss   faiss's index of all rows, where an exhaustive search would take too long
lock            held by who writes

A file that the manifest does not name is a rest of a run that was stopped; the next run removes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile

from featx.errors import FeatxError
from featx.store.recorded import Recorded
from featx.system.files import disk_full, lock_folder, sha256_of, write_atomically
from featx.tasks.retrieval import _faiss
from featx.tasks.retrieval._rows import Stored
from featx.tasks.retrieval._videos import Table, joined, unpacked

FORMAT, FORMAT_VERSION = "featx-index", 1
MANIFEST = "manifest.json"
_OURS = re.compile(
    r"(?:rows|means)-\d+\.f32|videos-\d+\.npz|cells-\d+\.faiss|manifest\.json\.tmp", re.ASCII
)


# What a file that is not what was written makes Python raise.
_UNSOUND = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    EOFError,
    OverflowError,
    MemoryError,
    RecursionError,
    BadZipFile,
)


class Damaged(FeatxError):
    """An index that cannot be used; the message says why, and `featx index` makes it anew."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Rows that were added at one time. sha256: of its files, by name."""

    clips: int
    videos: int
    rows: str
    means: str
    table: str
    sha256: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Cells:
    """faiss's index. cells: how many; probes: how many of them a search looks into; trained: on how many rows' file."""

    file: str
    sha256: str
    cells: int
    probes: int
    trained: int


@dataclass(frozen=True, kw_only=True)
class Recall:
    """How many of the `at` clips of other videos most like a clip a search finds, mean over `queries` clips of the file."""

    at: int
    value: float
    queries: int
    milliseconds: float


@dataclass(frozen=True)
class Manifest:
    """What an index is.

    features: bytes and time of change, ns, of the feature file. settings: those of its rows. forced: whether its user asked
    for an exhaustive search, or for cells; None leaves it to the size.
    """

    features: dict[str, int]
    settings: Recorded
    layer: str
    dims: int
    forced: bool | None = None
    segments: list[Segment] = field(default_factory=list)
    cells: Cells | None = None
    recall: Recall | None = None

    @property
    def clips(self) -> int:
        return sum(each.clips for each in self.segments)

    @property
    def videos(self) -> int:
        return sum(each.videos for each in self.segments)

    @property
    def files(self) -> set[str]:
        """The names of all files that belong to it."""
        own = {name for each in self.segments for name in (each.rows, each.means, each.table)}
        return own | ({self.cells.file} if self.cells else set())


class Opened:
    """An index made ready for searching; rows stay on the disk until they are asked for."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        segments = manifest.segments
        self.table: Table = joined(
            [unpacked(_checked(folder / s.table, s.sha256[s.table])) for s in segments]
        )
        if len(self.table.videos) != manifest.videos or len(self.table.frames) != manifest.clips:
            raise ValueError("its tables and its manifest differ")
        self.rows = Stored([(folder / s.rows, s.clips) for s in segments], manifest.dims)
        self.means = Stored([(folder / s.means, s.videos) for s in segments], manifest.dims)

    @cached_property
    def cells(self) -> Any:
        """faiss's index, None where there is none; Damaged if it is not what was written."""
        cells = self.manifest.cells
        if cells is None:
            return None
        path = self.folder / cells.file
        try:
            with path.open("rb") as file:
                same = sha256_of(file) == cells.sha256
            if not same:
                raise Damaged(f"{path} is not what was written")
            index = _faiss.read(path)
        except (OSError, RuntimeError) as error:
            raise Damaged(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
        if (index.ntotal, index.d) != (len(self.rows), self.rows.dims):
            raise Damaged(
                f"{path} has {index.ntotal} rows of {index.d} numbers, not {len(self.rows)} of {self.rows.dims}"
            )
        return index

    def verify(self) -> None:
        """Raise Damaged if a file of rows is not what was written."""
        for segment in self.manifest.segments:
            for name in (segment.rows, segment.means):
                with (self.folder / name).open("rb") as file:
                    if sha256_of(file) != segment.sha256[name]:
                        raise Damaged(f"{self.folder / name} is not what was written")


def open_index(folder: Path) -> Opened | None:
    """Open an index; None if there is none, Damaged if it cannot be used."""
    for last in (False, False, True):
        try:
            manifest = _manifest(folder)
            return None if manifest is None else Opened(folder, manifest)
        except FileNotFoundError as error:
            # Another run may have replaced it since its manifest was read.
            if last:
                raise Damaged(f"{error.filename} is not there") from error
        except (OSError, *_UNSOUND) as error:
            raise Damaged(
                f"{folder}: {(str(error) or type(error).__name__).splitlines()[0]}"
            ) from error
    return None


def lock(folder: Path) -> BinaryIO:
    """Lock an index for writing, until what is returned is closed; UsageError if another process has it."""
    return lock_folder(folder, name=f"the index {folder}")


def publish(folder: Path, manifest: Manifest) -> None:
    """Put a manifest in place; the files that it names must be there, and synced."""
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, **_plain(manifest)}
    with disk_full(folder):
        write_atomically(folder / MANIFEST, json.dumps(content, indent=1).encode())


def sweep(folder: Path) -> None:
    """Remove the files of an index that its manifest does not name."""
    try:
        manifest = _manifest(folder)
    except (OSError, *_UNSOUND):
        manifest = None
    kept = manifest.files if manifest else set()
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in kept:
            path.unlink()


def free_number(folder: Path) -> int:
    """Return a number that no file of an index has in its name."""
    used = [
        int(re.sub(r"\D", "", path.stem) or 0)
        for path in folder.iterdir()
        if _OURS.fullmatch(path.name)
    ]
    return max(used, default=0) + 1


def sync(path: Path) -> None:
    """Make a file survive a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def synced_sha256(path: Path) -> str:
    """Return a file's sha256 once it is on the disk."""
    sync(path)
    with path.open("rb") as file:
        return sha256_of(file)


def _plain(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as JSON values."""
    return {each.name: _json(getattr(manifest, each.name)) for each in fields(manifest)}


def _json(value: Any) -> Any:
    if isinstance(value, Recorded):
        return value.to_json()
    if isinstance(value, list):
        return [_json(each) for each in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _manifest(folder: Path) -> Manifest | None:
    try:
        text = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    content = json.loads(text)
    if content.pop("format") != FORMAT:
        raise ValueError(f"{MANIFEST} is not an index's")
    if (version := content.pop("format_version")) != FORMAT_VERSION:
        raise ValueError(f"it has format version {version}, this featx reads {FORMAT_VERSION}")
    segments = [Segment(**each) for each in content.pop("segments")]
    cells, recall = content.pop("cells"), content.pop("recall")
    content["settings"] = Recorded.from_json(content["settings"])
    manifest = Manifest(
        **content,
        segments=segments,
        cells=Cells(**cells) if cells else None,
        recall=Recall(**recall) if recall else None,
    )
    if not segments or not all(_OURS.fullmatch(name) for name in manifest.files):
        raise ValueError(f"{MANIFEST} names files that are none of an index")
    if not all(isinstance(n, int) and n > 0 for n in (manifest.dims, *_counts(segments))):
        raise ValueError(f"{MANIFEST} has sizes that cannot be")
    return manifest


def _counts(segments: Sequence[Segment]) -> list[int]:
    return [n for each in segments for n in (each.clips, each.videos)]


def _checked(path: Path, sha256: str) -> bytes:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path.name} is not what was written")
    return content
