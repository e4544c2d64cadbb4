"""Frames in memory through a network: to the bit what extract stores for a video of these frames."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import tiny
import torch
from conftest import assert_one_sentence, encode
from told import telling

from featx.clips import ClipSpec
from featx.errors import FeatxError, UsageError
from featx.extraction.extract import extract
from featx.extraction.extractor import Extractor
from featx.extraction.projection import Projection, write_projection
from featx.extraction.settings import ClipOptions, Machine, compose
from featx.store.reader import FeatureStore
from featx.transforms import Transform
from featx.video.reader import open_video

OWN_SIZE = tiny.ENTRY.transform.resize
EXACT: dict[str, Any] = {"device": "cpu", "precision": "float32", "batch_size": 2}
TINY: dict[str, Any] = {"model": tiny.NAME, "weights": "random", **EXACT}


pytestmark = pytest.mark.usefixtures("tiny_network")


def pictures(n: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Frames of a texture that moves one pixel a frame: (n, H, W, 3) uint8."""
    height, width = size
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 4 + 1, (width + n) // 4 + 1, 3))
    wide = coarse.repeat(4, axis=0).repeat(4, axis=1)
    return np.stack([wide[:height, i : i + width] for i in range(n)]).astype(np.uint8)


# A codec without loss for each way to pack pixels, and a container that takes it.
LOSSLESS = {"rgb24": ("png", ".mov"), "bgr0": ("ffv1", ".mkv")}


def lossless(folder: Path, frames: np.ndarray, *, pixels: str = "bgr0", fps: int = 25) -> Path:
    """Write frames so that decoding gives them back."""
    codec, suffix = LOSSLESS[pixels]
    path = folder / f"video{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def stored(path: Path, out: Path, **asked: Any) -> dict[str, np.ndarray]:
    """What extract stores for one video, by layer."""
    report = extract(path, out, workers=1, **asked)
    assert not report.failures, report.failures
    with FeatureStore(out) as store:
        (video_id,) = store.ids
        return {layer: store[video_id][layer][:] for layer in store.layers}


