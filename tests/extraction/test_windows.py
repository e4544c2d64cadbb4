"""Clips of several lengths: the windows of temporal localization."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import encode
from told import telling

from featx.clips import ClipSpec, numbered, placed, starts, window_spec
from featx.errors import UsageError
from featx.extraction.extract import extract
from featx.extraction.settings import compose
from featx.extraction.verify import verify
from featx.store.info import plotted
from featx.store.reader import FeatureStore
from featx.store.recorded import differences
from featx.video.cutting import clips_of, summarise
from featx.video.reader import open_video


def literal_windows(n_frames: int, lengths: list[int]) -> list[tuple[int, int]]:
    """S-CNN's windows as the data's read-me has them: stride L/4, those that run past the end dropped."""
    return [
        (start, length)
        for length in lengths
        for start in range(0, n_frames, length // 4)
        if start + length <= n_frames
    ]


@pytest.mark.parametrize("frames", [8, 16])
@pytest.mark.parametrize("n_frames", [16, 17, 31, 32, 100, 512, 700, 2049])
def test_windows_are_those_of_the_literal_protocol(frames: int, n_frames: int) -> None:
    lengths = [16, 32, 64, 128, 256, 512]
    spec = window_spec(frames)
    found = [(start, scale.span) for start, scale in placed(n_frames, spec)]
    assert sorted(found) == sorted(literal_windows(n_frames, lengths))
    assert found == sorted(found, key=lambda w: (w[0] + w[1], w[1]))
    assert {scale.frames for _, scale in placed(n_frames, spec)} == {frames}
    assert all(scale.step * frames == scale.span for _, scale in placed(n_frames, spec))


def test_a_video_shorter_than_the_shortest_window_is_looped() -> None:
    spec = window_spec(8)
    assert [(start, scale.span) for start, scale in placed(9, spec)] == [(0, 16)]
    assert placed(0, spec) == []


@pytest.mark.parametrize("n_frames", [1, 9, 16, 17, 100, 700])
@pytest.mark.parametrize(
    "spec",
    [
        window_spec(8),
        ClipSpec(frames=3, step=2, stride=5, scales=(2, 3, 7)),
        ClipSpec(frames=3, stride=2),
    ],
)
def test_a_clips_number_says_where_it_lies_without_the_videos_length(
    n_frames: int, spec: ClipSpec
) -> None:
    every = placed(n_frames, spec)
    assert numbered(len(every), spec) == every
    assert numbered(0, spec) == []


def test_one_scale_is_what_it_was() -> None:
    spec = ClipSpec(frames=8, step=2, stride=5, tail="align")
    assert [start for start, _ in placed(50, spec)] == starts(50, spec)
    assert "scales" not in spec.to_dict()
    assert ClipSpec(**window_spec(8).to_dict()) == window_spec(8)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"scales": (2, 1)}, ("scales", "2, 1")),
        ({"scales": ()}, ("scales",)),
        ({"scales": (1, 1.5)}, ("scales", 1.5)),
        ({"scales": (1, 2), "tail": "pad"}, ("'pad'", "drop")),
        ({"scales": (1, 2), "count": 3}, (3,)),
        ({"scales": (1, 2000)}, (10000,)),
    ],
)
def test_scales_that_make_no_sense_are_refused(
    values: dict[str, Any], told: tuple[object, ...]
) -> None:
    with pytest.raises(UsageError, match=telling(*told)):
        ClipSpec(**{"frames": 8, "stride": 8, **values})


@pytest.mark.parametrize(
    ("frames", "values", "told"),
    [
        (5, {}, (5,)),
        (16, {"lengths": (16, 24)}, ("16, 24",)),
        (16, {"lengths": ()}, ("lengths",)),
        (16, {"overlap": 1.0}, ("overlap", 1)),
        (16, {"overlap": 0.99}, ("overlap", 0.99)),
        (16, {"lengths": (32, 16)}, ("32, 16",)),
    ],
)
def test_windows_that_cannot_be_are_refused(
    frames: int, values: dict[str, Any], told: tuple[object, ...]
) -> None:
    with pytest.raises(UsageError, match=telling(*told)):
        window_spec(frames, **values)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A video of 75 frames, no two alike."""
    return str(encode(tmp_path_factory.mktemp("windows") / "numbered.mp4", 75))


