"""Videos in, feature file out: what to do, what is done already, and how it went."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from featx.errors import UsageError
from featx.extraction.engine import Rows, Sink
from featx.extraction.prepare import Prepared, prepare
from featx.extraction.progress import shown
from featx.extraction.settings import Hooks, Settings, compose, takes_options, whole
from featx.store.journal import Journal, Origin
from featx.store.reader import FeatureStore, Video
from featx.store.recorded import Recorded, differences
from featx.store.writer import publish
from featx.system.files import check_target
from featx.system.text import Text, json_text
from featx.video.cutting import Summary
from featx.video.decoders import decoder_named
from featx.video.source import Found, Source, Stamp, check_ids, find_videos
from featx.video.worker import Job

if TYPE_CHECKING:
    from torch import nn
    from typing_extensions import Unpack

    from featx.clips import ClipSpec
    from featx.extraction.cascade import Cascade
    from featx.extraction.settings import (
        ClipOptions,
        Layout,
        Machine,
        Options,
        TransformOptions,
    )
    from featx.transforms import Transform


class OtherSettings(UsageError):
    """What an output holds was made with other settings; `changed` says with which."""

    def __init__(self, message: str, changed: str) -> None:
        super().__init__(message)
        self.changed = changed


@dataclass(repr=False)
class Report:
    """How an extraction went.

    Attributes:
        out: The feature file.
        total, new, done: Videos: in all, extracted now, and there at the end.
        clips: Clips computed now, in `seconds`.
        binding: Which stage the others waited for: "decoding", "backbone" or "writing"; empty where no clip was
            computed.
        failures: (path, reason) of every video that could not be read.
        ignored: Files in the folders that are no videos, by suffix.
        settings: What the feature file records.
        notes: What the user should know that is not a failure, a sentence each.
    """

    out: str
    total: int
    new: int = 0
    done: int = 0
    clips: int = 0
    seconds: float = 0.0
    binding: str = ""
    failures: list[tuple[str, str]] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    settings: Recorded | None = None
    notes: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        from featx.weights.description import in_words

        failed = f", {len(self.failures)} failed" if self.failures else ""
        counts = f"{self.new} of {self.total} videos extracted now{failed}, {self.clips} clips"
        lines = [f"Report({self.out!r}: {counts}, {self.seconds:.1f} s)"]
        if self.settings is not None:
            lines.append(f"  weights: {in_words(self.settings.weights.values)}")
        lines += [f"  failed: {path}: {reason}" for path, reason in self.failures[:3]]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


class _JournalSink(Sink):
    def __init__(
        self, journal: Journal, prepared: Prepared, todo: dict[int, tuple[Source, Stamp]]
    ) -> None:
        self._journal, self._prepared, self._todo = journal, prepared, todo
        self.failures: list[tuple[str, str]] = []

    def rows(self, key: int, clips: list[int], rows: Rows) -> None:
        source, stamp = self._todo[key]
        origin = Origin(source.text, stamp, computed_by=self._prepared.computed_by)
        self._journal.add(source.id, clips, rows, origin)

    def restarted(self, key: int) -> None:
        self._journal.forget(self._todo[key][0].id)

    def done(self, key: int, summary: Summary, batch_size: int) -> None:
        source, stamp = self._todo[key]
        if source.stamp() != stamp:
            self._journal.forget(source.id)
            changed = "the file was changed while it was read: run the same command again"
            self.failures.append((source.text, changed))
            return
        by = self._prepared.computed_by
        if batch_size != self._prepared.batch_size:
            by += f", batches of {batch_size} when memory ran out"
        self._journal.end(source.id, summary, Origin(source.text, stamp, source.fingerprint(), by))

    def failed(self, key: int, reason: str) -> None:
        self.failures.append((self._todo[key][0].text, reason))


@takes_options
def extract(
    videos: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    out: str | os.PathLike[str],
    model: str | nn.Module = "res3d",
    *,
    weights: str | os.PathLike[str] | None = None,
    layers: Sequence[str] | None = None,
    seed: int = 0,
    clip: ClipOptions | ClipSpec | None = None,
    transform: TransformOptions | Transform | None = None,
    machine: Machine | None = None,
    flow_cache: str | os.PathLike[str] | None = None,
    project: str | os.PathLike[str] | None = None,
    cascade: Cascade | None = None,
    layout: Layout = "NCTHW",
    settings: Settings | None = None,
    root: str | None = None,
    hooks: Hooks | None = None,
    progress: bool | None = None,
    **options: Unpack[Options],
) -> Report:
    """Extract clip features of videos into one feature file, continuing what an earlier run began.

    Videos that cannot be read are listed in the report and in the file with their reasons; the
    others are not touched by them. Videos already in `out` stay.

    Args:
        videos: Files, folders (searched recursively), glob patterns, or lists of paths in text files.
        out: The feature file, HDF5.
        model: A name of `featx.list_models()`; or a module of yours in evaluation mode or not, whose forward takes
            clips in the order of `layout`. A module needs `clip` and `transform`; its layers are module paths, or
            "output" for what it returns. It is copied, and stays as it is.
        weights: A registered checkpoint, a file, or "random". None is the model's own, if it is on this machine.
        layers: Names as in the paper, or module paths. None is the model's own.
        seed: Seed for random weights.
        clip: A `ClipSpec`, or `ClipOptions`; their fields may be given one by one too.
        transform: A `Transform`, or `TransformOptions`; likewise.
        machine: A `Machine`; likewise.
        flow_cache: A folder in which flow is kept for later extractions.
        project: A projection's file, whose layer's rows are stored projected.
        cascade: A second network for some of the clips.
        layout: Order of the dimensions that a module of yours takes: "NCTHW" or "NTCHW".
        settings: All of the above from `model` on, composed.
        root: Folder that video ids are relative to. None is the folder given.
        hooks: Functions called while videos pass.
        progress: True shows a progress bar, False shows none. None shows one if a person watches.
        **options: Fields of `ClipOptions`, `TransformOptions` and `Machine`, such as `stride=8` or `device="cpu"`.

    Returns:
        How it went; its repr says what the command line prints.

    Raises:
        UsageError: For wrong arguments, for settings other than those of the rows already there, or for a second
            run on the same file.
        FeatxError: If the disk is full or decoding processes cannot be started. What was committed is safe.
    """
    asked = compose(
        model,
        weights=weights,
        layers=layers,
        seed=seed,
        clip=clip,
        transform=transform,
        machine=machine,
        flow_cache=flow_cache,
        project=project,
        cascade=cascade,
        layout=layout,
        **options,
    )
    asked = whole(settings, asked)
    with shown(progress, hooks) as hooks:
        return _extract(videos, out, asked, root, hooks)


def _extract(
    videos: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: Settings,
    root: str | None,
    hooks: Hooks,
) -> Report:
    target = Path(os.path.realpath(out))  # a link stays one
    check_target(target, example="features.h5")
    prepared = prepare(settings)
    found = find_videos(videos, layers=prepared.recorded.layers, root=root)
    report = Report(
        os.fspath(out),
        len(found.sources),
        ignored=dict(found.ignored),
        settings=prepared.recorded,
        notes=list(prepared.notes),
    )
    with contextlib.ExitStack() as stack:
        journal = Journal(target)
        stack.callback(journal.close)
        old = stack.enter_context(FeatureStore(target)) if target.exists() else None
        _same_settings(target, prepared.recorded, old, journal)
        ids = [*(s.id for s in found.sources), *(old.ids if old else ()), *journal.entries]
        check_ids(ids, prepared.recorded.layers)
        jobs, todo = _todo(found, old, journal, prepared)
        report.done = len(found.sources) - len(jobs)
        if hooks.on_start:
            hooks.on_start(report)
        if old is not None and jobs:
            _check_kept(old)
        began = monotonic()
        sink = _JournalSink(journal, prepared, todo)
        if jobs:
            journal.begin(prepared.recorded.to_json())
            try:
                stats = prepared.run(jobs, sink, on_progress=hooks.on_progress)
            finally:
                journal.commit()
            report.new = len(jobs) - len(sink.failures)
            report.clips, report.binding = stats.clips, stats.binding if stats.clips else ""
            report.notes += stats.notes
        report.failures = sorted(sink.failures)
        entries = {
            i: e for i, e in journal.entries.items() if e.whole and (old is None or i not in old)
        }
        failures = sorted([*_kept_failures(found, old), *report.failures])
        if entries or old is None or failures != old.failures:
            publish(
                target,
                prepared.recorded,
                entries=entries,
                shapes=prepared.backend.shapes,
                failures=failures,
                old=old,
                on_progress=hooks.on_publish,
            )
        if old is not None:
            old.close()
        journal.remove()
        report.done += report.new
        report.seconds = monotonic() - began
    return report


def _check_kept(old: FeatureStore) -> None:
    """Raise DamagedFile for a file that cannot be gone on with, before hours are spent; rows are checked as they are copied."""
    for video in old.values():
        _ = video.clip_frames, video.clip_times


def _kept_failures(found: Found, old: FeatureStore | None) -> list[tuple[str, str]]:
    """Return the failures of earlier runs that this one has not tried again, however their paths were spelled."""
    if old is None:
        return []
    tried = {os.path.realpath(s.path) for s in found.sources} | {s.text for s in found.sources}
    return [
        (path, why)
        for path, why in old.failures
        if path not in tried and os.path.realpath(path) not in tried
    ]


def _same_settings(
    target: Path, ours: Recorded, old: FeatureStore | None, journal: Journal
) -> None:
    begun = journal.settings
    for theirs in (
        old.settings if old else None,
        Recorded.from_json(begun) if begun is not None else None,
    ):
        if theirs is not None and (changed := differences(theirs, ours)):
            raise OtherSettings(
                f"{target} was begun with other settings: {changed}; use those, or another output",
                changed,
            )


def _todo(
    found: Found, old: FeatureStore | None, journal: Journal, prepared: Prepared
) -> tuple[list[Job], dict[int, tuple[Source, Stamp]]]:
    jobs: list[Job] = []
    todo: dict[int, tuple[Source, Stamp]] = {}
    decoder = decoder_named(prepared.decode.decoder)
    elsewhere = _ids_by_path(found, old, journal)
    for key, source in enumerate(found.sources):
        stamp = source.stamp()
        # The same file may have another id when other inputs are given with it, or others share its name.
        known = source.id
        if (old is None or known not in old) and known not in journal.entries:
            known = elsewhere.get(os.path.realpath(source.path), known)
        if old is not None and known in old:
            _same_source(source, stamp, old[known], old.path)
            continue
        entry = journal.entries.get(known)
        if entry is not None and entry.whole and entry.origin is not None:
            if entry.origin.stamp == stamp:
                _same_path(source, entry.origin.path, journal.folder)
                continue
            journal.forget(known)
            entry = None
        # Half a video is only gone on with by what began it, from the same file.
        origin = Origin(source.text, stamp, computed_by=prepared.computed_by)
        if entry is not None and not (
            entry.origin == origin and known == source.id and decoder.resumes
        ):
            journal.forget(known)
            entry = None
        todo[key] = source, stamp
        done = entry.clips if entry else frozenset()
        jobs.append(Job(key, source.path, decoder.name, without=done))
    return jobs, todo


def _ids_by_path(found: Found, old: FeatureStore | None, journal: Journal) -> dict[str, str]:
    """Return under which id a file's rows are there already, by its real path; nothing if every video has its id there."""
    if old is not None and all(s.id in old for s in found.sources):
        return {}
    paths = {video.path: video.id for video in (old.values() if old else ())}
    paths |= {
        e.origin.path: i for i, e in journal.entries.items() if e.whole and e.origin is not None
    }
    return {os.path.realpath(path): video_id for path, video_id in paths.items()}


def _same_path(source: Source, before: str, where: Path) -> None:
    if (
        os.path.exists(before)
        and os.path.exists(source.path)
        and not os.path.samefile(before, source.path)
    ):
        raise UsageError(
            f"{where} has features of {source.id!r} from {before}, not from {source.text}: choose another output"
        )


def _same_source(source: Source, stamp: Stamp, video: Video, out: Path) -> None:
    _same_path(source, video.attr("path"), out)
    changed = stamp.size != video.attr("bytes")
    if not changed and _touched_after(source.path, out):
        changed = source.fingerprint() != video.attr("fingerprint")
    if changed:
        raise UsageError(
            f"{out} has features of {source.id!r} from before {source.text} was changed: choose another output"
        )


def _touched_after(path: str, out: Path) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    return max(status.st_mtime, status.st_ctime) >= out.stat().st_mtime


def to_json(report: Report) -> Text:
    """Return a report as JSON."""
    told = {**vars(report), "settings": report.settings.to_json() if report.settings else {}}
    return json_text(told)
