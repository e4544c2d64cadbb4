"""Videos in, feature file out: what to do, what is done already, and how it went."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from featx.clips import ClipSpec, Tail
from featx.decode import DecodeSettings, Job, Summary
from featx.engine import Engine, Rows, Stats, cpu_count
from featx.errors import FeatxError, UsageError
from featx.journal import Journal
from featx.pool import Pool, WorkerLost
from featx.sources import Found, Source, as_text, find_videos
from featx.store import FeatureStore, Video, differences, publish
from featx.transforms import Crops
from featx.video import DecoderChoice, decoder_versions, has_decord

if TYPE_CHECKING:
    from featx.inference import FeatureExtractor

# Clips a worker may be ahead of the batches: enough to work on while a batch is copied.
SLOTS = 16


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to extract and how; everything a row depends on, and how the machine is used.

    model: a name of `featx.list_models()`. weights: a registered checkpoint, a file, "random", or
    None for the model's own if it is at hand. layers: names as in the paper, or module paths; None
    for the model's own. clip and transform settings left None are the checkpoint's.
    precision: "auto", "bf16" or "float32". device: "auto", "cpu", "cuda", "cuda:1".
    batch_size: clips at once; None for 8 on CPU, 32 on a GPU. workers: decoding processes; None for
    one a core. timeout: seconds after which a silent decoder is taken to hang.
    """

    model: str
    weights: str | None = None
    seed: int = 0
    layers: Sequence[str] | None = None
    frames: int | None = None
    step: int | None = None
    stride: int | None = None
    fps: float | None = None
    tail: Tail | None = None
    crops: Crops | None = None
    flip: bool | None = None
    precision: str = "auto"
    device: str = "auto"
    batch_size: int | None = None
    decoder: DecoderChoice = "auto"
    workers: int | None = None
    timeout: float = 120.0


@dataclass
class Prepared:
    """A model made ready and everything that its rows depend on, as `recorded` in the feature file."""

    extractor: FeatureExtractor
    decode: DecodeSettings
    batch_size: int
    workers: int
    timeout: float
    recorded: dict[str, Any]

    def pool(self) -> Pool:
        """Start the decoding processes."""
        return Pool(self.decode, workers=self.workers, timeout=self.timeout)


@dataclass
class Report:
    """How an extraction went. new, done, total: videos; failures: (path, reason); ignored: suffix -> files."""

    out: str
    total: int
    new: int = 0
    done: int = 0
    clips: int = 0
    seconds: float = 0.0
    binding: str = ""
    failures: list[tuple[str, str]] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def prepare(settings: Settings) -> Prepared:
    """Make a model ready for extraction; raises UsageError for anything unknown, impossible or not at hand."""
    from featx.inference import FeatureExtractor, resolve_device, resolve_precision
    from featx.models import model_entry
    from featx.weights import load_model

    if settings.decoder == "decord" and not has_decord():
        raise UsageError("decord is not installed: pip install decord, or use --decoder pyav")
    for name, value in (("batch size", settings.batch_size), ("workers", settings.workers)):
        if value is not None and not 1 <= value <= 4096:
            raise UsageError(f"{name} is {value}: give a whole number from 1 to 4096")
    if settings.timeout <= 0:
        raise UsageError(f"timeout is {settings.timeout:g}: give a number of seconds above 0")
    device = resolve_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    entry = model_entry(settings.model)
    loaded = load_model(settings.model, settings.weights, seed=settings.seed)
    clip = _clip(loaded.clip, settings)
    changed: dict[str, Any] = {k: v for k, v in (("crops", settings.crops), ("flip", settings.flip)) if v is not None}
    transform = replace(loaded.transform, **changed)
    layers = list(dict.fromkeys(settings.layers or entry.layers))
    extractor = FeatureExtractor(
        loaded.model, layers, precision=precision, device=device, input_shape=(3, clip.frames, transform.crop, transform.crop)
    )
    batch_size = settings.batch_size or (32 if device.type == "cuda" else 8)
    return Prepared(
        extractor=extractor,
        decode=DecodeSettings(clip, transform, settings.decoder, SLOTS),
        batch_size=batch_size,
        workers=settings.workers or cpu_count(),
        timeout=settings.timeout,
        recorded={
            "model": {"name": settings.model, "num_classes": loaded.model.num_classes},
            "weights": loaded.weights_info | _file_of(settings.weights),
            "layers": layers,
            "clip": clip.to_dict(),
            "transform": transform.to_dict(),
            "precision": precision,
            "device": device.type,
            "batch_size": batch_size,
            "decoder": {"choice": settings.decoder, **decoder_versions(settings.decoder)},
        },
    )


def _file_of(weights: str | None) -> dict[str, str]:
    """Where a checkpoint that is a file was: how to find it again, not what it is, which its sha256 tells."""
    return {"file": as_text(weights)} if weights is not None and os.path.isfile(weights) else {}


def _clip(preset: ClipSpec, settings: Settings) -> ClipSpec:
    """Return the checkpoint's clip with the user's changes; a changed span moves the stride along, unless that is given too."""
    changed = {n: v for n in ("frames", "step", "fps", "tail") if (v := getattr(settings, n)) is not None}
    clip = replace(preset, **changed)
    if settings.stride is not None:
        return replace(clip, stride=settings.stride)
    return replace(clip, stride=clip.span) if clip.span != preset.span and preset.stride == preset.span else clip


