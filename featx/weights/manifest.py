"""The registered checkpoints: what there is, where it is, and whether it is what it claims to be."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from featx.clips import ClipSpec
from featx.errors import FeatxError, UsageError, nearest
from featx.system.files import sha256_of
from featx.transforms import Transform
from featx.weights.download import Progress, download
from featx.weights.layouts import layout_names

_WIDTH = 110  # of a line in the manifest


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A registered checkpoint, as the manifest describes it.

    num_classes: None when it comes without a classifier.
    format: "featx", or the foreign layout (`featx.weights.layouts`) whose names are mapped to ours.
    sha256: 64 hexadecimal digits, or as many of the first ones as its publisher tells.
    file: its name in weights/ when it ships with featx; url: where to fetch it otherwise.
    transform, clip: the preprocessing that it was trained with.
    trained_on, training: on which data and how, where featx trained it.
    metrics: what it reaches and by which protocol, as its source says.
    labels: class names in the order of the logits, where they are known.

    The row of a file that featx wrote is what `featx weights describe` says of it: loading goes by the file, a test
    compares the two.
    """

    name: str
    architecture: str
    num_classes: int | None
    format: str
    sha256: str
    file: str | None = None
    url: str | None = None
    transform: Transform
    clip: ClipSpec
    licence: str | None
    source: str | None
    trained_on: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.format not in ("featx", *layout_names()):
            raise ValueError(f"checkpoint {self.name}: unknown format {self.format!r}")
        if not re.fullmatch(r"[0-9a-f]{8,64}", self.sha256):
            raise ValueError(
                f"checkpoint {self.name}: sha256 {self.sha256!r} is not 8 to 64 hexadecimal digits"
            )
        if (self.file is None) == (self.url is None):
            raise ValueError(f"checkpoint {self.name}: give a file or a url, not both")

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Checkpoint:
        """Return what a row of the manifest describes."""
        labels = tuple(row["labels"]) if row.get("labels") else None
        changed = {
            "transform": Transform.from_dict(row["transform"]),
            "clip": ClipSpec(**row["clip"]),
            "labels": labels,
        }
        return cls(**{**row, **changed})

    def row(self) -> dict[str, Any]:
        """Return the manifest's row: JSON values, those that are not known left out."""
        changed = {
            "transform": self.transform.to_dict(),
            "clip": self.clip.to_dict(),
            "labels": list(self.labels or ()),
        }
        optional = ("file", "url", "trained_on", "training", "metrics", "labels")
        return {
            name: value
            for name, value in {**vars(self), **changed}.items()
            if value or name not in optional
        }

    @property
    def remedy(self) -> str:
        """What to do where its file is not there, in words."""
        return (
            "install featx again, which brings it"
            if self.url is None
            else f"run `featx weights fetch {self.name}`"
        )


def list_checkpoints() -> list[Checkpoint]:
    """Return the registered checkpoints in the manifest's order: an architecture's default is the first whose file is here.

    So one that is fetched stands before one that ships, which serves where there is no network.
    """
    rows = json.loads(_shipped("manifest.json").read_text(encoding="utf-8"))["checkpoints"]
    checkpoints = [Checkpoint.from_row(row) for row in rows]
    names = [c.name for c in checkpoints]
    if len(set(names)) < len(names):
        raise ValueError(f"the manifest names a checkpoint twice: {sorted(names)}")
    return checkpoints


def row_text(checkpoint: Checkpoint) -> str:
    """Return the manifest's row as the manifest has it: JSON, whatever fits into a line in one."""
    return _json(checkpoint.row())


def _json(value: object, indent: int = 0) -> str:
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict) or (indent and indent + len(line) <= _WIDTH):
        return line
    space = " " * (indent + 2)
    members = (
        f"{space}{json.dumps(name)}: {_json(each, indent + 2)}" for name, each in value.items()
    )
    return "{\n" + ",\n".join(members) + "\n" + " " * indent + "}"


def find(name: str) -> Checkpoint:
    """Return the registered checkpoint of that name; UsageError with the nearest names when there is none."""
    by_name = {c.name: c for c in list_checkpoints()}
    if name not in by_name:
        raise UsageError(f"unknown checkpoint {name!r}{nearest(name, by_name)}")
    return by_name[name]


def path_of(name: str) -> Path:
    """Return where the checkpoint's file is, or will be once fetched."""
    checkpoint = find(name)
    if checkpoint.file is not None:
        return _shipped(checkpoint.file)
    return cache_dir() / (checkpoint.url or "").rpartition("/")[2]


def cache_dir() -> Path:
    """Return the folder of fetched checkpoints: $FEATX_CACHE, or featx's folder in the user's cache directory."""
    chosen = os.environ.get("FEATX_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("featx"))


def _shipped(file: str) -> Path:
    try:
        folder = Path(str(resources.files("featx._weights")))
    except ModuleNotFoundError:
        # In a source tree that was not installed, weights/ is beside featx/.
        folder = Path(__file__).parent.parent / "weights"
    return folder / file


# ---------------------------------------------------------------- whether it is what it claims to be


def verify(name: str) -> str:
    """Check the local file of a registered checkpoint against its sha256 and return the full digest.

    Raises FeatxError when the file is missing, cannot be read or is another one.
    """
    checkpoint, path = find(name), path_of(name)
    try:
        with path.open("rb") as file:
            digest = sha256_of(file)
    except FileNotFoundError:
        raise FeatxError(f"checkpoint {name} is not here ({path}): {checkpoint.remedy}") from None
    except OSError as error:
        raise FeatxError(f"cannot read {path}: {error.strerror}") from None
    check_digest(checkpoint, path, digest)
    return digest


def check_digest(checkpoint: Checkpoint, path: Path, digest: str) -> None:
    """Raise FeatxError unless a file's sha256 is the one that is registered."""
    if not digest.startswith(checkpoint.sha256):
        more = "…" if len(checkpoint.sha256) < 64 else ""
        raise FeatxError(
            f"{path} is not {checkpoint.name}: its sha256 is {digest}, not {checkpoint.sha256}{more};"
            f" delete it and {checkpoint.remedy}"
        )


def fetch(name: str, *, progress: Progress | None = None) -> Path:
    """Download a registered checkpoint into the cache unless it is there, check it, and return its path.

    An interrupted download is continued by the next call. `progress` is called with the bytes so far
    and the bytes in all, None where the server does not tell.

    Raises FeatxError when the server cannot be reached, the download breaks off, the disk is full or
    the file is not the one registered, which is then deleted.
    """
    checkpoint, path = find(name), path_of(name)
    if checkpoint.url is None or path.exists():
        verify(name)
        return path
    download(checkpoint.url, path, name=name, sha256=checkpoint.sha256, progress=progress)
    return path
