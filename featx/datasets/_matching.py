"""Which of a feature file's videos is which item of a dataset."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence

from featx.datasets._types import Item
from featx.errors import FeatxError
from featx.video.reader import SUFFIXES


def match_ids(
    items: Sequence[Item], known: Iterable[str], *, unique_names: bool = False
) -> dict[str, str]:
    """Return for each item's id the id under which its video is known; an item that is not known is left out.

    known: ids, with or without a video's suffix, relative to whatever folder. An id is an item's if it equals the item's, or if
    its path is the end of the item's path, or the item's id the end of it. unique_names: a video's name alone tells it from all
    others, as in the official datasets, so that an id in another folder is the item's too.
    Raises FeatxError where two known ids could be the same item, or two videos the same id.
    """
    by_name: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    originals: dict[tuple[str, ...], str] = {}
    for text in known:
        parts = _parts(text)
        if originals.setdefault(parts, text) != text:
            raise FeatxError(
                f"{originals[parts]!r} and {text!r} could be the same video: leave one of them out"
            )
        by_name[parts[-1]].append(parts)
    found: dict[str, str] = {}
    owners: dict[str, Item] = {}
    for item in items:
        own, path = _parts(item.id), _parts(item.path)
        candidates = {parts for name in {own[-1], path[-1]} for parts in by_name.get(name, ())}
        if own not in candidates and not unique_names:
            candidates = {p for p in candidates if _ends(path, p) or _ends(p, own)}
        if not candidates:
            continue
        # Of several the one that agrees with the path over most folders.
        best = [own] if own in candidates else _closest(candidates, path)
        if len(best) > 1:
            raise FeatxError(
                f"{originals[best[0]]!r} and {originals[best[1]]!r} could both be {item.id}: leave one of them out"
            )
        chosen = originals[best[0]]
        other = owners.setdefault(chosen, item)
        if other.path != item.path:
            raise FeatxError(
                f"{chosen!r} could be {other.id} or {item.id}: give the features their ids with folders"
            )
        found[item.id] = chosen
    return found


def _parts(text: str) -> tuple[str, ...]:
    stem, suffix = os.path.splitext(text)
    return tuple(
        part
        for part in (stem if suffix.lower() in SUFFIXES else text).split("/")
        if part not in ("", ".")
    )


def _ends(longer: tuple[str, ...], shorter: tuple[str, ...]) -> bool:
    return longer[-len(shorter) :] == shorter


def _closest(candidates: set[tuple[str, ...]], path: tuple[str, ...]) -> list[tuple[str, ...]]:
    def agreement(parts: tuple[str, ...]) -> int:
        return next(
            (
                i
                for i, (a, b) in enumerate(zip(reversed(parts), reversed(path), strict=False))
                if a != b
            ),
            len(parts),
        )

    most = max(map(agreement, candidates))
    return sorted(parts for parts in candidates if agreement(parts) == most)
