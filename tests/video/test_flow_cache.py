"""Flow that is kept: read back to the bit, made again when anything is wrong with it, never torn."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import encode
from decoding import Events, decode
from told import telling, tells

from featx.transforms import FlowMethod
from featx.video.flow import OpticalFlow
from featx.video.flow_cache import FlowCache, StoredVideo, Writer, check_folder, stamp_of
from featx.video.reader import VideoError, open_video
from featx.video.worker import Noted, Restarted

cv2 = pytest.importorskip("cv2", reason="OpenCV, the extra featx[flow], is not installed")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return encode(tmp_path / "a.mp4", 40)


def notes(events: Events) -> list[str]:
    return [e.note for e in events if isinstance(e, Noted)]


def no_flow(*_: object) -> None:
    raise RuntimeError("flow is computed where it should be read")


def test_what_is_cached_is_not_computed_again_by_either_input(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {given: decode(path, None, given)[0] for given in ("rgbf", "flow")}
    decode(path, tmp_path / "cache", "flow")
    (file,) = (tmp_path / "cache").iterdir()
    assert file.stat().st_mode & 0o777 == 0o666 & ~os.umask(os.umask(0o022))
    monkeypatch.setattr(OpticalFlow, "__call__", no_flow)
    for given, clips in plain.items():
        read, events = decode(path, tmp_path / "cache", given)
        np.testing.assert_array_equal(read, clips)
        assert notes(events) == []


def test_a_parts_clips_leave_the_whole_videos_flow_in_the_cache(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = decode(path, None)
    first, _ = decode(path, tmp_path / "cache", start=0.0, end=0.64)
    np.testing.assert_array_equal(first, whole[:1])
    monkeypatch.setattr(OpticalFlow, "__call__", no_flow)
    for part, wanted in (({}, whole), ({"start": 0.64, "end": 1.28}, whole[1:])):
        clips, events = decode(path, tmp_path / "cache", **part)
        np.testing.assert_array_equal(clips, wanted)
        assert notes(events) == []


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut_off(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1000)


def without_its_end(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 12)


def of_something_else(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"dis"', b'"old"'))


def swapped(file: Path) -> None:
    """Two frames in each other's place."""
    content = file.read_bytes()
    record = 128 * 171 * 4 + 4
    begin = content.index(b"}", content.index(b'"video"')) + 1
    a, b = content[begin : begin + record], content[begin + record : begin + 2 * record]
    file.write_bytes(content[:begin] + b + a + content[begin + 2 * record :])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize(
    "harm", [flip_a_byte, cut_off, without_its_end, of_something_else, swapped, emptied]
)
def test_a_damaged_or_foreign_file_is_told_replaced_and_never_used(
    path: Path, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    plain, _ = decode(path, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    sound = file.read_bytes()
    harm(file)
    assert file.read_bytes() != sound
    again, events = decode(path, tmp_path / "cache")
    np.testing.assert_array_equal(again, plain)
    assert len(notes(events)) == 1
    assert file.read_bytes() == sound


@pytest.mark.parametrize("frames", [5, 39, 41])
def test_a_sound_file_with_other_frames_than_the_video_voids_what_was_made_of_it(
    path: Path, tmp_path: Path, frames: int
) -> None:
    plain, _ = decode(path, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    sound = file.read_bytes()
    header = sound[: sound.index(b"}", sound.index(b'"video"')) + 1]
    writer = Writer(file, header, lambda: True)
    for _ in range(frames):
        writer.add(np.ones((128, 171, 2), np.float16))
    writer.commit()
    writer.close()
    again, events = decode(path, tmp_path / "cache")
    np.testing.assert_array_equal(again, plain)
    assert sum(isinstance(e, Restarted) for e in events) == 1
    assert file.read_bytes() == sound


@pytest.mark.parametrize("where", ["add", "commit", "__init__"])
def test_a_full_disk_costs_the_cache_and_not_the_rows(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    plain, _ = decode(path, None)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Writer, where, full)
    clips, events = decode(path, tmp_path / "cache")
    np.testing.assert_array_equal(clips, plain)
    (note,) = notes(events)
    assert tells(note, os.strerror(errno.ENOSPC))
    assert list((tmp_path / "cache").iterdir()) == []


def test_flow_of_a_video_that_fails_or_changes_meanwhile_is_not_kept(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Writer.add

    def touching(self: Writer, flow: np.ndarray) -> None:
        os.utime(path, (1, 1))
        add(self, flow)

    monkeypatch.setattr(Writer, "add", touching)
    decode(path, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []

    def failing(self: Writer, flow: np.ndarray) -> None:
        raise VideoError("it breaks off")

    monkeypatch.setattr(Writer, "add", failing)
    with pytest.raises(AssertionError, match=telling("it breaks off")):
        decode(path, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_video_replaced_while_it_is_opened_leaves_no_flow_and_gets_none(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The old file is open when the new one takes its name: the new one's content must not name the old one's flow.
    folder, new = tmp_path / "cache", encode(tmp_path / "new.mp4", 40, size=(80, 96))
    stamp, _opened = stamp_of(str(path)), open_video(path)
    os.replace(new, path)
    cache = FlowCache(
        check_folder(folder), str(path), "pyav", (128, 171), "dis", lambda: None, stamp=stamp
    )
    writer = cache.write()
    for _ in range(40):
        writer.add(np.zeros((128, 171, 2), np.float16))
    writer.commit()
    writer.close()
    assert list(folder.iterdir()) == []
    decode(path, folder)
    again = FlowCache(str(folder), str(path), "pyav", (128, 171), "dis", lambda: None, stamp=stamp)
    assert again.path.exists()
    assert again.open() == (None, "")


def test_reading_a_large_video_for_the_cache_gives_signs_of_life(
    path: Path, tmp_path: Path
) -> None:
    signs = []
    with path.open("ab") as file:
        file.write(
            bytes(5 << 20)
        )  # what follows the last packet is not read by the decoder, but is content
    FlowCache(
        str(tmp_path),
        str(path),
        "pyav",
        (128, 171),
        "dis",
        lambda: signs.append(1),
        stamp=stamp_of(str(path)),
    )
    assert len(signs) >= 5


def test_files_are_named_after_all_that_their_flow_depends_on(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name(
        video: Path = path, size: tuple[int, int] = (128, 171), method: FlowMethod = "dis"
    ) -> str:
        return FlowCache(
            str(tmp_path),
            str(video),
            open_video(video).decoder,
            size,
            method,
            lambda: None,
            stamp=stamp_of(str(video)),
        ).path.name

    copy = tmp_path / "b.mp4"
    copy.write_bytes(path.read_bytes())
    assert name(copy) == name()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    others = {
        name(),
        name(copy),
        name(size=(112, 112)),
        name(method="tvl1"),
        name(method="farneback"),
    }
    monkeypatch.setattr(cv2, "__version__", "9.9.9")
    others.add(name())
    assert len(others) == 6


def test_what_a_killed_run_left_is_removed_and_what_another_is_writing_is_not(
    tmp_path: Path,
) -> None:
    left = tmp_path / "0123.flow.abcd.tmp"
    left.write_bytes(b"half")
    writer = Writer(tmp_path / "4567.flow", b"header", lambda: True)
    check_folder(tmp_path)
    assert not left.exists()
    assert len(list(tmp_path.iterdir())) == 1
    writer.commit()
    writer.close()
    assert [p.name for p in tmp_path.iterdir()] == ["4567.flow"]


def test_a_file_removed_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another run's check_folder, between the file's making and its locking.
    make, made = tempfile.mkstemp, []

    def removed_once(**where: Any) -> tuple[int, str]:
        fd, name = make(**where)
        made.append(name)
        if len(made) == 1:
            check_folder(tmp_path)
        return fd, name

    monkeypatch.setattr(tempfile, "mkstemp", removed_once)
    writer = Writer(tmp_path / "4567.flow", b"header", lambda: True)
    writer.commit()
    writer.close()
    assert len(made) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["4567.flow"]


def test_stored_flow_is_read_only(tmp_path: Path, path: Path) -> None:
    decode(path, tmp_path / "cache")
    cache = FlowCache(
        str(tmp_path / "cache"),
        str(path),
        "pyav",
        (128, 171),
        "dis",
        lambda: None,
        stamp=stamp_of(str(path)),
    )
    stored, why = cache.open()
    assert isinstance(stored, StoredVideo)
    assert (stored.frames, why) == (40, "")
    with pytest.raises(ValueError, match=telling("read-only")):
        stored.read(0)[0] = 1
    stored.close()
