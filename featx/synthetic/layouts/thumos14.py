"""THUMOS'14's layout for detection: untrimmed validation and test videos with annotations, and trimmed training clips.

UCF-101/<Class>/v_<Class>_gXX_cYY.avi          trimmed training clips
validation/video_validation_0000001.mp4         untrimmed, as TH14_validation_set_mp4.zip unpacks
TH14_test_set_mp4/video_test_0000001.mp4        untrimmed, as TH14_Test_set_mp4.zip unpacks
annotation_val/<Class>_val.txt, Ambiguous_val.txt        "<video>  <start> <end>" in seconds
annotation_test/<Class>_test.txt, Ambiguous_test.txt, detclasslist.txt
val_video_info.csv, test_video_info.csv, Class Index_Detection.txt
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from featx.errors import UsageError
from featx.synthetic import render as synth
from featx.synthetic.layouts._plan import (
    ACTIONS,
    Plan,
    Settings,
    Video,
    camel,
    clip_of,
    groups_of,
    seeds,
    still,
)
from featx.synthetic.layouts.ucf101 import file_name
from featx.synthetic.render import Motion, Pose

AMBIGUOUS = "Ambiguous"
# Of each class: as many trimmed clips as this for one untrimmed video a side, and seconds of one.
_TRIMMED, _TRIMMED_SECONDS = 4, 2.0
# Tenths of a second, in which annotations are given: of a stretch of action, and of background.
_ACTION, _BACKGROUND = (15, 50), (10, 40)
_SHORTEST = 8.0


@dataclass(frozen=True)
class _Stretch:
    """label: a class, AMBIGUOUS, or None for background; start, end: tenths of a second."""

    label: str | None
    motion: Motion
    start: int
    end: int


def plan(settings: Settings) -> Plan:
    """Plan `per_class` untrimmed videos a class on either side, each mostly of that class, and trimmed clips."""
    if settings.seconds < _SHORTEST:
        raise UsageError(
            f"an untrimmed video of {settings.seconds:g} seconds has no room for its actions: give {_SHORTEST:g} or more"
        )
    if settings.per_class < 1:
        raise UsageError(f"videos per class is {settings.per_class}: give 1 or more")
    result = Plan()
    for name in settings.classes:
        for group, clip in groups_of(_TRIMMED * settings.per_class):
            path = f"UCF-101/{file_name(camel(name), group, clip)}"
            result.videos.append(
                clip_of(settings, path, name, group, clip, seconds=_TRIMMED_SECONDS)
            )
    for side, folder, short in (
        ("validation", "validation", "val"),
        ("test", "TH14_test_set_mp4", "test"),
    ):
        _plan_side(settings, result, side, folder, short)
    # The official numbers are those among UCF101's 101 classes; here, those among all the motions.
    numbers = {name: number for number, name in enumerate(sorted(ACTIONS), start=1)}
    ordered = sorted(settings.classes, key=camel)
    result.files["Class Index_Detection.txt"] = "".join(
        f"{numbers[name]} {camel(name)}\r\n" for name in ordered
    ).encode()
    listed = "".join(f"{number} {camel(name)}\n" for number, name in enumerate(ordered, start=1))
    result.files["annotation_test/detclasslist.txt"] = listed.encode()
    return result


def _plan_side(settings: Settings, result: Plan, side: str, folder: str, short: str) -> None:
    """Add one side's untrimmed videos, annotations and frame counts."""
    fps = settings.fps
    annotated: dict[str, list[str]] = defaultdict(list)
    info = ["video,fps,sample_fps,count,sample_count"]
    for number in range(settings.per_class * len(settings.classes)):
        video = f"video_{side}_{number + 1:07d}"
        main = settings.classes[number % len(settings.classes)]
        rng = np.random.default_rng(seeds(settings, side, number, main))
        stretches = _stretches(settings, main, rng, ambiguous=number % 3 == 0)
        for stretch in stretches:
            if stretch.label is not None:
                annotated[stretch.label].append(
                    f"{video}  {stretch.start / 10:.1f} {stretch.end / 10:.1f}\n"
                )
        edges = [round(stretch.end / 10 * fps) for stretch in stretches]
        counts = np.diff([0, *edges[:-1], synth.frame_count(settings.seconds, fps)])
        result.videos.append(
            Video(
                path=f"{folder}/{video}.mp4",
                stretches=tuple(
                    (stretch.motion, int(count))
                    for stretch, count in zip(stretches, counts, strict=True)
                ),
                group=seeds(settings, side, number, main, 0),
                clip=seeds(settings, side, number, main, 1),
            )
        )
        total = int(counts.sum())
        info.append(f"{video},{float(fps)!r},10.0,{float(total)!r},{int(total * 10 / fps)}")
    for label in [*settings.classes, AMBIGUOUS]:
        name = label if label == AMBIGUOUS else camel(label)
        result.files[f"annotation_{short}/{name}_{short}.txt"] = "".join(annotated[label]).encode()
    result.files[f"{short}_video_info.csv"] = "".join(f"{row}\n" for row in info).encode()


def _stretches(
    settings: Settings, main: str, rng: np.random.Generator, *, ambiguous: bool
) -> list[_Stretch]:
    """Return background and actions in turn, from background to background, to the video's end.

    The first action is of the main class and three quarters of the others are. With `ambiguous` the second is the main
    class's motion at a third of its speed: something of the kind, which no class can be asked to find.
    """
    end = round(settings.seconds * 10)
    found: list[_Stretch] = []
    at, actions = 0, 0
    while True:
        pause, length = int(rng.integers(*_BACKGROUND)), int(rng.integers(*_ACTION))
        background = _sway if rng.random() < 0.5 else still
        if at + pause + length + _BACKGROUND[0] > end:
            return [*found, _Stretch(None, background, at, end)]
        label = main if actions == 0 or rng.random() < 0.75 else str(rng.choice(settings.classes))
        motion = ACTIONS[label]
        if ambiguous and actions == 1:
            label, motion = AMBIGUOUS, _slowly(ACTIONS[main])
        found += [
            _Stretch(None, background, at, at + pause),
            _Stretch(label, motion, at + pause, at + pause + length),
        ]
        at += pause + length
        actions += 1


def _slowly(motion: Motion) -> Motion:
    return lambda seconds: motion(seconds / 3)


def _sway(seconds: float) -> Pose:
    """Drift up and down a little: movement that is background."""
    return Pose(y=0.06 * float(np.sin(2 * np.pi * 0.4 * seconds)))
