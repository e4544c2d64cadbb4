"""The stream of training clips and the batches made of it."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import encode
from told import telling

from featx.clips import ClipSpec, resample
from featx.datasets import Item
from featx.errors import FeatxError
from featx.training.clips import DrawSettings, clock_frames
from featx.training.loader import Batch, Loader, Stream
from featx.training.sampling import AUGMENTATIONS, Augmentation
from featx.transforms import Transform
from featx.video.reader import VideoError, open_video

CLIP = ClipSpec(frames=4, step=2, stride=8)
TRANSFORM = Transform(resize=(32, 40), crop=24, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    folder = tmp_path_factory.mktemp("videos")
    paths = [encode(folder / f"{i}.mp4", 20 + 5 * i, size=(48, 64), seed=i) for i in range(4)]
    return [Item(id=path.stem, path=str(path), label=i % 2) for i, path in enumerate(paths)]


def settings(augmentation: Augmentation) -> DrawSettings:
    return DrawSettings(CLIP, TRANSFORM, "pyav", 2, None, augmentation)


def places(size: int, start: int = 0) -> Iterator[range]:
    return (range(first, first + size) for first in itertools.count(start, size))


def batches(
    stream: Stream, augmentation: Augmentation, count: int, *, workers: int = 2, start: int = 0
) -> list[Batch]:
    """The first batches, their clips copied."""
    taken = []
    with Loader(
        stream, places(3, start), settings(augmentation), batch=3, workers=workers
    ) as loader:
        for _ in range(count):
            batch = loader.next()
            assert batch is not None
            taken.append(replace(batch, clips=batch.clips.clone()))
            batch.release()
    return taken


def test_an_epoch_shows_every_clip_once_in_another_order_each_time(items: list[Item]) -> None:
    stream = Stream(items, clips_per_video=3, seed=0)
    epochs = [[stream.job(12 * epoch + k, 0, 0)[0] for k in range(12)] for epoch in range(4)]
    for jobs in epochs:
        assert sorted((job.path, job.choice) for job in jobs) == sorted(
            itertools.product([i.path for i in items], range(3))
        )
    orders = [tuple((job.path, job.choice) for job in jobs) for jobs in epochs]
    assert len(set(orders)) == 4
    assert len({job.seed for jobs in epochs for job in jobs}) == 48
    assert (
        Stream(items, clips_per_video=3, seed=1).job(0, 0, 0)[0].seed != stream.job(0, 0, 0)[0].seed
    )


def test_batches_do_not_depend_on_the_workers_nor_on_where_one_begins(items: list[Item]) -> None:
    stream = Stream(items, clips_per_video=2, seed=3)
    augmentation = replace(AUGMENTATIONS["multi-scale-spatial-random"], frame_size=32)
    one, three = (
        batches(stream, augmentation, 6, workers=1),
        batches(stream, augmentation, 6, workers=3),
    )
    later = batches(stream, augmentation, 3, start=9)
    for a, b in [*zip(one, three, strict=True), *zip(one[3:], later, strict=True)]:
        assert (a.ids, a.sides, a.flips) == (b.ids, b.sides, b.flips)
        assert torch.equal(a.labels, b.labels)
        for clip_a, clip_b, side in zip(a.clips, b.clips, a.sides, strict=True):
            assert torch.equal(clip_a[:, :side, :side], clip_b[:, :side, :side])
    assert len({side for batch in one for side in batch.sides}) > 1
    assert {flip for batch in one for flip in batch.flips} == {True, False}
    label = {item.id: item.label for item in items}
    assert all(
        label[name] == value
        for batch in one
        for name, value in zip(batch.ids, batch.labels.tolist(), strict=True)
    )


def test_a_clip_is_a_part_of_its_videos_frames(items: list[Item]) -> None:
    stream = Stream(items, clips_per_video=1, seed=0)
    frames = {
        item.id: [frame.image() for frame in open_video(item.path, frame_size=TRANSFORM.frame_size)]
        for item in items
    }
    for batch in batches(stream, AUGMENTATIONS["tran2017"], 3):
        for clip, name in zip(batch.clips, batch.ids, strict=True):
            whole = np.stack(frames[name])
            starts = [
                (start, top, left)
                for start in range(len(whole) - 7)
                for top in range(9)
                for left in range(17)
                if np.array_equal(whole[start, top : top + 24, left : left + 24], clip[0].numpy())
            ]
            assert starts
            start, top, left = starts[0]
            np.testing.assert_array_equal(
                whole[start : start + 8 : 2, top : top + 24, left : left + 24], clip.numpy()
            )


def test_a_part_of_a_video_gives_clips_of_that_part(items: list[Item], tmp_path: Path) -> None:
    path = encode(tmp_path / "long.mp4", 60, size=(48, 64))
    part = Item(id="part", path=str(path), label=0, start=1.0, end=1.6)  # frames 25 to 39
    gray = [float(frame.image().mean()) for frame in open_video(path)]
    for batch in batches(Stream([part], clips_per_video=1, seed=0), AUGMENTATIONS["none"], 4):
        for clip in batch.clips:
            # Each frame is lighter than the one before it by what conftest.level says: the nearest mean tells which it is.
            shown = [
                int(np.argmin(np.abs(np.asarray(gray[20:45]) - float(f.float().mean())))) + 20
                for f in clip
            ]
            assert shown[0] >= 25
            assert shown[-1] < 40
            assert np.diff(shown).tolist() == [2, 2, 2]


@pytest.mark.parametrize(("fps", "shown"), [(None, [20, 23, 26, 29]), (10.0, [22, 25, 30, 32])])
def test_frames_of_a_window_are_spread_over_it_by_the_videos_own_clock(
    tmp_path: Path, fps: float | None, shown: list[int]
) -> None:
    """Of 25 fps, frames 20 to 31 as they are; at 10 fps four of ticks 9 to 14, counted from its first frame."""
    path = encode(tmp_path / "long.mp4", 60, size=(48, 64))
    start, end = (20 / 25, 32 / 25) if fps is None else (0.9, 1.5)
    part = Item(id="window", path=str(path), label=2, start=start, end=end, overlap=0.6)
    whole = [
        frame.image()[4:28, 8:32] for frame in open_video(path, frame_size=TRANSFORM.frame_size)
    ]
    augmentation = replace(AUGMENTATIONS["none"], temporal="whole")
    stream = Stream([part], clips_per_video=1, seed=0)
    with Loader(
        stream,
        places(2),
        replace(settings(augmentation), clip=replace(CLIP, fps=fps)),
        batch=2,
        workers=1,
    ) as loader:
        batch = loader.next()
    assert batch is not None
    assert batch.overlaps.tolist() == pytest.approx([0.6, 0.6])
    for clip in batch.clips.numpy():
        np.testing.assert_array_equal(clip, np.stack([whole[k] for k in shown]))


@pytest.mark.parametrize("fps", [8.0, 25.0, 30.0, 29.97])
def test_hours_are_sampled_as_a_clip_is(fps: float) -> None:
    rng = np.random.default_rng(0)
    for times in (
        np.arange(301) / 25,
        np.arange(301) / 29.97,
        np.cumsum(rng.uniform(0, 0.1, 301)),
        np.asarray([3.0, 3.0, 3.5]),
    ):
        assert clock_frames(times, fps).tolist() == resample(
            times[:-1].tolist(), float(times[-1]), fps
        )
    assert clock_frames(np.asarray([0.0]), fps).tolist() == []
    with pytest.raises(VideoError, match=telling("fps")):
        clock_frames(np.asarray([0.0, 1.0, 1e9]), fps)


def test_an_epoch_of_many_windows_costs_little() -> None:
    """Places are arithmetic: an epoch's order is one permutation, and a window's job is made when its turn comes."""
    items = [
        Item(id=str(i), path="v.mp4", label=i % 2, start=i / 25, end=(i + 16) / 25)
        for i in range(100_000)
    ]
    stream = Stream(items, clips_per_video=1, seed=0)
    tracemalloc.start()
    began = time.monotonic()
    seen = {stream.job(place, 0, 0)[1] for place in range(0, 100_000, 100)}
    spent, (_, most) = time.monotonic() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(seen) == 1_000
    assert most < 5e6  # the permutation alone takes 0.8 MB
    assert spent < 5  # 0.02 s on an idle core


def test_a_video_that_cannot_be_read_is_replaced_and_counted(
    items: list[Item], tmp_path: Path
) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video" * 100)
    bad = Item(id="bad", path=str(tmp_path / "bad.mp4"), label=1)
    stream = Stream([*items, bad], clips_per_video=1, seed=0)
    with Loader(
        stream, places(5), settings(AUGMENTATIONS["tran2017"]), batch=5, workers=2
    ) as loader:
        shown: list[str] = []
        told: Counter[tuple[str, str]] = Counter()
        for _ in range(4):
            batch = loader.next()
            assert batch is not None
            shown += batch.ids
            told += batch.replaced
            batch.release()
    assert "bad" not in shown
    assert len(shown) == 20
    ((video, reason),) = told
    assert video == "bad"
    assert "text, not a video" in reason
    # 20 clips are four epochs of five, in each of which it comes once; it may be drawn in its own place, too.
    assert told[video, reason] >= 4
    again = batches(stream, AUGMENTATIONS["tran2017"], 7, workers=1)
    assert [name for batch in again for name in batch.ids][:20] == shown
    known = batches(stream, AUGMENTATIONS["tran2017"], 6, start=3)
    assert [batch.replaced for batch in again[1:]] == [batch.replaced for batch in known]


def test_where_no_video_can_be_read_the_error_says_so(tmp_path: Path) -> None:
    gone = [Item(id=f"{i}", path=str(tmp_path / f"{i}.mp4"), label=0) for i in range(3)]
    loader = Loader(
        Stream(gone, clips_per_video=1, seed=0),
        places(3),
        settings(AUGMENTATIONS["tran2017"]),
        batch=3,
        workers=1,
    )
    with loader, pytest.raises(FeatxError, match=telling(os.strerror(errno.ENOENT))):
        loader.next()


def test_flow_is_drawn_as_it_is_extracted_and_read_where_it_is_kept(
    items: list[Item], tmp_path: Path
) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    from featx.video.flow import OpticalFlow, with_flow
    from featx.video.flow_cache import FlowCache, check_folder, stamp_of

    moving = replace(TRANSFORM, input="flow", flow="farneback")
    item = items[0]
    folder = check_folder(tmp_path / "flow")
    cache = FlowCache(
        folder, item.path, "pyav", (32, 40), "farneback", lambda: None, stamp=stamp_of(item.path)
    )
    with contextlib.closing(cache.write()) as writer:
        video = open_video(item.path, frame_size=TRANSFORM.frame_size)
        made = with_flow(video, "flow", OpticalFlow("farneback"), keep=writer.add)
        whole = np.stack([frame.image()[4:28, 8:32] for frame in made])
        writer.commit()
    shown = []
    for kept in (None, folder):
        stream = Stream([item], clips_per_video=1, seed=0)
        drawn = DrawSettings(CLIP, moving, "pyav", 2, kept, AUGMENTATIONS["none"])
        with Loader(stream, places(4), drawn, batch=4, workers=1) as loader:
            batch = loader.next()
        assert batch is not None
        for clip in batch.clips.numpy():
            # Stored flow is float16: a step of the image's 256 at most.
            near = [
                np.abs(whole[start : start + 8 : 2].astype(int) - clip).max()
                for start in range(len(whole) - 7)
            ]
            assert min(near) <= (0 if kept is None else 1)
        shown.append(batch.clips.clone())
    assert (shown[0].int() - shown[1].int()).abs().max() <= 1
