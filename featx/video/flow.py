"""Optical flow as model input: flow frames, and RGB frames in which what moves is bright (RGBF).

Yang et al., "Asymmetric 3D Convolutional Neural Networks for Action Recognition", section 3.4: the flow between
successive frames is an image of dx, dy and its magnitude; the magnitude, rescaled to [0, 1] in each
frame, says where something moves, and RGBF is RGB times that (equation 7). The paper computes flow by
Brox et al. 2004, of which OpenCV has no version for CPUs; TV-L1 is the nearest it has. The only
importer of OpenCV, which the extra `featx[flow]` brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, get_args

import numpy as np
import numpy.typing as npt

from featx.errors import UsageError
from featx.transforms import FLOW_ZERO, FlowMethod, Input
from featx.video.reader import Frame, Image, VideoError

Flow = npt.NDArray[np.float16]

# Pixels at which dx and dy are clipped in a flow image, as a share of the frame's shorter side: 20 in a frame of 256 x 340,
# the bound of the two-stream networks' TV-L1 images (Wang et al. 2016, temporal segment networks, their released code).
BOUND = 20 / 256
_STEPS = 127  # from no motion to the bound
# What differs from OpenCV's own defaults: DIS's is the preset FAST, whose result is a grid four times as coarse.
_PARAMETERS: dict[FlowMethod, dict[str, Any]] = {
    "tvl1": {},
    "dis": {"preset": "medium"},
    "farneback": {},
}
_LARGEST = float(np.finfo(np.float16).max)


def _cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise UsageError(
            f"OpenCV is not here ({error}): pip install 'featx[flow]', or use `input='rgb'`"
        ) from error
    return cv2


def resolve_method(wanted: str) -> FlowMethod:
    """Return the method that `wanted` means here: "auto" is TV-L1 where the installed OpenCV has it, else DIS.

    Raises UsageError if OpenCV is not installed, has no such method, or nobody has.
    """
    methods = get_args(FlowMethod)
    if wanted not in ("auto", *methods):
        raise UsageError(f"flow is {wanted!r}: give one of auto, {', '.join(methods)}")
    cv2 = _cv2()
    has_tvl1 = hasattr(getattr(cv2, "optflow", None), "DualTVL1OpticalFlow_create")
    if wanted == "auto":
        return "tvl1" if has_tvl1 else "dis"
    if wanted == "tvl1" and not has_tvl1:
        raise UsageError(
            f"flow is 'tvl1': OpenCV {cv2.__version__} here lacks it, opencv-contrib-python-headless has it; or use dis"
        )
    return wanted  # type: ignore[return-value]


def recorded(input: Input, method: FlowMethod) -> dict[str, Any]:
    """Return what a frame's bits depend on beside the method: OpenCV's version, parameters that are not its defaults, the bound.

    bound: of flow images, pixels over the frame's shorter side.
    """
    bound = {"bound": BOUND} if input == "flow" else {}
    return {"opencv": str(_cv2().__version__), **_PARAMETERS[method], **bound}


def computed_by() -> str:
    """Return what computes flow here, in words: it is equal to the bit only where this is."""
    cv2 = _cv2()
    usable = [
        name.lstrip("*") for name in cv2.getCPUFeaturesLine().split() if not name.endswith("?")
    ]
    return f"OpenCV {cv2.__version__}, {usable[-1] if usable else 'baseline'}"


@contextmanager
def threads_kept() -> Iterator[None]:
    """Give OpenCV its number of threads back at the end, which an `OpticalFlow` sets to one."""
    cv2 = _cv2()
    before = cv2.getNumThreads()
    try:
        yield
    finally:
        cv2.setNumThreads(before)


class OpticalFlow:
    """The flow from one frame to the next by one method of OpenCV; the same for the same two frames, whatever came before.

    Sets OpenCV's threads in this process to one: its cores belong to other workers.
    Raises UsageError if OpenCV or the method is not here.
    """

    def __init__(self, method: FlowMethod) -> None:
        self.method = resolve_method(method)
        self._cv2 = cv2 = _cv2()
        cv2.setNumThreads(1)
        if method == "tvl1":
            self._algorithm = cv2.optflow.DualTVL1OpticalFlow_create()
        elif method == "dis":
            self._algorithm = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        else:
            self._algorithm = cv2.FarnebackOpticalFlow_create()

    def __call__(self, a: Image, b: Image) -> Flow:
        """Return by how many pixels what `a` shows has moved in `b`, right and down being positive.

        a, b: (H, W, 3) uint8 RGB -> (H, W, 2) float16, dx and dy. Equal frames have none (Farneback would find 0.1 pixels).
        Raises VideoError if the method cannot take frames of this size.
        """
        if np.array_equal(a, b):
            return np.zeros((*a.shape[:2], 2), np.float16)
        cv2 = self._cv2
        try:
            gray = (
                cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) for image in (a, b)
            )
            found = np.asarray(self._algorithm.calc(*gray, None))
        except cv2.error as error:
            reason = " ".join(str(error).split())
            raise VideoError(
                f"no {self.method} flow of frames of {a.shape[1]}x{a.shape[0]} pixels: {reason[:200]}"
            ) from error
        if not np.isfinite(found).all():
            raise VideoError(
                f"the {self.method} flow of a frame is not finite: choose another method of flow"
            )
        return found.clip(-_LARGEST, _LARGEST).astype(np.float16)


def magnitude(flow: Flow) -> npt.NDArray[np.float32]:
    """Return the length of each pixel's motion: (H, W, 2) -> (H, W) float32, pixels."""
    dx, dy = flow[..., 0].astype(np.float32), flow[..., 1].astype(np.float32)
    # Products, sum and root round the same on every processor; hypot need not.
    return np.asarray(np.sqrt(dx * dx + dy * dy), dtype=np.float32)


