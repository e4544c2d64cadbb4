"""Generated datasets without their pictures: the protocol's files, and a file in each video's place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from featx.datasets import GENERATED
from featx.synthetic.layouts._plan import Plan, Settings


def laid_out(
    root: Path,
    plan: Callable[[Settings], Plan],
    *,
    classes: Sequence[str],
    per_class: int,
    seed: int = 0,
    videos: bool = True,
    like: Path | None = None,
) -> list[str]:
    """Write what `featx synth --dataset` writes of a layout, its videos empty; return the videos' ids.

    videos: False for the lists alone. like: A video that every other one is a link to, in place of an empty file.
    """
    settings = Settings(
        classes=tuple(classes), per_class=per_class, seconds=1.0, fps=25.0, size=(32, 48), seed=seed
    )
    made = plan(settings)
    for path, content in {**made.files, GENERATED: b"generated\n"}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    for video in made.videos if videos else ():
        place = root / video.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if like is None:
            place.touch()
        else:
            place.symlink_to(like)
    return sorted(Path(video.path).with_suffix("").as_posix() for video in made.videos)
