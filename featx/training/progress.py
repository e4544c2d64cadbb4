"""How a training run goes, shown to whoever watches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from featx.system.terminal import on_terminal, say, watched

if TYPE_CHECKING:
    from featx.training.loop import Progress as Training
    from featx.training.loop import Trainer, Validation
    from featx.training.plan import Plan
    from featx.training.run import TrainHooks


@contextmanager
def shown(progress: bool | None, hooks: TrainHooks | None) -> Iterator[TrainHooks]:
    """Give the hooks to call: the caller's, or a progress bar's.

    progress: True shows a bar, False none; None shows one if a person watches and there are no hooks.
    """
    from featx.training.run import TrainHooks

    given = hooks or TrainHooks()
    if not watched(False if progress is None and hooks is not None else progress):
        yield given
        return
    bar = TrainingProgress(lines=False)

    def start(plan: Plan, trainer: Trainer) -> None:
        given.on_start(plan, trainer)
        bar.start(trainer.steps, trainer.state.step)

    def passed(now: Training) -> None:
        given.on_progress(now)
        bar(now)

    def validated(epoch: int, found: Validation) -> None:
        given.on_validation(epoch, found)
        bar.validated(epoch, found)

    try:
        yield TrainHooks(on_start=start, on_progress=passed, on_validation=validated)
    finally:
        bar.close()


class TrainingProgress:
    """Shows how a training run goes: a bar for a person, a line every ten seconds in a log.

    Args:
        lines: False shows the bar alone, and nothing in a log.
    """

    def __init__(self, *, lines: bool = True) -> None:
        self._lines = lines
        self.step = 0
        self._last = monotonic()
        self._bar: Any = None

    def start(self, steps: int, step: int) -> None:
        """Begin at update `step` of `steps`."""
        self.step = step
        if (not self._lines or on_terminal()) and step < steps:
            from tqdm.auto import tqdm

            self._bar = tqdm(
                total=steps, initial=step, unit="update", dynamic_ncols=True, leave=False
            )

    def __call__(self, now: Training) -> None:
        self.step = now.step
        text = (
            f"epoch {now.epoch}/{now.epochs}, loss {now.loss:.3f}, top-1 {now.top1:.0%}, lr {now.lr:g},"
            f" {now.clips_per_s:.1f} clips/s, {now.waited:.0%} waiting for clips"
        )
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(now.step - self._bar.n)
        elif not self._lines:
            return
        elif monotonic() - self._last > 10 or now.step == now.steps:
            self._last = monotonic()
            say(f"update {now.step}/{now.steps}: {text}")

    def validated(self, epoch: int, found: Validation) -> None:
        """Tell what the validation after an epoch gave."""
        top5 = f", top-5 {found.top5:.1%}" if found.top5 is not None else ""
        text = f"epoch {epoch}: validation loss {found.loss:.3f}, top-1 {found.top1:.1%}{top5}"
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        elif self._lines:
            say(text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
