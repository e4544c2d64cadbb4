"""Protocols against a plain computation: decode, cut, run and average by hand."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import encode, featx
from settings import with_fields
from told import telling, tells

from featx import create_model
from featx.clips import ClipSpec
from featx.datasets import Dataset, Item
from featx.errors import FeatxError, UsageError
from featx.evaluation import (
    PROTOCOLS,
    Evaluation,
    as_text,
    plot_confusion,
    recognise,
    to_json,
)
from featx.extraction.settings import compose
from featx.report import Accuracy
from featx.transforms import Transform
from featx.video.reader import open_video
from featx.weights.checkpoint import LoadedModel, save_checkpoint

CLASSES = ("kick", "push", "run", "sit", "stand", "wave", "yawn")
SIDE, FRAMES, STEP = 16, 4, 2
SPAN = FRAMES * STEP
# flip is on, as in no protocol: the protocol, not the checkpoint, says what is averaged.
TRANSFORM = Transform(
    resize=(20, 28), crop=SIDE, mean=(110.0, 100.0, 90.0), std=(50.0, 55.0, 60.0), flip=True
)
CLIP = ClipSpec(frames=FRAMES, step=STEP, stride=3, tail="pad")
SETTINGS = compose(model="mc3_18", precision="float32", device="cpu", workers=2)


@pytest.fixture(scope="module")
def loaded(items: tuple[Item, ...]) -> LoadedModel:
    """A small-input mc3_18 whose answers differ from clip to clip: untrained, its last layer made steep around one clip."""
    model = create_model("mc3_18", num_classes=len(CLASSES), seed=1).eval()
    with torch.no_grad():
        model.fc.weight.mul_(30)
        model.fc.bias.copy_(-torch.from_numpy(literal(items[0], model, [5], ten=False)[0]).log())
    info = {"name": "small", "sha256": None, "source": "a test", "licence": None, "seed": 1}
    return LoadedModel(
        model=model, transform=TRANSFORM, clip=CLIP, weights_info=info, labels=CLASSES
    )


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> tuple[Item, ...]:
    """Three videos: longer than ten clips side by side, with fewer places than clips, and shorter than one clip."""
    folder = tmp_path_factory.mktemp("evaluation")
    lengths = (41, 12, 5)
    paths = [encode(folder / f"v{i}.mp4", n, seed=10 + i) for i, n in enumerate(lengths)]
    return tuple(Item(id=path.stem, path=str(path), label=i) for i, path in enumerate(paths))


def dataset(items: tuple[Item, ...], classes: tuple[str, ...] = CLASSES, **rest: object) -> Dataset:
    return Dataset(name="mine", split=1, subset="test", classes=classes, items=items, **rest)


def literal(
    item: Item, model: torch.nn.Module, starts: list[int], *, ten: bool, part: slice = slice(None)
) -> np.ndarray:
    """Each clip's probabilities, (clips, C), with no code of featx but the decoder."""
    frames = [f.image() for f in open_video(item.path, frame_size=lambda h, w: (20, 28))][part]
    corners = [(2, 6)] + [(0, 0), (0, 12), (4, 0), (4, 12)] * ten
    rows = []
    for start in sorted(set(starts)):
        views = []
        for top, left in corners:
            shown = [
                frames[(start + STEP * t) % len(frames)][top : top + SIDE, left : left + SIDE]
                for t in range(FRAMES)
            ]
            views += [np.stack(shown), np.stack(shown)[:, :, ::-1]] if ten else [np.stack(shown)]
        x = (
            torch.from_numpy(np.stack(views).astype(np.float32)) - torch.tensor(TRANSFORM.mean)
        ) / torch.tensor(TRANSFORM.std)
        with torch.no_grad():
            rows.append(model(x.permute(0, 4, 1, 2, 3)).softmax(1).mean(0).numpy())
    by_start = dict(zip(sorted(set(starts)), rows, strict=True))
    return np.stack([by_start[start] for start in starts])


