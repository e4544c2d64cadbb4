"""Single frames of a video, decoding no more than they need: for training, which shows one clip at a time.

PyAV decodes them, whatever decoder is chosen elsewhere. Where the packets tell when each frame is
shown, a frame's number and time are known without decoding, and the decoder starts at the keyframe
before the first. Where they do not (AVI and MXF with B-frames, timestamps that restart), or what comes out is not what they told,
frames are counted by decoding from the beginning; none but those asked for is converted to an image.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from featx.video.decoders import MAX_PIXELS
from featx.video.decoders.pyav import (
    Restarts,
    av_errors,
    converter,
    least_bytes,
    only_decoding_times,
    open_av,
    packets_of,
    read_info,
)
from featx.video.decoders.pyav import video_stream as stream_of
from featx.video.reader import Frame, FrameSize, VideoError, VideoInfo, check_file, open_video

# The decoder whose frames these are.
DECODER: Final = "pyav"


class NotIndexed(Exception):
    """The packets told of frames that decoding does not give: count them with `index_video(path, decode=True)`."""


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """Which frames a video has.

    times: (n_frames + 1,) float64, seconds, the last one being when the last frame leaves the screen.
    stamps: (n_frames,) int64, the stream's own timestamps, by which a frame is found; None where frames can only be counted.
    """

    times: npt.NDArray[np.float64]
    stamps: npt.NDArray[np.int64] | None = None

    @property
    def n_frames(self) -> int:
        return len(self.times) - 1


def index_video(
    path: str | os.PathLike[str],
    *,
    decode: bool = False,
    max_pixels: int = MAX_PIXELS,
    alive: Callable[[], None] = lambda: None,
) -> FrameIndex:
    """Return a video's frames, from its packets where they can tell.

    decode: count by decoding in any case. max_pixels: of a frame, as `open_video`. alive: called for every packet.
    Raises VideoError with the reason if the file cannot be read.
    """
    path = os.path.abspath(os.fspath(path))
    check_file(path)
    found = None if decode else _from_packets(path, max_pixels, alive)
    if found is not None:
        return found
    video = open_video(path, max_pixels=max_pixels, decoder=DECODER)
    video.on_packet = alive
    for _ in video:
        pass
    return FrameIndex(video.times)


def _from_packets(path: str, max_pixels: int, alive: Callable[[], None]) -> FrameIndex | None:
    """Return the index that the packets give; None where they leave a doubt."""
    with av_errors(), open_av(path) as container:
        stream = stream_of(container, max_pixels)
        reordered = bool(stream.codec_context.has_b_frames)
        if container.format.name == "avi" and reordered:
            return None
        base = stream.time_base
        least = least_bytes(stream.codec_context.name)
        told = list[tuple[int, int]]()  # not the packets: they hold the whole file
        doubt = base is None
        restarts = Restarts()
        for packet in packets_of(container, stream):
            alive()
            doubt |= restarts.packet(packet)
            if packet.size > least:
                doubt |= packet.pts is None or packet.is_corrupt or packet.is_discard
                told.append((packet.pts or 0, packet.duration or 0))
    if doubt or base is None or not told:
        return None
    if reordered and only_decoding_times(container, [stamp for stamp, _ in told]):
        return None
    stamps, durations = np.array(sorted(told), dtype=np.int64).T.copy()
    if np.any(np.diff(stamps) <= 0):
        return None
    last = durations[-1] or (stamps[-1] - stamps[-2] if len(stamps) > 1 else round(1 / (25 * base)))
    return FrameIndex(np.append(stamps, stamps[-1] + last).astype(np.float64) * float(base), stamps)


@dataclass
class Stretch:
    """Frames of a video, by number, and what the file's headers say of it.

    damaged_frames: those among them that the decoder marked as corrupt, and packets on the way that did not decode.
    """

    info: VideoInfo
    frames: dict[int, Frame]
    damaged_frames: int


def read_frames(
    path: str | os.PathLike[str],
    index: FrameIndex,
    wanted: Iterable[int],
    *,
    frame_size: FrameSize | None = None,
    max_pixels: int = MAX_PIXELS,
    alive: Callable[[], None] = lambda: None,
) -> Stretch:
    """Decode the frames of these numbers; their images are made when a frame's `image` is called.

    frame_size: (height, width) -> (height, width) to resize frames to; None keeps theirs.
    max_pixels: of a frame, as `open_video`. alive: called for every packet.
    Raises NotIndexed when the index was made from packets and is not what decoding gives, VideoError if the file cannot
    be read or ends before the last of them.
    """
    numbers = sorted(set(wanted))
    if not numbers or not 0 <= numbers[0] <= numbers[-1] < index.n_frames:
        raise ValueError(f"frames {numbers[:1]} to {numbers[-1:]} of a video with {index.n_frames}")
    path = os.path.abspath(os.fspath(path))
    check_file(path)
    if index.stamps is not None and numbers[0] > 0:
        try:
            return _decoded(path, index, numbers, frame_size, max_pixels, alive, seek=True)
        except NotIndexed:
            pass  # the container's own index is at fault, it may be: from the beginning, then
    return _decoded(path, index, numbers, frame_size, max_pixels, alive, seek=False)


def _decoded(
    path: str,
    index: FrameIndex,
    numbers: list[int],
    frame_size: FrameSize | None,
    max_pixels: int,
    alive: Callable[[], None],
    *,
    seek: bool,
) -> Stretch:
    stamps, times = index.stamps, index.times
    waiting = deque(numbers)
    found: dict[int, Any] = {}
    damage = _Damage()
    with av_errors(), open_av(path) as container:
        stream = stream_of(container, max_pixels)
        stream.codec_context.thread_count = 1
        if seek and stamps is not None:
            container.seek(int(stamps[numbers[0]]), stream=stream)
        for count, frame in enumerate(_frames(container, stream, damage, alive)):
            place = count if stamps is None else _place(stamps, frame.pts)
            if place > waiting[0]:
                raise NotIndexed(f"frame {waiting[0]} of {path} does not come out of the decoder")
            if place == waiting[0]:
                damage.frames += bool(frame.is_corrupt)
                found[waiting.popleft()] = frame
            if not waiting:
                break
        if waiting and stamps is not None:
            raise NotIndexed(f"{path} ends before frame {waiting[0]}")
        if waiting:
            raise VideoError(
                f"it ends before frame {waiting[0]}, where it had {index.n_frames} frames"
            )
        info = read_info(path, container, stream, found[numbers[0]])
        image = converter(info, info.resized(frame_size))
        frames = {
            n: Frame(n, float(times[n]), float(times[n + 1]), partial(image, frame))
            for n, frame in found.items()
        }
        return Stretch(info, frames, damage.frames)


def _place(stamps: npt.NDArray[np.int64], stamp: int | None) -> int:
    """Return which frame is shown at a timestamp; NotIndexed where none is."""
    place = int(np.searchsorted(stamps, stamp)) if stamp is not None else len(stamps)
    if place == len(stamps) or stamps[place] != stamp:
        raise NotIndexed("a frame came out of the decoder that the packets do not tell of")
    return place


@dataclass
class _Damage:
    frames: int = 0


def _frames(
    container: Any, stream: Any, damage: _Damage, alive: Callable[[], None]
) -> Iterator[Any]:
    import av

    packets = packets_of(container, stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            damage.frames += 1  # the container itself breaks off here
            return
        alive()
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            damage.frames += 1
            continue
        yield from frames
