"""Which modules a command has imported by its end."""

from __future__ import annotations

import json
import subprocess
import sys

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
