"""The page of an evaluation, and the command that writes it: everything is there, and nothing breaks or leaves the page."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import encode
from localization_runs import detections, random_run, truth
from matplotlib.image import imread
from pages import Read
from told import telling, tells

from featx.datasets.untrimmed import Annotations
from featx.errors import UsageError
from featx.tasks.cli.detect_show import show as show_command
from featx.tasks.localization._curves import MOST_POINTS, begun, points_of
from featx.tasks.localization._detections_file import find_videos
from featx.tasks.localization._diagnosis import judge
from featx.tasks.localization._evaluate import PROTOCOLS, curve, evaluate
from featx.tasks.localization._page import write_page
from featx.tasks.localization._types import Evaluation

ODD = "<script>&\"x'</style>"


def odd_run(tmp_path: Path) -> tuple[Annotations, list[Evaluation], dict[str, Path]]:
    """A run with odd names of which one video can be read, one cannot, and one is not there."""
    annotations, found = random_run(3, videos=3, classes=(ODD, "run"))
    names = {"v0": ODD, "v1": "long" * 40, "v2": "v2"}
    annotations = dataclasses.replace(
        annotations,
        videos=tuple(sorted(names.values())),
        instances=tuple(
            dataclasses.replace(i, video=names[i.video]) for i in annotations.instances
        ),
        ambiguous=tuple(
            dataclasses.replace(i, video=names[i.video]) for i in annotations.ambiguous
        ),
        name=ODD,
    )
    found = dataclasses.replace(found, videos=tuple(names[v] for v in found.videos))
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    files = {ODD: encode(tmp_path / "v.mp4", 100), "v2": bad}
    return (
        annotations,
        [evaluate(found, annotations, protocol=p, bootstrap=20) for p in PROTOCOLS],
        files,
    )


def test_the_page_holds_everything_and_runs_nothing(tmp_path: Path) -> None:
    annotations, evaluations, files = odd_run(tmp_path)
    out = tmp_path / "sub" / "page.html"
    lacking = write_page(
        evaluations,
        out,
        annotations=annotations,
        videos=files,
        title=ODD,
        about=[ODD],
        worst=7,
        missed=3,
    )
    assert lacking == [
        "no frames of v2: text, not a video; the name of a list of paths ends in .txt, .lst or .list"
    ]
    text = out.read_text(encoding="utf-8")
    read = Read(text)
    assert not {"script", "link", "iframe", "a", "object", "b"} & set(read.tags)
    assert read.tags.count("style") == 1
    # Bars are opaque: two that overlap have no third colour.
    fills = re.findall(r"--(?:hit-soft|false-soft|dropped): (#\w+);", text)
    assert [len(fill) for fill in fills] == [len("#rrggbb")] * 6
    assert not re.search(
        r"https?:|//[a-z]|url\(|@import| on\w+=", re.sub(r"base64,[A-Za-z0-9+/=]*", "", text)
    )
    assert ODD in read.texts
    assert f"{ODD}." in read.texts

    known = judge(evaluations[0], evaluations[0].thresholds[4], annotations)
    worst = np.flatnonzero(known.kind >= 0)
    worst = worst[np.argsort(-known.detections.score[worst])][:7]
    shown = sum(known.detections.videos[known.detections.video[row]] == ODD for row in worst)
    length = np.array([i.end - i.start for i in known.instances])
    missed = np.flatnonzero(~known.found)
    missed = missed[np.argsort(-length[missed], kind="stable")][:3]
    shown += sum(known.instances[place].video == ODD for place in missed)
    assert shown > 0
    # Four frames of each, and the strip of the time line: all of the one video that can be read.
    assert len(read.pictures) == 4 * shown + 10
    assert all(source.startswith("data:image/jpeg;base64,") for source in read.pictures)
    wrong, lost = int((known.kind >= 0).sum()), int((~known.found).sum())
    assert f"7 of {wrong} false positives, the highest scores first." in read.texts
    assert f"3 of {lost} instances, the longest first." in read.texts
    assert "no frames: the video is not at hand" in read.texts
    for e in evaluations:
        for at in e.thresholds:
            assert f"{100 * at.mean_ap:.2f}" in read.texts
    before = text
    write_page(
        evaluations,
        out,
        annotations=annotations,
        videos=files,
        title=ODD,
        about=[ODD],
        worst=7,
        missed=3,
    )
    assert out.read_text(encoding="utf-8") == before


def test_the_page_without_videos_or_mistakes(tmp_path: Path) -> None:
    annotations = truth([("a", "jump", 0, 5)], videos=["b"], durations={"a": 20})
    found = detections([("a", "jump", 0, 5, 0.9)])
    out = tmp_path / "page.html"
    assert (
        write_page(
            [evaluate(found, annotations, protocol="thumos14")], out, annotations=annotations
        )
        == []
    )
    read = Read(out.read_text(encoding="utf-8"))
    assert "This page was made without the videos at hand: it shows no frames." in read.texts
    assert read.texts.count("None.") == 2
    assert read.pictures == []
    assert ("i", "title", "jump, 0:00.0-0:05.0, score 0.9, true positive") in read.attributes
    styles = [value for tag, name, value in read.attributes if (tag, name) == ("i", "style")]
    assert styles == ["left:0.000%;width:25.000%", "left:0.000%;width:25.000%;height:22px"]
    nothing = evaluate(detections([]), annotations, protocol="thumos14")
    write_page([nothing], out, annotations=annotations)
    assert "All 1 instances, the longest first." in Read(out.read_text(encoding="utf-8")).texts


def test_what_no_page_is_written_for(tmp_path: Path) -> None:
    annotations, found = random_run(0)
    evaluation = evaluate(found, annotations, protocol="thumos14", tious=(0.3, 0.5))
    with pytest.raises(UsageError, match=telling(0.4, 0.3, 0.5)):
        write_page([evaluation], tmp_path / "page.html", annotations=annotations, tiou=0.4)
    with pytest.raises(UsageError, match=telling("page.png")):
        write_page([evaluation], tmp_path / "page.png", annotations=annotations)
    assert list(tmp_path.iterdir()) == []


def test_points_of_a_curve_are_few_and_keep_its_shape() -> None:
    rng = np.random.default_rng(0)
    n = 1000
    annotations = truth([("a", "jump", 10.0 * i, 10.0 * i + 5) for i in range(n)])
    starts = np.arange(n) * 10.0 + rng.integers(0, 2, n) * 5
    found = detections([("a", "jump", s, s + 5, float(rng.random())) for s in starts])
    for protocol in PROTOCOLS:
        evaluation = evaluate(found, annotations, protocol=protocol, tious=(0.5,))
        recall, precision = curve(evaluation, evaluation.thresholds[0], 0)
        if protocol == "activitynet":
            precision = np.maximum.accumulate(precision[::-1])[::-1]
        points = points_of(evaluation, evaluation.thresholds[0], 0)
        assert len(points) == MOST_POINTS
        assert points[-1, 0] == recall.max()
        # Each is a point of the whole curve.
        assert set(map(tuple, points)) <= set(zip(recall.tolist(), precision.tolist(), strict=True))


def test_a_curve_begins_with_the_first_true_positive_not_at_0_0() -> None:
    annotations = truth([("a", "jump", 0, 5), ("a", "jump", 10, 15), ("a", "run", 20, 25)])
    found = detections(
        [
            ("a", "jump", 50, 55, 0.9),
            ("a", "jump", 60, 65, 0.8),
            ("a", "jump", 0, 5, 0.7),
            ("a", "jump", 70, 75, 0.6),
            ("a", "jump", 10, 15, 0.5),
            ("a", "run", 50, 55, 0.5),
        ]
    )
    evaluation = evaluate(found, annotations, protocol="thumos14", tious=(0.5,))
    (at,) = evaluation.thresholds
    assert points_of(evaluation, at, 0).tolist() == [[0.5, 1 / 3], [0.5, 1 / 4], [1.0, 2 / 5]]
    recall, precision = begun(*curve(evaluation, at, 0))
    assert recall.tolist() == [0.0, 0.5, 0.5, 1.0]
    assert precision.tolist() == [1 / 3, 1 / 3, 1 / 4, 2 / 5]
    # Of a class without a true positive there is no curve.
    assert points_of(evaluation, at, 1).shape == (0, 2)
    assert begun(*curve(evaluation, at, 1))[0].tolist() == []


# The command.


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Annotations of a video v and of one that is not there, detections of them as a table, and v in a folder of videos."""
    folder = tmp_path / "annotation_test"
    folder.mkdir()
    (folder / "Diving_test.txt").write_text("v 0.5 1.5\nw 2.0 3.0\n")
    (folder / "Shotput_test.txt").write_text("v 2.0 3.0\n")
    (tmp_path / "found.csv").write_text(
        "video,class,start,end,score\nv,Diving,0.5,1.4,0.9\nv,Diving,2,3,0.5\nw,Diving,2,3,0.8\n"
    )
    encode(tmp_path / "videos" / "deep" / "v.mp4", 90)
    return tmp_path


