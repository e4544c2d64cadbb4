"""The package's name: a user's own tasks.py beside them stands in for nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

OWN = "raise SystemExit('a tasks.py of the user was imported')\n"


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A folder with a module for each name that ours might be mistaken for, each of which ends the process."""
    for name in ("tasks", "svm", "weights"):
        (tmp_path / f"{name}.py").write_text(OWN)
    return tmp_path


def ran(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": "."}
    return subprocess.run(
        arguments, cwd=folder, env=env, capture_output=True, text=True, timeout=300
    )


def test_the_command_is_ours(beside: Path) -> None:
    script = Path(sys.executable).with_name("featx")
    if not script.exists():
        pytest.skip("featx is not installed as a script here")
    done = ran(beside, str(script), "svm", "--help")
    assert done.returncode == 0, done.stderr
    assert "--dataset" in done.stdout


@pytest.mark.parametrize("path", ["", "import sys; sys.path.insert(0, ''); "])
def test_the_functions_are_ours(beside: Path, path: str) -> None:
    code = f"{path}from featx.tasks import svm; print(svm.__module__)"
    done = ran(beside, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "featx.tasks.recognition._run"


def test_no_package_of_that_name_is_installed(tmp_path: Path) -> None:
    """`import tasks` finds what the user has, or nothing, from anywhere but this repository's own folder."""
    done = ran(tmp_path, sys.executable, "-c", "import tasks")
    assert "ModuleNotFoundError" in done.stderr
