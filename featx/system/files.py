"""Files that are there whole or not at all, and what to say when they cannot be written.

Nothing is written through a symbolic link that somebody has put where a temporary file or a lock is going to be.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import socket
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from featx.errors import FeatxError, UsageError

_FEATURES = ".h5"
_TEXTS = (".csv", ".html")
# What a file is by its name: a file that is something else by its content is a trap for whoever reads it next.
_MEANINGS = {
    "features in HDF5": (".h5", ".hdf5", ".hdf", ".he5"),
    "NumPy arrays": (".npy", ".npz"),
    "weights": (".pth", ".pt", ".safetensors", ".ckpt", ".onnx"),
    "text": (".csv", ".tsv", ".txt", ".log"),
    "JSON": (".json", ".jsonl"),
    "a page": (".html", ".htm"),
    "a picture": (
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".svg",
        ".pdf",
        ".bmp",
        ".tif",
        ".tiff",
        ".webp",
    ),
    "a video": (
        ".mp4",
        ".avi",
        ".mkv",
        ".mov",
        ".webm",
        ".m4v",
        ".mpg",
        ".mpeg",
        ".flv",
        ".wmv",
        ".ts",
    ),
    "an archive": (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z"),
    "a MATLAB file": (".mat",),
    "a pickle": (".pkl", ".pickle"),
    "a table": (".parquet", ".xls", ".xlsx", ".ods"),
}
# An archive that unpacks to less than this is read however well it was compressed; of a larger one this many bytes from one.
_SMALL, _RATIO = 64 << 20, 64
_HDF5 = b"\x89HDF\r\n\x1a\n"


def write_atomically(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file so that, whenever the machine stops, it is there whole or not at all.

    content: the bytes, or a function that writes them to the open file it is given.
    """
    with disk_full(path), written_aside(path) as temporary, created(temporary) as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            with (
                LateErrors(file.fileno()).checked() as late,
                io.BufferedRandom(late) as buffered,
            ):
                content(buffered)


class LateErrors(io.RawIOBase):
    """A file that takes whatever is written; `checked` raises the error of the first write that failed.

    HDF5 cannot go on after a write that failed: it prints an error for each of its objects, and crashes as they go.
    torch.save makes of it an error that does not say why.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._place = self._end = 0
        self._failed: OSError | None = None

    @contextlib.contextmanager
    def checked(self) -> Iterator[LateErrors]:
        """Give the file to a block; at the block's end raise what failed, in place of what the block made of it."""
        try:
            yield self
        finally:
            if self._failed is not None:
                raise self._failed

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._end}[whence]
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        n = os.preadv(self._descriptor, [buffer], self._place)
        self._place += n
        return n

    def write(self, content: bytes | memoryview, /) -> int:  # type: ignore[override]
        left = memoryview(content).cast("B")
        size = len(left)
        try:
            while self._failed is None and len(left):
                written = os.pwrite(self._descriptor, left, self._place + size - len(left))
                left = left[written:]
        except OSError as error:
            self._failed = error
        self._place += size
        self._end = max(self._end, self._place)
        return size

    def truncate(self, size: int | None = None, /) -> int:
        self._end = self._place if size is None else size
        try:
            if self._failed is None:
                os.ftruncate(self._descriptor, self._end)
        except OSError as error:
            self._failed = error
        return self._end


@contextlib.contextmanager
def written_aside(path: Path, *, aside: Path | None = None) -> Iterator[Path]:
    """Give the path of a temporary file, which nothing is at; what is there at the block's end is synced and renamed to `path`.

    It is removed where the block ends with an exception. aside: the temporary file's path; by default it is beside `path`.
    """
    temporary = aside or path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)  # a killed run's, or a link
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def created(path: Path) -> BinaryIO:
    """Open a new file for writing and reading in place of whatever is at `path`; a link there is replaced, not followed."""
    path.unlink(missing_ok=True)
    return path.open("x+b")


def opened_to_append(path: Path) -> BinaryIO:
    """Open a file for reading and appending, made where it is missing; UsageError for what is not a file of the user's own."""

    def own(name: str, flags: int) -> int:
        try:
            descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise UsageError(f"{path} is a symbolic link: remove it") from None
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            os.close(descriptor)
            raise UsageError(f"{path} is a hard link or no ordinary file: remove it")
        return descriptor

    return open(path, "a+b", opener=own)


def check_target(target: Path, *, example: str) -> None:
    """Raise UsageError if no file can be written to `target`, before any work is done; `example`: a name that could."""
    if target.is_dir():
        raise UsageError(
            f"{target} is a folder: give the name of a file to write, such as {target / example}"
        )
    if (
        target.exists() and not target.is_file()
    ):  # a device, which the new file would take the place of
        raise UsageError(
            f"{target} is no ordinary file: give the name of a file to write, such as {example}"
        )
    if (
        target.exists() and Path(example).suffix != _FEATURES
    ):  # a feature file is added to, never replaced by something else
        _check_replaced(target, example)
    if not target.exists():
        _check_name(target, example)
    folder = target.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(
            f"cannot write {target}: {folder} is not a folder that you may write to; choose another output"
        )


