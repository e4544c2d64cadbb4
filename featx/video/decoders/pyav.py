"""PyAV, the default decoder; and what reads a file's packets and headers by it.

Frames come as FFmpeg decodes them. A frame that no clip shows is never converted, which makes it
nearly twice as fast as decord (measured; see docs/development/house.md), and damaged frames are told from
sound ones.
"""

from __future__ import annotations

import codecs
import contextlib
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from featx.video.decoders import (
    MAX_PIXELS,
    Decoder,
    OpenOptions,
    _avi,
    _lost,
    _mp4,
    register_decoder,
)
from featx.video.reader import Image, VideoError, VideoInfo, VideoReader
from featx.video.times import Clock, Seconds

# Codecs in which every packet is a frame to show, so that one without a frame is damage. Not so in
# VP8 and VP9, whose alternate references are never shown.
_FRAME_A_PACKET = frozenset({
    "dvvideo", "ffv1", "ffvhuff", "flv", "h263", "h264", "hevc", "huffyuv", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4",
    "msmpeg4v1", "msmpeg4v2", "msmpeg4", "png", "prores", "utvideo", "wmv1", "wmv2",
})  # fmt: skip
# Codecs with packets of a few bytes for frames that are skipped, or packed elsewhere.
_PLACEHOLDERS = frozenset({"mpeg4", "wmv2"})
_PLACEHOLDER_BYTES = 16

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
        self._path, self._max_pixels = path, options.max_pixels
        with av_errors():
            self._container = open_av(path)
            self._stream = video_stream(self._container, options.max_pixels)
            self._frames = self._decoded(self._container, self._stream)
            self._first = next(self._frames, None)
        if self._first is None:
            raise VideoError(_mp4.problem(path) or "not one frame could be decoded")
        self.info = read_info(path, self._container, self._stream, self._first[0])
        self._size = self.info.resized(options.frame_size)
        # Where timestamps are wrong, the average rate is made of them.
        self._guessed_rate = float(self._stream.guessed_rate or self.info.fps)
        self._steps = _avi.steps(_avi.entries(self._container, self._stream))
        self.in_time_order = options.in_time_order
        if self.in_time_order and self._out_of_order():
            with av_errors():
                self._ahead = self.all_times()

    @property
    def _rate(self) -> float:
        return self._guessed_rate

    def decode(self) -> Iterator[tuple[float, Callable[[], Image]]]:
        image = converter(self.info, self._size)

        def frames() -> Iterator[tuple[Any, bool]]:
            if self._first is not None:
                yield self._first
            self._first = None
            yield from self._frames

        with self._container, av_errors():
            for frame, restarts in frames():
                if restarts:
                    self.restart()
                self.last_duration = self._duration(frame)
                yield _stamp(frame), partial(image, frame)

    def all_times(self) -> Seconds:
        with open_av(self._path) as container:
            damaged = self.damaged_frames
            clock, before = Clock(self._rate), 0.0
            stream = video_stream(container, self._max_pixels)
            for frame, restarts in self._decoded(container, stream):
                clock.add(_stamp(frame), restarts_after=before if restarts else None)
                before = self._duration(frame)
            self.damaged_frames = damaged
        return clock.shown()[0]

    def _decoded(self, container: Any, stream: Any) -> Iterator[tuple[Any, bool]]:
        """Yield every frame that decodes, and whether the timestamps start again with it.

        Frames marked corrupt, and those that do not decode, are counted.
        """
        import av

        stream.codec_context.thread_count = 1
        codec = stream.codec_context.name
        counted = codec in _FRAME_A_PACKET
        owed = 0  # packets that were to give a frame, less the frames that came
        restarts = Restarts()
        shown = _avi.ShownTimes() if _has_decoding_times(container, stream) else None

        def missing(time: int) -> None:
            self.damaged_frames += counted
            if shown is not None:
                shown.decoded(time)
                shown.lost(time)

        holes = _lost.Holes(container, stream)
        packets = packets_of(container, stream, missing, holes)
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
            restarts.packet(packet)
            if shown is not None:
                shown.decoded(packet.dts)
            owed += counted and packet.size > least_bytes(codec) and not packet.is_discard
            try:
                frames, damage = _lost.decoded(packet, codec)
            except av.error.FFmpegError:
                self.damaged_frames += 1
                owed -= 1
                if shown is not None:
                    shown.lost(packet.dts)
                continue
            for frame in frames:
                self.damaged_frames += bool(frame.is_corrupt or damage)
                owed -= 1
                if shown is not None:
                    frame.pts = shown.frame(frame.pts)
                yield frame, restarts.frame(frame)
        self.damaged_frames += max(0, owed) + holes.frames()

    def _out_of_order(self) -> bool:
        return (
            bool(self._stream.codec_context.has_b_frames)
            and self._container.format.name == "avi"
            and not _has_decoding_times(self._container, self._stream)
        )

    def _duration(self, frame: Any) -> float:
        length = getattr(frame, "duration", 0) * self._steps
        return (
            float(length * frame.time_base)
            if length and frame.time_base is not None
            else 1 / self.info.fps
        )


