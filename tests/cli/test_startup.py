"""`featx --help` answers without importing torch or anything else that takes its time."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from startup import HEAVY, modules_after

# What --help must do without: each takes from 50 ms (numpy) to seconds (torch) to import.


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