def assert_same(made: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(made) == list(expected)
    for layer, rows in expected.items():
        assert made[layer].dtype == np.float32
        np.testing.assert_array_equal(made[layer], rows, err_msg=layer)


WAYS: dict[str, dict[str, Any]] = {
    "as the checkpoint": {},
    "overlapping": {"stride": 3},
    "padded tail": {"tail": "pad"},
    "aligned tail": {"tail": "align", "stride": 5},
    "resampled": {"fps": 10.0},
    "resampled to more": {"fps": 60.0, "stride": 20},
    "evenly spread": {"clips": 3},
    "more clips than places": {"clips": 9, "frames": 7, "step": 4},
    "scales": {"scales": (1, 2)},
    "ten crops": {"crops": "ten"},
    "mirrored": {"flip": True},
    "another crop": {"crop": 32},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("size", "pixels"),
    [(OWN_SIZE, "bgr0"), ((50, 76), "rgb24")],
    ids=["frame size of the network", "resized"],
)
def test_encode_gives_what_extract_stores(
    way: str, size: tuple[int, int], pixels: str, tmp_path: Path
) -> None:
    frames = pictures(29, size)
    asked = TINY | WAYS[way]
    if "crop" in WAYS[way]:
        # Frames for another crop are resized, and what that gives depends on how the pixels are packed.
        pixels = "rgb24"
    path = lossless(tmp_path, frames, pixels=pixels)
    expected = stored(path, tmp_path / "out.h5", **asked)
    assert len(expected["pool5"]) > 0
    assert_same(Extractor(**asked).encode(frames, fps=25), expected)


def test_frames_that_open_video_gives_at_the_networks_size(tmp_path: Path) -> None:
    """Of a file as cameras write them: its colours are converted and its frames resized in one go."""
    path = encode(tmp_path / "a.mp4", 30, size=(72, 96))
    extractor = Extractor(**TINY)
    video = open_video(path, frame_size=extractor.transform.frame_size)
    frames = np.stack([frame.image() for frame in video])
    assert frames.shape == (30, *OWN_SIZE, 3)
    assert_same(extractor.encode(frames), stored(path, tmp_path / "out.h5", **TINY))


@pytest.mark.parametrize("n", [1, 3, 7, 8])
def test_short_videos_are_looped_as_in_extract(n: int, tmp_path: Path) -> None:
    frames = pictures(n, OWN_SIZE)
    path = lossless(tmp_path, frames)
    made = Extractor(**TINY).encode(frames)
    assert len(made["pool5"]) == 1
    assert_same(made, stored(path, tmp_path / "out.h5", **TINY))


@pytest.mark.parametrize("input", ["flow", "rgbf"])
@pytest.mark.parametrize("clips", [None, 2])
def test_flow_of_frames_in_memory(input: str, clips: int | None, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    frames = pictures(17, (48, 60))
    path = lossless(tmp_path, frames, pixels="rgb24")
    asked = TINY | {"input": input, "flow": "farneback", "clips": clips}
    extractor = Extractor(**asked)
    before = cv2.getNumThreads()
    made = extractor.encode(frames)
    assert cv2.getNumThreads() == before
    assert_same(made, stored(path, tmp_path / "out.h5", **asked))
    assert extractor.transform.flow == "farneback"


def test_several_videos_are_those_one_by_one() -> None:
    frames = np.stack([pictures(20, (36, 48), seed=seed) for seed in range(3)])
    extractor = Extractor(**TINY)
    made = extractor.encode(frames)
    for layer, shape in extractor.shapes.items():
        assert made[layer].shape == (3, 2, np.prod(shape))
    for place, video in enumerate(frames):
        one = extractor.encode(video)
        assert_same({layer: rows[place] for layer, rows in made.items()}, one)


def test_tensors_views_and_read_only_arrays_are_taken_as_they_are() -> None:
    frames = pictures(16, OWN_SIZE)
    extractor = Extractor(**TINY)
    expected = extractor.encode(frames)
    assert_same(extractor.encode(torch.from_numpy(frames)), expected)
    # A view whose channels lie first in memory, as (T, 3, H, W) does once it is permuted.
    first = np.ascontiguousarray(frames.transpose(0, 3, 1, 2))
    assert_same(extractor.encode(first.transpose(0, 2, 3, 1)), expected)
    frames.flags.writeable = False
    assert_same(extractor.encode(frames), expected)
    every_second = extractor.encode(pictures(32, OWN_SIZE)[::2])
    assert_same(every_second, extractor.encode(pictures(32, OWN_SIZE)[::2].copy()))


def test_a_rate_is_needed_where_clips_are_resampled_and_only_there(tmp_path: Path) -> None:
    frames = pictures(20, OWN_SIZE)
    resampling = Extractor(**TINY, fps=12.5)
    with pytest.raises(UsageError, match=telling("fps", "12.5")) as caught:
        resampling.encode(frames)
    assert_one_sentence(caught.value)
    assert len(resampling.encode(frames, fps=12.5)["pool5"]) == 2
    assert len(resampling.encode(frames, fps=25)["pool5"]) == 1
    assert_same(Extractor(**TINY).encode(frames), Extractor(**TINY).encode(frames, fps=3))
    for rate in (0, -1, float("nan"), float("inf"), True, "25"):
        with pytest.raises(UsageError, match=telling("fps", repr(rate))):
            resampling.encode(frames, fps=rate)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        (np.zeros((8, 32, 40, 3), np.float32), ("float32", (8, 32, 40, 3))),
        (np.zeros((8, 32, 40, 3), np.int64), ("int64", (8, 32, 40, 3))),
        (torch.zeros(8, 32, 40, 3), ("float32", (8, 32, 40, 3))),
        (np.zeros((8, 32, 40, 4), np.uint8), ((8, 32, 40, 4),)),
        (np.zeros((8, 3, 32, 40), np.uint8), ((8, 3, 32, 40),)),
        (np.zeros((32, 40, 3), np.uint8), ((32, 40, 3),)),
        (np.zeros((1, 1, 8, 32, 40, 3), np.uint8), ((1, 1, 8, 32, 40, 3),)),
        (np.zeros((0, 32, 40, 3), np.uint8), ((0, 32, 40, 3),)),
        (np.zeros((0, 8, 32, 40, 3), np.uint8), ((0, 8, 32, 40, 3),)),
        (np.zeros((8, 32, 0, 3), np.uint8), ((8, 32, 0, 3),)),
        (np.zeros((), np.uint8), ("()",)),
        (torch.zeros(8, 32, 40, 3, dtype=torch.uint8, device="meta"), ("meta",)),
        ([np.zeros((32, 40, 3), np.uint8)], ("list",)),
        ("video.mp4", ("str",)),
        (None, ("NoneType",)),
    ],
)
def test_other_arrays_are_refused_with_what_they_are(frames: Any, told: tuple[Any, ...]) -> None:
    with pytest.raises(UsageError, match=telling(*told)) as caught:
        Extractor(**TINY).encode(frames)
    assert_one_sentence(caught.value)


