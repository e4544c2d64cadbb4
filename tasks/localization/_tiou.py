"""Temporal intersection over union; the protocols and suppression have their authors' own formulas, to the bit."""

from __future__ import annotations

from typing import cast

import numpy as np

from featx.tasks.localization._types import Floats


def tiou_of(start: Floats, end: Floats, starts: Floats, ends: Floats) -> Floats:
    """Return the tIoU of N stretches with M others: (N, M), 0 to 1."""
    common = np.minimum(end[:, None], ends[None, :]) - np.maximum(start[:, None], starts[None, :])
    common = np.maximum(common, 0.0)
    union = (end - start)[:, None] + (ends - starts)[None, :] - common
    return cast(Floats, np.divide(common, union, out=np.zeros_like(common), where=union > 0))
