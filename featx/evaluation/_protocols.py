"""The papers' protocols: which clips and crops of a video are averaged into its prediction."""

from __future__ import annotations

from dataclasses import dataclass, replace

from featx.clips import ClipSpec
from featx.errors import UsageError, nearest
from featx.transforms import Crops, Transform


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Which clips and crops of a video are averaged, with equal weight, into its class probabilities.

    clips: so many, evenly spread (`ClipSpec.count`); None for non-overlapping windows, the tail dropped.
    crops: of each frame, as the checkpoint's own transform sizes them; never mirrored but for "ten".

    Frames, step, rate and size of a clip are the checkpoint's. A video shorter than a clip is looped.
    """

    name: str
    clips: int | None
    crops: Crops
    source: str

    def clip(self, own: ClipSpec) -> ClipSpec:
        """Return where the clips lie, for a network whose own clips are `own`."""
        return replace(own, stride=own.span, tail="drop", count=self.clips, scales=(1,))

    def transform(self, own: Transform) -> Transform:
        """Return how frames become model input, for a network whose own transform is `own`."""
        return replace(own, crops=self.crops, flip=False)

    @property
    def description(self) -> str:
        """What is averaged, in words."""
        clips = {None: "non-overlapping clips", 1: "one clip from the middle"}.get(
            self.clips, f"{self.clips} clips evenly spread"
        )
        return f"{clips}, {'centre crop' if self.crops == 'center' else 'ten crops'}"


class Whole(Protocol):
    """Clips that are no part of a video, each shown as it is."""

    @property
    def description(self) -> str:
        """What is shown, in words."""
        return "each clip as it is made"


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        # "a single center-cropped clip" and "10 center-cropped clips": which of a video's, the paper does not say.
        Protocol(
            name="clip",
            clips=1,
            crops="center",
            source="Tran et al. 2017, section 4, top-1 clip accuracy",
        ),
        Protocol(
            name="tran2017",
            clips=10,
            crops="center",
            source="Tran et al. 2017, section 4, video accuracy",
        ),
        Protocol(name="hara", clips=None, crops="center", source="Hara et al. 2017, section 3.2.2"),
        Protocol(
            name="asymmetric",
            clips=25,
            crops="ten",
            source="Yang et al., Asymmetric 3D-CNNs, section 4.3",
        ),
    )
}


def protocol_named(name: str) -> Protocol:
    """Return the protocol of that name; UsageError with the known names when there is none."""
    if name not in PROTOCOLS:
        raise UsageError(f"unknown protocol {name!r}{nearest(name, PROTOCOLS)}")
    return PROTOCOLS[name]
