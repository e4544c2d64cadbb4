"""PCA against NumPy's SVD and other libraries; curves against scikit-learn from scratch; the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SHARED, needs
from feature_files import clustered, write_dataset, write_features
from told import telling, tells

from featx.errors import FeatxError, UsageError
from featx.extraction.projection import read_projection
from featx.tasks import compact
from featx.tasks.compactness import Curve, Point, as_text, fit_pca, plot_curves, to_json, write_csv

CLASSES = 4


def rows_of(n: int, width: int, *, rank: int = 60, seed: int = 0) -> np.ndarray:
    """Return rows as after a ReLU and L2, whose variance falls from direction to direction."""
    rng = np.random.default_rng(seed)
    seen = rng.normal(size=(n, rank)) / np.arange(1, rank + 1)
    rows = np.maximum(0, seen @ rng.normal(size=(rank, width)) + 0.05 * rng.normal(size=(n, width)))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def largest_angle(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest principal angle between the spans of orthonormal rows, radians."""
    rest = a.astype(np.float64) - a.astype(np.float64) @ b.T.astype(np.float64) @ b
    return float(np.arcsin(min(1.0, np.linalg.norm(rest, 2))))


@pytest.mark.parametrize(("n", "width"), [(40, 300), (300, 40), (50, 50)])
def test_components_are_those_of_numpy_s_svd(n: int, width: int) -> None:
    rows = rows_of(n, width)
    found = fit_pca(rows, 12)
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    # Variances fall by some per cent from each to the next: a component is off by float32's rounding, 1e-7, over that.
    np.testing.assert_allclose(
        np.abs(np.sum(found.components * vectors[:12], axis=1)), 1, atol=1e-6
    )
    np.testing.assert_allclose(found.variances, values[:12] ** 2 / (n - 1), rtol=1e-6)
    np.testing.assert_allclose(
        found.explained(5), (values[:5] ** 2).sum() / (values**2).sum(), rtol=1e-6
    )
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(12), atol=1e-6)
    np.testing.assert_allclose(found.project(rows), centred @ found.components.T, atol=1e-6)
    assert (found.components[np.arange(12), np.abs(found.components).argmax(axis=1)] > 0).all()


def test_fewer_components_are_the_first_of_more() -> None:
    rows = rows_of(60, 200)
    few, many = fit_pca(rows, 5), fit_pca(rows, 30)
    np.testing.assert_allclose(few.components, many.components[:5], atol=1e-6)
    np.testing.assert_allclose(few.project(rows), many.project(rows)[:, :5], atol=1e-6)


@pytest.mark.parametrize("solver", ["faiss", "randomized", "full"])
def test_other_libraries_find_the_same_subspace(solver: str) -> None:
    """They compute in float32: 1e-7 over the relative gap between neighbouring variances, about 1e-2 here."""
    import faiss
    from sklearn.decomposition import PCA

    rows = rows_of(120, 400)
    found = fit_pca(rows, 10)
    if solver == "faiss":
        other = faiss.PCAMatrix(400, 10)
        other.train(rows)
        components = faiss.vector_to_array(other.A).reshape(10, 400)
    else:  # the randomized solver iterates to its answer: 15 times to be as near as the others
        components = (
            PCA(10, svd_solver=solver, iterated_power=15, random_state=0).fit(rows).components_
        )
    assert largest_angle(components, found.components) < 1e-4


def test_rows_that_repeat_have_fewer_components() -> None:
    rows = np.repeat(rows_of(7, 100), 5, axis=0)
    assert len(fit_pca(rows, 20).components) == 6
    assert len(fit_pca(rows_of(10, 100), 500).components) == 9
    assert len(fit_pca(rows_of(100, 8), 500).components) == 8


