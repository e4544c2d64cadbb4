"""Optical flow and RGBF: what they show, and that extraction makes the same bits of them however it runs."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import h5py
import numpy as np
import pytest
import torch
from conftest import SMALL, encode, featx, same_content
from decoding import decode
from extractions import SETTINGS, kill_again_and_again
from settings import with_fields
from told import telling, tells

from featx.clips import ClipSpec
from featx.errors import UsageError
from featx.extraction.extract import extract
from featx.extraction.settings import compose
from featx.extraction.verify import verify
from featx.store.info import as_text, summarise
from featx.store.reader import FeatureStore
from featx.store.writer import merge
from featx.transforms import TRAN2017, FlowMethod, Transform
from featx.video.cutting import clips_of
from featx.video.flow import (
    BOUND,
    OpticalFlow,
    computed_by,
    confidence,
    flow_image,
    magnitude,
    recorded,
    resolve_method,
    rgbf_image,
    with_flow,
)
from featx.video.reader import Frame, VideoError, open_video

cv2 = pytest.importorskip("cv2", reason="OpenCV, the extra featx[flow], is not installed")
RGBF = SETTINGS.changed(input="rgbf", flow="dis")


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth pattern without a period, (height, width, 3) uint8: what every method can follow."""
    coarse = (
        np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3)).astype(np.uint8)
    )
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def moving(n: int, dx: int, dy: int, size: tuple[int, int] = (96, 128)) -> list[np.ndarray]:
    """Frames of a texture that moves by (dx, dy) pixels a frame."""
    height, width = size
    margin = 8 * n
    whole = texture(height + 2 * margin, width + 2 * margin)
    places = [(margin - t * dy, margin - t * dx) for t in range(n)]
    return [np.ascontiguousarray(whole[y : y + height, x : x + width]) for y, x in places]


def as_frames(images: list[np.ndarray], asked: list[int] | None = None) -> list[Frame]:
    def give(i: int) -> np.ndarray:
        if asked is not None:
            asked.append(i)
        return images[i]

    return [Frame(i, i / 25, (i + 1) / 25, lambda i=i: give(i)) for i in range(len(images))]


# What the images show.


@pytest.mark.parametrize("method", get_args(FlowMethod))
@pytest.mark.parametrize("motion", [(2, 0), (0, 2), (-3, 1)], ids=str)
def test_what_moves_right_and_down_has_positive_dx_and_dy(
    method: FlowMethod, motion: tuple[int, int]
) -> None:
    a, b = moving(2, *motion, size=(64, 80))
    flow = OpticalFlow(method)(a, b)
    assert (flow.shape, flow.dtype) == ((64, 80, 2), np.float16)
    np.testing.assert_allclose(
        np.median(flow, axis=(0, 1)), motion, atol=0.1
    )  # sub-pixel accuracy, three methods alike
    shown = np.median(flow_image(flow), axis=(0, 1))
    step = 20 / 256 * 64 / 127  # pixels a grey level
    np.testing.assert_allclose(
        shown, 128 + np.asarray([*motion, np.hypot(*motion)]) / step, atol=0.1 / step + 0.5
    )


def test_a_flow_image_is_clipped_at_its_bound_and_reflects_exactly() -> None:
    rng = np.random.default_rng(0)
    flow = rng.normal(0, 8, (128, 171, 2)).astype(np.float16)
    flow[0, 0], flow[0, 1], flow[0, 2] = (
        (0, 0),
        (10, -10),
        (500, -500),
    )  # the bound is 10 pixels here
    assert BOUND * 128 == 10
    image = flow_image(flow)
    assert image[0, :3].tolist() == [[128, 128, 128], [255, 1, 255], [255, 1, 255]]
    assert (image[..., :2].min(), image[..., 2].min()) == (1, 128)
    reflected = flow_image(-flow).astype(int)
    np.testing.assert_array_equal(reflected[..., :2], 256 - image[..., :2].astype(int))
    np.testing.assert_array_equal(reflected[..., 2], image[..., 2])


