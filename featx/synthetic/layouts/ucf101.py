"""UCF101's layout: UCF-101/<Class>/v_<Class>_gXX_cYY.avi, and three splits in ucfTrainTestlist."""

from __future__ import annotations

from featx.errors import UsageError
from featx.synthetic.layouts._plan import Plan, Settings, camel, clip_of, groups_of, held_out

SPLITS = (1, 2, 3)
# The lists are distributed with Windows' line ends.
_END = "\r\n"


def plan(settings: Settings) -> Plan:
    """Plan the clips of every class and the lists; a split's test side has groups of its own, as officially."""
    groups = groups_of(settings.per_class)
    check_groups(groups, settings)
    names = {camel(name): name for name in settings.classes}
    listed = [
        (label, own, group, clip)
        for label, own in enumerate(sorted(names), start=1)
        for group, clip in groups
    ]
    videos = [
        clip_of(settings, f"UCF-101/{file_name(own, group, clip)}", names[own], group, clip)
        for _, own, group, clip in listed
    ]
    folder = "ucfTrainTestlist"
    files = {
        f"{folder}/classInd.txt": "".join(
            f"{n} {own}{_END}" for n, own in enumerate(sorted(names), start=1)
        )
    }
    for split in SPLITS:
        test = held_out(groups[-1][0], split)
        files[f"{folder}/trainlist{split:02d}.txt"] = "".join(
            f"{file_name(own, group, clip)} {label}{_END}"
            for label, own, group, clip in listed
            if group not in test
        )
        files[f"{folder}/testlist{split:02d}.txt"] = "".join(
            f"{file_name(own, group, clip)}{_END}"
            for _, own, group, clip in listed
            if group in test
        )
    return Plan(videos, {path: text.encode() for path, text in files.items()})


def check_groups(groups: list[tuple[int, int]], settings: Settings) -> None:
    """Raise UsageError where three splits cannot have test groups of their own."""
    if not groups or groups[-1][0] < len(SPLITS):
        raise UsageError(
            f"videos per class is {settings.per_class}: three splits take 5 or more, two a group"
        )


def file_name(own: str, group: int, clip: int) -> str:
    """Return a clip's place below UCF-101."""
    return f"{own}/v_{own}_g{group:02d}_c{clip:02d}.avi"