class _JournalSink:
    def __init__(self, journal: Journal, sources: dict[int, Source], sizes: dict[int, int]) -> None:
        self._journal, self._sources, self._sizes = journal, sources, sizes
        self.failures: list[tuple[str, str]] = []

    def rows(self, key: int, clips: list[int], rows: Rows) -> None:
        self._journal.add(self._sources[key].id, clips, rows, size=self._sizes[key])

    def restarted(self, key: int) -> None:
        self._journal.forget(self._sources[key].id)

    def done(self, key: int, summary: Summary) -> None:
        source = self._sources[key]
        self._journal.end(source.id, summary, path=source.text, size=self._sizes[key])

    def failed(self, key: int, reason: str) -> None:
        self.failures.append((self._sources[key].text, reason))


def extract(
    inputs: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    settings: Settings,
    *,
    root: str | None = None,
    on_start: Callable[[Report], None] | None = None,
    on_progress: Callable[[Stats], None] | None = None,
    on_publish: Callable[[int, int], None] | None = None,
) -> Report:
    """Extract clip features of videos into one feature file, continuing what an earlier run began.

    Videos that cannot be read are listed in the report and in the file with their reasons; the
    others are not touched by them. Videos already in `out` stay. on_start is called when it is known
    what is to do, on_progress many times a second, on_publish at the end, with (videos written,
    videos in all). Raises UsageError for wrong arguments, for settings other than those of the rows
    already there, or for a second run on the same file.
    """
    target = Path(out)
    _check_target(target)
    prepared = prepare(settings)
    found = find_videos(inputs, layers=prepared.recorded["layers"], root=root)
    report = Report(str(target), len(found.sources), ignored=dict(found.ignored), settings=prepared.recorded)
    with contextlib.ExitStack() as stack:
        journal = Journal(target)
        stack.callback(journal.close)
        old = stack.enter_context(FeatureStore(target)) if target.exists() else None
        _same_settings(target, prepared.recorded, old, journal)
        jobs, sources, sizes = _todo(found, old, journal, settings.decoder)
        report.done = len(found.sources) - len(jobs)
        if on_start:
            on_start(report)
        began = monotonic()
        if not jobs and old is not None and not _unpublished(journal):
            stack.pop_all().close()
            journal.remove()
            return report
        journal.begin(prepared.recorded)
        sink = _JournalSink(journal, sources, sizes)
        stats = Stats()
        if jobs:
            with prepared.pool() as pool:
                engine = Engine(
                    prepared.extractor, prepared.decode, pool, sink, batch_size=prepared.batch_size, on_progress=on_progress
                )
                try:
                    stats = engine.run(jobs)
                except WorkerLost as error:
                    raise FeatxError(f"{error}; what was committed is safe: rerun") from error
                finally:
                    journal.commit()
        report.failures = sorted(sink.failures)
        report.new, report.clips, report.binding = stats.videos, stats.clips, stats.binding
        _publish(target, prepared, journal, found, old, report, on_publish)
        if old is not None:
            old.close()
        journal.remove()
        report.done += report.new
        report.seconds = monotonic() - began
    return report


def _unpublished(journal: Journal) -> bool:
    return any(e.summary is not None for e in journal.entries.values())


def _check_target(target: Path) -> None:
    if target.is_dir():
        raise UsageError(f"{target} is a folder: give the name of a file to write, such as {target / 'features.h5'}")
    folder = target.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write {target}: {folder} is not a folder that you may write to; choose another output")


def _same_settings(target: Path, ours: dict[str, Any], old: FeatureStore | None, journal: Journal) -> None:
    for theirs in (old.settings if old else None, journal.settings):
        if theirs is not None and (changed := differences(theirs, ours)):
            raise UsageError(f"{target} was begun with other settings: {changed}; use those, or another output")


def _todo(
    found: Found, old: FeatureStore | None, journal: Journal, decoder: DecoderChoice
) -> tuple[list[Job], dict[int, Source], dict[int, int]]:
    jobs: list[Job] = []
    sources: dict[int, Source] = {}
    sizes: dict[int, int] = {}
    for key, source in enumerate(found.sources):
        size = _size(source.path)
        if old is not None and source.id in old:
            _same_source(source, size, old[source.id], old.path)
            continue
        entry = journal.entries.get(source.id)
        if entry is not None and entry.size != size:
            journal.forget(source.id)
            entry = None
        if entry is not None and entry.summary is not None:
            continue
        sources[key], sizes[key] = source, size
        jobs.append(Job(key, source.path, decoder, without=entry.clips if entry else frozenset()))
    return jobs, sources, sizes


def _same_source(source: Source, size: int, video: Video, out: Path) -> None:
    before, size_before = video.attr("path"), video.attr("bytes")
    other = os.path.exists(before) and os.path.exists(source.path) and not os.path.samefile(before, source.path)
    if other or size_before != size:
        changed = f"is now {source.text}" if other else f"had {size_before} bytes and now has {size}"
        raise UsageError(
            f"{out} has features of {source.id!r} from another file ({before}, which {changed}): choose another output"
        )


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1  # decoding it says why


def _publish(
    target: Path,
    prepared: Prepared,
    journal: Journal,
    found: Found,
    old: FeatureStore | None,
    report: Report,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    tried = {s.text for s in found.sources}
    kept = [] if old is None else [f for f in old.failures if f[0] not in tried]
    publish(
        target,
        prepared.recorded,
        entries={i: e for i, e in journal.entries.items() if e.summary is not None},
        shapes=prepared.extractor.shapes,
        failures=sorted([*kept, *report.failures]),
        old=old,
        on_progress=on_progress,
    )


def to_json(report: Report) -> str:
    """Return a report as JSON."""
    return json.dumps(vars(report), indent=1)
