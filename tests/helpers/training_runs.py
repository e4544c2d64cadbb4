"""What runs of training leave."""

from __future__ import annotations

from pathlib import Path


def same_run(a: Path, b: Path) -> None:
    """Assert that two runs have written the same tables and checkpoints, to the byte."""
    for name in ("steps.csv", "epochs.csv", "last.safetensors", "best.safetensors"):
        assert (a / name).exists() == (b / name).exists(), name
        assert not (a / name).exists() or (a / name).read_bytes() == (b / name).read_bytes(), name
