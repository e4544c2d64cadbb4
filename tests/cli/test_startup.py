"""`featx --help` answers without importing torch or anything else that takes its time."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# What --help must do without: each takes from 50 ms (numpy) to seconds (torch) to import.
HEAVY = [
    "torch",
    "numpy",
    "h5py",
    "av",
    "decord",
    "faiss",
    "matplotlib",
    "safetensors",
    "scipy",
    "sklearn",
    "cv2",
]

SCRIPT = """
import json, sys
from featx.cli import main
try:
    main()
except SystemExit as end:
    status = end.code
print("\\n" + json.dumps([status, sorted({name.split(".")[0] for name in sys.modules})]))
"""


def modules_after(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True
    )
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status in (0, None)
    assert "click" in modules
    return modules, done.stdout


@pytest.mark.parametrize(
    "arguments", [["--help"], ["extract", "--help"], ["svm", "--help"], ["--version"]], ids=" ".join
)
def test_help_imports_nothing_heavy(arguments):
    modules, _ = modules_after(*arguments)
    assert sorted(set(modules) & set(HEAVY)) == []


def test_help_names_the_main_command():
    _, text = modules_after("--help")
    assert "extract" in text


def test_importing_featx_imports_nothing_heavy():
    script = "import featx, sys, json; print(json.dumps(sorted(set(sys.modules))))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert sorted(set(json.loads(done.stdout)) & set(HEAVY)) == []