def spread(n: int, count: int) -> list[int]:
    """Starts at equal intervals, from the first frame to the last clip that fits."""
    return [math.floor(x + 0.5) for x in np.linspace(0, max(0, n - SPAN), count)]


# By the video's place: 41, 12 and 5 frames, clips of 8. Of 25 clips x 10 crops one video is enough.
PLACES = {
    "clip": {0: [16], 1: [2], 2: [0]},
    "tran2017": {0: spread(41, 10), 1: spread(12, 10), 2: [0] * 10},
    "hara": {0: [0, 8, 16, 24, 32], 1: [0], 2: [0]},
    "asymmetric": {1: spread(12, 25)},
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_probabilities_are_those_of_the_plain_computation(
    loaded: LoadedModel, items: tuple[Item, ...], name: str
) -> None:
    chosen = tuple(items[video] for video in PLACES[name])
    before = {n: p.clone() for n, p in loaded.model.state_dict().items()}
    loaded.model.train()  # as in the middle of training
    found = recognise(SETTINGS, dataset(chosen), protocol=name, loaded=loaded)
    assert loaded.model.training
    assert all(torch.equal(p, before[n]) for n, p in loaded.model.state_dict().items())
    loaded.model.eval()
    for place, (item, starts) in enumerate(zip(chosen, PLACES[name].values(), strict=True)):
        rows = literal(item, loaded.model, starts, ten=name == "asymmetric")
        # float32 on both sides, but sums of other order in batches of other sizes; another frame makes 0.01 and more.
        np.testing.assert_allclose(found.probabilities[place], rows.mean(axis=0), atol=2e-5)
        assert found.clips[place] == len(rows)
        assert found.clips_right[place] == (rows.argmax(axis=1) == item.label).sum()
        assert found.predictions[place] == rows.mean(axis=0).argmax()
    assert name == "asymmetric" or len(set(found.predictions)) > 1
    assert found.looped == sum(item.id == "v2" for item in chosen)
    assert found.settings["precision"] == "float32"
    assert (found.ids, found.dataset) == (tuple(item.id for item in chosen), "mine split 1, test")


def test_the_clips_of_a_labelled_part_lie_inside_it(
    loaded: LoadedModel, items: tuple[Item, ...]
) -> None:
    """25 frames a second: the part from 0.4 to 1.2 s is frames 10 to 29."""
    parts = (
        replace(items[0], id="part", start=0.4, end=1.2),
        replace(items[0], id="rest", start=0.8),
        replace(items[0], id="gone", start=1.64, end=9.0),
    )
    found = recognise(SETTINGS, dataset(parts), protocol="hara", loaded=loaded)
    for place, part, starts in ((0, slice(10, 30), [0, 8]), (1, slice(20, None), [0, 8])):
        rows = literal(items[0], loaded.model, starts, ten=False, part=part)
        np.testing.assert_allclose(found.probabilities[place], rows.mean(axis=0), atol=2e-5)
    assert [(name, "from 1.64 to 9 s" in why) for name, _, why in found.failures] == [
        ("gone", True)
    ]


def test_a_video_that_cannot_be_read_is_listed_and_counts_as_wrong(
    loaded: LoadedModel, items: tuple[Item, ...], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"nothing")
    good = recognise(SETTINGS, dataset(items[:1]), protocol="clip", loaded=loaded)
    right = replace(items[0], label=int(good.predictions[0]))
    found = recognise(
        SETTINGS,
        dataset((Item(id="bad", path=str(bad), label=0), right), absent=4),
        protocol="clip",
        loaded=loaded,
    )
    assert [(name, path) for name, path, _ in found.failures] == [("bad", str(bad))]
    assert found.predictions.tolist() == [-1, right.label]
    assert found.top1.value == 0.5
    assert found.clip_top1.value == 1.0
    assert np.isnan(found.probabilities[0]).all()
    assert found.confusion.sum() == 1
    text = as_text(found)
    assert any(tells(line, 1, 2, "wrong") for line in text.splitlines())
    assert any(tells(line, 4, "videos") for line in text.splitlines())
    with pytest.raises(FeatxError, match=telling(1, bad)):
        recognise(SETTINGS, dataset((Item(id="bad", path=str(bad), label=0),)), loaded=loaded)


def test_classes_are_found_by_name(loaded: LoadedModel, items: tuple[Item, ...]) -> None:
    two = dataset((items[0], replace(items[1], label=0)), ("yawn", "kick"))
    found = recognise(SETTINGS, two, protocol="clip", loaded=loaded)
    assert found.classes == CLASSES
    assert found.labels.tolist() == [6, 6]
    assert any(tells(note, "7 classes", 2) for note in found.notes)
    with pytest.raises(UsageError, match=telling("'jump'", 1, "mine", "split 1", "test")):
        recognise(SETTINGS, dataset(items, ("jump", "kick", "hop")), loaded=loaded)
    unnamed = replace(loaded, labels=None)
    with pytest.raises(UsageError, match=telling("7 classes", "mine", "split 1", "test", 2)):
        recognise(SETTINGS, two, loaded=unnamed)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"settings": with_fields(SETTINGS, crops="ten")}, ("crops", "'ten'")),
        ({"settings": with_fields(SETTINGS, clips=3)}, ("clips", 3)),
        ({"protocol": "tran"}, ("'tran'", "tran2017")),
        ({"items": ()}, ("mine",)),
        ({"classifier": False}, ("classifier",)),
    ],
)
def test_wrong_use_gets_one_sentence(
    loaded: LoadedModel, items: tuple[Item, ...], changed: dict, told: tuple[object, ...]
) -> None:
    if not changed.get("classifier", True):
        model = create_model("mc3_18", num_classes=len(CLASSES), seed=1)
        model.has_classifier = False
        loaded = replace(loaded, model=model)
    videos = dataset(changed.get("items", items))
    with pytest.raises(UsageError, match=telling(*told)):
        recognise(
            changed.get("settings", SETTINGS),
            videos,
            protocol=changed.get("protocol", "clip"),
            loaded=loaded,
        )