def confidence(flow: Flow) -> npt.NDArray[np.float32]:
    """Return where something moves: the flow's magnitude, its smallest in the frame at 0 and its largest at 1 (equation 7).

    (H, W, 2) -> (H, W) float32. Where all of a frame moves alike, or nothing does, equation 7 is 0/0: 0 everywhere.
    """
    length = magnitude(flow)
    least = length.min()
    spread = length.max() - least
    return (length - least) / spread if spread > 0 else np.zeros_like(length)


def rgbf_image(rgb: Image, flow: Flow) -> Image:
    """Return RGB times the flow's confidence (equation 7), rounded: (H, W, 3) uint8, (H, W, 2) -> (H, W, 3) uint8."""
    image: Image = np.rint(rgb * confidence(flow)[..., None]).astype(np.uint8)
    return image


def flow_image(flow: Flow) -> Image:
    """Return dx, dy and the magnitude as an image: (H, W, 2) -> (H, W, 3) uint8.

    128 is no motion, and 127 steps from it are BOUND times the frame's shorter side, beyond which motion is
    clipped: dx and dy are in 1..255, the magnitude, on the same scale, in 128..255.
    """
    step = BOUND * min(flow.shape[:2]) / _STEPS
    channels = np.concatenate([flow.astype(np.float32), magnitude(flow)[..., None]], axis=2)
    image: Image = (FLOW_ZERO + np.rint(channels / np.float32(step)).clip(-_STEPS, _STEPS)).astype(
        np.uint8
    )
    return image


class StoredFlow(Protocol):
    """Flow that was computed before."""

    def read(self, index: int) -> Flow:
        """Return the flow of frame `index`, (H, W, 2) float16."""


class _Decoded:
    """A frame's image, converted once, when first asked for; what it is converted from is let go then."""

    def __init__(self, frame: Frame) -> None:
        self._give: Callable[[], Image] | None = frame.image
        self._image: Image | None = None

    def __call__(self) -> Image:
        if self._image is None and self._give is not None:
            self._image, self._give = self._give(), None
        assert self._image is not None  # noqa: S101 - for the type checker
        return self._image


@dataclass(frozen=True)
class FlowFrame(Frame):
    """A frame whose `image()` is its flow or RGBF image; `shown` are the decoded images that this takes."""

    shown: tuple[_Decoded, ...] = ()

    def keep(self, cut: Callable[[Image], Image]) -> Callable[[], Image]:
        """Convert what is decoded now; compute the flow when, and if, the image is first asked for."""
        for decoded in self.shown:
            decoded()
        return _Later(lambda: cut(self.image()))


class _Later:
    def __init__(self, make: Callable[[], Image]) -> None:
        self._make: Callable[[], Image] | None = make
        self._made: Image | None = None

    def __call__(self) -> Image:
        if self._made is None and self._make is not None:
            self._made, self._make = self._make(), None  # the frames that it was made of are let go
        assert self._made is not None  # noqa: S101 - for the type checker
        return self._made


def with_flow(
    frames: Iterable[Frame],
    input: Input,
    flow: OpticalFlow,
    *,
    stored: StoredFlow | None = None,
    keep: Callable[[Flow], object] | None = None,
) -> Iterator[FlowFrame]:
    """Yield every frame of a video as its flow or RGBF image, one frame behind the decoder.

    The flow of a frame is that to the next frame of the video, whichever of them a clip shows, so that it is aligned
    with the frame's own pixels, as equation 7 needs; that of the last frame is the flow to the one before it, negated,
    and that of an only frame is zero. It is computed on the frames as they come (resized, not cropped), when an image
    is asked for.

    frames: in order, all of them. stored: where flow is read instead of computed.
    keep: called with every frame's flow, in order: all of them are computed then.
    """
    if input == "rgb":
        raise ValueError("RGB frames have no flow")
    before: _Decoded | None = None
    held: tuple[Frame, _Decoded] | None = None

    def made(frame: Frame, own: _Decoded, other: _Decoded | None, *, last: bool) -> FlowFrame:
        find: Callable[[], Flow]
        shown: tuple[_Decoded, ...]
        if stored is not None:
            find, shown = partial(stored.read, frame.index), (own,) if input == "rgbf" else ()
        else:
            find, shown = (
                partial(_between, flow, own, other, last),
                (own, other) if other else (own,),
            )
        if keep is not None:
            known = find()
            keep(known)
            find, shown = (lambda: known), (own,) if input == "rgbf" else ()

        def image() -> Image:
            return flow_image(find()) if input == "flow" else rgbf_image(own(), find())

        return FlowFrame(frame.index, frame.time, frame.end, image, shown)

    for frame in frames:
        decoded = _Decoded(frame)
        if held is not None:
            yield made(*held, decoded, last=False)
            before = held[1]
        held = frame, decoded
    if held is not None:
        yield made(*held, before, last=True)


def _between(flow: OpticalFlow, own: _Decoded, other: _Decoded | None, last: bool) -> Flow:
    image = own()
    if other is None:
        return np.zeros((*image.shape[:2], 2), np.float16)
    found = flow(image, other())
    return -found if last else found
