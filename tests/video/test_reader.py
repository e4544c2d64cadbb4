import errno
import os
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import SHARED, encode, level, needs
from odd_videos import ORIENTATIONS, box, late_sound, oriented, write
from told import telling

from featx.clips import ClipSpec
from featx.video.cutting import SELDOM, clips_of, summarise
from featx.video.decoders import decoder_named, decoder_names
from featx.video.reader import NotExact, VideoError, VideoInfo, VideoReader, open_video
from featx.video.seek import index_video, read_frames


def drain(path: Path, **options: object) -> tuple[list, list[np.ndarray], object]:
    video = open_video(path, **options)
    frames = []
    images = []
    for frame in video:
        frames.append(frame)
        images.append(frame.image())
    return frames, images, video


def test_frames_come_in_order_once_with_their_times(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 30, options={"bf": "3"})
    frames, images, video = drain(path)
    assert [f.index for f in frames] == list(range(30))
    np.testing.assert_allclose([f.time for f in frames], np.arange(30) / 25, atol=1e-9)
    np.testing.assert_allclose([f.end for f in frames], np.arange(1, 31) / 25, atol=1e-9)
    np.testing.assert_allclose(video.times, np.arange(31) / 25, atol=1e-9)
    means = np.array([i.mean() for i in images])
    levels = np.array([level(i) for i in range(30)]) + 29.5  # the texture's mean
    assert (
        np.abs(means - levels).max() < 3.4
    )  # closer to its own level than to its neighbours', 7 away
    assert (video.n_frames, video.damaged_frames) == (30, 0)
    assert (video.info.height, video.info.width, video.info.fps, video.info.container_frames) == (
        64,
        80,
        25.0,
        30,
    )


def test_frames_are_resized_in_the_decoder(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 3)
    asked = []
    _, images, _ = drain(path, frame_size=lambda h, w: asked.append((h, w)) or (17, 33))
    assert asked == [(64, 80)]
    assert {i.shape for i in images} == {(17, 33, 3)}


def test_a_video_with_uneven_times_keeps_them(tmp_path: Path) -> None:
    pts = [0, 10, 500, 510, 2000, 2005]
    path = encode(tmp_path / "a.mp4", 6, pts=pts)
    frames, _, video = drain(path)
    np.testing.assert_allclose([f.time for f in frames], np.array(pts) / 1000, atol=2e-3)
    assert video.n_frames == 6