def test_a_network_whose_answers_are_not_finite_is_no_network_of_class_0(
    loaded: LoadedModel, items: tuple[Item, ...]
) -> None:
    model = create_model("mc3_18", num_classes=len(CLASSES), seed=1)
    with torch.no_grad():
        model.get_submodule(model.classifier).weight.fill_(math.nan)
    with pytest.raises(FeatxError, match=telling("finite")):
        recognise(SETTINGS, dataset(items), protocol="clip", loaded=replace(loaded, model=model))


def test_rows_of_an_attempt_that_was_given_up_are_left_out_and_order_is_no_matter() -> None:
    from featx.evaluation._run import PROB, _Videos

    summary = SimpleNamespace(looped=False, damaged_frames=3)
    rows = np.random.default_rng(0).dirichlet(np.ones(4), 5).astype(np.float32)
    means = []
    for order in ([0, 1, 2, 3, 4], [3, 1, 4, 0, 2]):
        videos = _Videos(["a"], [(2, 0)])
        videos.rows(0, [0, 7], {PROB: np.eye(4, dtype=np.float32)[:2]})
        videos.restarted(0)
        for clip in order:
            videos.rows(0, [clip], {PROB: rows[clip : clip + 1]})
        videos.done(0, summary, 8)  # type: ignore[arg-type]
        means.append(videos.means[0])
        assert videos.clips[0] == 5
        assert videos.right[0] == np.isin(rows.argmax(axis=1), (0, 2)).sum()
        assert videos.damaged == {0: 3}
    np.testing.assert_array_equal(*means)
    np.testing.assert_allclose(means[0], rows.mean(axis=0), rtol=1e-6)


