"""ASLAN's features: the file that lies beside it, or one that is extracted there now."""

from __future__ import annotations

import os
from collections.abc import Sequence

from featx.datasets import aslan
from featx.errors import FeatxError
from featx.extraction.provide import FOLDER, Provided, Wanted, features_in
from featx.extraction.settings import Hooks


def aslan_features(
    wanted: Wanted | None = None,
    *,
    root: str | os.PathLike[str] | None = None,
    view: int = 2,
    partial: bool = False,
    out: str | os.PathLike[str] | None = None,
    hooks: Hooks | None = None,
) -> Provided:
    """Return ASLAN's feature file: the one beside it, or one that is extracted there from all of its samples now.

    Args:
        root: Where its official files lie, by default its folder in $FEATX_DATA.
        view: Whose pairs' samples have to be there.
        partial: Extract the samples that are there, though the view's pairs have others.
        wanted, out, hooks: As for `featx.extraction.provide.dataset_features`.

    Raises:
        FeatxError: For samples that are not there, before anything is extracted.
        UsageError: Where several files fit, or a file lacks a layer or is by another checkpoint of the same name.
    """
    base = aslan.folder_of(root)

    def videos() -> Sequence[str]:
        pairs = aslan.read_pairs(root, view=view)
        there = aslan.videos_of(root)
        if pairs.absent and (not partial or not there):
            named = ", ".join(pairs.absent[:3]) + (" …" if pairs.absent[3:] else "")
            remedy = ", or go on with those that are there with `partial=True`" if there else ""
            raise FeatxError(
                f"{len(pairs.absent)} of {len(pairs.samples)} samples that ASLAN's pairs have are not in {base} ({named}):"
                f" get them{remedy}"
            )
        return list(there.values())

    return features_in(base / FOLDER, videos, base, wanted, out=out, hooks=hooks)
