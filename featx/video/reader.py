"""Decoded frames behind one small interface; the only importer of PyAV and decord.

`open_video` gives a reader: iterate it once for every frame in presentation order, then ask it
what it saw. PyAV is what "auto" takes: it decodes nearly twice as fast as decord (measured; see
CONTRIBUTING.md), because a frame that no clip needs is never converted, and it tells damaged frames
from sound ones. decord can be asked for; it repeats frames where packets and frames do not match and
hides concealed damage, so what it decodes is held against the file's packet index and `NotExact` says when the two do not agree.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError, UsageError

DecoderChoice = Literal["auto", "pyav", "decord"]
FrameSize = Callable[[int, int], tuple[int, int]]
Image = npt.NDArray[np.uint8]

# What a folder is searched for: the usual extensions of ffmpeg's video demuxers.
SUFFIXES = frozenset({
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".h264", ".hevc", ".ivf", ".m1v", ".m2t", ".m2ts",
    ".m2v", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogg", ".ogm", ".ogv",
    ".qt", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".y4m",
})  # fmt: skip

# Codecs in which every packet is a frame to show, so that one without a frame is damage. Not so in VP8 and VP9, whose
# alternate references are never shown; and MPEG-4 in AVI has packets of a few bytes for frames packed elsewhere.
_FRAME_A_PACKET = frozenset({"h264", "hevc", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4"})
PLACEHOLDER_BYTES = 16

# Demuxers that make "video" of text, or open other files by name.
_NOT_VIDEO = {
    "tty": "text",
    "hls": "a playlist",
    "concat": "a playlist",
    "dash": "a playlist",
    "sdp": "a session description",
}


class VideoError(FeatxError):
    """A file that cannot be read as video; the message is the reason, without the path."""


class NotExact(Exception):
    """What decord gave does not agree with the file's packet index: PyAV is to take it instead."""


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a file's headers and first frame say.

    height, width: pixels as displayed, rotation applied. rotation: degrees counter-clockwise.
    fps: average frame rate. duration_s and container_frames: as the container claims, 0 if it does not.
    """

    path: str
    format: str
    codec: str
    height: int
    width: int
    rotation: int
    fps: float
    duration_s: float
    container_frames: int


@dataclass(frozen=True)
class Frame:
    """One decoded frame: its number, when it is shown and gone (seconds), and `image()`, (H, W, 3) uint8 RGB.

    `image` converts and resizes when called: a frame that is not looked at costs only its decoding.
    """

    index: int
    time: float
    end: float
    image: Callable[[], Image]

    def keep(self, cut: Callable[[Image], Image]) -> Callable[[], Image]:
        """Take what `cut` leaves of the image, and return what gives it, when a clip shows the frame."""
        kept = cut(self.image())
        return lambda: kept


class VideoReader(ABC):
    """Frames of one video, decoded once, in order; made by `open_video`.

    After the iteration: `n_frames`, `damaged_frames`, and `times`, (n_frames + 1,) float64 seconds,
    the last one being when the last frame leaves the screen.
    """

    decoder: Literal["pyav", "decord"]
    info: VideoInfo

    #: Called for every packet, in a first pass for the times too: a sign of life.
    on_packet: Callable[[], None] | None = None

    def __init__(self) -> None:
        self.damaged_frames = 0
        self._starts: list[float] = []
        self._last_duration = 0.0

    @property
    def n_frames(self) -> int:
        return len(self._starts)

    @property
    def times(self) -> npt.NDArray[np.float64]:
        # AVI has no presentation times: with B-frames libavformat's guesses come out of order.
        starts = np.sort(np.asarray(self._starts, dtype=np.float64))
        return np.append(starts, starts[-1:] + self._last_duration)

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame; raise VideoError if there is none."""
        held: tuple[float, Callable[[], Image]] | None = None
        for time, image in self._decode():
            if held is not None:
                yield Frame(self.n_frames - 1, held[0], max(held[0], time), held[1])
                time = max(held[0], time) if self._monotonic else time
            self._starts.append(time)
            held = time, image
        if held is None:
            raise VideoError("not one frame could be decoded")
        yield Frame(self.n_frames - 1, held[0], held[0] + self._last_duration, held[1])

    _monotonic = False

    @abstractmethod
    def _decode(self) -> Iterator[tuple[float, Callable[[], Image]]]:
        """Yield each frame's time in seconds and what gives its image; set `_last_duration` to the last one's."""


