"""Clips of files for loops of one's own: the same as extract's, whatever process reads them."""

from __future__ import annotations

import os
import pickle
import signal
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import assert_one_sentence, encode
from told import telling, tells
from torch.utils.data import DataLoader

from featx.clips import ClipSpec
from featx.errors import UsageError
from featx.extraction.extract import extract
from featx.extraction.settings import ClipOptions, Machine
from featx.extraction.video_clips import VideoClip, VideoClips
from featx.store.reader import FeatureStore
from featx.transforms import Transform
from featx.video.cutting import clips_of
from featx.video.reader import open_video

CLIP = ClipSpec(frames=4, step=2, stride=3)
TRANSFORM = Transform(resize=(20, 24), crop=16, mean=(100.0, 110.0, 120.0), std=(50.0, 55.0, 60.0))
TINY: dict[str, Any] = {"clip": CLIP, "transform": TRANSFORM, "workers": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for i in range(4):
        encode(folder / f"v{i}.mp4", 13 + 6 * i, size=(40, 48), seed=i)
    return folder


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    """A folder of two sound videos and one that is none."""
    for name in ("v0.mp4", "v1.mp4"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "text.mp4").write_text("no video")
    return tmp_path


def by_hand(path: Path) -> list[np.ndarray]:
    """A video's clips, (T, H, W, 3) uint8 each."""
    video = open_video(path, frame_size=TRANSFORM.frame_size)
    return [
        np.stack([crops[0] for crops in clip]) for _, clip in clips_of(video, CLIP, TRANSFORM.cut)
    ]


def by_video(items: Iterable[VideoClip]) -> dict[str, list[VideoClip]]:
    found = defaultdict(list)
    for item in items:
        found[item.video].append(item)
    return dict(found)


def decoders_of(pid: int) -> list[int]:
    """The decoding processes that a process has."""
    children = [
        int(child)
        for listed in Path(f"/proc/{pid}/task").glob("*/children")
        for child in listed.read_text().split()
    ]
    return [c for c in children if b"featx.video.worker" in Path(f"/proc/{c}/cmdline").read_bytes()]


def test_clips_are_those_cut_by_hand_in_order(folder: Path) -> None:
    plain = by_video(VideoClips(folder, **TINY, normalise=False))
    ready = by_video(VideoClips(folder, **TINY))
    assert set(plain) == set(ready) == {"v0", "v1", "v2", "v3"}
    mean, std = (torch.tensor(v)[:, None, None, None] for v in (TRANSFORM.mean, TRANSFORM.std))
    for video, items in plain.items():
        expected = by_hand(folder / f"{video}.mp4")
        assert [item.number for item in items] == list(range(len(expected)))
        assert [item.number for item in ready[video]] == list(range(len(expected)))
        for item, normalised, clip in zip(items, ready[video], expected, strict=True):
            assert item.clip.dtype == torch.uint8
            np.testing.assert_array_equal(item.clip.numpy(), clip)
            x = (torch.from_numpy(clip).permute(3, 0, 1, 2).float() - mean) / std
            assert normalised.clip.dtype == torch.float32
            torch.testing.assert_close(normalised.clip, x)
            assert normalised.clip.is_contiguous()


def test_a_loop_of_ones_own_computes_what_extract_stores(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv3d(3, 5, 3), torch.nn.ReLU(), torch.nn.Flatten())
    extract(
        folder, tmp_path / "out.h5", module, clip=CLIP, transform=TRANSFORM, device="cpu", workers=2
    )
    loader = DataLoader(VideoClips(folder, **TINY), batch_size=4)
    rows = defaultdict(list)
    with torch.no_grad():
        for batch in loader:
            assert isinstance(batch, VideoClip)
            made = zip(batch.video, batch.number.tolist(), module(batch.clip), strict=True)
            for video, number, row in made:
                assert number == len(rows[video])
                rows[video].append(row.numpy())
    with FeatureStore(tmp_path / "out.h5") as store:
        assert set(rows) == set(store.ids)
        for video, made in rows.items():
            np.testing.assert_allclose(np.stack(made), store[video]["output"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_of_a_data_loader_share_the_videos(folder: Path, context: str) -> None:
    alone = by_video(VideoClips(folder, **TINY))
    loader = DataLoader(
        VideoClips(folder, **TINY),
        batch_size=None,
        num_workers=2,
        multiprocessing_context=context,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork, of a process with threads
        shared = by_video(loader)
    assert set(shared) == set(alone)
    for video, items in alone.items():
        assert [item.number for item in shared[video]] == [item.number for item in items]
        for one, other in zip(items, shared[video], strict=True):
            assert torch.equal(one.clip, other.clip)


def test_more_loader_workers_than_videos(folder: Path) -> None:
    dataset = VideoClips(folder / "v0.mp4", **TINY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        items = list(DataLoader(dataset, batch_size=None, num_workers=2))
    assert [item.number for item in items] == list(range(len(by_hand(folder / "v0.mp4"))))


def test_a_video_that_cannot_be_read_costs_itself_alone(broken: Path) -> None:
    dataset = VideoClips(broken, **TINY)
    assert dataset.ids == ["text", "v0", "v1"]
    assert dataset.failures == []
    for _ in range(2):  # every iteration tries again, and lists it once
        with pytest.warns(UserWarning, match=telling(broken / "text.mp4")) as caught:
            assert set(by_video(dataset)) == {"v0", "v1"}
        ((path, reason),) = dataset.failures
        assert path == str(broken / "text.mp4")
        assert tells(caught[0].message, reason)
    assert "1 failed" in repr(dataset)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_failures_come_back_from_the_workers_of_a_data_loader(broken: Path, context: str) -> None:
    alone = VideoClips(broken, **TINY)
    loader = DataLoader(
        VideoClips(broken, **TINY),
        batch_size=None,
        num_workers=2,
        multiprocessing_context=context,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert set(by_video(loader)) == {"v0", "v1"}
        list(alone)
    assert loader.dataset.failures == alone.failures != []


def test_damaged_frames_are_counted(folder: Path, tmp_path: Path) -> None:
    content = bytearray((folder / "v3.mp4").read_bytes())
    middle = (content.index(b"mdat") + content.index(b"moov")) // 2
    content[middle : middle + 900] = np.random.default_rng(0).bytes(900)
    (tmp_path / "damaged.mp4").write_bytes(content)
    dataset = VideoClips(tmp_path, **TINY)
    assert list(dataset)
    ((path, frames),) = dataset.damaged
    assert (path, frames > 0) == (str(tmp_path / "damaged.mp4"), True)


def test_leaving_the_loop_ends_the_decoding_processes(folder: Path) -> None:
    dataset = VideoClips(folder, **TINY)
    for _item in dataset:
        assert len(decoders_of(os.getpid())) == 2
        break
    assert decoders_of(os.getpid()) == []
    iterator = iter(DataLoader(dataset, batch_size=2))
    next(iterator)
    assert decoders_of(os.getpid()) != []
    del iterator
    assert decoders_of(os.getpid()) == []


def test_leaving_the_loop_ends_those_of_loader_workers(folder: Path) -> None:
    loader = DataLoader(VideoClips(folder, **TINY), batch_size=None, num_workers=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        iterator = iter(loader)
    next(iterator)
    (worker,) = (w.pid for w in iterator._workers)  # type: ignore[attr-defined]
    decoders = decoders_of(worker)
    assert decoders
    del iterator
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in decoders):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_process_that_dies_gives_no_clip_twice(tmp_path: Path) -> None:
    """What it had given already is not given again by the one that takes its place."""
    encode(tmp_path / "long.mp4", 120, size=(40, 48))
    dataset = VideoClips(tmp_path, clip=CLIP, transform=TRANSFORM, workers=1)
    numbers = []
    for item in dataset:
        numbers.append(item.number)
        if item.number == 2:
            (pid,) = decoders_of(os.getpid())
            os.kill(pid, signal.SIGKILL)
    assert numbers == list(range(len(by_hand(tmp_path / "long.mp4"))))
    assert dataset.failures == []


def test_a_slow_loop_is_not_taken_for_a_decoder_that_hangs(folder: Path) -> None:
    dataset = VideoClips(folder / "v3.mp4", clip=CLIP, transform=TRANSFORM, workers=1, timeout=1.5)
    items = []
    for item in dataset:
        if item.number in (0, 7):
            time.sleep(2.5)
        items.append(item)
    assert len(items) == len(by_hand(folder / "v3.mp4"))
    assert dataset.failures == []


def test_flow_is_an_input_as_any_other(folder: Path) -> None:
    pytest.importorskip("cv2")
    flow = Transform(
        resize=(20, 24), crop=16, mean=(0.0,) * 3, std=(1.0,) * 3, input="flow", flow="farneback"
    )
    items = list(VideoClips(folder / "v0.mp4", clip=CLIP, transform=flow, normalise=False))
    assert len(items) == len(by_hand(folder / "v0.mp4"))
    assert all((item.clip[..., 2] >= 128).all() for item in items)  # a magnitude is not negative


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"clip": {"frames": 4}}, "dict"),
        ({"clip": ClipOptions(frames=4)}, "ClipOptions"),
        ({"transform": None}, "NoneType"),
        ({"transform": Transform(**vars(TRANSFORM) | {"crops": "ten"})}, "ten"),
        ({"transform": Transform(**vars(TRANSFORM) | {"flip": True})}, "flip"),
        ({"decoder": "decord"}, "decord"),
        ({"machine": Machine(decoder="decord")}, "decord"),
        ({"workers": 0}, "0"),
        ({"timeout": -1.0}, "-1"),
        ({"videos": "nowhere/at/all.mp4"}, "nowhere/at/all.mp4"),
    ],
)
def test_nonsense_is_refused(folder: Path, values: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        VideoClips(**{"videos": folder, **TINY, **values})
    assert tells(caught.value, told)
    assert_one_sentence(caught.value)


def test_a_copy_is_a_dataset_too_and_the_file_of_failures_goes_with_the_first(
    folder: Path,
) -> None:
    dataset = VideoClips(folder, **TINY)
    copy = pickle.loads(pickle.dumps(dataset))
    assert [i.number for i in copy if i.video == "v0"] == [0, 1]
    kept = Path(dataset._notes._path)
    assert kept.exists()
    del copy
    assert kept.exists()
    del dataset
    assert not kept.exists()