def _check_name(target: Path, example: str) -> None:
    """Raise UsageError for a new file whose name says that it is something else."""
    ours, theirs = (_meaning(Path(name)) for name in (example, target))
    if ours is not None and theirs is not None and ours != theirs:
        raise UsageError(
            f"{target} is {theirs} by its name, and {ours} would be written: choose another output,"
            f" such as {target.with_suffix(Path(example).suffix)}"
        )


def _meaning(path: Path) -> str | None:
    suffix = path.suffix.lower()
    return next((what for what, suffixes in _MEANINGS.items() if suffix in suffixes), None)


def _check_replaced(target: Path, example: str) -> None:
    """Raise UsageError for a file that nobody can have meant to be replaced: a rename asks nothing of the file it replaces."""
    if not target.stat().st_mode & 0o222:
        raise UsageError(f"{target} is write-protected: choose another output, such as {example}")
    try:
        with target.open("rb") as file:
            begin = file.read(4096)
    except OSError:
        return  # whoever writes says why it cannot
    if begin.startswith(_HDF5):
        raise UsageError(
            f"{target} is an HDF5 file, features perhaps, and would be lost: choose another output, such as {example}"
        )
    if Path(example).suffix in _TEXTS and b"\0" in begin:
        raise UsageError(
            f"{target} is no text, a video perhaps, and would be lost: choose another output, such as {example}"
        )


def keep_inputs(target: str | os.PathLike[str], inputs: Sequence[str | os.PathLike[str]]) -> None:
    """Raise UsageError if a file that is to be written is one of those that are read: it would be lost."""
    real = os.path.realpath(target)
    if any(os.path.realpath(each) == real for each in inputs):
        raise UsageError(
            f"{os.fspath(target)} is what is read here, and would be lost: choose another output"
        )


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
        raise FeatxError(_why(where, error)) from error


def _why(where: Path, error: OSError) -> str:
    number = error.errno
    if number in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full at {where}; what was written before is safe: free some space and run the same"
            " command again"
        )
    if number == errno.EFBIG:
        return (
            f"{where} would be larger than a file may be here: raise the limit (ulimit -f), or choose another"
            " output, and run the command again"
        )
    reason = error.strerror or str(error).partition("\n")[0]
    return f"cannot write to {where}: {reason}; choose another output"


def sha256_of(file: BinaryIO, *, alive: Callable[[], object] = lambda: None) -> str:
    """Return the sha256 of an open file from its beginning, 64 hexadecimal digits; `alive` is called after every MiB."""
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(1 << 20):
        digest.update(chunk)
        alive()
    return digest.hexdigest()


def check_unpacked(file: BinaryIO) -> None:
    """Raise ValueError for a zip archive of another tool that unpacks to far more than it is. The file is left at its beginning.

    Features of a ReLU are zeros mostly: they become 30 times smaller, of DEFLATE's 1,030 times.
    """
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        claimed = sum(part.file_size for part in archive.infolist())
    if claimed > max(_SMALL, _RATIO * size):
        raise ValueError(f"its parts claim {claimed} bytes unpacked, and it has {size}")
    file.seek(0)


def check_stored(file: BinaryIO) -> None:
    """Raise ValueError for a zip archive that is larger unpacked than it is: nothing of it must be read then.

    torch.save and numpy.savez compress nothing. The file is left at its beginning.
    """
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
    for part in parts:
        if part.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"its part {part.filename!r} is compressed")
    if (claimed := sum(part.file_size for part in parts)) > size:
        raise ValueError(f"its parts claim {claimed} bytes and it has {size}")
    file.seek(0)


def lock_folder(folder: Path, *, name: str) -> BinaryIO:
    """Make a folder and lock it for this process; the lock is held until the file that is returned is closed.

    name: of what is written there, for UsageError where another process holds the lock or the folder cannot be written.
    """
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = opened_to_append(folder / "lock")
        except OSError as error:
            raise UsageError(
                f"cannot write to {folder.parent}: {error.strerror}; choose another output"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                file.close()
                raise UsageError(
                    f"cannot lock {folder}: {error.strerror}; choose an output on another file system"
                ) from error
            file.seek(0)
            holder = file.read().decode(errors="replace").strip() or "another process"
            file.close()
            raise UsageError(
                f"{name} is being written by {holder}: wait for it, or choose another output"
            ) from None
        # The run before may have removed the folder between our open and our lock.
        try:
            if os.path.samestat(os.fstat(file.fileno()), os.stat(folder / "lock")):
                break
        except FileNotFoundError:
            pass
        file.close()
    try:
        with disk_full(folder):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            file.flush()
    except FeatxError:
        _give_up(folder, file)
        raise
    return file


def _give_up(folder: Path, lock: BinaryIO) -> None:
    """Remove a lock that could not be written, and its folder where nothing else is in it."""
    (folder / "lock").unlink()
    with contextlib.suppress(OSError):  # what could not be written is tried again
        lock.close()
    with contextlib.suppress(OSError):
        folder.rmdir()