def open_video(
    path: str | os.PathLike[str],
    *,
    frame_size: FrameSize | None = None,
    decoder: DecoderChoice = "auto",
    in_time_order: bool = False,
    complaints: Callable[[], int] | None = None,
) -> VideoReader:
    """Open a video for one pass over its frames.

    Args:
        path: A file on this machine.
        frame_size: (height, width) -> (height, width) to resize frames to, in the decoder. None
            keeps their size.
        decoder: "auto", "pyav" or "decord".
        in_time_order: Give every frame its true time already while iterating. Files whose
            timestamps are out of order are decoded twice for it.
        complaints: How much the decoder's library has printed so far, in bytes. Decoders whose
            library reports damage in no other way raise NotExact when it grows.

    Returns:
        The video: iterate it once for its frames.

    Raises:
        VideoError: The file cannot be read as video; the message is the reason.
        NotExact: The decoder asked for may get this file wrong. The default decoder never raises
            it.
        UsageError: The decoder is unknown or not installed.
    """
    if decoder not in get_args(DecoderChoice):
        raise UsageError(
            f"decoder is {decoder!r}: give one of {', '.join(get_args(DecoderChoice))}"
        )
    path = os.path.abspath(os.fspath(path))
    check_file(path)
    if decoder == "decord":
        if not has_decord():
            raise UsageError("decord is not installed: pip install decord, or use --decoder pyav")
        return _DecordReader(path, frame_size, complaints or (lambda: 0))
    return _AvReader(path, frame_size, in_time_order)


@cache
def has_decord() -> bool:
    """Return whether decord is installed: it has no wheels for ARM or macOS."""
    import importlib.util

    return importlib.util.find_spec("decord") is not None


def decoder_versions(decoder: DecoderChoice) -> dict[str, str]:
    """Return the names and versions of the decoders that this choice can use, without importing them."""
    from importlib.metadata import version

    packages = {"pyav": "av"} | ({"decord": "decord"} if decoder == "decord" else {})
    return {name: version(package) for name, package in packages.items()}


