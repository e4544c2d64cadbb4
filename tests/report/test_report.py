"""Tables and pictures: right numbers, aligned, nothing that a strange input can break."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread
from told import telling

from featx import report
from featx.errors import FeatxError, UsageError
from featx.report import _features


def clip_times(n, span=0.64):
    starts = np.arange(n) * span
    return np.stack([starts, starts + span], axis=1)


def clip_features(n, dims=128, *, scenes=3, seed=0):
    rng = np.random.default_rng(seed)
    which = np.arange(n) * scenes // n
    return (
        np.abs(rng.normal(size=(scenes, dims)))[which] + 0.3 * np.abs(rng.normal(size=(n, dims)))
    ).astype(np.float32)


def test_table_aligns_text_left_and_numbers_right():
    text = report.table([("a", 120, 1.5), ("longer", 7, 0.25)], ["video", "frames", "s"])
    assert text.splitlines() == [
        "video   frames       s",
        "------  ------  ------",
        "a          120   1.500",
        "longer       7  0.2500",
    ]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (0.0, "0"),
        (12.3456, "12.35"),
        (123456.7, "123457"),
        (0.00001234, "1.234e-05"),
        (1e300, "1.000e+300"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (np.float32(0.5), "0.5000"),
        (None, ""),
        (True, "True"),
        ("two\nlines\x1b[31m", "two\\nlines\\x1b[31m"),
        ("caf\udce9", "caf\\udce9"),
    ],
)
def test_table_cells(value, cell):
    assert (
        report.table([(value, "end")], ["v", "e"]).splitlines()[2].removesuffix("end").strip()
        == cell
    )


def test_table_counts_the_columns_of_wide_and_combining_characters():
    lines = report.table(
        [("跳舞", "x"), ("abcd", "x"), ("a\u0308bcd", "x")], ["video", "y"]
    ).splitlines()
    assert [line.index("x") for line in lines[2:]] == [5, 7, 8]  # two wide, none, one of no width


def test_table_without_rows_is_its_header():
    assert report.table([], ["one", "two"]) == "one  two\n---  ---"


def test_table_refuses_a_row_of_another_length():
    with pytest.raises(ValueError, match=telling(1, 2)):
        report.table([(1,)], ["a", "b"])


@pytest.mark.parametrize("n", [1, 2, 24, 1300])
def test_plot_is_a_picture_with_something_in_it(tmp_path, n):
    path = tmp_path / "new" / "features.png"
    report.plot_features(path, clip_times(n), clip_features(n), title="a video")
    picture = imread(path)
    assert picture.shape[0] > 400
    assert picture.shape[1] > 1000
    assert picture[:, :, :3].std() > 0.05
    assert [p.name for p in path.parent.iterdir()] == ["features.png"]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plot_is_the_same_every_time(tmp_path, suffix):
    first, second = tmp_path / f"1.{suffix}", tmp_path / f"2.{suffix}"
    for path in (first, second):
        report.plot_features(path, clip_times(6), clip_features(6))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    "features",
    [
        np.zeros((5, 8)),
        np.ones((5, 8)),
        np.full((5, 8), np.nan),
        np.full((5, 1), -3.0),
        np.vstack([np.zeros((2, 8)), np.full((3, 8), 1e30)]),
    ],
    ids=["zeros", "ones", "nan", "one dimension", "zeros then huge"],
)
def test_plot_takes_features_without_contrast(tmp_path, features):
    report.plot_features(tmp_path / "f.png", clip_times(5), features)
    assert (tmp_path / "f.png").stat().st_size > 10_000


@pytest.mark.parametrize("title", ["跳舞 🎬", "$x_{$", "caf\udce9 two\nlines", "long " * 100, ""])
def test_plot_takes_any_title(tmp_path, title):
    report.plot_features(tmp_path / "f.png", clip_times(3), clip_features(3), title=title)


def test_plot_takes_clips_that_share_their_times(tmp_path):
    report.plot_features(tmp_path / "f.png", np.zeros((4, 2)), clip_features(4))


def test_plot_marks_the_change_where_it_is():
    """Two scenes: the change between clips is largest, and known, where one becomes the other."""
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    features = np.repeat(np.float32([[1, 0], [0, 1]]), 3, axis=0)
    _features._draw_change(axes, clip_times(6, span=1.0), features)
    times, change = axes.lines[0].get_data()
    np.testing.assert_allclose(times, [1, 2, 3, 4, 5])
    np.testing.assert_allclose(change, [0, 0, 1, 0, 0], atol=1e-12)


def test_many_clips_are_averaged_into_columns():
    n = 2 * _features.MOST_COLUMNS + 1
    times, features = _features._fewer(
        clip_times(n, span=1.0), np.arange(n, dtype=np.float32)[:, None]
    )
    assert len(features) <= _features.MOST_COLUMNS
    np.testing.assert_array_equal(features[:2, 0], [1, 4])
    np.testing.assert_array_equal(times[:2], [[0, 3], [3, 6]])
    assert times[-1, 1] == n


def test_plot_refuses_what_it_cannot_draw(tmp_path):
    with pytest.raises(UsageError, match=telling("f.txt")):
        report.plot_features(tmp_path / "f.txt", clip_times(3), clip_features(3))
    with pytest.raises(UsageError):
        report.plot_features(tmp_path / "f.png", np.zeros((0, 2)), np.zeros((0, 4)))
    with pytest.raises(ValueError, match=telling("(3, 2)", "(4, ")):
        report.plot_features(tmp_path / "f.png", clip_times(3), clip_features(4))
    (tmp_path / "file").touch()
    with pytest.raises(FeatxError, match=telling(tmp_path / "file")):
        report.plot_features(tmp_path / "file" / "f.png", clip_times(3), clip_features(3))