def test_the_command(run: Path) -> None:
    page, line = run / "page.html", run / "line.png"
    given = [
        str(run / "found.csv"),
        "--annotations",
        str(run / "annotation_test"),
        "--videos",
        str(run / "videos"),
    ]
    drawn = ["--html", str(page), "--timeline", str(line), "--video", "v.mp4", "--bootstrap", "50"]
    result = CliRunner().invoke(show_command, [*given, *drawn], standalone_mode=False)
    assert result.exception is None
    assert (result.return_value, result.stdout) == (0, f"{line}\n{page}\n")
    assert tells(result.stderr, 1, 2, "videos")
    read = Read(page.read_text(encoding="utf-8"))
    assert len(read.pictures) == 10 + 2 * 4  # v's strip, its wrong class and its missed shot
    assert "wrong class: it is Shotput at 0:02.0-0:03.0, tIoU 1.00" in read.texts
    assert imread(line)[80:140, 300:-60, :3].mean() < 0.8
    (run / "videos" / "w.mp4").write_bytes(b"no video")
    result = CliRunner().invoke(
        show_command, [*given, "--html", str(page), "--json"], standalone_mode=False
    )
    assert result.return_value == 1
    assert tells(result.stderr, "w")
    shown = json.loads(result.stdout)
    assert (shown["written"], shown["videos"], shown["of"]) == ([str(page)], 2, 2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], ("--html", "--timeline", "--video")),
        (["--timeline", "OUT/line.png"], ("--timeline", "--video")),
        (["--timeline", "OUT/line.gif", "--video", "v"], ("line.gif",)),
        (["--timeline", "OUT/line.png", "--video", "x"], ("'x'",)),
        (["--html", "OUT/page.txt"], ("page.txt",)),
        (["--html", "OUT/page.html", "--videos", "OUT/none"], ("none",)),
        (["--html", "OUT/found.html"], ("found.html",)),
    ],
)
def test_wrong_usage(run: Path, arguments: list[str], told: tuple[str, ...]) -> None:
    (run / "found.csv").rename(run / "found.html")
    before = sorted(run.rglob("*"))
    given = [str(run / "found.html"), "--annotations", str(run / "annotation_test")]
    result = CliRunner().invoke(
        show_command,
        [*given, *(a.replace("OUT", str(run)) for a in arguments)],
        standalone_mode=False,
    )
    assert isinstance(result.exception, UsageError)
    assert tells(result.exception, *told)
    assert sorted(run.rglob("*")) == before


def test_videos_are_found_as_they_are_called(tmp_path: Path) -> None:
    for name in ("a.mp4", "sub/v_b.mkv", "c.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_videos(tmp_path, ["a", "b", "c.mp4", "d"])
    assert {name: Path(path).name for name, path in found.items()} == {
        "a": "a.mp4",
        "b": "v_b.mkv",
        "c.mp4": "c.avi",
    }
