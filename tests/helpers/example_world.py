"""A small world in which the help's examples run as written: videos, datasets, files and tiny networks of the names in them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tiny
import torch
from conftest import encode
from detection_networks import CLASSES, write_networks
from export_files import annotated, extracted, times_of
from feature_files import clustered, write_features
from foreign_networks import resnet_state
from layouts import laid_out
from projections import projection_of, saved
from scipy.io import savemat

from featx import FeatureStore, extract
from featx.clips import ClipSpec
from featx.datasets.aslan import read_pairs
from featx.models import ModelEntry, build_model, model_entry
from featx.models.network import Hidden, Network
from featx.models.rows import Conv
from featx.synthetic import motion
from featx.synthetic.layouts import ACTIONS, aslan, hmdb51, ucf101, write_dataset
from featx.tasks import svm
from featx.weights.checkpoint import save_checkpoint
from featx.weights.manifest import Checkpoint, find
from featx.weights.statefile import read_state

OWN = ("Biking", "Diving")
PER_CLASS, DIMS = 10, 30
CLIP = ClipSpec(frames=4, step=2, stride=8)


def _c3d(num_classes: int) -> Network:
    layers = [Conv(name=f"conv{i}", width=4, norm=False, stride=(1, 2, 2)) for i in range(1, 5)]
    layers.append(Conv(name="pool5", width=4, norm=False, stride=(2, 2, 2)))
    hidden = (Hidden("fc6", 8), Hidden("fc7", 8))
    return Network(
        layers, size=(4, 28, 28), num_classes=num_classes, classifier="fc8", hidden=hidden
    )


def networks() -> list[ModelEntry]:
    """Return tiny networks under the names of large ones, with the layers that examples ask of them."""
    residual = {
        "blocks": (2, 2, 2, 2),
        "num_classes": 2,
        "clip": CLIP,
        "layers": ("res5b", "pool5", "prob"),
    }
    return [
        tiny.ENTRY,
        tiny.residual("res3d", width=10, **residual),
        tiny.residual("res3d_half", width=5, **residual),
        tiny.residual("r3d_18", width=5, **residual),
        replace(tiny.ENTRY, name="c3d", builder=_c3d, layers=("fc6", "prob")),
    ]


@contextmanager
def small_networks() -> Iterator[None]:
    """Have the tiny networks stand for the large ones."""
    with ExitStack() as stack:
        for entry in networks():
            stack.enter_context(tiny.registered(entry))
        yield


def checkpoint(
    path: Path, name: str, *, labels: Sequence[str] = OWN, seed: int = 0, **info: Any
) -> Path:
    """Write untrained weights of a network, called trained."""
    entry = model_entry(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(
        path,
        build_model(name, num_classes=len(labels), seed=seed),
        architecture=name,
        transform=entry.transform,
        clip=entry.clip,
        info={"name": path.stem, "source": "a test", "licence": "CC0-1.0", "labels": list(labels)}
        | info,
    )
    return path


def registered_checkpoints(cache: Path) -> list[Checkpoint]:
    """Return rows of the manifest whose files are in the cache, of tiny networks."""
    rows = []
    for name in ("res3d-motion", "r3d_18-kinetics400", "c3d-sports1m"):
        row = find(name)
        file = checkpoint(cache / f"{name}.safetensors", row.architecture)
        entry = model_entry(row.architecture)
        rows.append(
            replace(
                row,
                num_classes=len(OWN),
                format="featx",
                sha256=read_state(file).sha256,
                file=None,
                url=f"http://127.0.0.1:9/{file.name}",
                transform=entry.transform,
                clip=entry.clip,
            )
        )
    return rows


def build(world: Path) -> None:
    """Fill a folder with all that the examples name; the networks stand for the large ones, and their files are registered."""
    for number, (label, group) in enumerate((c, g) for c in OWN for g in (1, 2)):
        encode(world / f"videos/{label}/v_{label}_g{group:02d}_c01.avi", 40, seed=number)
    first = world / "videos/Biking/v_Biking_g01_c01.avi"
    for name in ("a.mp4", "b.avi", "my-videos/c.mp4"):
        encode(world / name, 30, seed=len(name))
    encode(world / "v.avi", 80, seed=9)  # 3.2 s
    encode(world / "query.mp4", 70, fps=5, seed=10)  # 14 s
    _weights(world)
    data = world / "data"
    ids = laid_out(
        data / "ucf101", ucf101.plan, classes=("grow", "shrink"), per_class=PER_CLASS, like=first
    )
    ids_hmdb51 = laid_out(data / "hmdb51", hmdb51.plan, classes=("grow", "shrink"), per_class=20)
    laid_out(data / "aslan", aslan.plan, classes=ACTIONS, per_class=4)
    write_dataset(
        "thumos14",
        data,
        classes=["move_left", "rotate_cw"],
        per_class=2,
        seconds=8.0,
        size=(48, 64),
    )
    (data / "thumos14/networks").mkdir()
    write_networks(data / "thumos14/networks")
    _features(world, ids, ids_hmdb51)
    _models(world)
    _detections(world)
    (world / "results.csv").write_text(
        "name,model,group,accuracy,paper,multiply_adds,parameters\nA,res3d,depth,46.5,47.0,9.1e9,1\nB,c3d,depth,50,,1e10,1\n"
    )


def _weights(world: Path) -> None:
    for path in ("my", "res3d", "kinetics", "best", "runs/res3d/best"):
        checkpoint(world / f"{path}.safetensors", "res3d")
    checkpoint(world / "res3d-ucf101.safetensors", "res3d", labels=("Grow", "Shrink"))
    checkpoint(world / "runs/motion/last.safetensors", "res3d", labels=motion.CLASSES)
    checkpoint(world / "runs/half/last.safetensors", "res3d_half")
    torch.save(build_model("c3d", num_classes=2, seed=0).state_dict(), world / "c3d.pth")
    image = resnet_state(18, dims=2, projected=True, classes=1000, seed=6)
    torch.save(image, world / "resnet18-f37072fd.pth")


def _features(world: Path, ids: Sequence[str], ids_hmdb51: Sequence[str]) -> None:
    """Feature files: of the folder of videos as extracted, of datasets made by hand, a centre a class."""
    extract(world / "videos", world / "out.h5", model="res3d", workers=1)
    shutil.copy(world / "out.h5", world / "features.h5")

    def near(ids: Sequence[str], dims: int, seed: int = 0) -> dict[str, np.ndarray]:
        labels = [sorted({Path(i).parent for i in ids}).index(Path(i).parent) for i in ids]
        return dict(zip(ids, clustered(labels, dims, seed=seed, spread=2.0), strict=True))

    def res3d(name: str, ids: Sequence[str], seed: int = 0, **settings: Any) -> None:
        rows = near(ids, DIMS, seed)
        of = {i: {"res5b": row, "pool5": row[:12]} for i, row in rows.items()}
        (world / name).parent.mkdir(parents=True, exist_ok=True)
        write_features(world / name, of, **settings)

    for number, name in enumerate(
        ("res3d", "rgb", "rgbf", *(f"res3d-split{n}" for n in (1, 2, 3)))
    ):
        res3d(f"{name}.h5", ids, number)
    res3d("my-videos.h5", ["c", "d"])
    res3d("data/hmdb51/features/res3d.h5", ids_hmdb51)
    np.savez(world / "idt.npz", ids=np.asarray(ids), features=np.stack([*near(ids, 20).values()]))
    samples = [f"ASLAN_AVI/{item.id}" for item in read_pairs(world / "data/aslan").samples]
    rows = near([*ids, *samples], DIMS)
    c3d = {i: {"fc6": row, "pool5": row[:12], "prob": row[:6]} for i, row in rows.items()}
    write_features(world / "c3d.h5", c3d, model={"name": "c3d", "num_classes": 487})
    (world / "data/aslan/features").mkdir()
    whole = {i: {"res5b": rows[i], "pool5": rows[i][:12], "prob": rows[i][:6]} for i in samples}
    write_features(world / "data/aslan/features/res3d.h5", whole)
    for part in ("1", "2"):
        write_features(world / f"part{part}.h5", {f"v{part}": {"pool5": np.ones((2, 3))}})
    videos = {"video_test_1": times_of(100, 25), "video_validation_2": times_of(90, 25)}
    extracted(world / "thumos.h5", videos)
    annotated(world / "annotation_val", "val", [("Diving", "video_validation_2", 1, 2)])
    annotated(world / "annotation_test", "test", [("Diving", "video_test_1", 1, 2)])


def _models(world: Path) -> None:
    """What other commands have made: a projection, and linear classifiers."""
    with FeatureStore(world / "out.h5") as store:
        width = store[store.ids[0]].dataset("res5b").shape[1]
        saved(
            world / "pca300.npz",
            projection_of(width, 6, layer="res5b", settings=store.settings),
        )
    root = world / "data/ucf101"
    svm("ucf101", world / "res3d.h5", root=root, layers="res5b", split=1, save=world / "svm.npz")
    two = [world / "rgb.h5", world / "rgbf.h5"]
    svm(
        "ucf101", two, root=root, layers="pool5", split=1, fusion="scores", save=world / "fused.npz"
    )


def _detections(world: Path) -> None:
    """Detections in the formats that are read, of test videos of the generated THUMOS'14."""
    spans = {
        "video_test_0000001": (CLASSES[0], 1.0, 3.0),
        "video_test_0000004": (CLASSES[1], 2.0, 4.0),
    }
    found: Mapping[str, list[dict[str, Any]]] = {
        video: [{"label": label, "score": 0.9, "segment": [start, end]}]
        for video, (label, start, end) in spans.items()
    }
    for name in ("found.json", "results.json", "detections.json"):
        (world / name).write_text(json.dumps({"results": found}))
    lines = [
        f"{video} {start} {end} {CLASSES.index(label) + 1} 0.9\n"
        for video, (label, start, end) in spans.items()
    ]
    (world / "detections.txt").write_text("".join(lines))
    database = {
        video: {
            "subset": "test",
            "duration": 8.0,
            "annotations": [{"label": label, "segment": [start, end]}],
        }
        for video, (label, start, end) in spans.items()
    }
    (world / "thumos14.json").write_text(json.dumps({"database": database}))
    rows = np.zeros((1, 14))
    rows[0, [0, 1, 4, 5, 8, 10]] = 1, 16, 1.0, 1.6, 0.9, 1
    savemat(world / "res_seg_swin.mat", {"seg_swin": rows})
