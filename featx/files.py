"""Files that are there whole or not at all, and what to say when they cannot be written."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from featx.errors import FeatxError


def write_atomically(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file so that, whenever the machine stops, it is there whole or not at all.

    content: the bytes, or a function that writes them to the open file it is given.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder, a rename among them, survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def disk_full(where: Path) -> Iterator[None]:
    """Turn a write's failure for want of space, or of permission, into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FeatxError(
                f"the disk is full at {where}; what was written before is safe: free some space and run the same command again"
            ) from error
        raise FeatxError(f"cannot write to {where}: {error.strerror or error}") from error


def sha256_of(file: BinaryIO, *, alive: Callable[[], object] = lambda: None) -> str:
    """Return the sha256 of an open file from its beginning, 64 hexadecimal digits; `alive` is called after every MiB."""
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(1 << 20):
        digest.update(chunk)
        alive()
    return digest.hexdigest()
