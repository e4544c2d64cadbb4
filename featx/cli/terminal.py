"""What a person sees while a command runs: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from featx.extraction.engine import Stats
    from featx.extraction.extract import Report
    from featx.training import Progress as Training
    from featx.training import Validation


class Progress:
    """A bar on a terminal, a line every ten seconds in a log."""

    def __init__(self) -> None:
        self.total = 0
        self._before = 0
        self._stats: Stats | None = None
        self._last = monotonic()
        self._bar: Any = None

    def start(self, report: Report) -> None:
        self.total, self._before = report.total, report.done
        settings = report.settings
        tell_weights(settings["weights"])
        click.echo(f"{settings['model']['name']}, layers {','.join(settings['layers'])}, {settings['precision']} on "
                   f"{settings['device']}: {report.total} videos, {report.done} done before", err=True)  # fmt: skip
        if self.total > self._before and on_terminal():
            from tqdm import tqdm

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
        else:
            left = elapsed / share * (self.total - self._before - share) if share else 0.0
            click.echo(f"{text}, {duration(left)} left" if share else text, err=True)

    def publish(self, written: int, total: int) -> None:
        """Say how far the feature file is written, if that takes long enough to wonder."""
        now = monotonic()
        if now - self._last > (0.1 if self._bar is not None else 10.0):
            self._last = now
            text = f"writing the feature file, {written}/{total} videos"
            if self._bar is not None:
                self._bar.set_description_str(text)
            else:
                click.echo(text, err=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class TrainingProgress:
    """A training run on a terminal, or in a log, a line every ten seconds."""

    def __init__(self) -> None:
        self.step = 0
        self._last = monotonic()
        self._bar: Any = None

    def start(self, steps: int, step: int) -> None:
        """Begin at update `step` of `steps`."""
        self.step = step
        if on_terminal() and step < steps:
            from tqdm import tqdm

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
        elif monotonic() - self._last > 10 or now.step == now.steps:
            self._last = monotonic()
            click.echo(f"update {now.step}/{now.steps}: {text}", err=True)

    def validated(self, epoch: int, found: Validation) -> None:
        """Tell what the validation after an epoch gave."""
        top5 = f", top-5 {found.top5:.1%}" if found.top5 is not None else ""
        text = f"epoch {epoch}: validation loss {found.loss:.3f}, top-1 {found.top1:.1%}{top5}"
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            click.echo(text, err=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def tell_weights(weights: Mapping[str, Any]) -> None:
    """Say which weights are used, as a feature file records them: what they were trained on, and their licence."""
    from featx.weights.checkpoint import in_words

    click.echo(f"weights {in_words(weights)}", err=True)


def on_terminal() -> bool:
    """Return whether somebody watches: stderr is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def duration(seconds: float) -> str:
    """Return seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def bar(unit: str, *, scale: bool = False) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal, nothing in a log; call what it yields with (done, in all)."""
    from tqdm import tqdm

    with tqdm(unit=unit, unit_scale=scale, disable=not on_terminal(), leave=False) as shown:

        def progress(so_far: int, total: int | None) -> None:
            shown.total = total
            shown.n = so_far
            shown.refresh()

        yield progress
