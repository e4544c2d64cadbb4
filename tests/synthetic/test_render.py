"""Generated videos: real files, the motion they are named for, and nothing else to tell the classes apart."""

from __future__ import annotations

import errno
import inspect
import os
import stat
from itertools import pairwise

import av
import numpy as np
import pytest
from told import telling

from featx.errors import FeatxError, UsageError
from featx.synthetic import render as synth

SMALL = (48, 64)


def decoded(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [
            (frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)
        ]


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


def test_files_are_a_folder_a_class_and_decode_to_the_frames_drawn(tmp_path):
    seen = []
    paths = synth.write_videos(
        tmp_path,
        per_class=3,
        seconds=0.6,
        classes=["grow", "move_up"],
        progress=lambda *done: seen.append(done),
    )
    names = [path.relative_to(tmp_path).as_posix() for path in paths]
    assert names == [
        f"{c}/{c}_{k}.mp4" for c in ("grow", "move_up") for k in ("g01_c01", "g01_c02", "g02_c01")
    ]
    assert seen == [(15 * k, 15 * 6) for k in range(7)]
    got = decoded(paths[4])
    wanted = list(synth.frames("move_up", count=15, number=1))
    assert [time for time, _ in got] == pytest.approx([k / 25 for k in range(15)], abs=1e-9)
    for (_, image), drawn in zip(got, wanted, strict=True):
        assert image.shape == (240, 320, 3)
        # Subsampled colour and crf 23 leave 30 dB and more; another frame's or video's picture gives less than 20.
        assert psnr(image, drawn) > 27
    assert psnr(got[0][1], next(synth.frames("move_up", count=1, number=2))) < 20


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(tmp_path):
    how = {"per_class": 2, "seconds": 0.4, "size": SMALL, "classes": ["shrink"]}
    first = synth.write_videos(tmp_path / "a", **how)
    again = synth.write_videos(tmp_path / "b", **how)
    other = synth.write_videos(tmp_path / "c", seed=1, **how)
    contents = [[path.read_bytes() for path in paths] for paths in (first, again, other)]
    assert contents[0] == contents[1]
    assert len({*contents[0], *contents[2]}) == 4


def test_a_class_is_the_same_whatever_other_classes_are_made(tmp_path):
    how = {"per_class": 1, "seconds": 0.2, "size": SMALL}
    alone = synth.write_videos(tmp_path / "a", classes=["grow"], **how)
    among = synth.write_videos(tmp_path / "b", classes=["move_left", "grow"], **how)
    assert alone[0].read_bytes() == among[1].read_bytes()


def test_writing_again_leaves_equal_files_alone_and_replaces_others(tmp_path):
    how = {"per_class": 2, "seconds": 0.2, "size": SMALL, "classes": ["grow"]}
    same, changed = synth.write_videos(tmp_path, **how)
    content = changed.read_bytes()
    changed.write_bytes(b"torn")
    before = same.stat()
    synth.write_videos(tmp_path, **how)
    assert (same.stat().st_ino, same.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert changed.read_bytes() == content
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == sorted([same.name, changed.name])


def test_an_interrupted_file_leaves_nothing_behind(tmp_path):
    def images():
        yield from synth.frames("grow", count=3, size=SMALL)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synth.encode(tmp_path / "x.mp4", images(), fps=25, size=SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fps", "rate"),
    [(25.0, (25, 1)), (29.97, (30000, 1001)), (23.976, (24000, 1001)), (12.5, (25, 2))],
)
def test_frame_rates_are_exact(tmp_path, fps, rate):
    (path,) = synth.write_videos(
        tmp_path, per_class=1, seconds=2.0, fps=fps, size=SMALL, classes=["grow"]
    )
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate.as_integer_ratio() == rate
    times = [time for time, _ in decoded(path)]
    assert len(times) == round(2 * rate[0] / rate[1])
    np.testing.assert_allclose(np.diff(times), rate[1] / rate[0], rtol=1e-6)


def test_a_long_video_has_every_frame_in_order_and_repeats_its_segment(tmp_path):
    path = tmp_path / "long.mp4"
    assert synth.write_long_video(path, minutes=0.2, size=SMALL, segment_seconds=1.0) == 300
    got = decoded(path)
    assert [time for time, _ in got] == pytest.approx([k / 25 for k in range(300)], abs=1e-9)
    # Each segment starts afresh: the same packets decode to the same pixels, to the bit.
    for k in range(275):
        np.testing.assert_array_equal(got[k][1], got[k + 25][1])
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 300
        assert container.duration == pytest.approx(12e6)


def test_a_long_video_may_end_within_a_segment(tmp_path):
    assert (
        synth.write_long_video(tmp_path / "long.mp4", minutes=0.05, size=SMALL, segment_seconds=1.3)
        == 75
    )
    assert len(decoded(tmp_path / "long.mp4")) == 75


# ---------------------------------------------------------------- what tells the classes apart


def one_shape(name, seconds, **where):
    """Render a single half-and-half disc on black, and return the mask of where it is."""
    values = {"x": 0.6, "y": 0.5, "size": 0.5, "angle": 0.3, "phase": 0.0} | where
    colors = np.float32([[255, 255, 255], [200, 200, 200]])
    sprite = synth.Sprite(shape="disc", texture="halves", colors=colors, **values)
    scene = synth.Scene(np.zeros((*SMALL, 3), np.float32), (sprite,), tempo=1.0)
    return synth.render(scene, synth.MOTIONS[name], seconds)[:, :, 0].astype(float)


def centroid(image):
    mask = image > 100
    y, x = np.nonzero(mask)
    return x.mean(), y.mean(), mask.sum()


@pytest.mark.parametrize(
    ("name", "direction"),
    [("move_left", (-1, 0)), ("move_right", (1, 0)), ("move_up", (0, -1)), ("move_down", (0, 1))],
)
def test_moves_go_their_way(name, direction):
    x0, y0, _ = centroid(one_shape(name, 0.0))
    x1, y1, _ = centroid(one_shape(name, 0.4))
    expected = 0.35 * 0.4 * SMALL[0]
    np.testing.assert_allclose([x1 - x0, y1 - y0], np.multiply(direction, expected), atol=0.2)


@pytest.mark.parametrize("name", ["move_left", "move_right", "move_up", "move_down"])
def test_what_leaves_on_one_side_enters_on_the_other(name):
    """However far it went, all of the shape is in the frame: its area stays, but for the rim's partial pixels."""
    areas = [centroid(one_shape(name, s))[2] for s in np.arange(0, 20, 0.37)]
    assert max(areas) < 1.1 * min(areas)


@pytest.mark.parametrize(("name", "sign"), [("rotate_cw", 1), ("rotate_ccw", -1)])
def test_turns_go_their_way(name, sign):
    """The bright half's centre turns about the disc's; y points down, so that a growing angle is clockwise."""

    def angle(seconds):
        image = one_shape(name, seconds)
        x0, y0, _ = centroid(image)
        y, x = np.nonzero((image > 100) & (image < 228))
        return np.arctan2(y.mean() - y0, x.mean() - x0)

    turned = (angle(0.3) - angle(0.0) + np.pi) % (2 * np.pi) - np.pi
    assert turned == pytest.approx(sign * 1.9 * 0.3, abs=0.1)


@pytest.mark.parametrize(("name", "sign"), [("grow", 1), ("shrink", -1)])
def test_sizes_change_their_way(name, sign):
    areas = [centroid(one_shape(name, s))[2] for s in (0.0, 0.5)]
    ratio = (synth.LARGEST / synth.SMALLEST) ** (2 * sign * 0.35 * 0.5)
    assert areas[1] / areas[0] == pytest.approx(ratio, rel=0.1)


def test_the_fast_oscillation_is_three_times_the_slow_one():
    def turns(name):
        x = [synth.MOTIONS[name](s).x for s in np.arange(0, 10, 0.01)]
        return np.count_nonzero(np.diff(np.sign(np.diff(x))))

    assert turns("oscillate_fast") == pytest.approx(3 * turns("oscillate_slow"), abs=2)


@pytest.mark.parametrize("name", synth.MOTIONS)
def test_motion_is_smooth_even_where_it_wraps(name):
    """From frame to frame, no pixel row or size jumps: shapes leave one side as they enter the other."""
    images = [one_shape(name, k / 25, x=1.2, y=0.9, size=0.95) for k in range(60)]
    steps = [np.abs(b - a).mean() for a, b in pairwise(images)]
    # The most that the edge of the largest disc sweeps in a frame of the quickest motion (1.8 Hz).
    radius, quickest = synth.LARGEST * SMALL[0], 2 * np.pi * 1.8 * 0.16 * SMALL[0] / 25
    assert max(steps) < 255 * (4 * radius * max(quickest, 1.0)) / (SMALL[0] * SMALL[1]) * 1.3


def test_appearance_is_drawn_without_the_class():
    assert set(inspect.signature(synth.draw_scene).parameters) == {"size", "group", "clip"}


@pytest.mark.parametrize("name", synth.MOTIONS)
def test_one_frame_tells_nothing_of_the_class(name):
    """Place, size and angle, wrapped, are as uniform at any time of a motion as they were drawn.

    Kolmogorov-Smirnov against the uniform distribution, n = 4000, at one part in 10 000: 2.23 / sqrt(n). The seed is fixed.
    """
    rng = np.random.default_rng(0)
    n = 4000
    drawn = rng.uniform(size=(n, 4))
    poses = np.array([synth.MOTIONS[name](s) for s in rng.uniform(0, 10, n) + 1.7])
    period = np.array([4 / 3, 1.0, 2 * np.pi, 1.0])
    wrapped = (drawn * period + poses) % period / period
    uniform = (np.arange(n) + 0.5) / n
    distance = np.abs(np.sort(wrapped, axis=0) - uniform[:, None]).max(axis=0)
    assert (distance < 2.23 / np.sqrt(n)).all()


def test_shapes_wider_than_the_frame_are_painted_once():
    canvas = np.zeros((16, 64, 3), np.float32)
    sprite = synth.Sprite(
        "square", "shade", np.float32([[9, 9, 9]] * 2), x=0.5, y=0.5, size=0.5, angle=0, phase=0
    )
    synth._paint(canvas, sprite, synth.Pose())
    assert canvas.max() == 9
    rows = synth._around(5.0, 100.0, 16)
    assert sorted(rows % 16) == list(range(16))


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"classes": ["move_lef"]}, ("'move_lef'", "move_left")),
        ({"per_class": 0}, ("class", 0)),
        ({"seconds": 0.0}, (0.0,)),
        ({"seconds": float("inf")}, ("inf",)),
        ({"fps": 0.0}, ("fps", 0.0)),
        ({"fps": float("nan")}, ("fps", "nan")),
        ({"size": (33, 64)}, ("33x64",)),
        ({"size": (8, 64)}, ("8x64",)),
    ],
)
def test_mistakes_get_one_sentence(tmp_path, how, told):
    with pytest.raises(UsageError, match=telling(*told)):
        synth.write_videos(tmp_path / "out", **{"per_class": 1, **how})
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FeatxError, match=telling(tmp_path / "file")):
        synth.write_videos(tmp_path / "file", per_class=1, seconds=0.1, classes=["grow"])


def test_a_full_disk_leaves_what_was_there(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"before")

    def images():
        yield from synth.frames("grow", count=3, size=SMALL)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(FeatxError, match=telling("x.mp4", os.strerror(errno.ENOSPC))):
        synth.encode(tmp_path / "x.mp4", images(), fps=25, size=SMALL)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x.mp4", b"before")]


def test_files_can_be_read_by_others(tmp_path):
    (path,) = synth.write_videos(tmp_path, per_class=1, seconds=0.1, size=SMALL, classes=["grow"])
    assert stat.S_IMODE(path.stat().st_mode) & 0o400
