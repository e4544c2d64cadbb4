"""A residual network of 90 thousand parameters under a name of its own; as a script, the command line with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

from featx.clips import ClipSpec
from featx.models import ModelEntry, registry
from featx.models.tran2017 import Config, build
from featx.transforms import Transform

NAME = "tiny_resnet"
CLIP = ClipSpec(frames=4, step=2, stride=8)
TRANSFORM = Transform(resize=(32, 40), crop=28, mean=(128.0,) * 3, std=(1.0,) * 3)


def residual(
    name: str,
    *,
    width: int = 5,
    blocks: tuple[int, int, int, int] = (1, 1, 1, 1),
    num_classes: int = 3,
    clip: ClipSpec = CLIP,
    transform: Transform = TRANSFORM,
    layers: tuple[str, ...] = ("res5a", "pool5", "prob"),
) -> ModelEntry:
    """Return Res3D's row for fewer channels, blocks or pixels."""
    size = (clip.frames, transform.crop, transform.crop)
    return ModelEntry(
        name=name,
        family="tran2017",
        builder=partial(build, Config(width=width, blocks=blocks), size),
        num_classes=num_classes,
        clip=clip,
        transform=transform,
        layers=layers,
        source="nowhere",
    )


ENTRY = residual(NAME)


@contextmanager
def registered(entry: ModelEntry = ENTRY) -> Iterator[None]:
    """Register a network, in place of one of its name, for as long as this lasts."""
    with mock.patch.dict(registry._ENTRIES, {entry.name: entry}):
        yield


def command(*args: object) -> list[str]:
    """The command line's argument list, as conftest.command, with the network registered."""
    return [sys.executable, str(Path(__file__)), *map(str, args)]


if __name__ == "__main__":
    del sys.path[0]  # the tests' folder
    from featx.cli import main

    registry.register(ENTRY)
    main()
