"""Downloads that continue where they broke off, and become a file only if they are what they should be."""

from __future__ import annotations

import fcntl
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, BinaryIO
from urllib.parse import urlsplit

from featx.errors import FeatxError
from featx.system.files import opened_to_append, sha256_of, sync_folder

# Bytes. A ResNet-200 of 3D convolutions has 0.5 GB, with the state of its optimizer 1.5.
MOST = 4 << 30

Progress = Callable[[int, int | None], None]


def download(
    url: str, path: Path, *, name: str, sha256: str, progress: Progress | None = None
) -> None:
    """Download checkpoint `name` from `url` to `path`, continuing an earlier try; its sha256 must begin with `sha256`.

    Raises FeatxError when the server cannot be reached, the download breaks off, the disk is full, or
    the file is another one or has more than MOST bytes, which is then deleted.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(part) as file:
            try:
                _download(url, file, by_hand=path, progress=progress)
            except _TooLarge:
                part.unlink()
                raise
            file.flush()
            os.fsync(file.fileno())
            digest = sha256_of(file)
            if not digest.startswith(sha256):
                part.unlink()
                raise FeatxError(
                    f"what {url} sent is not {name} and was deleted: its sha256 is {digest},"
                    f" not {sha256}; run `featx weights fetch {name}` again"
                )
            os.replace(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise FeatxError(f"cannot write {part}: {error.strerror or error}") from None


@contextmanager
def _locked(part: Path) -> Iterator[BinaryIO]:
    """Open the unfinished download for appending, this process alone."""
    with opened_to_append(part) as file:
        if os.fstat(file.fileno()).st_uid != os.geteuid():
            raise FeatxError(
                f"{part} is another user's: remove it, or set FEATX_CACHE to a folder of your own"
            )
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another process may have finished and renamed it between our open and our lock.
            lost = not part.exists() or not os.path.samestat(os.fstat(file.fileno()), part.stat())
        except BlockingIOError:
            lost = True
        if lost:
            raise FeatxError(f"another process is downloading {part}: wait for it")
        yield file


def _download(url: str, file: BinaryIO, *, by_hand: Path, progress: Progress | None) -> None:
    """Append to `file` what it lacks of the resource at `url`."""
    start = file.seek(0, os.SEEK_END)
    headers = {"User-Agent": "featx"} | ({"Range": f"bytes={start}-"} if start else {})
    done = start
    try:
        opener = urllib.request.build_opener(_Redirects)
        with opener.open(urllib.request.Request(url, headers=headers), timeout=60) as response:
            if not (
                response.status == 206
                and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            ):
                file.truncate(0)  # the server sends it from the beginning
                start = done = 0
            # None where the server tells no length, or none that is a number.
            total = None if response.length is None else start + response.length
            _check_size(url, done=total or 0)
            while chunk := response.read(1 << 20):
                done += len(chunk)
                _check_size(url, done=done)
                _write(file, chunk)
                if progress is not None:
                    progress(done, total)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            return  # nothing is left to send; the digest will tell whether it is right
        reason, done = f"the server answers {error.code} {error.reason}", start
    except urllib.error.URLError as error:
        reason = str(getattr(error.reason, "strerror", None) or error.reason)
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
    else:
        if total is None or done >= total:
            return
        reason = "the connection was closed"
    if done > start:
        raise FeatxError(
            f"{url} broke off after {done} bytes ({reason}): run the same command again, it continues there"
        )
    raise FeatxError(
        f"cannot download {url} ({reason}): get it with another machine and put it at {by_hand}"
    )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Goes to http and https alone, and from https to https alone."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        allowed = ("https",) if urlsplit(req.full_url).scheme == "https" else ("http", "https")
        if urlsplit(newurl).scheme.lower() not in allowed:
            fp.close()
            raise urllib.error.URLError(f"it redirects to {newurl}, which is not {allowed[-1]}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _TooLarge(FeatxError):
    """More is sent than a checkpoint can have."""


def _check_size(url: str, *, done: int) -> None:
    if done > MOST:
        raise _TooLarge(
            f"{url} sends more than {MOST / 1e9:.1f} GB, which no registered checkpoint has: what came was deleted;"
            " the address leads to something else, get the file elsewhere"
        )


def _write(file: BinaryIO, chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise FeatxError(f"cannot write {file.name}: {error.strerror}") from None