def made(
    rows: list[list[float]],
    labels: list[int],
    *,
    clips: list[int],
    right: list[int],
    **rest: object,
) -> Evaluation:
    n, size = np.shape(rows)
    names = tuple(f"v{i}" for i in range(n))
    recorded = {
        "model": {"name": "res3d"},
        "weights": {"name": "small"},
        "precision": "float32",
        "device": "cpu",
    }
    values: dict = {
        "protocol": PROTOCOLS["tran2017"],
        "dataset": "mine split 1, test",
        "classes": tuple(f"c{i}" for i in range(size)),
        "ids": names,
        "paths": names,
        "labels": np.asarray(labels),
        "also": ((),) * n,
        "probabilities": np.asarray(rows, np.float32),
        "clips": np.asarray(clips),
        "clips_right": np.asarray(right),
        "settings": recorded,
    }
    return Evaluation(**{**values, **rest})


def test_accuracies_are_counted_over_all_videos() -> None:
    nan = [math.nan] * 6
    found = made(
        [
            [0.5, 0.3, 0.1, 0.05, 0.03, 0.02],
            [0.5, 0.3, 0.1, 0.05, 0.03, 0.02],
            [0.1, 0.1, 0.2, 0.2, 0.2, 0.2],
            nan,
        ],
        [0, 5, 3, 0],
        clips=[10, 10, 10, 0],
        right=[9, 0, 4, 0],
        failures=(("v3", "v3", "why"),),
    )
    assert found.predictions.tolist() == [0, 0, 2, -1]  # the first of equals
    assert found.top1.value == 1 / 4
    assert found.top5.value == 2 / 4
    assert found.clip_top1.value == 13 / 30
    right, videos = found.per_class
    assert (right.tolist(), videos.tolist()) == ([1, 0, 0, 0, 0, 0], [2, 0, 0, 1, 0, 1])
    expected = np.zeros((6, 6), int)
    expected[0, 0] = expected[5, 0] = expected[3, 2] = 1
    np.testing.assert_array_equal(found.confusion, expected)
    values = json.loads(json.dumps(to_json(found)))
    assert (values["videos"], values["failed"], values["clips"]) == (4, 1, 30)
    assert values["video_top1"]["value"] == 0.25
    assert values["confusion"][5][0] == 1


def test_any_of_several_labels_is_right() -> None:
    rows = [[0.1, 0.6, 0.3], [0.1, 0.6, 0.3]]
    found = made(rows, [0, 0], clips=[1, 1], right=[1, 0], also=((1, 2), ()))
    assert found.top1.right.tolist() == [1, 0]
    assert found.confusion.tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert found.per_class[0].tolist() == [0, 1, 0]
    assert found.top5 is None
    assert "no top-5: there are 3 classes" in as_text(found)


def test_the_interval_is_the_binomials_where_every_video_counts_once() -> None:
    """Resampled right answers are binomial: its quantiles by simulation, to two standard errors of both (0.004)."""
    n, share = 120, 0.8
    right = (np.arange(n) < share * n).astype(np.int64)
    low, high = Accuracy(right, np.ones(n, np.int64)).interval(seed=3)
    drawn = np.random.default_rng(0).binomial(n, share, 200_000) / n
    assert (low, high) == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=1.01 / n)
    assert Accuracy(right, np.ones(n, np.int64)).interval(seed=3) == (low, high)


def test_clips_of_one_video_are_no_independent_sample() -> None:
    """Ten clips that agree say no more than one: the interval stays as wide."""
    right = np.asarray([1, 0, 1, 1, 0, 1, 1, 1] * 5)
    one = Accuracy(right, np.ones(40, np.int64)).interval()
    assert Accuracy(10 * right, np.full(40, 10)).interval() == pytest.approx(one)


