"""`featx svm` against scikit-learn from scratch, its guards, what it writes, and `featx svm predict`."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import assert_one_sentence, featx
from feature_files import SETTINGS_OF_HAND_MADE, clustered, write_dataset, write_features
from layouts import laid_out
from told import telling, tells

from featx.datasets import Dataset, Item
from featx.errors import FeatxError, UsageError
from featx.store.recorded import Recorded
from featx.synthetic.layouts import hmdb51
from featx.tasks import open_features, predict, svm
from featx.tasks.linear import Hyperplanes
from featx.tasks.recognition import Classifier, SplitResult, SvmResult, as_text, read_model, to_json
from featx.tasks.recognition._paper import VIDEOS, is_whole, printed
from featx.tasks.recognition._result import Origin
from featx.tasks.splits import Split
from featx.tasks.tuning import choose_C, divide
from featx.training import run_training, train_settings

CLASSES = ("grow", "move_left", "move_up", "rotate_cw")
DIMS = 30
LISTS = "testTrainMulti_7030_splits"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """$FEATX_DATA with a generated hmdb51: its lists, and files in its videos' places; features of 2 or 3 clips beside it."""
    root = tmp_path_factory.mktemp("data") / "hmdb51"
    ids = laid_out(root, hmdb51.plan, classes=CLASSES, per_class=20)
    features_of(root / "features" / "res3d.h5", ids)
    return root.parent


