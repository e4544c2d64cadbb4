"""The folder of an export: what is in it, whose it is, and what may be written over."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from featx.errors import UsageError
from featx.system.files import check_target, disk_full, keep_inputs, lock_folder, write_atomically

MANIFEST = "featx_export.json"
README = "README.md"
FORMAT = "featx-export"
_LOCK = ".featx_export"


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a folder for this process; UsageError if another one writes to it, or it cannot be written."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: give the name of a folder to write to")
    check_target(out / _LOCK / "lock", example=README)
    made = not out.exists()
    try:
        with contextlib.closing(lock_folder(out / _LOCK, name=str(out))):
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    shutil.rmtree(out / _LOCK)
    finally:
        if made:
            with contextlib.suppress(OSError):
                out.rmdir()  # empty, where nothing came of it


def begin(
    out: Path, made_from: str, files: Sequence[str], inputs: Sequence[Path], *, overwrite: bool
) -> None:
    """Write down what the folder is going to hold, or find that a run before did, whose files stay.

    made_from: tells an export of the same from another. files: all that will be written, below `out`. Raises UsageError where
    the folder holds something else, unless `overwrite`, which removes an earlier export's files and those that these take the
    place of; and where one of these is an input.
    """
    for file in files:
        keep_inputs(out / file, inputs)
    earlier = _manifest(out)
    same = earlier is not None and earlier.get("made_from") == made_from
    if same and not overwrite:
        return
    others = sorted(path.name for path in out.iterdir() if path.name != _LOCK)
    if others and not overwrite:
        if earlier is not None:
            raise UsageError(
                f"{out} holds an export of other features or annotations: choose another folder, or give `overwrite=True`"
            )
        raise UsageError(
            f"{out} holds {', '.join(others[:3])}, no export of featx: choose another folder, or give `overwrite=True`"
        )
    old = _earlier(out, earlier["files"], inputs) if earlier is not None else []
    with disk_full(out):
        for path in [*old, *(out / file for file in files)]:
            path.unlink(missing_ok=True)
        write_atomically(
            out / MANIFEST,
            json.dumps({"format": FORMAT, "made_from": made_from, "files": list(files)}).encode(),
        )


def _manifest(out: Path) -> dict[str, Any] | None:
    """Return what an earlier export wrote down; None where there is none."""
    try:
        found = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return (
        found
        if isinstance(found, dict)
        and found.get("format") == FORMAT
        and isinstance(found.get("files"), list)
        else None
    )


def _earlier(out: Path, names: Sequence[object], inputs: Sequence[Path]) -> list[Path]:
    """Return an earlier export's files by the names it wrote down; none outside the folder, as after tampering, and no input."""
    base, kept = out.resolve(), {path.resolve() for path in inputs}
    found = [out / str(name) for name in names]
    return [
        path
        for path in found
        if path.resolve() not in kept and path.parent.resolve().is_relative_to(base)
    ]
