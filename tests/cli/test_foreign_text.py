"""What files and videos are called, and what they say, on the terminal: nothing steers it, no line is forged."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, command, encode, featx
from feature_files import write_features

FORGED = "v\nfailed: forged.mp4: \x1b[31mred\x9b2J\u202egpj"


# What featx info reads of a video beside what hand-made files have.
ATTRS = {"looped": False, "damaged_frames": 0, "duration_s": 1.0, "container_frames": 16}


def lines_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what was printed, in lines, after a look for characters that are not for printing."""
    lines = (done.stdout + done.stderr).split("\n")
    assert not [line for line in lines if any(c in line for c in "\x1b\x9b\x07\r\u202e")]
    assert not [line for line in lines if line.startswith("failed: forged")]
    return lines


def test_a_name_forges_no_line_of_an_extraction_nor_of_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    encode(folder / f"{FORGED}.mp4", 20, size=(32, 32))
    (folder / f"broken{FORGED}.mp4").write_bytes(b"no video")
    out = tmp_path / "out.h5"
    done = featx("extract", "--model", "res3d_half", *SMALL, folder, out)
    assert done.returncode == 1
    assert len([line for line in lines_of(done) if line.startswith("failed: ")]) == 1
    shown = featx("info", out)
    assert shown.returncode == 0
    assert any(r"\nfailed: forged.mp4: \x1b[31mred\x9b2J\u202egpj" in x for x in lines_of(shown))


def test_what_weights_say_of_themselves_and_failures_reasons_forge_no_line(tmp_path: Path) -> None:
    path = write_features(
        tmp_path / "told.h5",
        {FORGED: {"pool5": np.ones((1, 4))}},
        attrs={FORGED: {**ATTRS, "looped": True, "damaged_frames": 1}},
        failures=[("b.mp4", FORGED)],
        weights={"name": FORGED, "source": FORGED, "licence": FORGED, "note": FORGED},
    )
    done = featx("info", path)
    assert done.returncode == 0
    assert len([line for line in lines_of(done) if r"\u202egpj" in line]) > 5


@pytest.mark.parametrize("arguments", [("info", FORGED), ("models", FORGED), (FORGED,)])
def test_an_arguments_name_forges_no_line_of_an_error(arguments: tuple[str, ...]) -> None:
    done = featx(*arguments)
    assert done.returncode == 2
    lines_of(done)


def test_a_name_forges_no_line_of_a_traceback(tmp_path: Path) -> None:
    # A process of its own: multiprocessing, which `featx` runs by, prints tracebacks itself.
    done = subprocess.run(
        command("--debug", "info", tmp_path / FORGED), capture_output=True, text=True
    )
    lines = lines_of(done)
    assert done.returncode == 1
    assert lines[0].startswith("Traceback (most recent call last)")
    assert any(line.startswith("  File ") for line in lines)
    assert [x for x in lines if x.startswith("featx.errors.UsageError: ") and r"\nfailed" in x]


def test_a_plug_in_that_does_not_load_forges_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from featx.cli import _group

    class Broken:
        value = "somewhere"

        def load(self) -> None:
            raise ImportError(FORGED)

    monkeypatch.setattr(_group, "_plugins", lambda: {"other": Broken()})
    for arguments in (["--help"], ["other", "--help"]):
        shown = CliRunner().invoke(_group.cli, arguments)
        assert "Not available" in shown.output
        assert not [x for x in shown.output.split("\n") if x.startswith("failed: forged")]
        assert "\x1b" not in shown.output


def test_an_id_is_found_whatever_the_locales_encoding(tmp_path: Path) -> None:
    path = write_features(
        tmp_path / "ids.h5", {"Vidéo/日本": {"pool5": np.ones((3, 4))}}, attrs={"Vidéo/日本": ATTRS}
    )
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHONIO"))}
    posix = {**plain, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [*command("info", path, "--plot", tmp_path / "p.png", "--video"), "Vidéo/日本".encode()],
        capture_output=True,
        env=posix,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "Vidéo/日本" in done.stdout.decode()
    assert (tmp_path / "p.png").exists()