@pytest.fixture
def problem(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray], list[tuple[str, str, str]]]:
    """A dataset of 4 classes, 12 training and 6 test videos each, and rows of its videos that an SVM finds not quite easy."""
    rows = [(f"c{label}/{side}{i}.avi", f"c{label}", side)
            for side, n in (("train", 12), ("test", 6)) for label in range(CLASSES) for i in range(n)]  # fmt: skip
    values = clustered([int(name[1]) for _, name, _ in rows], 90, spread=2.5)
    return (
        write_dataset(tmp_path / "set.csv", rows),
        {r[0].removesuffix(".avi"): v for r, v in zip(rows, values, strict=True)},
        rows,
    )


def features_of(
    path: Path, values: dict[str, np.ndarray], layer: str = "pool5", **settings: Any
) -> Path:
    return write_features(
        path, {i: {layer: np.stack([v, 3 * v])} for i, v in values.items()}, **settings
    )


def right_of(point: Point) -> int:
    return sum(int(each.right.sum()) for each in point.accuracies)


@pytest.mark.parametrize("again", [False, True])
def test_accuracies_are_scikit_learn_s_from_scratch(
    problem: Any, tmp_path: Path, again: bool
) -> None:
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer
    from sklearn.svm import LinearSVC

    dataset, values, rows = problem
    (curve,) = compact(
        dataset, features_of(tmp_path / "f.h5", values), dims=[20, 3, 8], normalise_again=again
    ).curves
    x = {side: np.stack([v / np.linalg.norm(v) for v, r in zip(values.values(), rows, strict=True) if r[2] == side])
         for side in ("train", "test")}  # fmt: skip
    y = {side: [r[1] for r in rows if r[2] == side] for side in ("train", "test")}

    def right(*steps: Any) -> int:
        model = make_pipeline(*steps, LinearSVC(C=1.0, tol=1e-8, max_iter=100_000, random_state=0))
        return int((model.fit(x["train"], y["train"]).predict(x["test"]) == y["test"]).sum())

    last = [Normalizer()] if again else []
    expected = [right(PCA(dims, svd_solver="full"), *last) for dims in (3, 8, 20)]
    assert [point.dims for point in curve.points] == [3, 8, 20]
    assert [right_of(point) for point in curve.points] == expected
    assert right_of(curve.full) == right(Normalizer())
    assert len({*expected, right_of(curve.full)}) > 1, "a problem on which dimensions matter"
    assert curve.width == curve.full.dims == 90
    full = PCA(svd_solver="full").fit(x["train"])
    for point in curve.points:
        assert point.explained == pytest.approx(
            [full.explained_variance_ratio_[: point.dims].sum()], rel=1e-5
        )


def test_no_test_row_reaches_the_fit(problem: Any, tmp_path: Path) -> None:
    dataset, values, rows = problem
    options = {"dims": [5], "split": 1}
    compact(dataset, features_of(tmp_path / "f.h5", values), save=tmp_path / "a.npz", **options)
    tested = {r[0].removesuffix(".avi") for r in rows if r[2] == "test"}
    changed = {i: (v[::-1] + 1 if i in tested else v) for i, v in values.items()}
    compact(dataset, features_of(tmp_path / "g.h5", changed), save=tmp_path / "b.npz", **options)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    changed = {**values, "c0/train0": values["c0/train0"][::-1]}
    compact(dataset, features_of(tmp_path / "h.h5", changed), save=tmp_path / "c.npz", **options)
    assert (tmp_path / "a.npz").read_bytes() != (tmp_path / "c.npz").read_bytes()


def test_as_many_dimensions_as_there_are_are_the_rows_themselves(
    problem: Any, tmp_path: Path
) -> None:
    """Unless rows are brought to length 1 again, which is another regularisation: what a curve must not mix in unasked."""
    dataset, values, _ = problem
    (curve,) = compact(dataset, features_of(tmp_path / "f.h5", values), dims=[47], C=0.05).curves
    assert right_of(curve.points[0]) == right_of(curve.full)


