"""Small extractions by an untrained network, and commands that are killed while they run."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

from conftest import command

from featx.extraction.settings import compose

# Half the channels and 32 x 32 pixels: a fraction of the work, by the same code.
SETTINGS = compose(model="res3d_half", weights="random", layers=["pool5"], crop=32, workers=2)


def started(*args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*args), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def wait_for_part(out: Path, process: subprocess.Popen[str], *, more_than: int = 0) -> None:
    """Wait until a run has made something safe, or has ended."""
    parts = out.with_name(out.name + ".parts")
    deadline = time.monotonic() + 120
    while process.poll() is None and len(list(parts.glob("*.part"))) <= more_than:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill_again_and_again(*args: object, times: int) -> int:
    """SIGKILL a command after each thing that it made safe, its last argument being the file; return how often it was running."""
    rng, out, killed = random.Random(0), Path(str(args[-1])), 0
    while killed < times and not out.exists():
        process = started(*args)
        wait_for_part(out, process, more_than=len(list(Path(f"{out}.parts").glob("*.part"))))
        time.sleep(rng.uniform(0, 0.3))
        killed += process.poll() is None
        process.kill()
        process.communicate()
    return killed
