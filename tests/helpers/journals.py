"""What a journal takes of a video that nobody decoded."""

from __future__ import annotations

import numpy as np

from featx.store.journal import Origin
from featx.video.cutting import Summary
from featx.video.source import Stamp

ORIGIN = Origin("x/a/b.mp4", Stamp(7, 123), "abc", "torch")


def summary(n: int = 2) -> Summary:
    return Summary(
        decoder="pyav", frames=16 * n, fps=25.0, width=80, height=64, rotation=0, codec="h264", duration_s=0.64 * n,
        container_frames=16 * n, damaged_frames=0, looped=False,
        clip_frames=np.arange(2 * n, dtype=np.int64).reshape(n, 2), clip_times=np.arange(2.0 * n).reshape(n, 2),
    )  # fmt: skip