def test_flow_that_cannot_be_computed_is_told_with_the_video() -> None:
    pytest.importorskip("cv2")
    small = Transform(
        resize=(4, 4), crop=4, mean=(0.0,) * 3, std=(1.0,) * 3, input="flow", flow="dis"
    )
    module = torch.nn.Flatten()
    clip = ClipSpec(frames=2, stride=2)
    extractor = Extractor(module, clip=clip, transform=small, **EXACT)
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 8, 8, 3)).astype(np.uint8)
    with pytest.raises(FeatxError) as caught:
        extractor.encode(frames)
    assert_one_sentence(caught.value)
    assert "4x4" in str(caught.value)


def test_an_extractor_says_what_it_is() -> None:
    extractor = Extractor(**TINY, layers=["res5a", "prob"], stride=5)
    assert extractor.layers == ("res5a", "prob")
    assert extractor.shapes["prob"] == (3,)
    assert extractor.clip == replace(tiny.ENTRY.clip, stride=5)
    assert extractor.transform == tiny.ENTRY.transform
    assert extractor.device == torch.device("cpu")
    assert extractor.precision == "float32"
    text = repr(extractor)
    for part in (tiny.NAME, "res5a", "prob", "float32", "cpu", "random"):
        assert part in text
    assert len(text.splitlines()) <= 3


def test_settings_may_be_given_whole_or_in_parts_and_not_both() -> None:
    frames = pictures(16, OWN_SIZE)
    parts = Extractor(
        tiny.NAME, weights="random", clip=ClipOptions(stride=4), machine=Machine(**EXACT)
    )
    flat = compose(stride=4, **TINY)
    assert_same(parts.encode(frames), Extractor(settings=flat).encode(frames))
    with pytest.raises(UsageError):
        Extractor(tiny.NAME, settings=flat)
    with pytest.raises(TypeError, match="strides"):
        Extractor(strides=4)  # type: ignore[call-arg]


def test_what_is_for_files_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="flow_cache"):
        Extractor(settings=compose(flow_cache=tmp_path, **TINY))


def test_rows_are_projected_as_in_extract(tmp_path: Path) -> None:
    frames = pictures(40, OWN_SIZE)
    path = lossless(tmp_path, frames)
    asked = TINY | {"layers": ["pool5"]}
    extract(path, tmp_path / "plain.h5", **asked)
    with FeatureStore(tmp_path / "plain.h5") as store:
        width = math.prod(Extractor(**asked).shapes["pool5"])
        rng = np.random.default_rng(0)
        projection = Projection(
            mean=rng.random(width).astype(np.float32),
            components=np.linalg.qr(rng.normal(size=(width, 3)))[0].T.astype(np.float32).copy(),
            layer="pool5",
            settings=store.settings,
            fitted_on={"dataset": "own", "split": 1, "subset": "train", "videos": 1},
            explained=0.5,
        )
    write_projection(tmp_path / "pca.npz", projection)
    asked |= {"project": tmp_path / "pca.npz"}
    extractor = Extractor(**asked)
    assert extractor.shapes == {"pool5": (3,)}
    assert_same(extractor.encode(frames), stored(path, tmp_path / "small.h5", **asked))
