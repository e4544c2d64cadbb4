"""How an extraction goes, shown to whoever watches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from featx.system.terminal import duration, on_terminal, say, watched

if TYPE_CHECKING:
    from featx.extraction.engine import Stats
    from featx.extraction.extract import Report
    from featx.extraction.settings import Hooks


@contextmanager
def shown(progress: bool | None, hooks: Hooks | None) -> Iterator[Hooks]:
    """Give the hooks to call: the caller's, or a progress bar's.

    progress: True shows a bar, False none; None shows one if a person watches and there are no hooks.
    """
    from featx.extraction.settings import Hooks  # here: --help waits for no numpy

    if not watched(False if progress is None and hooks is not None else progress):
        yield hooks or Hooks()
        return
    bar = Progress(lines=False)
    try:
        yield both(hooks, bar.hooks) if hooks is not None else bar.hooks
    finally:
        bar.close()


def both(one: Hooks, other: Hooks) -> Hooks:
    """Return hooks that call those of one and of the other."""
    from featx.extraction.settings import Hooks

    def start(report: Report) -> None:
        for each in (one.on_start, other.on_start):
            if each:
                each(report)

    def passed(stats: Stats) -> None:
        for each in (one.on_progress, other.on_progress):
            if each:
                each(stats)

    def published(written: int, total: int) -> None:
        for each in (one.on_publish, other.on_publish):
            if each:
                each(written, total)

    return Hooks(on_start=start, on_progress=passed, on_publish=published)


class Progress:
    """Shows how an extraction goes: a bar for a person, a line every ten seconds in a log.

    Args:
        lines: False shows the bar alone, and nothing in a log.
    """

    def __init__(self, *, lines: bool = True) -> None:
        self._lines = lines
        self.total = 0
        self._before = 0
        self._stats: Stats | None = None
        self._last = monotonic()
        self._bar: Any = None

    @property
    def hooks(self) -> Hooks:
        """What an extraction calls."""
        from featx.extraction.settings import Hooks

        return Hooks(on_start=self.start, on_progress=self, on_publish=self.publish)

    def start(self, report: Report) -> None:
        self.total, self._before = report.total, report.done
        settings = report.settings
        if self._lines and settings is not None:
            tell_weights(settings.weights.values)
            what = f"{settings.model.name}, layers {','.join(settings.layers)}"
            where = f"{settings.precision} on {settings.device}"
            say(f"{what}, {where}: {report.total} videos, {report.done} done before")
        if self.total > self._before and (not self._lines or on_terminal()):
            from tqdm.auto import tqdm

            self._bar = tqdm(
                total=self.total - self._before,
                bar_format="{percentage:3.0f}%|{bar}| {desc} [{elapsed}<{remaining}]",
                dynamic_ncols=True,
                leave=False,
            )

    def done(self) -> int:
        return self._before + (self._stats.videos if self._stats else 0)

    def __call__(self, stats: Stats) -> None:
        self._stats = stats
        now = monotonic()
        if now - self._last < (0.1 if self._bar is not None else 10.0):
            return
        self._last = now
        ended = stats.videos + stats.failed
        # A long video counts by how far it is decoded.
        partly = sum(min(frames / of, 1.0) for frames, of in list(stats.frames.values()) if of)
        share = min(ended + partly, self.total - self._before)
        elapsed = now - stats.began
        rate = stats.clips / elapsed
        text = f"{self._before + ended}/{self.total} videos, {stats.clips} clips"
        if stats.clips:
            text += f", {rate:.1f} clips/s, {stats.binding} binds"
        if stats.failed:
            text += f", {stats.failed} failed"
        if self._bar is not None:
            self._bar.set_description_str(text, refresh=False)
            self._bar.n = share
            self._bar.refresh()
        elif self._lines:
            left = elapsed / share * (self.total - self._before - share) if share else 0.0
            say(f"{text}, {duration(left)} left" if share else text)

    def publish(self, written: int, total: int) -> None:
        """Say how far the feature file is written, if that takes long enough to wonder."""
        now = monotonic()
        if now - self._last > (0.1 if self._bar is not None else 10.0):
            self._last = now
            text = f"writing the feature file, {written}/{total} videos"
            if self._bar is not None:
                self._bar.set_description_str(text)
            elif self._lines:
                say(text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def tell_weights(weights: Mapping[str, Any]) -> None:
    """Say which weights are used, as a feature file records them: what they were trained on, and their licence."""
    from featx.weights.description import in_words

    say(f"weights {in_words(weights)}")
