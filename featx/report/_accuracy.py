"""Shares of right answers, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

# Resamples of a bootstrap interval: its ends move by less than a tenth of its width from seed to seed.
DRAWS = 5000


@dataclass(frozen=True)
class Accuracy:
    """A share of right answers, counted video by video: right, of: (N,) int64."""

    right: Ints
    of: Ints

    @property
    def value(self) -> float:
        """Right answers over all answers, 0 to 1."""
        return int(self.right.sum()) / max(1, int(self.of.sum()))

    def interval(self, *, seed: int = 0) -> tuple[float, float]:
        """Return the 95 % interval of `value`: percentiles of the bootstrap over videos, DRAWS resamples.

        Videos are drawn, with all of their clips, for clips of one video are no independent sample.
        """
        return mean_interval([self], seed=seed)

    def as_json(self) -> dict[str, float]:
        """Return value, interval and counts as plain JSON values."""
        low, high = self.interval()
        return {
            "value": self.value,
            "low": low,
            "high": high,
            "right": int(self.right.sum()),
            "of": int(self.of.sum()),
        }

    def as_cells(self) -> tuple[str, str]:
        """Return the value and its interval in per cent, as cells of a table."""
        low, high = self.interval()
        return f"{100 * self.value:.1f}", f"{100 * low:.1f} to {100 * high:.1f}"

    def __repr__(self) -> str:
        return f"Accuracy({100 * self.value:.1f} %: {int(self.right.sum()):,} of {int(self.of.sum()):,})"


def mean_interval(accuracies: Sequence[Accuracy], *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean of several accuracies over the same N videos, as `Accuracy.interval` does.

    A video is drawn with its answers in all of them (of is 0 where it has none), for they are no independent samples.
    """
    rng = np.random.default_rng(seed)
    right = np.stack([each.right for each in accuracies])
    of = np.stack([each.of for each in accuracies])
    n = right.shape[1]
    values = np.empty(DRAWS)
    for draw in range(DRAWS):
        chosen = rng.integers(n, size=n)
        values[draw] = (
            right[:, chosen].sum(axis=1) / np.maximum(1, of[:, chosen].sum(axis=1))
        ).mean()
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