class _AvReader(VideoReader):
    decoder: Literal["pyav", "decord"] = "pyav"

    def __init__(self, path: str, frame_size: FrameSize | None, in_time_order: bool) -> None:
        super().__init__()
        self._path = path
        with av_errors():
            self._container = open_av(path)
            self._stream = video_stream(self._container)
            self._frames = self._decoded(self._container, self._stream)
            self._first = next(self._frames, None)
        if self._first is None:
            raise VideoError("not one frame could be decoded")
        self.info = read_info(path, self._container, self._stream, self._first)
        self._size = (
            frame_size(self.info.height, self.info.width)
            if frame_size
            else (self.info.height, self.info.width)
        )
        self._monotonic = in_time_order

    def _decode(self) -> Iterator[tuple[float, Callable[[], Image]]]:
        image = converter(self.info.rotation, self._size)
        known = self._times_by_pass() if self._monotonic and self._out_of_order() else None

        def frames() -> Iterator[Any]:
            yield self._first
            self._first = None
            yield from self._frames

        with self._container, av_errors():
            for index, frame in enumerate(frames()):
                time = self._time(frame, index) if known is None else float(known[index])
                self._last_duration = self._duration(frame)
                yield time, partial(image, frame)

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        """Yield every frame that decodes, counting in `damaged_frames` those marked corrupt and those that do not."""
        import av

        stream.codec_context.thread_count = 1
        counted = stream.codec_context.name in _FRAME_A_PACKET
        owed = 0  # packets that were to give a frame, less the frames that came
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.error.FFmpegError:
                self.damaged_frames += 1  # the container itself breaks off here
                break
            if self.on_packet is not None:
                self.on_packet()
            owed += counted and packet.size > PLACEHOLDER_BYTES and not packet.is_discard
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                self.damaged_frames += 1
                owed -= 1
                continue
            for frame in frames:
                self.damaged_frames += bool(frame.is_corrupt)
                owed -= 1
                yield frame
        self.damaged_frames += max(0, owed)

    def _out_of_order(self) -> bool:
        return (
            bool(self._stream.codec_context.has_b_frames) and self._container.format.name == "avi"
        )

    def _times_by_pass(self) -> npt.NDArray[np.float64]:
        with open_av(self._path) as container:
            damaged = self.damaged_frames
            frames = self._decoded(container, video_stream(container))
            times = np.sort(
                np.asarray([self._time(frame, index) for index, frame in enumerate(frames)])
            )
            self.damaged_frames = damaged
        return times

    def _time(self, frame: Any, index: int) -> float:
        if frame.pts is not None and frame.time_base is not None:
            return float(frame.pts * frame.time_base)
        return self._starts[-1] + 1 / self.info.fps if self._starts else index / self.info.fps

    def _duration(self, frame: Any) -> float:
        length = getattr(frame, "duration", 0)
        return (
            float(length * frame.time_base)
            if length and frame.time_base is not None
            else 1 / self.info.fps
        )


def converter(rotation: int, size: tuple[int, int]) -> Callable[[Any], Image]:
    """Return what makes an image, (H, W, 3) uint8 RGB, of PyAV's frame: turned, and of `size`, (height, width) as shown."""
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    # Newer PyAV scales each frame on all cores; here every core has a reader of its own.
    single = {"threads": 1} if "threads" in (reformatter.reformat.__doc__ or "") else {}
    turns = rotation // 90
    height, width = size if turns % 2 == 0 else size[::-1]

    def image(frame: Any) -> Image:
        scaled = reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation="BILINEAR", **single
        )
        pixels: Image = np.asarray(scaled.to_ndarray(), dtype=np.uint8)
        return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels

    return image


class _DecordReader(VideoReader):
    decoder: Literal["pyav", "decord"] = "decord"

    def __init__(
        self, path: str, frame_size: FrameSize | None, complaints: Callable[[], int]
    ) -> None:
        super().__init__()
        import decord

        self._complaints, self._before = complaints, complaints()
        self.info, self._index = _packet_index(path)
        self._last_duration = 1 / self.info.fps
        height, width = (
            frame_size(self.info.height, self.info.width)
            if frame_size
            else (self.info.height, self.info.width)
        )
        self._shape = (height, width, 3)
        try:
            self._source = decord.VideoReader(
                path, num_threads=1, width=width, height=height, fault_tol=-1
            )
        except Exception as error:
            raise NotExact(f"decord cannot open it: {_first_line(error)}") from error

    def _decode(self) -> Iterator[tuple[float, Callable[[], Image]]]:
        for number, time in enumerate(self._index):
            try:
                image = self._source.next().asnumpy()
            except StopIteration:
                raise NotExact(
                    f"decord gave {number} frames where the index has {len(self._index)}"
                ) from None
            except Exception as error:
                raise NotExact(f"decord failed at frame {number}: {_first_line(error)}") from error
            # decord takes a row's padded length over its width for the channels: 24 pixels in 96 bytes come out as 4.
            if image.shape != self._shape:
                raise NotExact(
                    f"decord gave a frame of shape {image.shape} where {self._shape} was asked for"
                )
            if self.on_packet is not None:
                self.on_packet()
            if self._complaints() != self._before:
                raise NotExact(f"the decoder complained at frame {number}")
            yield float(time), partial(_same, image)