@pytest.mark.parametrize("size", [2, 101])
def test_a_confusion_matrix_is_drawn(tmp_path: Path, size: int) -> None:
    rng = np.random.default_rng(size)
    rows = rng.dirichlet(np.ones(size), 3 * size)
    labels = rng.integers(0, size, 3 * size)
    found = made(rows.tolist(), labels.tolist(), clips=[1] * len(rows), right=[0] * len(rows))
    plot_confusion(
        replace(found, classes=("a $name$ \n of its own " + "long " * 20, *found.classes[1:])),
        tmp_path / "c.png",
    )
    picture = (tmp_path / "c.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    width, height = (int.from_bytes(picture[i : i + 4], "big") for i in (16, 20))
    # 101 names of 7 points stand side by side only in a picture of more than 11 inches, of 110 pixels each.
    assert min(width, height) > (101 * 7 / 72 * 110 if size == 101 else 250)


def test_the_command_says_on_what_the_figures_rest(
    loaded: LoadedModel, items: tuple[Item, ...], tmp_path: Path
) -> None:
    """A checkpoint file and a csv, through a process of its own; the figures are those of the function."""
    checkpoint = tmp_path / "small.safetensors"
    info = {"name": "small", "source": "a test", "licence": None, "labels": CLASSES}
    save_checkpoint(
        checkpoint, loaded.model, architecture="mc3_18", transform=TRANSFORM, clip=CLIP, info=info
    )
    lines = [
        "path,label,split",
        *(f"{item.path},{CLASSES[item.label]},test" for item in items),
        f"{items[0].path},kick,train",
    ]
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"nothing")
    (tmp_path / "my.csv").write_text("\n".join([*lines, f"{bad},kick,test"]) + "\n")
    done = featx(
        *(
            "eval",
            "--checkpoint",
            checkpoint,
            "--dataset",
            tmp_path / "my.csv",
            "--protocol",
            "clip",
            "--protocol",
            "hara",
        ),
        *(
            "--precision",
            "float32",
            "--plot",
            tmp_path / "c.png",
            "--predictions",
            tmp_path / "p.csv",
            "--json",
        ),
    )
    assert done.returncode == 1, done.stderr
    assert "bad.mp4" in done.stderr
    values = json.loads(done.stdout)
    assert [(v["protocol"]["name"], v["videos"], v["failed"], v["precision"]) for v in values] == [
        ("clip", 4, 1, "float32"),
        ("hara", 4, 1, "float32"),
    ]
    assert values[0]["weights"]["name"] == "small"
    assert values[1]["clip"] | {"stride": SPAN, "tail": "drop"} == values[1]["clip"]
    assert (tmp_path / "c-clip.png").exists()
    assert (tmp_path / "c-hara.png").exists()
    found = recognise(SETTINGS, dataset(items), protocol="hara", loaded=loaded)
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["protocol"] == "hara"]
    assert len(rows) == 4
    by_path = {row["path"]: row for row in rows}
    for place, path in enumerate(found.paths):
        row = by_path[path]
        assert row["predicted"] == CLASSES[found.predictions[place]]
        assert float(row["label_probability"]) == pytest.approx(
            found.probabilities[place, found.labels[place]], abs=2e-5
        )
    assert by_path[str(bad)]["failure"]
    assert by_path[str(bad)]["right"] == "0"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--checkpoint", "none.safetensors", "--dataset", "ucf101"], "none.safetensors"),
        (["--checkpoint", "random", "--dataset", "ucf101"], "--model"),
        (
            [
                "--checkpoint",
                "random",
                "--model",
                "res3d",
                "--dataset",
                "ucf101",
                "--plot",
                "c.jpg",
            ],
            "c.jpg",
        ),
        (
            [
                "--checkpoint",
                "random",
                "--model",
                "res3d",
                "--dataset",
                "ucf101",
                "--predictions",
                "..",
            ],
            "..",
        ),
    ],
)
def test_wrong_usage_of_the_command_is_one_sentence(
    tmp_path: Path, options: list[str], told: str
) -> None:
    done = featx("eval", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert tells(done.stderr, told)
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_commands_protocols_are_those_of_the_table() -> None:
    from featx.cli.evaluate import evaluate as command

    choices = next(option for option in command.params if option.name == "protocols").type.choices
    assert tuple(choices) == tuple(PROTOCOLS)