def _has_decoding_times(container: Any, stream: Any) -> bool:
    """Return whether packets have the times at which they are decoded, and no others."""
    return container.format.name == "avi" and stream.codec_context.name in _avi.REORDERED


def only_decoding_times(container: Any, stamps: list[int]) -> bool:
    """Return whether packets of reordered frames have times, in the file's order, that are not theirs.

    FFmpeg gives H.264 in MXF the times of decoding for those of presentation.
    """
    return container.format.name == "mxf" and stamps == sorted(stamps)


def least_bytes(codec: str) -> int:
    """Return the size up to which a packet of this codec holds no frame of its own."""
    return _PLACEHOLDER_BYTES if codec in _PLACEHOLDERS else 0


def _stamp(frame: Any) -> float:
    """Return a frame's own time in seconds, nan where it has none."""
    if frame.pts is None or frame.time_base is None:
        return math.nan
    return float(frame.pts * frame.time_base)


class Restarts:
    """Where a stream's timestamps start again, as in two recordings one after the other.

    Decoding times never go back within a recording, whatever the order of its frames. The frame with
    which the new one begins is the next whose own time goes back.
    """

    def __init__(self) -> None:
        self._decoded: int | None = None
        self._shown: int | None = None
        self._due = 0

    def packet(self, packet: Any) -> bool:
        """Take a packet, in the file's order; return whether decoding times go back with it."""
        if packet.dts is None:
            return False
        back = self._decoded is not None and packet.dts < self._decoded
        self._decoded = packet.dts
        self._due += back
        return back

    def frame(self, frame: Any) -> bool:
        """Take a frame, as it is decoded; return whether it begins a new stretch."""
        if frame.pts is None:
            return False
        back = self._due > 0 and self._shown is not None and frame.pts < self._shown
        self._shown = frame.pts
        self._due -= back
        return back


def converter(info: VideoInfo, size: tuple[int, int]) -> Callable[[Any], Image]:
    """Return what makes PyAV's frame an image, uint8 RGB of `size`, (height, width) as shown."""
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    progressive = _Progressive()
    # Newer PyAV scales each frame on all cores; here every core has a reader of its own.
    single = {"threads": 1} if "threads" in (reformatter.reformat.__doc__ or "") else {}
    turns = info.rotation // 90
    height, width = size if turns % 2 == 0 else size[::-1]

    def image(frame: Any) -> Image:
        scaled = reformatter.reformat(
            progressive(frame),
            width=width,
            height=height,
            format="rgb24",
            interpolation="BILINEAR",
            **single,
        )
        pixels: Image = np.asarray(scaled.to_ndarray(), dtype=np.uint8)
        if turns:
            pixels = np.rot90(pixels, turns)
        return np.ascontiguousarray(pixels[:, ::-1] if info.mirrored else pixels)

    return image


class _Progressive:
    """Makes frames of two fields pass for frames of one.

    Newer FFmpeg resizes each field by itself, which keeps the comb that motion leaves between the
    two. Resized as a whole, as other decoders and the ffmpeg command do, they blend.
    """

    def __init__(self) -> None:
        self._graphs: dict[tuple[int, int, str], Any] = {}

    def __call__(self, frame: Any) -> Any:
        if not frame.interlaced_frame:
            return frame
        key = (frame.width, frame.height, frame.format.name)
        if key not in self._graphs:
            self._graphs[key] = self._graph(frame)
        graph = self._graphs[key]
        graph.push(frame)
        return graph.pull()

    def _graph(self, frame: Any) -> Any:
        from av.filter import Graph

        graph = Graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base or Fraction(1, 25),
        )
        graph.link_nodes(source, graph.add("setfield", "prog"), graph.add("buffersink"))
        graph.configure()
        return graph


def orientation(frame: Any) -> tuple[float, bool]:
    """Return how a frame is shown: turned by so many degrees counter-clockwise, then mirrored or not.

    The display matrix sends a point (x, y) to (a x + c y, b x + d y); y points down. One that mirrors
    is a turn, after which left and right are swapped.
    """
    matrix = next((s for s in frame.side_data if s.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return 0.0, False
    a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32).astype(float)
    mirrored = bool(a * d - b * c < 0)
    return math.degrees(math.atan2(-b, -a if mirrored else a)) % 360, mirrored


def read_info(path: str, container: Any, stream: Any, frame: Any) -> VideoInfo:
    """Return what an open file's headers and its first frame say."""
    angle, mirrored = orientation(frame)
    rotation = round(angle / 90) * 90 % 360
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
        mirrored=mirrored,
        display_angle=angle if abs((angle - rotation + 180) % 360 - 180) > 1 else None,
        pixel_aspect=_pixel_aspect(stream, turned=rotation in (90, 270)),
        interlaced=bool(frame.interlaced_frame),
        fps=float(rate),
        duration_s=max(0.0, float(duration)),
        container_frames=_claimed_frames(container, stream),
    )


