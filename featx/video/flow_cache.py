"""Flow that is computed once: a folder with a file for each video, frame size, method and OpenCV.

A file is named after what its flow depends on: the video's content, the decoder, the frame size, the method and its
parameters, OpenCV's version and the processor's instructions. It holds that too, and every frame's flow as it is used
without a cache, so that rows come out equal to the bit with and without.

    magic, uint32 length, JSON
    a record a frame: (H, W, 2) float16, uint32 CRC-32 of the frame's number and flow
    "end\\n", uint64 number of frames

It is written aside and renamed when the video has ended. One that is damaged, or was made of something else, is never
used: the flow is computed again and takes its place.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from featx.errors import UsageError
from featx.system.files import sha256_of, sync_folder
from featx.transforms import FlowMethod
from featx.video.decoders import decoder_named
from featx.video.flow import Flow, computed_by, recorded

_MAGIC = b"featx flow 1\n"
_END = b"end\n"
_SUFFIX = ".flow"


Stamp = tuple[int, int, int, int]


class Mismatch(Exception):
    """A file of the cache has other frames than its video: what was made of it is void."""


def check_folder(folder: str | os.PathLike[str]) -> str:
    """Make the cache's folder, remove what killed runs left there, and return its absolute path.

    Raises UsageError if it cannot be written to.
    """
    path = Path(os.path.abspath(folder))
    if path.exists() and not path.is_dir():
        raise UsageError(f"cannot keep flow in {path}: it is a file; give `flow_cache` a folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
        for left in path.glob(f"*{_SUFFIX}.*.tmp"):
            with contextlib.suppress(OSError), left.open("rb") as file:
                fcntl.flock(
                    file, fcntl.LOCK_EX | fcntl.LOCK_NB
                )  # held by whoever is still writing it
                left.unlink()
    except OSError as error:
        raise UsageError(
            f"cannot keep flow in {path}: {error.strerror}; give `flow_cache` a folder that you may write to"
        ) from error
    return str(path)


class FlowCache:
    """The flow of one video in a cache's folder: `open` it, or `write` it.

    decoder: name of the one that decodes the video. size: (height, width) of its frames as resized.
    stamp: the file's `stamp_of` before it was opened; when it has another by now, nothing is read here or kept.
    alive: called again and again while files are read.
    """

    def __init__(
        self,
        folder: str,
        path: str,
        decoder: str,
        size: tuple[int, int],
        method: FlowMethod,
        alive: Callable[[], None],
        *,
        stamp: Stamp,
    ) -> None:
        self._alive = alive
        self._video_path = path
        self._stamp = stamp
        with open(path, "rb") as file:
            content = sha256_of(file, alive=alive)
        made_of = {
            "video": content,
            "decoder": {"name": decoder, **decoder_named(decoder).versions()},
            "size": list(size),
            "method": method,
            **recorded("rgbf", method),
            "computed_by": computed_by(),
        }
        self._header = _header(made_of)
        self._shape = (*size, 2)
        self.path = Path(folder, hashlib.sha256(self._header).hexdigest()[:32] + _SUFFIX)

    def open(self) -> tuple[StoredVideo | None, str]:
        """Return the stored flow if it is there and sound, and otherwise why it is not, "" if it is just not there."""
        if not self.unchanged():
            return None, ""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return None, ""
        except OSError as error:
            return (
                None,
                f"{self.path} cannot be read ({error.strerror}): the flow is computed again",
            )
        try:
            return StoredVideo(file, self._header, self._shape, self._alive), ""
        except (OSError, ValueError) as error:
            file.close()
            return (
                None,
                f"{self.path} is damaged or was made of something else ({error}): the flow is computed again",
            )

    def write(self) -> Writer:
        """Begin to write the flow, aside."""
        return Writer(self.path, self._header, self.unchanged)

    def unchanged(self) -> bool:
        """Return whether the video's file is the one that was opened."""
        return stamp_of(self._video_path) == self._stamp