def _same(image: Image) -> Image:
    return image


def _packet_index(path: str) -> tuple[VideoInfo, npt.NDArray[np.float64]]:
    """Return what the headers say and every packet's presentation time in seconds, sorted; NotExact if they are unsound."""
    import av

    with av_errors(), open_av(path) as container:
        stream = video_stream(container)
        packets = [p for p in container.demux(stream) if p.size or p.pts is not None]
        base = stream.time_base
        if container.format.name == "avi" and stream.codec_context.has_b_frames:
            raise NotExact("AVI with B-frames has no presentation times")
        if any(p.pts is None or p.is_corrupt or p.is_discard or not p.size for p in packets):
            raise NotExact("packets without time or marked corrupt")
        stamps = np.sort(np.asarray([p.pts for p in packets], dtype=np.int64))
        if not len(stamps) or np.any(np.diff(stamps) <= 0):
            raise NotExact("packets share their times")
    with av_errors(), open_av(path) as container:
        stream = video_stream(container)
        try:
            frame = next(container.decode(stream))
        except (StopIteration, av.error.FFmpegError) as error:
            raise NotExact("the first frame does not decode") from error
        info = read_info(path, container, stream, frame)
    if info.rotation:
        raise NotExact("it is rotated")
    return info, stamps.astype(np.float64) * float(base)


def read_info(path: str, container: Any, stream: Any, frame: Any) -> VideoInfo:
    rotation = round(getattr(frame, "rotation", 0) / 90) * 90 % 360
    height, width = frame.height, frame.width
    if rotation in (90, 270):
        height, width = width, height
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate or 25
    duration = (
        stream.duration * stream.time_base if stream.duration else (container.duration or 0) / 1e6
    )
    return VideoInfo(
        path=path,
        format=container.format.name,
        codec=stream.codec_context.name,
        height=height,
        width=width,
        rotation=rotation,
        fps=float(rate),
        duration_s=max(0.0, float(duration)),
        container_frames=stream.frames,
    )


def check_file(path: str) -> None:
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno == errno.ENOENT and os.path.islink(path):
            raise VideoError(f"a link to {os.readlink(path)!r}, which does not exist") from error
        raise VideoError(f"cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
        raise VideoError(f"{kinds.get(stat.S_IFMT(status.st_mode), 'a device')}, not a file")
    if status.st_size == 0:
        raise VideoError("the file is empty (0 bytes)")
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise VideoError(f"cannot be opened: {error.strerror}") from error
    if head.startswith((b"#EXTM3U", b"ffconcat")):
        raise VideoError("a playlist, not a video")


def open_av(path: str) -> Any:
    import av

    av.logging.set_level(av.logging.PANIC)
    # "file:" keeps a colon in the name from being read as a protocol.
    return av.open(
        f"file:{path}", metadata_errors="replace", options={"protocol_whitelist": "file"}
    )


def video_stream(container: Any) -> Any:
    name = container.format.name
    if name in _NOT_VIDEO:
        raise VideoError(f"{_NOT_VIDEO[name]}, not a video")
    if name == "image2" or name.endswith("_pipe"):
        raise VideoError(f"a still picture ({name.removesuffix('_pipe')}), not a video")
    from av.stream import Disposition

    streams = [s for s in container.streams.video if not Disposition.attached_pic & s.disposition]
    if not streams:
        others = sorted({s.type for s in container.streams})
        raise VideoError(
            f"no video stream, only {' and '.join(others)}" if others else "no stream of any kind"
        )
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise VideoError("its video stream names no codec that is known")
    return stream


@contextlib.contextmanager
def av_errors() -> Iterator[None]:
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        raise VideoError(
            f"cannot be read as video: {error.strerror or _first_line(error)}"
        ) from error
    except (ValueError, UnicodeError) as error:
        raise VideoError(f"cannot be read as video: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
