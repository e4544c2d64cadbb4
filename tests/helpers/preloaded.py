"""The command line in a process forked from one that has imported torch already: the same, without the two seconds."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(["featx.cli._group", "featx.extraction.backends.eager"])


def run(
    arguments: list[str],
    *,
    timeout: float,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None = None,
    input: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run `featx ARGUMENTS` as subprocess.run does."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("in", "out", "err")]
        files[0].write_text(input)
        process = _FORKSERVER.Process(
            target=_main, args=(arguments, files, dict(env), os.fspath(cwd or os.getcwd()))
        )
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, timeout)
        told = [file.read_text() if file.exists() else "" for file in files[1:]]
    return subprocess.CompletedProcess(["featx", *arguments], process.exitcode, *told)


def _main(arguments: list[str], files: list[Path], env: dict[str, str], cwd: str) -> None:
    for number, file in enumerate(files):
        opened = os.open(file, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0)  # noqa: SIM115, it stays open; multiprocessing has closed it
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = ["featx", *arguments]
    from featx.cli import main

    main()
