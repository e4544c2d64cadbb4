"""What a checkpoint says of itself: in a file that featx wrote, in the manifest, in a feature file, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.clips import ClipSpec
from featx.errors import FeatxError, UsageError
from featx.system.text import visible
from featx.transforms import Transform
from featx.weights import manifest
from featx.weights.manifest import Checkpoint
from featx.weights.quantize import STORAGES
from featx.weights.statefile import SUFFIXES, StateFile, read_state

# What others go by of what a file says of itself; whatever else is in its info is only handed on.
_INFO: dict[str, type] = {
    "name": str, "source": str, "licence": str, "labels": list, "trained_on": dict, "training": dict, "metrics": dict,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file that featx wrote says of itself. info: what `save_checkpoint` was given."""

    architecture: str
    transform: Transform
    clip: ClipSpec
    info: dict[str, Any]

    @classmethod
    def from_json(cls, path: Path, described: Mapping[str, Any]) -> Description:
        """Return what the file's metadata say; FeatxError where that is damaged or of a later format."""
        known = sorted({storage.format for storage in STORAGES.values()})
        if described.get("format") not in known:
            formats = " or ".join(map(str, known))
            raise FeatxError(
                f"{path} has a description of format {described.get('format')!r}, not {formats}: a newer featx wrote it"
            )
        try:
            found = cls(
                architecture=str(described["architecture"]),
                transform=Transform.from_dict(described["transform"]),
                clip=ClipSpec(**described["clip"]),
                info=dict(described["info"]),
            )
            for name, kind in _INFO.items():
                if not isinstance(value := found.info.get(name), kind | None):
                    raise TypeError(f"its {name} is {value!r}")
            return found
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FeatxError(
                f"{path} has a damaged description ({error}): save it again with featx"
            ) from None

    def to_json(self, *, num_classes: int, storage: str) -> dict[str, Any]:
        """Return JSON values for the file's metadata."""
        described = {
            "format": STORAGES[storage].format,
            "architecture": self.architecture,
            "num_classes": num_classes,
            "transform": self.transform.to_dict(),
            "clip": self.clip.to_dict(),
            "info": self.info,
        }
        return described | ({"storage": storage} if storage != "float32" else {})

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names in the order of the logits, where they are known."""
        return tuple(map(str, self.info["labels"])) if self.info.get("labels") else None

    def weights_info(self, name: str) -> dict[str, Any]:
        """Return what of it goes into a feature file; name: the weights' name where the file tells none."""
        info = {
            "name": self.info.get("name") or name,
            "source": self.info.get("source"),
            "licence": self.info.get("licence"),
        }
        # seed: of what is untrained in it; trained_on: for whoever must not test on what was trained on.
        return info | {
            key: self.info[key] for key in ("seed", "trained_on") if self.info.get(key) is not None
        }


def in_words(weights: Mapping[str, Any]) -> str:
    """Return weights as a feature file records them in one line: their name, what they were trained on, their licence."""
    if weights["name"] == "random":
        return f"random, seed {weights.get('seed')}: features of an untrained network"
    on = weights.get("trained_on")
    if isinstance(on, Mapping) and on.get("dataset"):
        part = f", {on['subset']}" if on.get("subset") else ""
        split = f" split {on['split']}" if on.get("split") is not None else ""
        size = next(
            (
                f" ({on[unit]:,} {unit})"
                for unit in ("videos", "samples")
                if isinstance(on.get(unit), int)
            ),
            "",
        )
        # How many clips were generated is the last run's number, and what it began from has seen others.
        what = (
            "trained on generated motion"
            if "generator" in on
            else f"trained on {on['dataset']}{split}{part}{size}"
        )
    else:
        what = str(weights.get("source") or "it is not told what they were trained on")
    # A file may call itself anything, and a repr goes to terminals.
    return visible(f"{weights['name']}: {what}; licence: {weights.get('licence') or 'not told'}")


def describe(path: str | Path) -> Checkpoint:
    """Return what a file that featx wrote says of itself, as the manifest would have it with the file in weights/.

    path: the file, or the name of a registered checkpoint, for what the manifest has.

    Raises UsageError where the file is not featx's own, FeatxError where it is damaged.
    """
    from featx.models import model_entry
    from featx.weights.fitting import with_weights

    found = Path(path).expanduser()
    if (
        found.suffix not in SUFFIXES
        and (row := {c.name: c for c in manifest.list_checkpoints()}.get(str(path))) is not None
    ):
        return row
    file, told = read_own(found)
    entry = model_entry(told.architecture)
    model = with_weights(entry.name, file.state, where=str(found))
    return Checkpoint(
        name=str(told.info.get("name") or found.stem),
        architecture=entry.name,
        num_classes=model.num_classes if model.has_classifier else None,
        format="featx",
        sha256=file.sha256,
        file=found.name,
        transform=told.transform,
        clip=told.clip,
        licence=told.info.get("licence"),
        source=told.info.get("source"),
        trained_on=told.info.get("trained_on") or {},
        training=told.info.get("training") or {},
        metrics=told.info.get("metrics") or {},
        labels=told.labels,
    )


def read_own(path: str | Path) -> tuple[StateFile, Description]:
    """Read a file that featx wrote, with what it says of itself; UsageError for any other, FeatxError for a damaged one."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise UsageError(
            f"{path} is no checkpoint of featx's own: its name must end in .safetensors"
        )
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    file = read_state(path)
    if not file.described:
        raise UsageError(
            f"{path} says nothing of itself: give a .safetensors file that featx wrote, such as featx train's"
        )
    return file, Description.from_json(path, file.described)