def test_rgbf_is_equation_7() -> None:
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (9, 11, 3)).astype(np.uint8)
    flow = rng.normal(0, 3, (9, 11, 2)).astype(np.float16)
    length = np.hypot(*np.moveaxis(flow.astype(np.float64), 2, 0))
    expected = rgb * ((length - length.min()) / (length.max() - length.min()))[..., None]
    image = rgbf_image(rgb, flow)
    assert image.dtype == np.uint8
    assert np.abs(image - expected).max() <= 0.5 + 1e-3  # rounded, after float32
    where = (
        np.unravel_index(length.argmax(), length.shape),
        np.unravel_index(length.argmin(), length.shape),
    )
    np.testing.assert_array_equal(image[where[0]], rgb[where[0]])
    np.testing.assert_array_equal(image[where[1]], 0)
    np.testing.assert_allclose(magnitude(flow), length, rtol=1e-6)


@pytest.mark.parametrize("alike", [0.0, 2.5])
def test_where_all_moves_alike_equation_7_is_0_over_0_and_confidence_0(alike: float) -> None:
    flow = np.full((4, 5, 2), alike, np.float16)
    assert not confidence(flow).any()
    assert not rgbf_image(np.full((4, 5, 3), 200, np.uint8), flow).any()


@pytest.mark.parametrize("method", get_args(FlowMethod))
def test_a_still_video_is_black_in_rgbf_and_grey_in_flow(method: FlowMethod) -> None:
    images = [texture(48, 64)] * 3
    for frame in with_flow(as_frames(images), "rgbf", OpticalFlow(method)):
        assert not frame.image().any()
    for frame in with_flow(as_frames(images), "flow", OpticalFlow(method)):
        assert (frame.image() == 128).all()


@pytest.mark.parametrize("method", get_args(FlowMethod))
def test_the_half_that_moves_is_bright_and_the_still_one_dark(method: FlowMethod) -> None:
    still, ours = texture(64, 48, seed=5), moving(2, 2, 0, size=(64, 48))
    frames = as_frames([np.concatenate([half, still], axis=1) for half in ours])
    first = next(iter(with_flow(frames, "rgbf", OpticalFlow(method)))).image().astype(float)
    before = frames[0].image().astype(float)
    left, right = (
        first[:, half].sum() / before[:, half].sum() for half in (np.s_[:40], np.s_[56:])
    )
    # Less than 1 where all moves by 2 pixels: at the edges, where texture comes and goes, methods find more than that.
    assert left > 0.3 > 0.1 > right


def test_a_mirrored_flow_image_is_that_of_the_mirrored_video() -> None:
    a, b = moving(2, 3, 1, size=(128, 171))
    flow = OpticalFlow("farneback")
    transform = replace(TRAN2017, input="flow", flow="farneback", resize=(128, 171), crop=112)
    assert transform.boxes(128, 172) == [(8, 30)]
    there, mirrored = (
        flow_image(flow(*pair))[8:120, 29:141]
        for pair in ((a, b), (a[:, ::-1].copy(), b[:, ::-1].copy()))
    )
    # 171 is odd and so is 112's place in it: the mirror's crop is one pixel off; the middle of it is compared.
    x, y = (torch.from_numpy(i.copy())[None, None] for i in (there, mirrored))
    ours, truth = transform.normalise(x, mirrored=True), transform.normalise(y)
    assert (ours - truth)[..., 8:-8, 8:-8].abs().median() <= 1
    assert truth[0, 0].median() == pytest.approx(-3 * 127 / 10, abs=2)  # to the left, in the mirror
    # To the bit, for a field that is known rather than estimated.
    field = np.random.default_rng(0).normal(0, 4, (112, 112, 2)).astype(np.float16)
    opposite = field[:, ::-1] * np.asarray([-1, 1], np.float16)
    x, y = (torch.from_numpy(flow_image(f).copy())[None, None] for f in (field, opposite))
    before = x.clone()
    torch.testing.assert_close(
        transform.normalise(x, mirrored=True), transform.normalise(y), rtol=0, atol=0
    )
    torch.testing.assert_close(x, before, rtol=0, atol=0)
    rgbf = replace(transform, input="rgbf")
    torch.testing.assert_close(
        rgbf.normalise(x, mirrored=True), rgbf.normalise(x).flip(4), rtol=0, atol=0
    )


