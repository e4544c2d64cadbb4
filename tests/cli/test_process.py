"""What a command is as a process: its end by an interrupt at any instant, and its standard streams."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SMALL, command, encode, same_content

# Raises the signal in the main thread at one of the calls that follow, counted, so that the instant is the same in
# every run: SIGNAL CALLS ARGUMENTS...
AT_A_CALL = """
import signal, sys
from featx.cli import main
number, left = int(sys.argv.pop(1)), int(sys.argv.pop(1))
def count(frame, event, argument):
    global left
    left -= event == "call" and left > 0
    if left == 0:
        left = -1
        signal.raise_signal(number)
sys.setprofile(count)
main()
"""
EXTRACT = ("extract", "--model", "res3d_half", "--workers", "1", *SMALL)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("process") / "a.mp4", 32, size=(32, 32))


@pytest.mark.parametrize(
    ("number", "calls"),
    [
        # At the first line, while click and the commands are imported, while torch is, and while it runs.
        *((signal.SIGINT, calls) for calls in (2, 10, 300, 5_000, 20_000, 100_000, 300_000)),
        *((signal.SIGTERM, calls) for calls in (30_000, 200_000)),
    ],
)
def test_interrupted_at_any_instant_it_says_so_and_nothing_else(
    video: Path, tmp_path: Path, number: signal.Signals, calls: int
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-c", AT_A_CALL, str(int(number)), str(calls)),
            *(*EXTRACT, str(video), str(tmp_path / "out.h5")),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in ((130, -signal.SIGTERM) if number == signal.SIGTERM else (130,))
    assert done.stderr.strip().splitlines()[-1:] == ["interrupted"]
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


SWALLOWS = """
import signal, sys
from featx.system.interrupts import stop_on_interrupt
stop_on_interrupt()
class Slow:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
if sys.argv[1] == "destructor":
    Slow()
else:
    import swallowing
print("went on")
"""


@pytest.mark.parametrize("where", ["destructor", "import"])
def test_an_interrupt_is_not_lost_where_an_exception_would_be(tmp_path: Path, where: str) -> None:
    (tmp_path / "swallowing.py").write_text(
        "import signal\ntry:\n    signal.raise_signal(signal.SIGINT)\nexcept:\n    pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWS, where], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


@pytest.mark.parametrize("closed", ["01", "2", "012"])
def test_closed_streams_change_nothing(video: Path, tmp_path: Path, closed: str) -> None:
    def run(out: Path, redirected: str) -> int:
        script = f'exec "$@" {redirected}'
        words = ["sh", "-c", script, "sh", *command(*EXTRACT, video, out)]
        return subprocess.run(words, capture_output=True, timeout=120).returncode

    assert run(tmp_path / "out.h5", " ".join(f"{number}>&-" for number in closed)) == 0
    if closed == "012":
        assert run(tmp_path / "open.h5", "") == 0
        same_content(tmp_path / "out.h5", tmp_path / "open.h5")


def test_output_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command("--version"), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