def stamp_of(path: str) -> Stamp:
    """Return what tells a file from one that took its place: device and number, size, time."""
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _header(made_of: Mapping[str, Any]) -> bytes:
    text = json.dumps(made_of, sort_keys=True).encode()
    return _MAGIC + struct.pack("<I", len(text)) + text


def _checksum(index: int, content: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(content, zlib.crc32(struct.pack("<Q", index))))


class StoredVideo:
    """A video's flow in a file that has been read through once and found sound; ValueError says what is not."""

    def __init__(
        self, file: BinaryIO, header: bytes, shape: tuple[int, int, int], alive: Callable[[], None]
    ) -> None:
        self._file, self._shape = file, shape
        self._begin = len(header)
        self._bytes = 2 * int(np.prod(shape))
        tail = struct.calcsize("<4sQ")
        room = os.fstat(file.fileno()).st_size - len(header) - tail
        self.frames, rest = divmod(room, self._bytes + 4)
        if file.read(len(header)) != header:
            raise ValueError("its header is another")
        if rest or self.frames < 1:
            raise ValueError("it is cut off")
        for index in range(self.frames):
            content = file.read(self._bytes)
            if file.read(4) != _checksum(index, content):
                raise ValueError(f"the checksum of frame {index} is wrong")
            alive()
        if file.read(tail) != struct.pack("<4sQ", _END, self.frames):
            raise ValueError("its end is missing")

    def read(self, index: int) -> Flow:
        """Return the flow of frame `index`, (H, W, 2) float16; raise Mismatch if it is not there any more, or never was."""
        if index >= self.frames:
            raise Mismatch(f"its flow ends at frame {self.frames}")
        try:
            record = os.pread(
                self._file.fileno(), self._bytes + 4, self._begin + index * (self._bytes + 4)
            )
        except OSError as error:
            raise Mismatch(f"its flow cannot be read ({error.strerror})") from error
        content = record[: self._bytes]
        if record[self._bytes :] != _checksum(index, content):
            raise Mismatch(f"the flow of frame {index} was changed while it was read")
        return cast(Flow, np.frombuffer(content, dtype=np.float16).reshape(self._shape))

    def check(self, frames: int) -> None:
        """Raise Mismatch if the video turned out to have another number of frames."""
        if frames != self.frames:
            raise Mismatch(f"it has {frames} frames, its flow {self.frames}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Writer:
    """A video's flow being written aside; OSError from any method leaves the cache as it was, once it is closed."""

    def __init__(self, path: Path, header: bytes, unchanged: Callable[[], bool]) -> None:
        self._path, self._unchanged = path, unchanged
        fd, self._temporary = _locked(path)
        self._file = os.fdopen(fd, "wb")
        self._frames = 0
        try:
            self._file.write(header)
        except BaseException:
            self.close()
            raise

    def add(self, flow: Flow) -> None:
        """Write the next frame's flow."""
        content = flow.tobytes()
        self._file.write(content)
        self._file.write(_checksum(self._frames, content))
        self._frames += 1

    def commit(self) -> None:
        """Put the file in its place, unless the video was changed meanwhile."""
        self._file.write(struct.pack("<4sQ", _END, self._frames))
        self._file.flush()
        os.fsync(self._file.fileno())
        if self._unchanged():
            os.chmod(self._temporary, 0o666 & ~_umask())  # mkstemp's files are their owner's alone
            os.replace(self._temporary, self._path)
            sync_folder(self._path.parent)

    def close(self) -> None:
        """Remove what was written, unless it is in its place."""
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)
        with contextlib.suppress(OSError):
            self._file.close()


def _locked(path: Path) -> tuple[int, str]:
    """Make a file beside `path` and lock it; one that `check_folder` took for a killed run's in between is made anew."""
    while True:
        fd, name = tempfile.mkstemp(prefix=path.name + ".", suffix=".tmp", dir=path.parent)
        with contextlib.suppress(
            OSError
        ):  # where there are no locks, what killed runs leave is left to whoever finds it
            fcntl.flock(fd, fcntl.LOCK_EX)
        if os.path.exists(name):
            return fd, name
        os.close(fd)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