def test_frames_that_a_method_cannot_take_fail_with_their_size() -> None:
    with pytest.raises(VideoError, match=telling("dis", "4x4")):
        OpticalFlow("dis")(np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 9, np.uint8))


# Which frames the flow is between.


class Recorded:
    """Stands for OpticalFlow: notes between which frames flow is asked for, and answers with their numbers."""

    method = "dis"

    def __init__(self) -> None:
        self.pairs: list[tuple[int, int]] = []

    def __call__(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        self.pairs.append((int(a[0, 0, 0]), int(b[0, 0, 0])))
        return np.full((*a.shape[:2], 2), b[0, 0, 0], np.float16)


def numbered(n: int) -> list[np.ndarray]:
    return [np.full((4, 4, 3), i, np.uint8) for i in range(n)]


def test_flow_is_forward_between_successive_frames_and_the_last_ones_backward_negated() -> None:
    flow, kept = Recorded(), []
    frames = list(with_flow(as_frames(numbered(4)), "flow", flow, keep=kept.append))
    assert flow.pairs == [(0, 1), (1, 2), (2, 3), (3, 2)]
    assert [float(f[0, 0, 0]) for f in kept] == [1, 2, 3, -2]
    assert [(f.index, f.time, f.end) for f in frames] == [
        (i, i / 25, (i + 1) / 25) for i in range(4)
    ]
    (only,) = with_flow(as_frames(numbered(1)), "flow", flow)
    assert (only.image() == 128).all()


@pytest.mark.parametrize("tail", ["drop", "align", "pad"])
def test_flow_is_computed_once_and_only_for_frames_that_a_wanted_clip_shows(tail: Any) -> None:
    spec = ClipSpec(frames=3, step=2, stride=6, tail=tail)
    flow = Recorded()
    made = dict(
        clips_of(
            with_flow(as_frames(numbered(20)), "flow", flow),
            spec,
            lambda image: image,
            lambda k: k != 0,
        )
    )
    shown = {
        "drop": [6, 8, 10, 12, 14, 16],
        "align": [6, 8, 10, 12, 14, 16, 14, 16, 18],
        "pad": [6, 8, 10, 12, 14, 16, 18, 19],
    }
    pairs = [(i, i + 1) if i < 19 else (19, 18) for i in sorted(set(shown[tail]))]
    assert sorted(flow.pairs) == pairs, (
        "not between the frames that a clip shows, but from each of them to the next"
    )
    assert sorted(made) == ([1, 2] if tail == "drop" else [1, 2, 3])


def test_images_are_let_go_when_their_flow_is_computed(tmp_path: Path) -> None:
    import weakref

    class Image(np.ndarray):
        pass

    alive: list[weakref.ref] = []
    most = 0

    def give(i: int) -> np.ndarray:
        nonlocal most
        image = np.full((4, 4, 3), i % 250, np.uint8).view(Image)
        alive.append(weakref.ref(image))
        most = max(most, sum(r() is not None for r in alive))
        return image

    frames = (Frame(i, i / 25, (i + 1) / 25, lambda i=i: give(i)) for i in range(200))
    spec = ClipSpec(frames=8, step=1, stride=8)
    assert (
        len(
            list(
                clips_of(with_flow(frames, "rgbf", Recorded()), spec, lambda image: np.array(image))
            )
        )
        == 25
    )
    assert len(alive) == 200, "each frame is converted once"
    assert most <= 8 + 3


# Extraction.


@pytest.mark.parametrize("given", ["rgbf", "flow"])
def test_clips_are_cut_from_the_images_of_the_whole_video(tmp_path: Path, given: str) -> None:
    path = encode(tmp_path / "a.mp4", 33)
    frames = [f.image() for f in open_video(path, frame_size=TRAN2017.frame_size)]
    flow = OpticalFlow("dis")
    between = [flow(a, b) for a, b in pairwise(frames)] + [-flow(frames[-1], frames[-2])]
    shown = [
        rgbf_image(i, f) if given == "rgbf" else flow_image(f)
        for i, f in zip(frames, between, strict=True)
    ]
    expected = np.stack(
        [[shown[start + 2 * i][8:120, 29:141] for i in range(8)] for start in (0, 16, 17)]
    )
    clips, _ = decode(path, None, given, tail="align")
    np.testing.assert_array_equal(clips[:, 0], expected)


def test_the_file_says_what_its_input_is(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    extract([videos / "a" / "v0.mp4"], out, settings=with_fields(RGBF, input="flow", crop=None))
    with FeatureStore(out) as store:
        assert store.settings.to_json()["transform"] == {
            **TRAN2017.to_dict(),
            "input": "flow",
            "flow": "dis",
        }
        assert store.settings.to_json()["decoder"]["flow"] == {
            "opencv": cv2.__version__,
            "preset": "medium",
            "bound": BOUND,
        }
        assert store[store.ids[0]].attrs["computed_by"].endswith(f"; flow by {computed_by()}")
        told = as_text(summarise(store))
    assert tells(told, "dis", f"OpenCV {cv2.__version__}", "medium", "0.078125")
    assert recorded("rgbf", "tvl1") == {"opencv": cv2.__version__}


def test_workers_halves_and_the_cache_do_not_change_a_bit(videos: Path, tmp_path: Path) -> None:
    extract([videos], tmp_path / "1.h5", settings=with_fields(RGBF, workers=1))
    cached = with_fields(RGBF, workers=3, flow_cache=tmp_path / "cache")
    extract([videos], tmp_path / "3.h5", settings=cached)
    same_content(tmp_path / "1.h5", tmp_path / "3.h5")
    kept = sorted((p.name, p.stat().st_mtime_ns) for p in (tmp_path / "cache").iterdir())
    assert len(kept) == 6
    for half in "ab":
        extract([videos / half], tmp_path / f"{half}.h5", settings=cached, root=str(videos))
    merge([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "merged.h5")
    same_content(tmp_path / "1.h5", tmp_path / "merged.h5")
    assert sorted((p.name, p.stat().st_mtime_ns) for p in (tmp_path / "cache").iterdir()) == kept, (
        "read, not written anew"
    )


@pytest.mark.slow
def test_killed_at_random_instants_the_reruns_end_in_the_same_content_and_a_sound_cache(
    tmp_path: Path,
) -> None:
    for i in range(3):
        encode(tmp_path / "v" / f"{i}.mp4", 120 + 10 * i, seed=i)
    args = (
        "extract",
        "--model",
        "res3d_half",
        *SMALL,
        "--input",
        "rgbf",
        "--flow",
        "dis",
        tmp_path / "v",
    )
    extract([tmp_path / "v"], tmp_path / "whole.h5", settings=RGBF)
    cached = (*args[:-1], "--flow-cache", tmp_path / "cache", args[-1])
    out = tmp_path / "out.h5"
    assert kill_again_and_again(*cached, out, times=2) > 0
    done = featx(*cached, out)
    assert (done.returncode, "note:" in done.stderr) == (0, False), done.stderr
    same_content(tmp_path / "whole.h5", out)
    extract(
        [tmp_path / "v"],
        tmp_path / "again.h5",
        settings=with_fields(RGBF, flow_cache=tmp_path / "cache"),
    )
    same_content(tmp_path / "whole.h5", tmp_path / "again.h5")
    assert sorted(p.suffix for p in (tmp_path / "cache").iterdir()) == [".flow"] * 3, (
        "nothing torn is left"
    )


def test_another_method_or_opencv_is_not_mixed_into_the_same_file(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.h5"
    one, other = videos / "a" / "v0.mp4", videos / "b" / "v1.mp4"
    extract([one], out, settings=RGBF)
    for changed, differ in [
        ({"flow": "farneback"}, ("transform.flow", "dis", "farneback")),
        ({"input": "flow"}, ("transform.input", "rgbf", "flow")),
        ({"input": None, "flow": None}, ("transform.input", "rgbf", "rgb")),
    ]:
        with pytest.raises(UsageError, match=telling(*differ)):
            extract([other], out, settings=with_fields(RGBF, **changed))
    extract([other], tmp_path / "b.h5", settings=SETTINGS)
    with pytest.raises(UsageError, match=telling("transform.input")):
        merge([out, tmp_path / "b.h5"], tmp_path / "both.h5")
    version = cv2.__version__
    monkeypatch.setattr(cv2, "__version__", "9.9.9")
    with pytest.raises(UsageError, match=telling("decoder.flow.opencv", version, "9.9.9")):
        extract([other], out, settings=RGBF)
    found = verify(out, clips=1)
    (note,) = found.notes
    assert tells(note, "decoder.flow.opencv", version, "9.9.9")
    assert found.ok


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"input": "rgb", "flow": "dis"}, ("flow", "'dis'", "rgb")),
        ({"flow": "dis"}, ("flow", "'dis'", "rgb")),
        ({"flow_cache": "cache"}, ("flow", "'cache'", "rgb")),
        ({"input": "rgbf", "flow": "brox"}, ("flow", "'brox'", "auto", "tvl1", "dis", "farneback")),
        ({"input": "hsv"}, ("input", "'hsv'", "rgb", "flow", "rgbf")),
        ({"input": "rgbf", "flow": "dis", "flow_cache": os.devnull}, ("/dev/null",)),
    ],
    ids=str,
)
def test_wrong_settings_get_one_sentence_and_touch_nothing(
    videos: Path, tmp_path: Path, changed: dict, told: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError, match=telling(*told)) as error:
        extract([videos], tmp_path / "out.h5", settings=with_fields(SETTINGS, **changed))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_what_opencv_is_for_and_how_to_get_it_is_said(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.h5"
    auto = with_fields(
        RGBF, flow="auto", frames=1, step=1, stride=100
    )  # TV-L1 takes half a second a frame
    extract([videos / "a" / "v0.mp4"], out, settings=auto)
    with FeatureStore(out) as store:
        assert store.settings.to_json()["transform"]["flow"] == "tvl1"
    assert verify(out).deviation == 0
    monkeypatch.setattr(cv2, "optflow", None)
    assert resolve_method("auto") == "dis"
    with pytest.raises(UsageError, match=telling("tvl1", "opencv-contrib-python-headless")):
        verify(out)
    with pytest.raises(UsageError, match=telling("transform.flow", "tvl1", "dis")):
        extract([videos], out, settings=auto)
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    for attempt in (lambda: extract([videos], out, settings=auto), lambda: verify(out)):
        with pytest.raises(UsageError, match=telling("pip install 'featx[flow]'")) as error:
            attempt()
        assert "\n" not in str(error.value)
    extract([videos / "a" / "v0.mp4"], tmp_path / "rgb.h5", settings=SETTINGS)


def test_rgb_is_recorded_as_before_there_was_flow_and_a_checkpoint_carries_its_input(
    videos: Path, tmp_path: Path
) -> None:
    assert list(TRAN2017.to_dict()) == ["resize", "crop", "mean", "std", "crops", "flip"]
    assert Transform.from_dict(TRAN2017.to_dict()) == TRAN2017
    ours = replace(TRAN2017, input="rgbf", flow="farneback")
    assert Transform.from_dict(ours.to_dict()) == ours
    for wrong in (
        {"input": "rgbf"},
        {"flow": "dis"},
        {"input": "hsv", "flow": "dis"},
        {"input": "flow", "flow": "brox"},
    ):
        with pytest.raises(UsageError):
            replace(TRAN2017, **wrong)

    from featx import create_model
    from featx.models import model_entry
    from featx.weights.checkpoint import save_checkpoint

    path = tmp_path / "mine.safetensors"
    clip = model_entry("res3d_half").clip
    save_checkpoint(
        path,
        create_model("res3d_half", seed=0),
        architecture="res3d_half",
        transform=ours,
        clip=clip,
        info={},
    )
    for given, expected in ((None, ("rgbf", "farneback")), ("rgb", (None, None))):
        out = tmp_path / f"{given}.h5"
        extract(
            [videos / "a" / "v0.mp4"],
            out,
            settings=compose(
                model="res3d_half", weights=str(path), layers=["pool5"], input=given, workers=1
            ),
        )
        with FeatureStore(out) as store:
            transform = store.settings.to_json()["transform"]
            assert (transform.get("input"), transform.get("flow")) == expected
            assert ("flow" in store.settings.to_json()["decoder"]) == (given != "rgb")
    found = verify(tmp_path / "None.h5")
    assert (found.problems, found.notes, found.deviation) == ([], [], 0.0)
    with h5py.File(tmp_path / "rgb.h5") as file:
        assert "input" not in file.attrs["transform"]