def test_unconverted_frames_cost_nothing_but_come_out_the_same(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 20)
    _, every, _ = drain(path)
    some = [f.image() for f in open_video(path) if f.index % 3 == 1]
    for a, b in zip(some, every[1::3], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(
    decoder_named("decord").missing() is not None,
    reason="decord is not installed: it has wheels for x86-64 Linux and Windows only",
)
def test_decord_gives_the_same_frames(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 40, options={"bf": "2"})
    frames, images, video = drain(path)
    other_frames, other_images, other = drain(path, decoder="decord")
    assert (video.decoder, other.decoder) == ("pyav", "decord")
    np.testing.assert_allclose([f.time for f in frames], [f.time for f in other_frames], atol=1e-9)
    np.testing.assert_array_equal(np.stack(images), np.stack(other_images))
    np.testing.assert_allclose(video.times, other.times, atol=1e-9)


@pytest.mark.skipif(
    decoder_named("decord").missing() is not None,
    reason="decord is not installed: it has wheels for x86-64 Linux and Windows only",
)
def test_decord_hands_over_what_it_cannot_decode_exactly(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 60, options={"g": "10"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    (tmp_path / "b.mp4").write_bytes(data)
    printed = iter(range(1000))
    with pytest.raises(NotExact):
        drain(tmp_path / "b.mp4", decoder="decord", complaints=lambda: next(printed))
    with pytest.raises(NotExact, match=telling("(20, 24, 4)")):  # rows of 72 bytes, padded to 96
        drain(path, decoder="decord", frame_size=lambda h, w: (20, 24))
    avi = encode(tmp_path / "c.avi", 20, codec="mpeg4", options={"bf": "2"})
    with pytest.raises(NotExact, match=telling("AVI")):
        drain(avi, decoder="decord")


class OutOfOrder(VideoReader):
    """What libavformat makes of packed B-frames in AVI: guessed times, out of order, frames in display order."""

    info = VideoInfo(
        path="",
        format="avi",
        codec="mpeg4",
        height=2,
        width=2,
        rotation=0,
        fps=1.0,
        duration_s=8.0,
        container_frames=6,
    )

    def decode(self):
        self.last_duration = 1.0
        for time in (1.0, 4.0, 3.0, 5.0, 6.0, 8.0):
            yield time, lambda: np.zeros((2, 2, 3), np.uint8)


def test_times_out_of_order_are_sorted() -> None:
    video = OutOfOrder()
    assert [f.index for f in video] == list(range(6))
    np.testing.assert_array_equal(video.times, [1, 3, 4, 5, 6, 8, 9])


@needs("hmdb51", "videos")
def test_a_real_avi_with_packed_b_frames_has_its_times_in_order_while_iterating() -> None:
    path = next((SHARED / "hmdb51" / "videos").glob("*Rock_Climbing*"))
    with av.open(str(path)) as container:
        raw = [float(f.pts * f.time_base) for f in container.decode(video=0)]
    assert raw != sorted(raw), "the point of this file"
    frames, _, video = drain(path, in_time_order=True)
    np.testing.assert_allclose([f.time for f in frames], sorted(raw))
    np.testing.assert_allclose(video.times[:-1], sorted(raw))


def test_damaged_frames_are_counted_and_the_rest_decodes(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 60, options={"g": "10", "crf": "10"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = (
        np.random.default_rng(0).integers(0, 256, 3000, dtype=np.uint8).tobytes()
    )
    path.write_bytes(data)
    _, _, video = drain(path)
    assert video.damaged_frames > 0
    assert 40 < video.n_frames <= 60


def test_a_stream_that_begins_in_the_middle_costs_no_frame(tmp_path: Path) -> None:
    path = late_sound(tmp_path / "a.flv")
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        assert len(container.streams) == 1
        with pytest.raises(IndexError):  # the point of this file
            list(container.demux(video))
    opened = open_video(path)
    assert len(list(opened)) == 30
    assert opened.damaged_frames == 0
    index = index_video(path)
    assert index.n_frames == 30
    assert read_frames(path, index, [28]).frames[28].time == pytest.approx(28 / 25, abs=2e-3)


@pytest.fixture(scope="module")
def corners(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video whose corners are red and green, above blue and white."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[:16, :16, 0] = image[:16, -16:, 1] = image[-16:, :16, 2] = image[-16:, -16:] = 255
    return write(tmp_path_factory.mktemp("corners") / "a.mp4", [image] * 3)


def seen(image: np.ndarray) -> str:
    names = {(1, 0, 0): "R", (0, 1, 0): "G", (0, 0, 1): "B", (1, 1, 1): "W"}
    places = [(4, 4), (4, -4), (-4, 4), (-4, -4)]
    return "".join(names[tuple((image[place] > 128).astype(int).tolist())] for place in places)


@pytest.mark.parametrize("matrix", ORIENTATIONS)
def test_a_frame_is_shown_as_its_display_matrix_says(
    tmp_path: Path, corners: Path, matrix: tuple[int, ...]
) -> None:
    path = oriented(corners, tmp_path / "b.mp4", matrix)
    _, images, video = drain(path)
    shape = (48, 64, 3) if matrix[0] else (64, 48, 3)
    assert (seen(images[0]), images[0].shape) == (ORIENTATIONS[matrix], shape)
    assert (video.height, video.width) == shape[:2]
    found = read_frames(path, index_video(path), [2]).frames[2].image()
    np.testing.assert_array_equal(found, images[2])
    assert video.info.display_angle is None


def test_an_angle_between_the_four_is_said(tmp_path: Path, corners: Path) -> None:
    half = 0.5**0.5
    path = oriented(corners, tmp_path / "b.mp4", (half, -half, half, half))  # ffprobe: 45 degrees
    video = open_video(path)
    spec = ClipSpec(frames=1, step=1, stride=1)
    list(clips_of(video, spec, lambda image: image))
    assert summarise(video, spec).attributes()["display_angle"] == pytest.approx(45, abs=0.01)
    plain = open_video(corners)
    list(clips_of(plain, spec, lambda image: image))
    assert SELDOM.isdisjoint(summarise(plain, spec).attributes())


def test_a_frame_of_two_fields_is_resized_as_a_whole(tmp_path: Path) -> None:
    comb = np.zeros((64, 64, 3), np.uint8)
    comb[::2] = 255
    path = write(tmp_path / "a.mp4", [comb] * 3, options={"x264-params": "tff=1:qp=0"})
    _, images, video = drain(path, frame_size=lambda h, w: (32, 32))
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame  # the point of this file
    assert (video.n_frames, video.damaged_frames, video.info.interlaced) == (3, 0, True)
    inside = images[0][4:-4].astype(int)
    assert np.abs(inside - 128).max() < 20  # by field, the comb stays: rows of 0 and 255
    _, whole, _ = drain(path)
    assert np.abs(whole[0].astype(int) - comb).max() < 20


@pytest.mark.parametrize("turned", [False, True])
def test_pixels_that_are_not_square_are_said_and_not_stretched(
    tmp_path: Path, turned: bool
) -> None:
    path = write(tmp_path / "a.mp4", options={"x264-params": "sar=2/1"})
    if turned:
        path = oriented(path, tmp_path / "b.mp4", (0, 1, -1, 0))
    spec = ClipSpec(frames=1, step=1, stride=1)
    video = open_video(path)
    list(clips_of(video, spec, lambda image: image))
    attributes = summarise(video, spec).attributes()
    size = (96, 128) if not turned else (128, 96)
    assert (attributes["height"], attributes["width"]) == size
    assert attributes["pixel_aspect"] == pytest.approx(0.5 if turned else 2)


def test_a_cut_index_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", muxer={"movflags": "faststart"})
    content = path.read_bytes()
    start, end = box(content, "moov")
    path.write_bytes(content[: (start + end) // 2])
    with pytest.raises(VideoError, match=telling("moov", end - start, (start + end) // 2 - start)):
        open_video(path)
    path.write_bytes(content[:start] + content[end:])
    with pytest.raises(VideoError, match=telling("moov")):
        open_video(path)


def test_larger_frames_than_are_allowed_are_not_decoded(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 3)  # 64 x 80
    with pytest.raises(VideoError, match=telling("80x64", 64 * 80, 64 * 80 - 1, "`max_pixels`")):
        open_video(path, max_pixels=64 * 80 - 1)
    with pytest.raises(VideoError, match=telling("`max_pixels`")):
        index_video(path, max_pixels=64 * 80 - 1)
    assert len(list(open_video(path, max_pixels=64 * 80))) == 3
    index = index_video(path, max_pixels=64 * 80)
    with pytest.raises(VideoError, match=telling("`max_pixels`")):
        read_frames(path, index, [1], max_pixels=64 * 80 - 1)


def test_only_the_times_of_a_stream_that_has_some_are_believed(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.h264", 10)
    frames, _, video = drain(path)
    assert video.n_frames == 10
    assert (np.diff([f.time for f in frames]) > 0).all()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: None, os.strerror(errno.ENOENT)),
        (lambda p: p.write_bytes(b""), "empty"),
        (lambda p: p.mkdir(), "folder"),
        (lambda p: os.mkfifo(p), "pipe"),
        (lambda p: p.symlink_to("nowhere.mp4"), "nowhere.mp4"),
        (lambda p: p.write_text("#EXTM3U\n#EXTINF:1\n/etc/passwd\n"), "playlist"),
        (lambda p: p.write_bytes(np.random.default_rng(0).bytes(10_000)), "video"),
    ],
)
def test_what_is_not_a_video_says_why(tmp_path: Path, make: object, reason: str) -> None:
    make(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match=telling(reason)):
        drain(tmp_path / "a.mp4")


@pytest.mark.skipif(not SHARED.exists(), reason="../shared is on the developers' machines only")
@pytest.mark.parametrize("decoder", decoder_names())
def test_real_videos_have_the_frames_and_times_that_libav_tells(decoder: str) -> None:
    paths = sorted((SHARED / "videos").iterdir()) + sorted((SHARED / "hmdb51" / "videos").iterdir())
    assert len(paths) >= 10
    exact = 0
    for path in paths:
        with av.open(str(path)) as container:
            times = sorted(float(f.pts * f.time_base) for f in container.decode(video=0))
        try:
            video = open_video(path, decoder=decoder)
            assert sum(1 for _ in video) == len(times)
        except NotExact:
            continue
        exact += 1
        np.testing.assert_allclose(video.times[:-1], times, atol=1e-9)
    assert exact == len(paths) if decoder_named(decoder).exact else exact >= 3