def _claimed_frames(container: Any, stream: Any) -> int:
    """Return how many frames to show the container claims, 0 if it does not."""
    if container.format.name == "avi":
        index = _avi.entries(container, stream)
        return _avi.claimed_frames(stream.frames, stream.codec_context.name, index)
    # An edit list of MP4 hides frames, which are decoded all the same for those that refer to them.
    hidden = sum(entry.is_discard for entry in getattr(stream, "index_entries", ()))
    claimed: int = stream.frames - hidden
    return max(0, claimed)


def _pixel_aspect(stream: Any, *, turned: bool) -> float | None:
    """Return the width of a pixel over its height, as displayed; None for square ones."""
    told = float(stream.sample_aspect_ratio or 0)
    if told <= 0 or abs(told - 1) < 0.001:
        return None
    return 1 / told if turned else told


def open_av(path: str) -> Any:
    """Open a local file, and nothing that it names, as PyAV's container."""
    import av

    av.logging.set_level(av.logging.PANIC)
    # FFmpeg takes pictures one after the other for the first of them.
    named = "mjpeg" if path.lower().endswith((".mjpeg", ".mjpg")) else None
    try:
        container = _opened(path)
        if named is not None and container.format.name == "jpeg_pipe":
            container.close()
            container = _opened(path, named)
    except (av.error.InvalidDataError, av.error.EOFError):
        if (reason := _mp4.problem(path)) is not None:
            raise VideoError(reason) from None
        if _is_text(path):
            raise VideoError(
                "text, not a video; the name of a list of paths ends in .txt, .lst or .list"
            ) from None
        raise
    return container


def _opened(path: str, name: str | None = None) -> Any:
    import av

    # "file:" keeps a colon in the name from being read as a protocol.
    return av.open(
        f"file:{path}",
        format=name,
        metadata_errors="replace",
        options={"protocol_whitelist": "file"},
    )


def _is_text(path: str) -> bool:
    with open(path, "rb") as file:
        head = codecs.getincrementaldecoder("utf-8")("replace").decode(file.read(4096))
    return all(c.isprintable() or c in "\t\r\n" for c in head) and "\ufffd" not in head


def _limit(max_pixels: int) -> dict[str, str]:
    """Return the codec's option; decoders hold more than is shown, up to 64 rows of padding."""
    return {"max_pixels": str(max(2 * max_pixels, 1 << 24))}


def video_stream(container: Any, max_pixels: int = MAX_PIXELS) -> Any:
    """Return the stream of a container that is its video.

    VideoError where there is none, and where its frames have more pixels than `max_pixels`.
    """
    name = container.format.name
    if name in _NOT_VIDEO:
        raise VideoError(f"{_NOT_VIDEO[name]}, not a video")
    if name == "webp_pipe":
        raise VideoError("a WebP picture, and animated ones are not decoded: convert it to a video")
    if name == "image2" or name.endswith("_pipe"):
        raise VideoError(f"a still picture ({name.removesuffix('_pipe')}), not a video")
    from av.stream import Disposition

    streams = [s for s in container.streams.video if not Disposition.attached_pic & s.disposition]
    if not streams:
        kinds = {"a cover picture" if s.type == "video" else s.type for s in container.streams}
        others = " and ".join(sorted(kinds, key=lambda kind: (kind == "a cover picture", kind)))
        raise VideoError(f"no video stream, only {others}" if others else "no stream of any kind")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise VideoError("its video stream names no codec that is known")
    codec = stream.codec_context
    if codec.width * codec.height > max_pixels:
        raise VideoError(
            f"its frames are {codec.width}x{codec.height}, which is {codec.width * codec.height}"
            f" pixels, and at most {max_pixels} are decoded: raise `max_pixels`"
        )
    codec.options = {**codec.options, **_limit(max_pixels)}  # frames may become larger later on
    return stream


def packets_of(
    container: Any,
    stream: Any,
    missing: Callable[[int], None] = lambda time: None,
    holes: _lost.Holes | None = None,
) -> Iterator[Any]:
    """Yield a stream's packets in the file's order, and at the end the empty one that flushes a decoder.

    missing: called with the time of each packet that an AVI's index has and the file has not.
    holes: told of every packet.
    """
    packets = _demuxed(container, stream, holes)
    if container.format.name == "avi":
        index = _avi.entries(container, stream)
        return _avi.at_their_times(packets, stream.codec_context.name, index, missing)
    return packets


def _demuxed(container: Any, stream: Any, holes: _lost.Holes | None) -> Iterator[Any]:
    """Yield a stream's packets as FFmpeg reads them.

    Other streams may begin in the middle of the file. PyAV's own iteration fails on those: at the
    latest when it comes to flush them, which is after this stream has been flushed.
    """
    others = holes is not None and holes.needs_all
    while True:
        try:
            for packet in container.demux() if others else container.demux(stream):
                if holes is not None and packet.size:
                    holes.packet(packet)
                if packet.stream_index != stream.index:
                    continue
                yield packet
                if not packet.size and packet.pts is None and packet.dts is None:
                    return
        except IndexError:  # a packet of a stream that PyAV does not know; it is read by now
            if holes is not None:
                holes.unknown()
            continue
        return


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
