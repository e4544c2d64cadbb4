"""A residual network of 90 thousand parameters under a name of its own; as a script, the command line with it."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from featx.clips import ClipSpec
from featx.models import ModelEntry, registry
from featx.models.tran2017 import Config, build
from featx.transforms import Transform

NAME = "tiny_resnet"
ENTRY = ModelEntry(
    name=NAME,
    family="tran2017",
    builder=partial(build, Config(width=5, blocks=(1, 1, 1, 1)), (4, 28, 28)),
    num_classes=3,
    clip=ClipSpec(frames=4, step=2, stride=8),
    transform=Transform(resize=(32, 40), crop=28, mean=(128.0,) * 3, std=(1.0,) * 3),
    layers=("res5a", "pool5", "prob"),
    source="nowhere",
)


def command(*args: object) -> list[str]:
    """The command line's argument list, as conftest.command, with the network registered."""
    return [sys.executable, str(Path(__file__)), *map(str, args)]


if __name__ == "__main__":
    del sys.path[0]  # the tests' folder
    from featx.cli import main

    registry.register(ENTRY)
    main()
