"""Time lines of detections, and what is said to be wrong with them."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from conftest import encode, level
from localization_runs import Found, detections, judged_at, random_run, truth
from matplotlib.image import imread
from PIL import Image
from told import telling, tells

from featx.errors import FeatxError, UsageError
from featx.tasks.localization._diagnosis import (
    BACKGROUND,
    BOTH_WRONG,
    DROPPED,
    POOR_OVERLAP,
    SECOND,
    TRUE,
    WRONG_CLASS,
    best_threshold,
    judge,
)
from featx.tasks.localization._evaluate import PROTOCOLS, evaluate
from featx.tasks.localization._page_videos import why
from featx.tasks.localization._timeline import MOST_ROWS, line_of, plot_timeline, tick_label, ticks
from featx.tasks.localization._types import Protocol
from featx.video import seek
from featx.video.thumbnails import Film

# What is wrong.

MISTAKES = truth(
    [("a", "jump", 10, 20), ("a", "run", 30, 40), ("b", "run", 0, 10)],
    ambiguous=[("a", 60, 70)],
    videos=["c"],
)
ROWS: list[tuple[Found, int, int, str]] = [
    (("a", "jump", 10, 20, 0.9), TRUE, 0, ""),
    (("a", "jump", 11, 20, 0.8), SECOND, 0, "second detection of jump at 0:10.0-0:20.0, tIoU 0.90"),
    (
        ("a", "jump", 30, 39, 0.7),
        WRONG_CLASS,
        1,
        "wrong class: it is run at 0:30.0-0:40.0, tIoU 0.90",
    ),
    (
        ("a", "run", 35, 42, 0.6),
        POOR_OVERLAP,
        1,
        "poor overlap: tIoU 0.42 with run at 0:30.0-0:40.0",
    ),
    (
        ("a", "run", 15, 24, 0.5),
        BOTH_WRONG,
        0,
        "wrong class, poor overlap: tIoU 0.36 with jump at 0:10.0-0:20.0",
    ),
    (
        ("a", "jump", 19, 29, 0.4),
        BACKGROUND,
        0,
        "background: tIoU 0.05 with jump at 0:10.0-0:20.0 is the highest",
    ),
    (("a", "run", 50, 55, 0.3), BACKGROUND, 0, "background: it overlaps no instance"),
    (("a", "run", 65, 75, 0.2), DROPPED, 0, ""),
    (("c", "jump", 0, 5, 0.1), BACKGROUND, -1, "background: the video has no instance"),
]


def test_kinds_of_false_positives() -> None:
    known = judged_at(MISTAKES, detections([row for row, *_ in ROWS]))
    assert known.kind.tolist() == [kind for _, kind, _, _ in ROWS]
    assert known.nearest.tolist() == [place for _, _, place, _ in ROWS]
    said = [why(known, row, MISTAKES.classes) for row in np.flatnonzero(known.kind >= 0)]
    assert said == [text for _, kind, _, text in ROWS if kind >= 0]
    # Of the three instances the first is found; the second has a nearest detection of its class, the third none in its video.
    assert known.hit.tolist() == [0, -1, -1]
    assert known.by.tolist() == [0, 3, -1]
    assert known.best == pytest.approx([1.0, 5 / 12, 0.0])


def test_the_threshold_itself_is_reached_by_activitynet_alone() -> None:
    annotations = truth([("a", "jump", 0, 10), ("b", "run", 0, 10)])
    found = detections([("a", "run", 0, 5, 0.9), ("a", "jump", 0, 5, 0.8)])
    assert judged_at(annotations, found).kind.tolist() == [BOTH_WRONG, POOR_OVERLAP]
    assert judged_at(annotations, found, protocol="activitynet").kind.tolist() == [
        WRONG_CLASS,
        TRUE,
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(5))
def test_every_true_positive_is_one_instances(protocol: Protocol, seed: int) -> None:
    annotations, found = random_run(seed)
    evaluation = evaluate(found, annotations, tious=(0.3, 0.5, 0.7), protocol=protocol)
    for at in evaluation.thresholds:
        known = judge(evaluation, at, annotations)
        assert sorted(known.hit[known.found]) == np.flatnonzero(at.matched == 1).tolist()
        for place in np.flatnonzero(known.found):
            row, instance = known.hit[place], known.instances[place]
            assert at.detections.videos[at.detections.video[row]] == instance.video
            assert at.detections.label[row] == instance.label
            assert not (known.kind[at.matched == 0] < 0).any()


def test_the_threshold_of_the_best_f1() -> None:
    found = detections([("a", "jump", 0, 1, score) for score in (0.9, 0.8, 0.7, 0.6, 0.5)])
    # Of 3 instances, F1 after each: 2/4, 2/5, 4/6, 4/6 (dropped: not counted), 4/7.
    assert best_threshold(found, np.array([1, 0, 1, -1, 0], np.int8), 3) == 0.7
    assert best_threshold(found, np.zeros(5, np.int8), 3) == float("inf")


# Time lines.


def test_a_time_line_says_what_it_leaves_out() -> None:
    classes = tuple(f"c{n}" for n in range(MOST_ROWS + 5))
    annotations = truth([("a", "c3", 10, 20), ("a", "c1", 0, 5)], classes=classes)
    found = detections(
        [("a", name, 10, 20, 1 - n / 100) for n, name in enumerate(reversed(classes))], classes
    )
    line = line_of(judged_at(annotations, found), annotations, "a", top=24)
    assert [row.name for row in line.rows] == [
        "c1",
        "c3",
        *list(reversed(classes))[: MOST_ROWS - 2],
    ]
    assert (line.seconds, line.known, line.found) == (20, False, (1, 2))
    highest, rows, length = line.notes
    assert tells(highest, 24, 25, "detections")
    assert tells(rows, MOST_ROWS, 24, "classes")
    assert tells(length, "length")
    assert tells(line.summary(0.5), "1 of 2", "tIoU 0.5", "1 true", "24 false", "score 1")
    assert [bar.height for row in line.rows for bar in row.bars if bar.score == 1.0] == [1.0]
    shorter = dataclasses.replace(annotations, durations={"a": 15.0})
    line = line_of(judged_at(shorter, found), shorter, "a")
    assert (line.seconds, line.known) == (15.0, True)
    assert tells(line.notes[-1], MOST_ROWS + 1, "15.0 s")


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        (0.35, ["0", "0.1", "0.2", "0.3"]),
        (10, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]),
        (100, ["0", "10", "20", "30", "40", "50", "60", "70", "80", "90", "100"]),
        (
            610,
            [
                "0:00",
                "1:00",
                "2:00",
                "3:00",
                "4:00",
                "5:00",
                "6:00",
                "7:00",
                "8:00",
                "9:00",
                "10:00",
            ],
        ),
        (3 * 3600, ["0:00:00", "0:15:00", "0:30:00", "0:45:00"]),
        (1e6, ["0:00:00", "24:00:00", "48:00:00"]),
    ],
)
def test_marks_of_time(seconds: float, labels: list[str]) -> None:
    found = [tick_label(at, seconds) for at in ticks(seconds, 12)]
    assert found[: len(labels)] == labels
    assert len(found) <= 13


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((np.abs(picture[..., :3] * 255 - colour) < 3).all(axis=-1).sum())


def test_the_picture_of_a_time_line(tmp_path: Path) -> None:
    video = encode(tmp_path / "v.mp4", 75, size=(96, 128))
    annotations = truth(
        [("v", "jump", 0.2, 1.0), ("v", "run", 1.2, 2.0)], ambiguous=[("v", 2.4, 2.8)]
    )
    found = detections(
        [("v", "jump", 0.3, 1.0, 0.9), ("v", "jump", 1.2, 1.9, 0.5), ("v", "run", 2.5, 2.9, 0.4)]
    )
    out = tmp_path / "new" / "line.png"
    assert plot_timeline(found, annotations, "v", out, path=video) == ()
    picture = imread(out)
    # Edges of bars: true, false and dropped ones.
    for colour in ((0, 114, 178), (213, 94, 0), (140, 149, 159)):
        assert near(picture, colour) > 100, colour
    # The strip: gray frames in the upper part, where there is white without them.
    strip = picture[80:140, 300:-60, :3]
    assert strip.mean() < 0.8
    assert strip.std() > 0.05
    before = out.read_bytes()
    plot_timeline(found, annotations, "v", out, path=video)
    assert out.read_bytes() == before
    assert plot_timeline(found, annotations, "v", tmp_path / "bare.png") == (
        "the video's length is not known: the time line ends with the last bar",
        "no frames: the video is not at hand",
    )
    assert imread(tmp_path / "bare.png").shape[0] < picture.shape[0]


def test_bars_that_overlap_have_no_third_colour(tmp_path: Path) -> None:
    annotations = truth([("v", "jump", 0, 10)], durations={"v": 20})
    found = detections([("v", "jump", 0, 10, 0.9), ("v", "jump", 5, 16, 0.5)])
    plot_timeline(found, annotations, "v", tmp_path / "line.png")
    pixels = np.rint(imread(tmp_path / "line.png")[..., :3] * 255).astype(int).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    large = {tuple(colour.tolist()) for colour, n in zip(colours, counts, strict=True) if n > 2000}
    grays = {colour for colour in large if len(set(colour)) == 1}
    assert large - grays == {(27, 31, 36), (115, 177, 213), (232, 166, 115)}


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_time_lines_are_the_same_every_time(tmp_path: Path, suffix: str) -> None:
    video = encode(tmp_path / "v.mp4", 30)
    annotations, found = random_run(1)
    contents = []
    for name in ("one", "two"):
        plot_timeline(found, annotations, "v0", tmp_path / f"{name}{suffix}", path=video)
        contents.append((tmp_path / f"{name}{suffix}").read_bytes())
    assert contents[0] == contents[1]


def test_time_lines_of_odd_and_empty_videos(tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    annotations = truth([("$a_{b$\n\x00", "jump", 0, 5)], videos=["empty"])
    found = detections([("$a_{b$\n\x00", "jump", 0, 5, -3.5)])
    notes = plot_timeline(found, annotations, "$a_{b$\n\x00", tmp_path / "a.png", path=bad)
    assert tells(notes[-1], "no frames")
    plot_timeline(found, annotations, "empty", tmp_path / "b.png")
    with pytest.raises(UsageError, match=telling("'emty'", "hand-made", "empty")):
        plot_timeline(found, annotations, "emty", tmp_path / "c.png")
    with pytest.raises(UsageError, match=telling("c.jpg")):
        plot_timeline(found, annotations, "empty", tmp_path / "c.jpg")


def test_frames_by_time_without_decoding_what_lies_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = encode(tmp_path / "v.mp4", 1000, options={"g": "25"})
    decoded = []
    frames = seek._frames
    monkeypatch.setattr(
        seek, "_frames", lambda *given: (decoded.append(1) or frame for frame in frames(*given))
    )
    film = Film(video)
    assert film.duration == pytest.approx(40)
    times = [30.0, 0.0, 15.02, 99.0]
    found = film.at(times, height=48)
    # A group of pictures each, and what the decoder holds back for its order.
    assert len(decoded) < 4 * 50
    for jpeg, frame in zip(found, (750, 0, 375, 999), strict=True):
        image = Image.open(io.BytesIO(jpeg))
        assert image.size == (60, 48)
        assert np.asarray(image).mean() == pytest.approx(
            level(frame) + 29.5, abs=4
        )  # as in test_search
    with pytest.raises(FeatxError):
        Film(__file__)


def test_frames_by_time_count_from_the_first_one_whenever_the_stream_begins(tmp_path: Path) -> None:
    film = Film(encode(tmp_path / "late.mkv", 25, pts=[1500 + 40 * i for i in range(25)]))
    assert film.duration == pytest.approx(1)
    for time, frame in ((0.0, 0), (0.4, 10), (0.95, 23)):
        (jpeg,) = film.at([time], height=48)
        assert np.asarray(Image.open(io.BytesIO(jpeg))).mean() == pytest.approx(
            level(frame) + 29.5, abs=4
        )
