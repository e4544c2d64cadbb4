"""PyAV, the default decoder; and what reads a file's packets and headers by it.

Frames come as FFmpeg decodes them. A frame that no clip shows is never converted, which makes it
nearly twice as fast as decord (measured; see docs/development/house.md), and damaged frames are told from
sound ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.video.decoders import Decoder, OpenOptions, register_decoder
from featx.video.reader import Image, VideoError, VideoInfo, VideoReader

# Codecs in which every packet is a frame to show, so that one without a frame is damage. Not so in
# VP8 and VP9, whose alternate references are never shown; and MPEG-4 in AVI has packets of a few
# bytes for frames packed elsewhere.
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


class PyAVReader(VideoReader):
    """Frames of one video by PyAV. VideoError says why a file cannot be read."""

    def __init__(self, path: str, options: OpenOptions) -> None:
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
        self._size = self.info.resized(options.frame_size)
        self.in_time_order = options.in_time_order

    def decode(self) -> Iterator[tuple[float, Callable[[], Image]]]:
        image = converter(self.info.rotation, self._size)
        known = self._times_by_pass() if self.in_time_order and self._out_of_order() else None

        def frames() -> Iterator[Any]:
            yield self._first
            self._first = None
            yield from self._frames

        with self._container, av_errors():
            for index, frame in enumerate(frames()):
                time = self._time(frame, index) if known is None else float(known[index])
                self.last_duration = self._duration(frame)
                yield time, partial(image, frame)

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        """Yield every frame that decodes; count those marked corrupt, and those that do not decode."""
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
        before = self.last_time
        return index / self.info.fps if before is None else before + 1 / self.info.fps

    def _duration(self, frame: Any) -> float:
        length = getattr(frame, "duration", 0)
        return (
            float(length * frame.time_base)
            if length and frame.time_base is not None
            else 1 / self.info.fps
        )


def converter(rotation: int, size: tuple[int, int]) -> Callable[[Any], Image]:
    """Return what makes PyAV's frame an image, uint8 RGB of `size`, (height, width) as shown."""
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


def read_info(path: str, container: Any, stream: Any, frame: Any) -> VideoInfo:
    """Return what an open file's headers and its first frame say."""
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


def open_av(path: str) -> Any:
    """Open a local file, and nothing that it names, as PyAV's container."""
    import av

    av.logging.set_level(av.logging.PANIC)
    # "file:" keeps a colon in the name from being read as a protocol.
    return av.open(
        f"file:{path}", metadata_errors="replace", options={"protocol_whitelist": "file"}
    )


def video_stream(container: Any) -> Any:
    """Return the stream of a container that is its video; VideoError where there is none."""
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
    """Turn PyAV's errors into VideoError with the reason."""
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        raise VideoError(
            f"cannot be read as video: {error.strerror or first_line(error)}"
        ) from error
    except (ValueError, UnicodeError) as error:
        raise VideoError(f"cannot be read as video: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Return an error's first line, or its type's name where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _versions() -> dict[str, str]:
    return {"pyav": version("av")}


def _missing() -> str | None:
    return None if find_spec("av") else "PyAV is not installed: pip install av"


register_decoder(
    Decoder(
        name="pyav",
        open=PyAVReader,
        exact=True,
        resumes=True,
        versions=_versions,
        missing=_missing,
    )
)
