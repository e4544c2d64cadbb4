"""The values that a detector's configuration takes for the features of an export, and the lines to paste."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from featx.export._annotations import Labels
from featx.export._formats import ACTIVITYNET, BINS, FEATURES, Job

ANNOTATIONS = "annotations.json"
CLASS_MAP = "category_idx.txt"
GTAD = "annotations"
# Values that ActionFormer's configuration must name even where there are none.
_NULLS = ("file_prefix", "default_fps")
# Rates that differ by no more are one: over an hour that is a tenth of a frame.
_SAME_RATE = 1e-6


def common_rate(job: Job) -> float | None:
    """Return the rate of the frames that the stride counts; None where the videos' rates differ."""
    rates = [video.fps for _, video in job.videos]
    return round(rates[0], 9) if max(rates) - min(rates) <= _SAME_RATE * rates[0] else None


def config(
    job: Job, *, out: Path, labels: Labels | None, prefix: str
) -> tuple[dict[str, Any], str]:
    """Return the configuration's values, and its text to paste; prefix: what the loader puts before the annotations' names."""
    write = {
        "activitynet": _activitynet,
        "actionformer": _actionformer,
        "opentad": _opentad,
        "gtad": _gtad,
        "mmaction": _mmaction,
    }
    return write[job.to](job, Path("/") / out.absolute(), labels, prefix)


def _activitynet(
    job: Job, out: Path, labels: Labels | None, prefix: str
) -> tuple[dict[str, Any], str]:
    values = {"file": str(out / FEATURES / ACTIVITYNET), "feature_stride": job.grid.stride, "clip_frames": job.grid.span,
              "fps": common_rate(job), "dims": job.dims}  # fmt: skip
    text = f"""import h5py
features = h5py.File({json.dumps(values["file"])}, "r")
rows = features[{json.dumps(job.videos[0][0])}]["c3d_features"][:]   # (T, {job.dims}) float32
# Row i covers {job.grid.span} frames from frame {job.grid.stride} * i, {_rate_text(common_rate(job))}."""
    return values, text


def _actionformer(
    job: Job, out: Path, labels: Labels | None, prefix: str
) -> tuple[dict[str, Any], str]:
    rate = common_rate(job)
    thumos = (
        labels.thumos if labels is not None else all("video_" in name for name, _ in job.videos)
    )
    values: dict[str, Any] = {
        "dataset_name": "thumos" if thumos else "anet",
        "json_file": str(out / ANNOTATIONS) if labels is not None else None,
        "feat_folder": str(out / FEATURES),
        "file_prefix": prefix or None,
        "file_ext": ".npy",
        "num_classes": len(labels.classes) if labels is not None else None,
        "input_dim": job.dims,
        "feat_stride": job.grid.stride,
        "num_frames": job.grid.span,
        "default_fps": rate,
        "downsample_rate": 1,
        "force_upsampling": False,
    }
    splits = "".join(
        f"{name}: [{json.dumps(subset.lower())}]\n"
        for name, role in (("train_split", "train"), ("val_split", "val"))
        if labels is not None and (subset := labels.subset(role)) is not None  # type: ignore[arg-type]
    )
    said = {
        name: value
        for name, value in values.items()
        if name != "dataset_name" and (value is not None or name in _NULLS)
    }
    lines = "".join(
        f"  {name}: {'~' if value is None else json.dumps(value)},\n"
        for name, value in said.items()
    )
    return values, f"dataset_name: {values['dataset_name']}\n{splits}dataset: {{\n{lines}}}"


def _opentad(job: Job, out: Path, labels: Labels | None, prefix: str) -> tuple[dict[str, Any], str]:
    values = {
        "annotation_path": str(out / ANNOTATIONS) if labels is not None else None,
        "class_map": str(out / CLASS_MAP) if labels is not None else None,
        "data_path": f"{out / FEATURES}/",
        "block_list": None,
        "feature_stride": job.grid.stride,
        "sample_stride": 1,
        "offset_frames": job.grid.span // 2,
        "in_channels": job.dims,
        "prefix": prefix,
    }
    paths = "".join(
        f"{n} = {values[n]!r}\n"
        for n in ("annotation_path", "class_map", "data_path", "block_list")
        if _there(values, n)
    )
    load = f'dict(type="LoadFeats", feat_format="npy", prefix={json.dumps(prefix)})'
    text = f"""{paths}# in each dataset, of type ThumosPaddingDataset or ThumosSlidingDataset (Anet's take {_fps(job)} too):
feature_stride={job.grid.stride}, sample_stride=1, offset_frames={values["offset_frames"]},
# first in each pipeline:
{load},
# in the model's projection:
in_channels={job.dims},"""
    return values, text


def _there(values: dict[str, Any], name: str) -> bool:
    return values[name] is not None or name == "block_list"


def _gtad(job: Job, out: Path, labels: Labels | None, prefix: str) -> tuple[dict[str, Any], str]:
    values: dict[str, Any] = {
        "feature_path": str(out / FEATURES),
        "feat_dim": job.dims,
        "skip_videoframes": job.grid.stride,
    }
    if labels is not None:
        values |= dict.fromkeys(("video_info", "video_anno"), f"{out / GTAD}/")
    options = " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in values.items())
    text = f"python gtad_train.py {options}\npython gtad_inference.py {options}\npython gtad_postprocess.py {options}"
    if labels is not None:
        text += (
            "\n# gtad_postprocess.py reads its annotations in ./data/thumos_annotations, whatever it is told:\n"
            f"cp {shlex.quote(str(out / GTAD))}/*.csv ./data/thumos_annotations/"
        )
    return values | {"fps": common_rate(job)}, text


def _mmaction(
    job: Job, out: Path, labels: Labels | None, prefix: str
) -> tuple[dict[str, Any], str]:
    values: dict[str, Any] = {
        "data_root": f"{out / FEATURES}/",
        "feat_dim": job.dims,
        "temporal_dim": BINS,
    }
    if labels is not None:
        values |= {
            f"ann_file_{role}": str(out / f"anet_anno_{role}.json") for role in ("train", "val")
        }
        values["ann_file_test"] = values["ann_file_val"]
    lines = [
        f"{name} = {json.dumps(value)}"
        for name, value in values.items()
        if name not in ("feat_dim", "temporal_dim")
    ]
    lines.append(f"data_root_val = {json.dumps(values['data_root'])}")
    return values, "\n".join([*lines, f"model = dict(feat_dim={job.dims}, temporal_dim={BINS})"])


def _fps(job: Job) -> str:
    rate = common_rate(job)
    return f"fps={-1 if rate is None else rate:.9g}"


def _rate_text(rate: float | None) -> str:
    return (
        f"at {rate:g} frames a second"
        if rate is not None
        else "at the video's own rate, which featx_export.json has"
    )