@pytest.mark.parametrize(
    "spec",
    [
        window_spec(4, lengths=(8, 16, 32), fps=None),
        window_spec(4, lengths=(8, 16, 64), fps=25.0),
        window_spec(4, lengths=(8, 24), fps=12.5),
        ClipSpec(frames=3, step=2, stride=5, scales=(2, 3)),
        ClipSpec(frames=3, step=2, stride=5, scales=(20,)),
        window_spec(4, lengths=(80, 160), fps=None),
    ],
)
def test_frames_of_every_window_are_those_that_a_whole_decode_gives(
    clip: str, spec: ClipSpec
) -> None:
    frames = [frame.image()[:8, :8].tobytes() for frame in open_video(clip)]
    assert len(set(frames)) == 75
    step = 1 if spec.fps is None else round(25 / spec.fps)
    sampled = frames[::step]
    video = open_video(clip, in_time_order=spec.fps is not None)
    cut = dict(clips_of(video, spec, lambda image: image[:8, :8]))
    expected = placed(len(sampled), spec)
    assert sorted(cut) == list(range(len(expected)))
    for number, (start, scale) in enumerate(expected):
        shown = [sampled[(start + k * scale.step) % len(sampled)] for k in range(scale.frames)]
        assert [frame.tobytes() for frame in cut[number]] == shown
    places = summarise(video, spec)
    assert places.clip_frames[:, 0].tolist() == [start * step for start, _ in expected]
    assert places.looped == (len(sampled) < spec.at_scales[0].span)


def test_of_long_windows_no_more_frames_are_held_than_they_show(clip: str) -> None:
    spec = window_spec(4, lengths=(4, 64), fps=None)
    held = 0

    class Frame:
        def __init__(self, frame: Any) -> None:
            self.index, self.time, self.end = frame.index, frame.time, frame.end

        def keep(self, cut: Any) -> Any:
            nonlocal held
            held += 1
            token = Token()
            return lambda: token

    class Token:
        def __del__(self) -> None:
            nonlocal held
            held -= 1

    most = 0
    for _ in clips_of((Frame(frame) for frame in open_video(clip)), spec, lambda image: image):
        most = max(most, held)
    # Four of the short window, and of the long ones, of which four overlap, every sixteenth frame.
    assert most <= 2 * (4 + 64 // 16)


def test_extraction_at_scales_is_recorded_verified_and_another_than_without(
    clip: str, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {
        "model": "res2d",
        "weights": "random",
        "layers": ["pool5"],
        "device": "cpu",
        "workers": 1,
    }
    one, several = tmp_path / "one.h5", tmp_path / "several.h5"
    extract(clip, one, settings=compose(**asked))
    extract(clip, several, settings=compose(**asked, scales=(1, 4)))
    with FeatureStore(one) as a, FeatureStore(several) as b:
        assert "clip.scales" in differences(a.settings, b.settings)
        assert b.settings.to_json()["clip"]["scales"] == [1, 4]
        spans = np.diff(b[b.ids[0]].clip_frames)[:, 0]
        assert set(spans.tolist()) == {1, 4}
        short = spans == 1
        np.testing.assert_array_equal(b[b.ids[0]]["pool5"][short], a[a.ids[0]]["pool5"])
        assert plotted(b, b[b.ids[0]])[0].tolist() == np.flatnonzero(short).tolist()
        assert plotted(a, a[a.ids[0]])[0].tolist() == list(range(len(a[a.ids[0]])))
    assert verify(several).ok
    with pytest.raises(UsageError, match=telling("scales")):
        extract(clip, several, settings=compose(**asked))


def test_windows_that_are_shorter_than_a_frame_are_in_order(tmp_path: Path) -> None:
    # At one frame a second, windows of 0.64 and of 1.28 s end with the same frame, and not in the order of their ticks.
    path = encode(tmp_path / "slow.mp4", 12, fps=1)
    out = tmp_path / "slow.h5"
    asked: dict[str, Any] = {
        "model": "res2d",
        "weights": "random",
        "layers": ["pool5"],
        "device": "cpu",
        "workers": 1,
    }
    extract(
        str(path),
        out,
        settings=compose(**asked, fps=25.0, frames=1, step=16, stride=4, scales=(1, 2, 4)),
    )
    with FeatureStore(out) as store:
        assert (np.diff(store[store.ids[0]].clip_frames[:, 1]) < 0).any()
    assert verify(out, clips=2).ok
