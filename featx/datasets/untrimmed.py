"""What a dataset of untrimmed videos is to whoever localizes in them: instances of classes, in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Instance:
    """A stretch of a video, in seconds, that is annotated. label: place in the classes; -1 is ambiguous, of no class."""

    video: str
    label: int
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Ground truth of untrimmed videos.

    name: what a report calls it. classes: in the order of the labels; numbers: the official lists' numbers of them, None
    where there are none. instances: class by class, each in its file's order; ambiguous: stretches that may or may not be
    actions. videos: all that were annotated, sorted. durations: seconds, of the videos for which they are known.
    source: where they were read. subsets: those that they are of, where a file names them.
    """

    name: str
    classes: tuple[str, ...]
    numbers: tuple[int, ...] | None
    instances: tuple[Instance, ...]
    ambiguous: tuple[Instance, ...]
    videos: tuple[str, ...]
    durations: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    subsets: tuple[str, ...] = ()

    def of_class(self, label: int) -> tuple[Instance, ...]:
        """Return a class's instances, in its file's order."""
        return tuple(i for i in self.instances if i.label == label)

    def __repr__(self) -> str:
        counts = f"{len(self.instances):,} instances, {len(self.videos):,} videos, {len(self.classes):,} classes"
        return f"Annotations({self.name}: {counts})"
