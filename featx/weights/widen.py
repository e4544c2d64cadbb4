"""A checkpoint for a wider network out of a narrow one's, which computes the same until it is trained on.

Chen, Goodfellow, Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer" (ICLR 2016), section 2.2.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featx.errors import UsageError
from featx.system.files import check_target, disk_full, keep_inputs
from featx.weights.checkpoint import save_checkpoint
from featx.weights.description import read_own

if TYPE_CHECKING:
    import torch

# Of a copied channel's weight, the least and the most that goes to one copy: were they equal, copies would stay copies.
_SHARES = (0.25, 0.75)
# How far two float32 networks that compute the same may be apart, as a share of the largest number.
_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Widened:
    """A file that was written: how often each channel of `narrow` stands in it, and its sha256."""

    path: str
    narrow: str
    copies: int
    sha256: str


def widen(
    weights: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    architecture: str,
    seed: int = 0,
) -> Widened:
    """Write a checkpoint of a wider network that computes what a narrow one's does, to be trained further.

    weights: a .safetensors file that featx wrote, of a network that differs from `architecture` in its layers' widths alone, by
    one whole factor, such as res3d_half and res3d. Every channel becomes several; what a layer made of it is divided
    over them by shares drawn from `seed`, so that they part in training. Both networks are run on one clip of noise and compared.

    Raises UsageError where the one is not a wider form of the other.
    """
    import torch

    from featx.models import build_model
    from featx.weights.fitting import with_weights

    source, target = Path(weights).expanduser(), Path(out)
    if target.suffix != ".safetensors":
        raise UsageError(f"{target} must end in .safetensors")
    check_target(target, example="wide.safetensors")
    keep_inputs(target, [source])
    file, told = read_own(source)
    narrow = with_weights(told.architecture, file.state, where=str(source))
    if not narrow.has_classifier:
        raise UsageError(f"{source} has no classifier: widen a file that has its own")
    wide = build_model(architecture, num_classes=narrow.num_classes, seed=seed).eval()
    no = f"{architecture} is no wider form of {told.architecture}"
    try:
        wide.load_state_dict(widened(narrow.state_dict(), wide.state_dict(), seed=seed))
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"{no}: {error}") from None
    last = f"{wide.classifier}.weight"
    copies = wide.state_dict()[last].shape[1] // narrow.state_dict()[last].shape[1]
    side = told.transform.crop
    noise = 64 * torch.randn(
        1, 3, told.clip.frames, side, side, generator=torch.Generator().manual_seed(0)
    )
    with torch.inference_mode():
        before, after = narrow(noise), wide(noise)
    if not (after - before).abs().max() <= _TOLERANCE * before.abs().max():
        raise UsageError(f"{no}: made so, it computes something else")
    info = {
        **told.info,
        "name": f"{architecture} widened from {told.info.get('name') or source.stem}",
        "source": f"{told.info.get('source') or 'a source that is not told'}; each channel of {source.name}"
        f" (sha256 {file.sha256}) copied to {copies}, seed {seed}",
    }
    with disk_full(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    digest = save_checkpoint(
        target, wide, architecture=architecture, transform=told.transform, clip=told.clip, info=info
    )
    return Widened(path=os.fspath(out), narrow=told.architecture, copies=copies, sha256=digest)


def widened(
    narrow: Mapping[str, torch.Tensor], wide: Mapping[str, torch.Tensor], *, seed: int
) -> dict[str, torch.Tensor]:
    """Return a narrow network's numbers in a wide one's shapes: channel c of w stands at c, c + w and so on.

    Raises ValueError where a shape is no whole multiple, or the tensors have other names.
    """
    import torch

    if narrow.keys() != wide.keys():
        raise ValueError(f"{sorted(narrow.keys() ^ wide.keys())[0]} is in one of them alone")
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, value in narrow.items():
        shape = wide[name].shape
        if (
            value.dim() != len(shape)
            or value.shape[2:] != shape[2:]
            or any(w % v for v, w in zip(value.shape, shape, strict=True))
        ):
            raise ValueError(
                f"{name} is {tuple(value.shape)} in one and {tuple(shape)} in the other"
            )
        if value.dim() == 0:
            made[name] = value.clone()
            continue
        outputs = value.repeat(shape[0] // value.shape[0], *[1] * (value.dim() - 1))
        if value.dim() == 1:
            made[name] = outputs
            continue
        copies = shape[1] // value.shape[1]
        shares = torch.empty(shape[0], copies, value.shape[1]).uniform_(
            *_SHARES, generator=generator
        )
        shares /= shares.sum(1, keepdim=True)
        parts = outputs[:, None] * shares.view(*shares.shape, *[1] * (value.dim() - 2))
        made[name] = parts.flatten(1, 2).to(value.dtype)
    return made