def test_a_projection_says_what_it_was_fitted_on_and_projects_as_the_pca_does(
    problem: Any, tmp_path: Path
) -> None:
    dataset, values, rows = problem
    path = features_of(tmp_path / "f.h5", values)
    found = compact(dataset, path, dims=[5], save=tmp_path / "a.npz")
    projection = read_projection(tmp_path / "a.npz")
    assert (projection.layer, projection.dims, projection.width) == ("pool5", 5, 90)
    assert projection.fitted_on == {
        "dataset": "set",
        "split": 1,
        "subset": "train",
        "videos": 48,
        "absent": 0,
    }
    assert projection.settings.to_json()["model"]["name"] == "res3d"
    assert projection.explained == pytest.approx(found.curves[0].points[0].explained[0])
    train = np.stack(
        [
            v / np.linalg.norm(v)
            for v, r in zip(values.values(), rows, strict=True)
            if r[2] == "train"
        ]
    )
    np.testing.assert_allclose(
        projection(train.astype(np.float32)).mean(axis=0), np.zeros(5), atol=1e-6
    )
    assert found.saved == str(tmp_path / "a.npz")


@pytest.fixture
def official(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """UCF101's layout with three splits of two classes: 4 groups, of which one or two are the test side; empty videos."""
    lists = tmp_path / "ucf101" / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    names = ["Biking", "Diving"]
    (lists / "classInd.txt").write_text(
        "".join(f"{i + 1} {name}\n" for i, name in enumerate(names))
    )
    ids = [f"{name}/v_{name}_g{group:02d}_c01" for name in names for group in range(1, 9)]
    for video in ids:
        path = tmp_path / "ucf101" / "UCF-101" / f"{video}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for split, tested in enumerate([(1, 2), (3, 4), (5, 6, 7)], 1):
        for side in ("train", "test"):
            chosen = [i for i in ids if (int(i[-6:-4]) in tested) == (side == "test")]
            label = (
                (lambda i: f" {names.index(i.split('/')[0]) + 1}")
                if side == "train"
                else (lambda i: "")
            )
            (lists / f"{side}list0{split}.txt").write_text(
                "".join(f"{i}.avi{label(i)}\n" for i in chosen)
            )
    values = clustered([names.index(i.split("/")[0]) for i in ids], 30, spread=3.0)
    return tmp_path / "ucf101", dict(zip(ids, values, strict=True))


def test_splits_are_averaged_and_the_papers_points_stand_beside_ucf101(
    official: Any, tmp_path: Path
) -> None:
    root, values = official
    path = features_of(tmp_path / "f.h5", values)
    found = compact("ucf101", path, dims=[2, 5], root=root)
    single = [compact("ucf101", path, dims=[2, 5], root=root, split=number) for number in (1, 2, 3)]
    assert found.splits == (1, 2, 3)
    assert found.videos == ((12, 4), (12, 4), (10, 6))
    for place in (0, 1):
        alone = [each.curves[0].points[place] for each in single]
        assert found.curves[0].points[place].value == pytest.approx(
            np.mean([each.value for each in alone])
        )
        assert [a.value for a in found.curves[0].points[place].accuracies] == [
            each.value for each in alone
        ]
        low, high = found.curves[0].points[place].interval
        assert low <= found.curves[0].points[place].value <= high
    assert (
        "mean of splits 1, 2, 3: 12 / 12 / 10 training and 4 / 4 / 6 test videos of 2 classes"
        in as_text(found)
    )
    assert [(each.title, each.points, each.full) for each in found.paper] == [
        ("Res3D res5b", ((10, 56.7), (300, 82.9)), (25088, 83.1)),
        ("C3D fc6", ((10, 52.8),), (4096, 82.2)),
    ]
    short = compact("ucf101", path, dims=[2, 10], root=root, paper=False)
    assert short.paper == ()
    (note,) = short.notes
    assert tells(note, 10, "30 numbers", "10 training videos", "9 principal components", "split 3")
    assert [point.dims for point in short.curves[0].points] == [2], (
        "a mean of two splits beside means of three"
    )
    (root / "GENERATED.txt").touch()
    assert compact("ucf101", path, dims=[2], root=root, split=1).paper == ()
    with pytest.raises(UsageError, match=telling("ucf101", 3, "split")):
        compact("ucf101", path, dims=[2], root=root, save=tmp_path / "a.npz")


@needs("ucf101", "../papers")
def test_the_papers_points_are_printed_there() -> None:
    from featx.tasks.compactness import PAPER

    text = (SHARED.parent / "papers" / "res3d-convnet-architecture-search.txt").read_text(
        encoding="utf-8"
    )
    res3d, c3d = PAPER
    assert (
        f"({res3d.points[0][1]} vs. {c3d.points[0][1]}) at {res3d.points[0][0]} dimensions" in text
    )
    assert f"accuracy of {res3d.points[1][1]}% at only {res3d.points[1][0]} dimensions" in text
    assert f"C3D using the full {c3d.full[0]:,} dimensions" in text
    assert f"Res3D (ours)\tlinear SVM\t51.3\t{res3d.full[1]}" in text
    assert f"C3D [41]\tlinear SVM\t51.6\t{c3d.full[1]}" in text


def test_dimensions_that_cannot_be_had_are_said_not_dropped(problem: Any, tmp_path: Path) -> None:
    dataset, values, _ = problem
    path = features_of(tmp_path / "f.h5", values)
    seen: list[tuple[int, int | None]] = []
    found = compact(
        dataset, path, dims=[5, 48, 300], on_progress=lambda done, total: seen.append((done, total))
    )
    assert [point.dims for point in found.curves[0].points] == [5]
    (note,) = found.notes
    assert tells(note, 48, 300, "pool5", "res3d", "90 numbers", "48 training videos", 47)
    assert note in as_text(found)
    assert seen[-1] == (2, 2)
    with pytest.raises(FeatxError, match=telling(48, "dims=[47]")):
        compact(dataset, path, dims=[48], save=tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


def test_several_files_and_layers_are_curves_of_their_own(problem: Any, tmp_path: Path) -> None:
    dataset, values, _ = problem
    one = features_of(tmp_path / "one.h5", values)
    two = write_features(
        tmp_path / "two.h5", {i: {"fc6": v, "prob": v[:7]} for i, v in values.items()}
    )
    np.save(tmp_path / "idt.npy", np.stack(list(values.values())))
    (tmp_path / "idt.txt").write_text("\n".join(values))

    def widths(files: Sequence[Path], layers: Any) -> list[tuple[str | None, int]]:
        return [
            (curve.layer, curve.width)
            for curve in compact(dataset, files, layers=layers, dims=[3]).curves
        ]

    assert widths([one, two], None) == [("pool5", 90), ("fc6", 90)]
    assert widths([one, two], ["pool5", "prob"]) == [("pool5", 90), ("prob", 7)]
    assert widths([two], ["prob", "fc6"]) == [("prob", 7), ("fc6", 90)]
    assert widths([two, tmp_path / "idt.npy"], ["prob"]) == [("prob", 7), (None, 90)]
    assert widths([one, tmp_path / "idt.npy", two], ["pool5", "prob"]) == [
        ("pool5", 90),
        (None, 90),
        ("prob", 7),
    ]
    with pytest.raises(UsageError, match=telling(2, 3)):
        widths([one, two, one], ["pool5", "prob"])
    twice = compact(dataset, [one, features_of(tmp_path / "again.h5", values)], dims=[3])
    assert [curve.title for curve in twice.curves] == [
        "pool5 of res3d (hand-made), one.h5",
        "pool5 of res3d (hand-made), again.h5",
    ]
    with pytest.raises(UsageError, match=telling("idt.npy")):
        compact(dataset, tmp_path / "idt.npy", dims=[3], save=tmp_path / "a.npz")


def test_a_projection_of_projected_rows_is_refused(problem: Any, tmp_path: Path) -> None:
    dataset, values, _ = problem
    path = features_of(
        tmp_path / "f.h5",
        values,
        projection={
            "layer": "pool5",
            "dims": 90,
            "from": 99,
            "fitted_on": {},
            "explained": 0.9,
            "file": "p.npz",
            "sha256": "x",
        },
    )
    with pytest.raises(UsageError, match=telling("f.h5", "pool5")):
        compact(dataset, path, dims=[3], save=tmp_path / "a.npz")


def test_tables_and_pictures_hold_every_point_and_are_the_same_every_time(
    problem: Any, tmp_path: Path
) -> None:
    dataset, values, _ = problem
    found = compact(dataset, features_of(tmp_path / "f.h5", values), dims=[3, 8], paper=True)
    write_csv(found, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    (curve,) = found.curves
    assert [(line["dims"], line["full"], line["accuracy"]) for line in lines[:3]] == [
        *((str(point.dims), "0", f"{100 * point.value:.3f}") for point in curve.points),
        ("90", "1", f"{100 * curve.full.value:.3f}"),
    ]
    assert [
        (line["curve"], line["dims"], line["full"], line["accuracy"]) for line in lines[3:6]
    ] == [
        ("the paper's Res3D res5b", "10", "0", "56.7"),
        ("the paper's Res3D res5b", "300", "0", "82.9"),
        ("the paper's Res3D res5b", "25088", "1", "83.1"),
    ]
    assert lines[3]["data"] == "all of UCF101, mean of three splits, trained on Sports-1M"
    plot_curves(found, tmp_path / "a.svg")
    plot_curves(found, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert json.loads(json.dumps(to_json(found)))["curves"][0]["full"]["value"] == curve.full.value


def test_a_picture_says_what_it_shows(
    problem: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from featx.tasks.compactness import _picture

    dataset, values, _ = problem
    drawn: list[Any] = []
    monkeypatch.setattr(_picture, "save_picture", lambda figure, path, kind: drawn.append(figure))
    found = compact(dataset, features_of(tmp_path / "f.h5", values), dims=[3, 8], paper=True)
    plot_curves(found, tmp_path / "a.png")
    low, full = drawn[0].axes
    (curve,) = found.curves
    assert low.get_xscale() == "log"
    assert low.lines[0].get_xdata().tolist() == [3, 8]
    assert low.lines[0].get_ydata().tolist() == [100 * point.value for point in curve.points]
    assert [text.get_text() for text in full.get_xticklabels()] == ["90", "25,088", "4,096"]
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == [
        "pool5 of res3d (hand-made)",
        "the paper's Res3D res5b: all of UCF101, mean of three splits, trained on Sports-1M",
        "the paper's C3D fc6: all of UCF101, mean of three splits, trained on Sports-1M",
    ]
    assert "48 training and 24 test videos of 4 classes" in drawn[0].get_suptitle()
    # Two curves' intervals are bars beside each other: bands would mix to a third colour.
    plot_curves(replace(found, curves=(curve, curve)), tmp_path / "two.png")
    axes = drawn.pop().axes[0]
    bars = [each.get_segments() for each in axes.collections]
    assert [bar[0][:, 1].tolist() for bar in bars] == [
        [pytest.approx(100 * end) for end in curve.points[0].interval]
    ] * 2
    assert bars[0][0][0, 0] < 3 < bars[1][0][0, 0]
    plot_curves(
        replace(found, curves=(Curve(**{**vars(curve), "points": ()}),), paper=()),
        tmp_path / "b.png",
    )
    assert low is not drawn[1].axes[0]


def test_the_command_writes_everything(problem: Any, tmp_path: Path) -> None:
    dataset, values, _ = problem
    path = features_of(tmp_path / "f.h5", values)
    files = {
        "--plot": tmp_path / "new" / "a.svg",
        "--csv": tmp_path / "a.csv",
        "--save": tmp_path / "a.npz",
    }
    options = [str(each) for pair in files.items() for each in pair]
    done = run_command("--dataset", dataset, "--features", path, "--dims", "5", *options, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["videos"] == [{"train": 48, "test": 24}]
    assert found["curves"][0]["settings"]["weights"]["name"] == "hand-made"
    assert all(each.exists() for each in files.values())
    assert tells(done.stderr, tmp_path / "a.npz", 5)


def run_command(*options: object) -> Any:
    from click.testing import CliRunner

    from featx.tasks.cli.compact import compact as command

    return CliRunner().invoke(command, [str(each) for each in options])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--dims", "10,x"], ("dims", "'10,x'")),
        (["--dims", "0,5"], ("dims", 0, 5)),
        (["--C", "-1"], ("C", -1)),
        (["--plot", "a.gif"], ("'a.gif'",)),
        (["--csv", ".."], ("..",)),
        (["--save", "a.npy", "--dims", "5"], ("a.npy", ".npz")),
        (["--save", "a.npz"], (6, "dims")),
        (["--save", "a.npz", "--dims", "5", "--layer", "pool5", "--layer", "pool5"], (2,)),
        (["--layer", "pool6"], ("pool5", "'pool6'")),
        (["--features", "none.h5"], ("none.h5",)),
        (["--split", "2"], ("split", 2)),
    ],
)
def test_wrong_usage_is_said_before_any_work(
    problem: Any, tmp_path: Path, options: list[str], told: tuple[object, ...]
) -> None:
    dataset, values, _ = problem
    done = run_command(
        "--dataset", dataset, "--features", features_of(tmp_path / "f.h5", values), *options
    )
    assert isinstance(done.exception, UsageError)
    assert tells(done.exception, *told)


def test_nothing_is_extracted_for_a_request_that_cannot_be_met(
    problem: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from featx.tasks.cli import compact as module

    dataset, *_ = problem
    monkeypatch.setattr(
        module, "provided", lambda *args, **options: pytest.fail("features were asked for")
    )
    done = run_command("--dataset", dataset, "--save", tmp_path / "a.npz")
    assert "not of 6 numbers of dimensions" in str(done.exception)


def test_any_of_a_video_s_labels_counts_as_right(tmp_path: Path) -> None:
    """Sports-1M's videos with several labels (Karpathy et al., table 1), as featx svm and featx evaluate count them."""
    root = tmp_path / "sports1m"
    (root / "original").mkdir(parents=True)
    (root / "videos").mkdir()
    (root / "labels.txt").write_text("a\nb\nc\n")
    videos = {"train": {f"train{i:06d}": str(i % 3) for i in range(9)}, "test": {"test0000000": "0,2", "test0000001": "1",
              "test0000002": "2"}}  # fmt: skip
    for side, listed in videos.items():
        lines = [f"http://www.youtube.com/watch?v={i} {labels}\n" for i, labels in listed.items()]
        (root / "original" / f"{side}_partition.txt").write_text("".join(lines))
        for i in listed:
            (root / "videos" / f"{i}.mp4").touch()
    shown = {i: int(labels[-1]) for listed in videos.values() for i, labels in listed.items()}
    path = write_features(
        tmp_path / "f.h5", {i: {"pool5": np.eye(3)[label] + 0.01} for i, label in shown.items()}
    )
    found = compact("sports1m", path, dims=[2], root=root)
    assert right_of(found.curves[0].full) == 3


def test_nothing_takes_the_place_of_a_device(problem: Any, tmp_path: Path) -> None:
    import os

    dataset, values, _ = problem
    os.mkfifo(tmp_path / "pipe")
    done = run_command(
        "--dataset",
        dataset,
        "--features",
        features_of(tmp_path / "f.h5", values),
        "--csv",
        tmp_path / "pipe",
    )
    assert "pipe is no ordinary file: give the name of a file to write, such as compact.csv" in str(
        done.exception
    )


def test_rows_that_are_all_the_same_have_nothing_to_save(problem: Any, tmp_path: Path) -> None:
    dataset, values, _ = problem
    path = features_of(tmp_path / "f.h5", {i: np.ones(90) for i in values})
    assert tells(compact(dataset, path, dims=[1]).notes[0], 1)
    with pytest.raises(FeatxError, match=telling("pool5")):
        compact(dataset, path, dims=[1], save=tmp_path / "a.npz")
