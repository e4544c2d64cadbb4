"""What a person sees: bars if somebody watches, and results that say in a few lines what they rest on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
from conftest import SMALL, encode
from conftest import featx as run_featx
from told import tells

import featx
from featx.extraction.extract import Report
from featx.extraction.query import query_features
from featx.extraction.settings import Hooks
from featx.models import registry
from featx.system import terminal
from featx.system.terminal import bar, in_notebook, watched
from featx.training import TrainReport

TINY: dict[str, Any] = {"weights": "random", "device": "cpu", "workers": 1}


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._ENTRIES, tiny.NAME, tiny.ENTRY)
        yield


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos each of three classes, and one file that is none."""
    folder = tmp_path_factory.mktemp("classes")
    for i in range(6):
        encode(folder / f"class{i % 3}" / f"v{i}.mp4", 16, size=(32, 40), seed=i)
    (folder / "class0" / "text.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def features(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("features") / "a.h5"
    featx.extract(classes, out, tiny.NAME, **TINY, progress=False)
    return out


def test_progress_is_as_asked_and_by_itself_where_a_person_watches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (watched(None), watched(True), watched(False)) == (False, True, False)
    monkeypatch.setattr(terminal, "on_terminal", lambda: True)
    assert (watched(None), watched(False)) == (True, False)


@pytest.mark.parametrize(("kernel", "seen"), [("IPKernelApp", True), ("TerminalIPythonApp", False)])
def test_a_notebook_is_told_from_an_ipython_shell(
    kernel: str, seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not in_notebook()
    shell = SimpleNamespace(config={kernel: {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert in_notebook() is seen
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not in_notebook()


@pytest.mark.parametrize("progress", [True, False, None])
def test_every_long_function_shows_a_bar_or_none(
    progress: bool | None,
    classes: Path,
    features: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkey: dict[str, Any] = {"progress": progress}
    one = next(iter(classes.rglob("v1.mp4")))

    def query() -> None:
        with featx.FeatureStore(features) as store:
            query_features(store, one, "pool5", **monkey)

    calls = {
        "extract": lambda: featx.extract(classes, tmp_path / "b.h5", tiny.NAME, **TINY, **monkey),
        "verify": lambda: featx.verify(features, clips=3, **monkey),
        "query": query,
        "evaluate": lambda: featx.evaluate(
            "random", str(classes), model=tiny.NAME, device="cpu", workers=1, holdout=0.5, **monkey
        ),
        "train": lambda: featx.train(
            str(classes),
            tmp_path / "run",
            model=tiny.NAME,
            overrides={"duration": "1", "unit": "epochs", "batch": "2"},
            validate="none",
            holdout=0.5,
            device="cpu",
            workers=1,
            **monkey,
        ),
    }
    for name, call in calls.items():
        capfd.readouterr()
        call()
        shown = capfd.readouterr()
        assert shown.out == "", name
        assert bool(shown.err) is bool(progress), (name, shown.err)
        if progress:
            assert "%" in shown.err, name


def test_a_bar_does_without_ipython(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", None)  # importing it fails
    monkeypatch.delitem(sys.modules, "tqdm.auto", raising=False)
    with bar("clip", progress=True, lines=False) as passed:
        passed(1, 2)
    assert "1/2" in capsys.readouterr().err


def test_a_command_says_in_a_log_how_far_it_is_and_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(terminal, "monotonic", lambda: now)
    with bar("video") as passed:
        for done in range(9):  # four seconds each
            passed(done, 8)
            now += 4.0
    lines = capsys.readouterr().err.splitlines()
    assert [tells(line, f"{n}/8 videos", left) for line, n, left in zip(
        lines, (1, 4, 7), ("0:28", "0:16", "0:04"), strict=True
    )] == [True] * 3  # fmt: skip
    with bar("B", scale=True) as passed:
        passed(50_000_000, 100_000_000)  # which were there before
        now += 5.0
        passed(60_000_000, 100_000_000)
    (line,) = capsys.readouterr().err.splitlines()
    assert tells(line, "60.0/100.0 MB", "0:20")
    with bar("clip") as passed:
        now += 1.0
        passed(8, 9)
    assert capsys.readouterr().err == ""


def test_hooks_and_a_bar_go_together(
    classes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []
    hooks = Hooks(on_start=seen.append, on_progress=seen.append)
    featx.extract(classes, tmp_path / "a.h5", tiny.NAME, **TINY, hooks=hooks)
    assert capfd.readouterr().err == ""
    assert isinstance(seen[0], Report)
    assert len(seen) > 1
    featx.extract(classes, tmp_path / "b.h5", tiny.NAME, **TINY, hooks=hooks, progress=True)
    assert capfd.readouterr().err != ""


def lines_of(result: object, most: int = 6) -> list[str]:
    """A result's repr, which must be short."""
    lines = repr(result).splitlines()
    assert len(lines) <= most
    assert all(len(line) < 400 for line in lines)
    return lines


def test_results_say_in_a_few_lines_what_they_rest_on(
    classes: Path, features: Path, tmp_path: Path
) -> None:
    report = featx.extract(classes, tmp_path / "a.h5", tiny.NAME, **TINY)
    first, *more = lines_of(report)
    assert first.startswith(f"Report({str(tmp_path / 'a.h5')!r}: 6 of 7 videos")
    assert any("random" in line for line in more)
    assert any("text.mp4" in line for line in more)

    verification = featx.verify(features, clips=3)
    (only,) = lines_of(verification)
    assert only.startswith(f"Verification({str(features)!r}: 6 videos, no problems; 3 clips")
    verification.problems.append("it is torn")
    verification.notes.append("made elsewhere")
    assert [line.strip() for line in lines_of(verification)[1:]] == [
        "problem: it is torn",
        "note: made elsewhere",
    ]

    found = featx.evaluate(
        "random", str(classes), model=tiny.NAME, device="cpu", workers=1, holdout=0.5
    )
    first, *more = lines_of(found, most=8)
    assert first.startswith("Evaluation(")
    assert f"{found.top1.value:.1%}" in first
    assert found.protocol.name in first
    for note in found.notes:
        assert any(note in line for line in more)

    loaded = featx.load_model(tiny.NAME, "random")
    assert lines_of(loaded)[0].startswith("LoadedModel(random")


def test_a_training_report_has_the_notes_that_the_command_prints(
    classes: Path, tmp_path: Path
) -> None:
    report = featx.train(
        str(classes),
        tmp_path / "run",
        model=tiny.NAME,
        weights="random",
        overrides={"duration": "1", "unit": "epochs", "batch": "2"},
        holdout=0.5,
        device="cpu",
        workers=1,
    )
    assert isinstance(report, TrainReport)
    first, *more = lines_of(report, most=10)
    assert first.startswith(f"TrainReport({str(tmp_path / 'run')!r}: {tiny.NAME} on ")
    assert f"{report.validation.top1:.1%}" in first
    assert any("classifier is new" in note for note in report.notes)
    assert [line.removeprefix("  note: ") for line in more if "note: " in line] == report.notes


@pytest.mark.parametrize(
    ("steps", "new", "said"),
    [(30, 30, (30,)), (30, 20, (11, 30)), (30, 1, (30,)), (30, 0, ("nothing", 30))],
)
def test_a_continued_training_says_which_updates_it_made(
    steps: int, new: int, said: tuple[object, ...]
) -> None:
    report = TrainReport("run", "c3d", "mine", steps=steps, epochs=3, new=new)
    for text in (report.updates, repr(report)):
        assert tells(text, *said)
        assert not tells(text, steps - new if new else "now")


def test_where_no_clip_was_computed_nothing_is_said_to_bind(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "text.mp4").write_text("no video " * 1000)
    told = run_featx("extract", "--model", "res3d", *SMALL, tmp_path / "v", tmp_path / "a.h5")
    assert told.returncode == 1
    assert tells(told.stderr, "text.mp4", "text", ".txt")
    assert not tells(told.stdout, "binds")
    assert not tells(told.stdout, "clips/s")
    assert tells(told.stdout, "0 videos", "1 failed")


def test_a_video_says_what_it_is(classes: Path) -> None:
    path = classes / "class1" / "v1.mp4"
    (line,) = lines_of(featx.open_video(path))
    for part in ("v1.mp4", "40x32", "25"):
        assert part in line