def features_of(
    path: Path,
    ids: Sequence[str],
    *,
    seed: int = 0,
    spread: float = 2.5,
    dims: int = DIMS,
    **settings: Any,
) -> Path:
    """Write features that lie around a centre a class, the name of the folder, with 2 or 3 clips a video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = sorted({Path(i).parent.name for i in ids})
    labels = [names.index(Path(i).parent.name) for i in ids]
    rows = clustered(labels, dims, seed=seed, spread=spread)
    rng = np.random.default_rng(seed + 1)
    videos = {}
    for i, row in zip(ids, rows, strict=True):
        clips = np.maximum(0, row + 0.3 * rng.normal(size=(2 + len(videos) % 2, dims)))
        videos[i] = {"res5b": clips, "pool5": clips[:, : dims // 2]}
    return write_features(path, videos, **settings)


@pytest.fixture
def features(data: Path) -> Path:
    return data / "hmdb51" / "features" / "res3d.h5"


def by_hand(
    data: Path, file: Path, split: int, layer: str = "res5b"
) -> tuple[list[str], list[str], list[str]]:
    """The test videos of a split, their classes and what scikit-learn takes them for, with no code of featx."""
    from sklearn.svm import LinearSVC

    sides: dict[str, list[tuple[str, str]]] = {"1": [], "2": [], "0": []}
    for name in CLASSES:
        for line in (
            (data / "hmdb51" / LISTS / f"{name}_test_split{split}.txt").read_text().splitlines()
        ):
            video, use = line.split()
            sides[use].append((name, Path(video).stem))
    with h5py.File(file) as h5:

        def rows(side: str) -> np.ndarray:
            means = np.stack(
                [
                    h5[f"videos/{name}/{video}/{layer}"][()].mean(axis=0)
                    for name, video in sides[side]
                ]
            )
            return means / np.linalg.norm(means, axis=1, keepdims=True)

        found = LinearSVC(dual=False, tol=1e-8).fit(rows("1"), [name for name, _ in sides["1"]])
        predicted = found.predict(rows("2"))
    return (
        [f"{name}/{video}" for name, video in sides["2"]],
        [name for name, _ in sides["2"]],
        predicted.tolist(),
    )


# ---------------------------------------------------------------- the protocol


@pytest.mark.parametrize("layer", ["res5b", "pool5"])
def test_predictions_are_those_of_scikit_learn_from_scratch(
    data: Path, features: Path, layer: str
) -> None:
    found = svm("hmdb51", features, layers=layer, root=data / "hmdb51")
    assert [each.split for each in found.splits] == [1, 2, 3]
    accuracies = []
    for each in found.splits:
        ids, labels, predicted = by_hand(data, features, each.split, layer)
        assert list(each.ids) == ids
        assert [each.classes[i] for i in each.labels] == labels
        assert [each.classes[i] for i in each.predictions] == predicted
        accuracies.append(np.mean([a == b for a, b in zip(labels, predicted, strict=True)]))
        assert each.accuracy.value == accuracies[-1]
    assert 0.3 < min(accuracies) <= max(accuracies) < 1
    assert found.mean == pytest.approx(np.mean(accuracies))
    low, high = found.interval
    assert 0 < low < found.mean < high <= 1
    assert found.confusion.sum() == sum(len(each.ids) for each in found.splits)
    assert found.confusion.trace() == sum(int(each.right.sum()) for each in found.splits)


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_labels_bring_it_to_chance(tmp_path: Path, seed: int) -> None:
    """Of 160 test videos of 4 classes, shuffled, right answers are binomial(160, 1/4): 99.9 % lie from 23 to 59."""
    from scipy.stats import binom

    labels = np.arange(320) % 4
    rows = clustered(labels.tolist(), 60, seed=seed)
    ids = [f"v{i:03d}" for i in range(320)]
    file = write_features(
        tmp_path / "f.h5", {i: {"pool5": row} for i, row in zip(ids, rows, strict=True)}
    )
    sides = ["train" if i < 160 else "test" for i in range(320)]

    def right(classes: np.ndarray, name: str) -> int:
        listed = [
            (f"{i}.avi", f"class{label}", side)
            for i, label, side in zip(ids, classes, sides, strict=True)
        ]
        return int(
            svm(write_dataset(tmp_path / name / "d.csv", listed), file).splits[0].right.sum()
        )

    low, high = binom.interval(0.999, 160, 1 / 4)
    assert low <= right(np.random.default_rng(seed).permutation(labels), "shuffled") <= high
    assert right(labels, "true") > 150


def test_the_test_side_reaches_nothing_that_is_fitted(
    data: Path, features: Path, tmp_path: Path
) -> None:
    """Other rows of the test videos leave the SVM as it is, C chosen or not, to the bit."""
    tested = set(by_hand(data, features, 1)[0])
    with h5py.File(features) as h5:
        ids = [each.decode() for each in h5[".videos"][()]]
        rng = np.random.default_rng(0)
        videos = {
            i: {
                "res5b": rng.random((2, DIMS))
                if i.removeprefix("videos/") in tested
                else h5[i]["res5b"][()]
            }
            for i in ids
        }
    other = write_features(tmp_path / "other.h5", videos)
    for C in (1.0, "cv"):
        ours, theirs = (
            svm("hmdb51", file, root=data / "hmdb51", split=1, C=C).splits[0]
            for file in (features, other)
        )
        assert ours.C == theirs.C
        assert np.array_equal(ours.classifier.machines[0].coef, theirs.classifier.machines[0].coef)
        assert not np.array_equal(ours.scores, theirs.scores)


# ---------------------------------------------------------------- several features


def test_fusion_is_one_matrix_or_the_mean_of_scores(
    data: Path, features: Path, tmp_path: Path
) -> None:
    root = data / "hmdb51"
    with open_features(features) as opened:
        ids = list(opened.ids)
    second = features_of(tmp_path / "second.h5", ids, seed=7)
    alone = [svm("hmdb51", file, root=root, split=1).splits[0] for file in (features, second)]
    scores = svm("hmdb51", [features, second], root=root, split=1, fusion="scores").splits[0]
    np.testing.assert_allclose(scores.scores, (alone[0].scores + alone[1].scores) / 2, atol=1e-12)
    assert scores.classifier.dims == (DIMS, DIMS)

    with open_features(features) as a, open_features(second) as b:
        both = [
            np.concatenate([each.rows([Item(id=i, path=i, label=0)])[0] for each in (a, b)])
            for i in ids
        ]
    fused = svm("hmdb51", [features, second], root=root, split=1).splits[0]
    # Another library's file with the same numbers.
    np.savez(tmp_path / "first.npz", ids=np.asarray(ids), features=np.stack(both)[:, :DIMS])
    third = svm("hmdb51", [tmp_path / "first.npz", second], root=root, split=1).splits[0]
    np.testing.assert_allclose(fused.scores, third.scores, atol=1e-5)
    assert not np.allclose(fused.scores, scores.scores, atol=0.01)
    from sklearn.svm import LinearSVC

    trained = {item.id: item.label for item in _side(root, "train")}
    places = {i.removeprefix("videos/"): both[n] for n, i in enumerate(ids)}
    reference = LinearSVC(dual=False, tol=1e-8).fit(
        np.stack([places[i] for i in trained]), list(trained.values())
    )
    expected = reference.decision_function(np.stack([places[i] for i in fused.ids]))
    np.testing.assert_allclose(fused.scores, expected, atol=3e-4)


def _side(root: Path, subset: str) -> tuple[Item, ...]:
    from featx.datasets import load_dataset

    return load_dataset("hmdb51", root=root, subset=subset).items


def test_layers_go_once_for_all_or_once_for_each(
    data: Path, features: Path, tmp_path: Path
) -> None:
    root = data / "hmdb51"
    with open_features(features) as opened:
        ids = list(opened.ids)
    np.savez(tmp_path / "idt.npz", ids=np.asarray(ids), features=np.ones((len(ids), 3)))

    def layers(files: Sequence[Path], names: Sequence[str]) -> list[str | None]:
        return [
            each.layer
            for each in svm("hmdb51", files, layers=names, root=root, split=1).splits[0].origins
        ]

    idt = tmp_path / "idt.npz"
    assert layers([features, idt, features], []) == ["res5b", None, "res5b"]
    assert layers([features, idt, features], ["pool5"]) == ["pool5", None, "pool5"]
    assert layers([features, idt, features], ["res5b", "pool5"]) == ["res5b", None, "pool5"]
    with pytest.raises(UsageError, match=telling(3, "a, b, c", 2)):
        layers([features, idt, features], ["a", "b", "c"])
    with pytest.raises(UsageError, match=telling("'pool5'", "idt.npz")):
        layers([idt], ["pool5"])


def test_a_path_with_split_in_it_is_each_split_s_own(
    data: Path, features: Path, tmp_path: Path
) -> None:
    """Three fine-tuned checkpoints make the mean over three splits; one of them alone is refused on the others."""
    with open_features(features) as opened:
        ids = list(opened.ids)
    for split in (1, 2, 3):
        told = {
            "dataset": "hmdb51",
            "split": split,
            "subset": "train",
            "videos": 32,
            "absent": 0,
            "chosen_on": None,
        }
        features_of(
            tmp_path / f"split{split}.h5",
            ids,
            seed=split,
            weights={"name": "tuned", "sha256": None, "trained_on": told},
        )
    root, placeholder = data / "hmdb51", tmp_path / "split{split}.h5"
    found = svm("hmdb51", placeholder, root=root, save=tmp_path / "svm{split}.npz")
    assert [Path(each.origins[0].path).name for each in found.splits] == [
        "split1.h5",
        "split2.h5",
        "split3.h5",
    ]
    assert [each.saved for each in found.splits] == [
        str(tmp_path / f"svm{n}.npz") for n in (1, 2, 3)
    ]
    assert read_model(tmp_path / "svm2.npz").trained_on == {
        "title": "hmdb51 split 2",
        "split": 2,
        "videos": found.splits[1].trained,
    }

    one = ("--dataset", "hmdb51", "--features", tmp_path / "split1.h5")
    result = featx("svm", *one, env={"FEATX_DATA": str(data)})
    assert result.returncode == 2
    assert tells(result.stderr, "hmdb51 split 1, train", "hmdb51 split 2, test", "--split 1")
    allowed = featx("svm", *one, "--allow-trained-on", env={"FEATX_DATA": str(data)})
    assert allowed.returncode == 0
    assert any(
        tells(line, "note", "hmdb51 split 1, train") for line in allowed.stdout.splitlines()
    ), allowed.stdout
    assert svm("hmdb51", tmp_path / "split1.h5", root=root, split=1).splits[0].accuracy.value > 0


# ---------------------------------------------------------------- choosing C


def test_folds_keep_groups_together_and_have_every_class() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 30)
    groups = [(int(label), int(rng.integers(8))) for label in labels]
    folds = divide(labels, groups, classes=CLASSES)
    assert len(folds) == 5
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(120))
    for train, test in folds:
        assert not {groups[i] for i in train} & {groups[i] for i in test}
        assert set(labels[train]) == set(labels[test]) == set(range(4))
    # The same number is another group in another class, and a video without a group one of its own.
    assert len(divide(labels, list(range(120)), classes=CLASSES)) == 5


def test_C_is_the_one_that_plain_cross_validation_chooses() -> None:
    from sklearn.svm import LinearSVC

    labels = np.arange(90) % 3
    rows = clustered(labels.tolist(), 40, spread=4.0).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    groups = [i // 6 for i in range(90)]
    found = choose_C(
        rows,
        labels,
        [(int(a), b) for a, b in zip(labels, groups, strict=True)],
        classes=CLASSES[:3],
    )
    folds = divide(
        labels, [(int(a), b) for a, b in zip(labels, groups, strict=True)], classes=CLASSES[:3]
    )
    for C, accuracy in zip(found.grid, found.accuracies, strict=True):
        right = [LinearSVC(C=C, dual=False, tol=1e-8, max_iter=10_000).fit(rows[a], labels[a]).predict(rows[b]) == labels[b]
                 for a, b in folds]  # fmt: skip
        assert accuracy == np.concatenate(right).mean()
    assert len(set(found.accuracies)) > 1
    assert found.best == found.grid[found.accuracies.index(max(found.accuracies))]


def test_C_cannot_be_chosen_from_one_group() -> None:
    labels = np.arange(20) % 2
    groups = [(int(label), 0 if label else i) for i, label in enumerate(labels)]
    with pytest.raises(FeatxError, match=telling("move_left", 1, "C")):
        divide(labels, groups, classes=CLASSES[:2])


# ---------------------------------------------------------------- what follows from the answers


def split_result(**rest: Any) -> SplitResult:
    machine = Hyperplanes(np.zeros((3, 2), np.float32), np.zeros(3), 1.0)
    given: dict[str, Any] = {
        "split": 1,
        "title": "mine split 1",
        "classes": ("a", "b", "c"),
        "trained": 6,
        "ids": ("u", "v", "w"),
        "labels": np.array([0, 1, 2]),
        "also": ((), (2,), ()),
        "scores": np.array([[1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]]),
        "classifier": Classifier(dims=(2,), fusion="concat", machines=(machine,)),
        "origins": (
            Origin(path="f.h5", layer="pool5", dims=2, title="pool5 of net", settings=None),
        ),
    }
    return SplitResult(**given | rest)


def test_any_label_of_a_video_is_right() -> None:
    found = split_result()
    assert found.right.tolist() == [1, 1, 0]
    assert found.truth.tolist() == [0, 2, 2]


def test_splits_of_different_classes_are_counted_by_name() -> None:
    """With videos missing, one split may lack a class that another has."""
    other = split_result(split=2, classes=("b", "c", "d"), ids=("v", "w", "x"), also=((), (), ()))
    found = SvmResult(dataset="mine", fusion="concat", tuned=False, splits=(split_result(), other))
    assert found.classes == ("a", "b", "c", "d")
    expected = np.zeros((4, 4), int)
    for truth, taken in ("aa", "cc", "cb", "bb", "cd", "dc"):
        expected["abcd".index(truth), "abcd".index(taken)] += 1
    assert found.confusion.tolist() == expected.tolist()
    right, videos = found.per_class
    assert right.tolist() == [1, 1, 1, 0]
    assert videos.tolist() == [1, 1, 3, 1]
    assert found.mean == pytest.approx((2 / 3 + 1 / 3) / 2)


def test_the_paper_s_figure_is_printed_for_the_whole_dataset_alone() -> None:
    def side(split: int, subset: str, n: int, notes: tuple[str, ...] = ()) -> Dataset:
        items = tuple(Item(id=f"{subset}{i}", path=f"{subset}{i}.avi", label=0) for i in range(n))
        return Dataset(
            name="hmdb51", split=split, subset=subset, classes=("a", "b"), items=items, notes=notes
        )

    def whole(notes: tuple[str, ...] = (), less: int = 0) -> list[Split]:
        return [
            Split(train=side(n, "train", a), test=side(n, "test", b - less, notes), official=True)
            for n, (a, b) in VIDEOS["hmdb51"].items()
        ]

    def told(splits: list[Split], model: str = "res3d", layer: str = "res5b") -> str | None:
        made = SETTINGS_OF_HAND_MADE | {"model": {"name": model, "num_classes": 487}}
        origin = Origin(
            path="f.h5", layer=layer, dims=2, title="", settings=Recorded.from_json(made)
        )
        return printed(
            splits,
            [
                split_result(split=s.test.split, official=is_whole(s), origins=(origin,))
                for s in splits
            ],
        )

    assert str(told(whole())).startswith("51.3 %")
    assert str(told(whole(), "c3d", "fc6")).startswith("51.6 %")
    assert told(whole(), "res3d", "pool5") is None
    assert told(whole()[:1]) is None
    assert told(whole(less=1)) is None
    assert told(whole(("generated videos, not the official ones",))) is None


# ---------------------------------------------------------------- the command


def test_the_command_works_as_written(data: Path, features: Path, tmp_path: Path) -> None:
    outputs = (
        "--plot",
        tmp_path / "c.svg",
        "--predictions",
        tmp_path / "p.csv",
        "--save",
        tmp_path / "m{split}.npz",
    )
    result = featx("svm", "--dataset", "hmdb51", *outputs, env={"FEATX_DATA": str(data)})
    assert result.returncode == 0, result.stderr
    found = svm("hmdb51", features, root=data / "hmdb51")
    assert f"mean      {100 * found.mean:.1f}" in result.stdout
    assert tells(result.stdout, "hmdb51", "C 1", "30 numbers", "float32", "cpu", "generated")
    assert tells(result.stdout, "res5b", "res3d", "hand-made", "bootstrap")
    assert "paper:" not in result.stdout
    with (tmp_path / "p.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == sum(len(each.ids) for each in found.splits)
    assert sum(int(line["right"]) for line in lines) == sum(
        int(each.right.sum()) for each in found.splits
    )
    assert all((line["label"] == line["predicted"]) == (line["right"] == "1") for line in lines)
    assert "hmdb51" in (tmp_path / "c.svg").read_text()

    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = featx("svm", "--dataset", "hmdb51", *outputs, "--json", env={"FEATX_DATA": str(data)})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    as_json = json.loads(again.stdout)
    for name in ("dataset", "mean", "confusion", "classes", "notes", "paper", "interval"):
        assert as_json[name] == to_json(found)[name]
    assert [each["accuracy"]["right"] for each in as_json["splits"]] == [
        int(each.right.sum()) for each in found.splits
    ]
    assert as_json["splits"][0]["features"][0]["layer"] == "res5b"


def failing(*args: object, data: Path, status: int) -> str:
    """Run the command, and return the one sentence that it fails with."""
    result = featx("svm", *args, env={"FEATX_DATA": str(data)})
    assert result.returncode == status, result.stderr + result.stdout
    assert result.stdout == ""
    sentences = result.stderr.strip().splitlines()
    assert len(sentences) == 1, result.stderr
    return sentences[0]


def test_missing_features_are_an_error_and_no_smaller_denominator(
    data: Path, features: Path, tmp_path: Path
) -> None:
    with open_features(features) as opened:
        ids = list(opened.ids)
    file = features_of(
        tmp_path / "some.h5",
        ids[:-2],
        failures=((str(data / "hmdb51" / f"{ids[-1]}.avi"), "no frames"),),
    )
    told = failing(
        "--dataset",
        "hmdb51",
        "--features",
        file,
        "--save",
        tmp_path / "m{split}.npz",
        data=data,
        status=1,
    )
    assert tells(told, "some.h5", 2, ids[-1].removeprefix("videos/"), "no frames")
    assert not list(tmp_path.glob("*.npz"))


def test_projected_features_are_called_so(data: Path, features: Path, tmp_path: Path) -> None:
    with open_features(features) as opened:
        ids = list(opened.ids)
    projection = {
        "layer": "res5b",
        "dims": DIMS,
        "from": 25088,
        "fitted_on": {"dataset": "other", "split": 1, "subset": "train", "videos": 9},
        "explained": 0.9,
        "file": "/there/pca30.npz",
        "sha256": "0" * 64,
    }
    file = features_of(tmp_path / "projected.h5", ids[:-1], projection=projection)
    with open_features(file) as opened, open_features(file, "pool5") as other:
        assert opened.title == "res5b projected to 30 of res3d (hand-made)"
        assert other.title == "pool5 of res3d (hand-made)"
        with pytest.raises(
            FeatxError, match=telling("--layers res5b,pool5", "--project /there/pca30.npz")
        ):
            opened.rows([Item(id=i, path=i, label=0) for i in ids])
    svm("hmdb51", features, root=data / "hmdb51", split=1, save=tmp_path / "m.npz")
    with pytest.raises(UsageError, match=telling("projection", 30, "res5b")):
        predict(tmp_path / "m.npz", file)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((), ("--dataset",)),
        (("--dataset", "hmdb51", "--layer", "conv1"), ("conv1", "res5b")),
        (("--dataset", "hmdb51", "--C", "much"), ("C", "'much'", "cv")),
        (("--dataset", "hmdb51", "--C", "0"), ("C", 0)),
        (("--dataset", "hmdb51", "--split", "4"), ("split", 4, "hmdb51", 3)),
        (("--dataset", "hmdb51", "--save", "m.npz"), ("split", "m-{split}.npz")),
        (("--dataset", "hmdb51", "--split", "1", "--save", "m.pkl"), ("m.pkl", ".npz")),
        (("--dataset", "hmdb51", "--plot", "m.jpg"), ("m.jpg", ".png", ".svg", ".pdf")),
        (("--dataset", "hmdb51", "--features", "nowhere-{split}.h5"), ("nowhere-1.h5",)),
        (("--dataset", "hmdb51", "--features", "nowhere.h5"), ("nowhere.h5",)),
        (
            ("--dataset", "hmdb51", "--features", "a{split}.h5", "--model", "c3d"),
            ("features", "model"),
        ),
    ],
)
def test_wrong_usage_is_one_sentence(
    data: Path, args: tuple[str, ...], told: tuple[object, ...]
) -> None:
    from click.testing import CliRunner

    from featx.tasks.cli.svm import svm as command

    result = CliRunner().invoke(command, list(args), env={"FEATX_DATA": str(data)})
    assert isinstance(result.exception, UsageError)
    assert tells(result.exception, *told)
    assert "\n" not in str(result.exception)


def test_sides_that_are_no_measurement_are_refused(tmp_path: Path) -> None:
    def asked(
        name: str, rows: Sequence[tuple[str, str, str, str]], **attrs: dict[str, Any]
    ) -> SvmResult:
        ids = [Path(row[0]).stem for row in rows]
        file = write_features(
            tmp_path / f"{name}.h5",
            {i: {"pool5": np.eye(9)[n]} for n, i in enumerate(ids)},
            attrs=attrs,
        )
        return svm(
            write_dataset(
                tmp_path / name / "d.csv", rows, header=("path", "label", "split", "group")
            ),
            file,
        )

    sides = [
        ("a1.avi", "a", "train", ""),
        ("a2.avi", "a", "test", ""),
        ("b1.avi", "b", "train", ""),
        ("b2.avi", "b", "test", ""),
    ]
    assert len(asked("good", sides).splits[0].ids) == 2
    with pytest.raises(FeatxError, match=telling("1 of 3", "c")):
        asked("lone", [*sides, ("c1.avi", "c", "train", "")])
    with pytest.raises(FeatxError, match=telling("a2", "a1", "g")):
        asked("group", [(*row[:3], "g" if row[1] == "a" else "") for row in sides])
    with pytest.raises(FeatxError, match=telling("a2", "a1")):
        asked("content", sides, a1={"fingerprint": "x"}, a2={"fingerprint": "x"})


# ---------------------------------------------------------------- predict


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from featx.tasks.cli.svm import svm as command

    labels = [i % 2 for i in range(16)]
    ids = [f"{label}/{i}" for i, label in enumerate(labels)]
    sides = ["train" if i < 8 else "test" for i in range(16)]
    table = write_dataset(
        tmp_path / "d.csv",
        [(f"{i}.avi", str(label), side) for i, label, side in zip(ids, labels, sides, strict=True)],
    )
    rows = tmp_path / "idt-1.npz"
    np.savez(rows, ids=np.asarray(ids), features=clustered(labels, 5))
    model = tmp_path / "svm.npz"
    train = ["--dataset", str(table), "--features", str(tmp_path / "idt-{split}.npz")]
    assert (
        CliRunner()
        .invoke(command, [*train, "--save", str(model)], catch_exceptions=False)
        .exit_code
        == 0
    )
    for args, kept in [
        ([*train, "--save", str(rows)], rows),
        ([*train, "--predictions", str(table)], table),
        (["predict", str(model), str(rows), "--csv", str(model)], model),
        (["predict", str(model), str(rows), "--csv", str(rows)], rows),
    ]:
        before = kept.read_bytes()
        result = CliRunner().invoke(command, args)
        assert isinstance(result.exception, UsageError), args
        assert "would be lost: choose another output" in str(result.exception)
        assert kept.read_bytes() == before


@pytest.fixture(scope="module")
def saved(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "svm.npz"
    svm(
        "hmdb51",
        data / "hmdb51" / "features" / "res3d.h5",
        root=data / "hmdb51",
        split=1,
        save=path,
    )
    return path


def test_predict_says_of_a_split_s_test_videos_what_svm_said(
    data: Path, features: Path, saved: Path, tmp_path: Path
) -> None:
    found = svm("hmdb51", features, root=data / "hmdb51", split=1).splits[0]
    answer = predict(saved, features)
    places = {i.removeprefix("videos/"): n for n, i in enumerate(answer.ids)}
    np.testing.assert_array_equal(answer.scores[[places[i] for i in found.ids]], found.scores)
    assert answer.best[[places[i] for i in found.ids], 0].tolist() == found.predictions.tolist()
    assert (answer.margins >= 0).all()
    assert answer.notes == ()

    result = featx("svm", "predict", saved, features, "--csv", tmp_path / "p.csv", "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert [each["class"] for each in told["videos"]] == [CLASSES[i] for i in answer.best[:, 0]]
    assert told["trained_on"]["title"] == "hmdb51 split 1"
    with (tmp_path / "p.csv").open(newline="") as file:
        assert [line["second"] for line in csv.DictReader(file)] == [
            CLASSES[i] for i in answer.best[:, 1]
        ]
    text = featx("svm", "predict", saved, features).stdout
    assert "trained on hmdb51 split 1" in text
    assert f"{len(answer.ids) - 40} more videos" in text


@pytest.mark.parametrize("fusion", ["concat", "scores"])
def test_predict_takes_several_features_in_order(
    data: Path, features: Path, tmp_path: Path, fusion: str
) -> None:
    with open_features(features) as opened:
        ids = list(opened.ids)
    np.savez(
        tmp_path / "idt.npz",
        ids=np.asarray(ids),
        features=np.random.default_rng(0).random((len(ids), 5)),
    )
    files = [features, tmp_path / "idt.npz"]
    found = svm(
        "hmdb51", files, root=data / "hmdb51", split=1, fusion=fusion, save=tmp_path / "m.npz"
    ).splits[0]
    answer = predict(tmp_path / "m.npz", files)
    chosen = [answer.ids.index(f"videos/{i}") for i in found.ids]
    np.testing.assert_array_equal(answer.scores[chosen], found.scores)
    (note,) = answer.notes
    assert tells(note, "idt.npz")
    with pytest.raises(UsageError, match=telling(1, 2, "res5b", "res3d")):
        predict(tmp_path / "m.npz", features)
    with pytest.raises(UsageError, match=telling("res5b", "res3d", "idt.npz")):
        predict(tmp_path / "m.npz", files[::-1])


def test_predict_refuses_features_made_otherwise(saved: Path, tmp_path: Path) -> None:
    ids = ["somewhere/else", "anywhere"]

    def asked(name: str, **settings: Any) -> tuple[str, ...]:
        return predict(saved, features_of(tmp_path / f"{name}.h5", ids, **settings)).notes

    clip = {"frames": 8, "step": 2, "stride": 8, "fps": None, "tail": "drop"}
    assert asked("same") == ()
    assert asked("elsewhere", device="cuda", batch_size=32) == ()
    assert tells(asked("precision", precision="bf16")[0], "precision", "float32", "bf16")
    assert tells(asked("stride", clip=clip)[0], "clip.stride", 16, 8)
    for name, settings, difference in (
        (
            "weights",
            {"weights": {"name": "hand-made", "sha256": "1" * 64}},
            ("weights.sha256",),
        ),
        (
            "model",
            {"model": {"name": "c3d", "num_classes": 487}},
            ("model.name", "res3d", "c3d"),
        ),
        ("clip", {"clip": {**clip, "step": 4}}, ("clip.step", 2, 4)),
        (
            "transform",
            {"transform": SETTINGS_OF_HAND_MADE["transform"] | {"crop": 100}},
            ("transform.crop", 112, 100),
        ),
        ("dims", {"dims": 20}, (30, "res5b", "res3d", 20)),
    ):
        with pytest.raises(UsageError, match=telling(*difference)):
            asked(name, **settings)
    # Two files of one name keep their suffixes, and are two videos.
    assert predict(
        saved, features_of(tmp_path / "double.h5", ["a/b.avi", "a/b.mp4", "a/c"])
    ).ids == ("a/b.avi", "a/b.mp4", "a/c")
    only = write_features(tmp_path / "pool5.h5", {"a": {"pool5": np.ones(15)}})
    with pytest.raises(UsageError, match=telling("pool5", "layers=['res5b']")):
        predict(saved, only)


def test_predict_reads_no_file_that_is_not_a_model(
    saved: Path, features: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.npz"
    for content in (b"", b"nothing", saved.read_bytes()[:-300]):
        bad.write_bytes(content)
        with pytest.raises(UsageError, match=telling(bad)):
            predict(bad, features)
    with np.load(saved) as arrays:
        parts = dict(arrays)
    about = json.loads(str(parts["about"]))
    for change, told in (
        ({"about": np.asarray({"format": "featx-svm"}, object)}, ()),
        ({"about": json.dumps({**about, "format": "another"})}, ()),
        ({"about": json.dumps({**about, "format_version": 2})}, (2, 1)),
        ({"about": json.dumps({**about, "features": []})}, ("'concat'", 0)),
        ({"coef0": parts["coef0"][:, 1:]}, ("coef", "float32")),
        ({"coef0": parts["coef0"] * np.float32("nan")}, ("finite",)),
        ({"classes": parts["classes"][1:]}, ("coef",)),
        ({"classes": parts["classes"][:1]}, (1,)),
        ({"intercept": np.float64(1)}, ()),
        ({"about": json.dumps({**about, "accuracy": {}})}, ()),
    ):
        np.savez(bad, **parts | change)
        with pytest.raises(UsageError, match=telling(bad, *told)):
            predict(bad, features)
    np.savez_compressed(bad, **parts)  # it may be any size unpacked
    with pytest.raises(UsageError, match=telling(bad)):
        predict(bad, features)
    with pytest.raises(UsageError, match=telling(tmp_path / "none.npz")):
        predict(tmp_path / "none.npz", features)


def test_the_report_says_how_C_was_chosen(data: Path, features: Path) -> None:
    text = as_text(svm("hmdb51", features, root=data / "hmdb51", split=1, C="cv"))
    assert tells(text, "C", "cross-validation")
    assert any(tells(line, "split 1", "5 folds", "0.01") for line in text.splitlines())


def test_nothing_is_extracted_before_what_is_wrong_is_said(data: Path, tmp_path: Path) -> None:
    """An extraction would fail otherwise, for the videos are empty files."""
    root = tmp_path / "hmdb51"
    shutil.copytree(data / "hmdb51", root, ignore=shutil.ignore_patterns("features"))
    asked = ("--dataset", "hmdb51", "--weights", "random")
    unsaved = failing(*asked, "--save", tmp_path / "m.npz", data=tmp_path, status=2)
    assert tells(unsaved, "m-{split}.npz")
    assert tells(failing(*asked, "--C", 0, data=tmp_path, status=2), "C", 0)
    next((root / "videos" / "grow").iterdir()).unlink()
    assert tells(failing(*asked, data=tmp_path, status=1), "hmdb51", "--partial")
    assert not (root / "features").exists()


# ---------------------------------------------------------------- from videos to accuracy


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_network")
def test_a_trained_network_s_features_are_far_above_chance_and_an_untrained_one_s_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four directions of motion, 224 test videos. Measured: 94 % (91 to 97) trained, 24 % (19 to 30) untrained."""
    from click.testing import CliRunner
    from scipy.stats import binom
    from tiny import NAME

    from featx.synthetic.layouts import write_dataset as write_generated
    from featx.tasks.cli.svm import svm as command

    monkeypatch.setenv("FEATX_DATA", str(tmp_path))
    moves = ["move_left", "move_right", "move_up", "move_down"]
    write_generated("hmdb51", tmp_path, classes=moves, per_class=200, seconds=0.8, size=(32, 40))
    overrides = {"lr": "0.01", "batch": "16", "unit": "epochs", "duration": "20", "clips_per_video": "1",
                 "augmentation.flip": "0", "schedule.unit": "epochs", "schedule.every": "100"}  # fmt: skip
    settings = train_settings(
        model=NAME,
        dataset="hmdb51",
        recipe="tran2017-ucf101",
        overrides=overrides,
        device="cpu",
        validate="none",
    )
    run_training(settings, tmp_path / "run")

    def right(weights: object) -> int:
        asked = [
            "--dataset",
            "hmdb51",
            "--split",
            "1",
            "--model",
            NAME,
            "--weights",
            str(weights),
            "--json",
        ]
        result = CliRunner().invoke(command, asked, standalone_mode=False)
        assert result.exception is None, result.output
        accuracy = json.loads(result.stdout)["splits"][0]["accuracy"]
        assert accuracy["of"] == 224
        return int(accuracy["right"])

    low, high = binom.interval(0.999, 224, 1 / 4)
    trained = tmp_path / "run" / "last.safetensors"
    assert low <= right("random") <= high
    assert right(trained) > 0.8 * 224
    refused = CliRunner().invoke(
        command, ["--dataset", "hmdb51", "--model", NAME, "--weights", str(trained)]
    )
    assert isinstance(refused.exception, UsageError)
    assert "was trained on hmdb51 split 1, train, which shares videos with hmdb51 split 2" in str(
        refused.exception
    )


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_rows_out_of_float64_s_squares_are_refused(tmp_path: Path, scale: float) -> None:
    np.savez(tmp_path / "idt.npz", ids=np.asarray(["a", "b"]), features=scale * np.ones((2, 3)))
    with (
        open_features(tmp_path / "idt.npz") as opened,
        pytest.raises(FeatxError, match=telling("float64")),
    ):
        opened.rows_by_id(["a"])


def test_predict_of_a_video_says_the_command_that_extracts_it(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "my video.avi").write_bytes(b"RIFF")
    (tmp_path / "folder").mkdir()
    for given, out in (("my video.avi", "my video.h5"), ("folder", "folder.h5")):
        with pytest.raises(UsageError) as raised:
            predict(saved, tmp_path / given)
        command = shlex.split(str(raised.value).split("`")[-2])
        assert command[:4] == ["featx", "extract", "--model", "res3d"]
        assert {("--layers", "res5b"), ("--stride", "16")} <= set(pairwise(command))
        assert command[-2:] == [str(tmp_path / given), str(tmp_path / out)]
        assert_one_sentence(raised.value)


def test_progress_counts_the_rows_of_all_splits(data: Path, features: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = svm(
        "hmdb51", features, root=data / "hmdb51", on_progress=lambda *done: seen.append(done)
    )
    total = sum(each.trained + len(each.ids) for each in found.splits)
    assert seen == [(k, total) for k in range(1, total + 1)]
