"""The length prior, temporal suppression, and what becomes of windows: against the S-CNN authors' files and plain loops."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from localization_slow import (
    SCNN,
    THUMOS,
    Row,
    annotations_of,
    published,
    random_case,
    suppressed,
    thumos_ap,
    thumos_flags,
    windows_of,
)
from scipy.io import loadmat, savemat
from told import telling

from featx.datasets.thumos14 import read_annotations
from featx.datasets.untrimmed import Annotations, Instance
from featx.errors import FeatxError, UsageError
from featx.tasks.localization._evaluate import curve, evaluate
from featx.tasks.localization._matlab import read_scnn_windows
from featx.tasks.localization._postprocessing import (
    LENGTHS,
    SCNN_DURATIONS,
    Prior,
    as_written,
    counted_prior,
    detections_of,
    length_prior,
    overlap_for,
    read_prior,
    scnn_prior,
    suppress,
    weighted,
    window_durations,
)
from featx.tasks.localization._types import tiou_of

# Of the S-CNN authors' result file, to four decimals.
MAP = {0.1: 0.4772, 0.2: 0.4353, 0.3: 0.3628, 0.4: 0.2870, 0.5: 0.1897}


def prior_of(weights: object, classes: tuple[str, ...] = ("Jump", "Run", "Swim")) -> Prior:
    values = np.array(weights, np.float64)
    return Prior(lengths=LENGTHS[: len(values)], classes=classes, weights=values, source="made")


@published
def test_the_prior_is_the_authors_own() -> None:
    counted = scnn_prior(read_annotations(THUMOS / "annotation_val"))
    np.testing.assert_array_equal(counted.weights, loadmat(SCNN / "weight.mat")["weight"])
    stored = read_prior(SCNN / "weight.mat", counted.classes)
    np.testing.assert_array_equal(stored.weights, counted.weights)
    assert stored.lengths == LENGTHS


@published
def test_the_authors_windows_give_their_published_figures() -> None:
    annotations = read_annotations(THUMOS / "annotation_test")
    windows = read_scnn_windows(SCNN / "res_seg_swin.mat", annotations)
    prior = scnn_prior(read_annotations(THUMOS / "annotation_val"))
    found = evaluate(
        lambda tiou: detections_of(windows, prior, overlap=overlap_for(tiou), rounded=True),
        annotations,
        tious=tuple(MAP),
        protocol="thumos14",
    )
    assert len(found.videos) == 213
    assert found.instances.sum() == 3358
    assert {at.tiou: round(at.mean_ap, 4) for at in found.thresholds} == MAP
    stored = loadmat(SCNN / "res_scnn_thumos14.mat")
    for place, at in enumerate(found.thresholds):
        # Sums of the same numbers in another order.
        np.testing.assert_allclose(at.ap, stored["AP_all"][0, place].ravel(), rtol=0, atol=1e-12)
        recalls = []
        for label in range(20):
            recall, precision = curve(found, at, label)
            theirs = stored["PR_all"][0, place][label, 0]
            np.testing.assert_array_equal(recall, theirs["rec"].ravel())
            np.testing.assert_array_equal(precision, theirs["prec"].ravel())
            recalls.append(recall[-1])
        assert np.mean(recalls) == pytest.approx(stored["REC_all"][0, place])


def test_an_instance_counts_from_half_to_twice_a_duration_and_perhaps_for_two() -> None:
    lengths = (0.5, 0.49, 2.0, 2.01, 4.0, 1.0)
    truth = annotations_of([Instance("a", 0, 0.0, length) for length in lengths], classes=("Jump",))
    # From 0.5 to 2: 0.5, 2.0, 1.0. From 1 to 4: 2.0, 2.01, 4.0, 1.0.
    np.testing.assert_allclose(length_prior(truth, (1.0, 2.0))[:, 0], [3 / 7, 4 / 7])


def test_a_class_that_says_nothing_weighs_all_lengths_alike() -> None:
    truth = annotations_of(
        [Instance("a", 0, 0.0, 1.0), Instance("a", 1, 0.0, 500.0)]
    )  # Run too long for any, Swim without one
    weights = length_prior(truth, (1.0, 4.0))
    np.testing.assert_array_equal(weights, [[1.0, 0.5, 0.5], [0.0, 0.5, 0.5]])


def test_our_own_windows_durations_are_from_first_to_last_frame() -> None:
    assert window_durations((16, 32), 30.0) == (0.5, 31 / 30)
    own = window_durations(LENGTHS, 25.0)
    assert own[:5] == SCNN_DURATIONS[:5]
    assert own[5] == 20.44
    truth = annotations_of([Instance("a", 0, 0.0, 1.0)])
    assert counted_prior(truth, lengths=(16, 32), durations=own[:2]).lengths == (16, 32)


def test_scores_are_weighted_by_length_and_class_whatever_the_classes_order() -> None:
    found, _ = random_case(1, ties=False, n_detections=6)
    windows = dataclasses.replace(windows_of(found), length=np.array([16, 32, 16, 32, 32, 16]))
    turned = prior_of([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], classes=("Swim", "Jump", "Run"))
    column = {"Swim": 0, "Jump": 1, "Run": 2}
    expected = [
        found.score[n]
        * turned.weights[int(windows.length[n] == 32), column[found.classes[found.label[n]]]]
        for n in range(6)
    ]
    np.testing.assert_array_equal(weighted(windows, turned), expected)
    with pytest.raises(FeatxError, match=telling(32, 16)):
        weighted(windows, prior_of([[1.0, 1.0, 1.0]]))
    with pytest.raises(FeatxError, match=telling("Jump")):
        weighted(windows, prior_of([[1.0], [1.0]], classes=("Run",)))


def test_priors_are_read_from_three_kinds_of_file(tmp_path: Path) -> None:
    values = np.array([[0.25, 1.0], [0.75, 0.0]])
    savemat(tmp_path / "w.mat", {"weight": values})
    np.save(tmp_path / "w.npy", values)
    np.savetxt(tmp_path / "w.csv", values, delimiter=",")
    for name in ("w.mat", "w.npy", "w.csv"):
        read = read_prior(tmp_path / name, ("Jump", "Run"))
        np.testing.assert_array_equal(read.weights, values)
        assert read.lengths == (16, 32)
        assert read.classes == ("Jump", "Run")
    (tmp_path / "named.csv").write_text("length,Run,Jump\n64,0.5,0.25\n8,0.5,0.75\n")
    named = read_prior(tmp_path / "named.csv", ("Jump", "Run"))
    assert named.lengths == (64, 8)
    assert named.classes == ("Run", "Jump")
    found, _ = random_case(0, ties=False, n_detections=3)
    assert (
        len(
            weighted(
                windows_of(dataclasses.replace(found, label=np.zeros(3, np.int64)), length=8), named
            )
        )
        == 3
    )


def test_priors_that_cannot_be_are_refused(tmp_path: Path) -> None:
    def refused(name: str, *told: object, kind: type[Exception] = FeatxError) -> None:
        with pytest.raises(kind, match=telling(name, *told)):
            read_prior(tmp_path / name, ("Jump", "Run"))

    refused("w.txt", ".mat", kind=UsageError)
    refused("w.npy", kind=UsageError)
    np.save(tmp_path / "w.npy", np.ones((6, 3)))
    refused("w.npy", "(6, 3)", 2)
    np.save(tmp_path / "w.npy", np.array([[1, {}]], object), allow_pickle=True)
    refused("w.npy")
    np.save(tmp_path / "w.npy", np.array([[0.5, np.nan], [0.5, np.nan]]))
    refused("w.npy", "nan", "Run", "row 1")
    savemat(tmp_path / "w.mat", {"weights": np.ones((6, 2))})
    refused("w.mat", "weight")
    (tmp_path / "w.mat").write_bytes(b"MATLAB 5.0 MAT-file, and then nothing")
    refused("w.mat")
    (tmp_path / "w.csv").write_text("1,2\n3\n")
    refused("w.csv")
    (tmp_path / "w.csv").write_text("length,Jump,Run\n16,1,1\n16,1,1\n")
    refused("w.csv")


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.6])
def test_suppression_agrees_with_plain_loops(ties: bool, overlap: float) -> None:
    for seed in range(12):
        found, _ = random_case(seed, ties=ties, n_detections=200)
        kept = suppress(
            start=found.start,
            end=found.end,
            score=found.score,
            video=found.video,
            label=found.label,
            overlap=overlap,
        )
        expected = []
        for video in range(len(found.videos)):
            for label in range(3):
                rows = np.flatnonzero((found.video == video) & (found.label == label))
                picked = suppressed(
                    [(found.start[n], found.end[n], found.score[n]) for n in rows], overlap
                )
                expected += rows[picked].tolist()
        assert kept.tolist() == sorted(expected)


def test_an_overlap_that_equals_the_threshold_stays() -> None:
    start, end, score = (
        np.array([0.0, 8.0]),
        np.array([10.0, 12.0]),
        np.array([0.9, 0.8]),
    )  # 2 of 12 seconds
    one = np.zeros(2, np.int64)
    assert (
        len(suppress(start=start, end=end, score=score, video=one, label=one, overlap=2 / 12)) == 2
    )
    assert (
        len(
            suppress(start=start, end=end, score=score, video=one, label=one, overlap=2 / 12 - 1e-9)
        )
        == 1
    )
    assert (
        len(suppress(start=start, end=end, score=score, video=one, label=np.arange(2), overlap=0.0))
        == 2
    )
    assert (
        len(
            suppress(
                start=start[:0],
                end=end[:0],
                score=score[:0],
                video=one[:0],
                label=one[:0],
                overlap=0.0,
            )
        )
        == 0
    )
    assert [overlap_for(t) for t in (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8)] == [
        0.0,
        0.0,
        0.1,
        0.2,
        0.4,
        0.6,
        0.7,
    ]


def test_of_a_long_video_what_stays_overlaps_nothing_that_stays_and_what_goes_something_surer() -> (
    None
):
    rng = np.random.default_rng(0)
    n = 100_000
    start = rng.uniform(0, 7200, n)
    one = np.zeros(n, np.int64)
    end, score = start + rng.uniform(0.6, 20, n), rng.random(n)
    kept = suppress(start=start, end=end, score=score, video=one, label=one, overlap=0.4)
    assert 1000 < len(kept) < 10_000
    between = tiou_of(start[kept], end[kept], start[kept], end[kept])
    assert (between - np.eye(len(kept)) <= 0.4 + 1e-12).all()
    gone = rng.choice(np.setdiff1d(np.arange(n), kept), 500, replace=False)
    by = (tiou_of(start[gone], end[gone], start[kept], end[kept]) > 0.4) & (
        score[kept] > score[gone][:, None]
    )
    assert by.any(axis=1).all()


def made(seed: int, *, n: int = 400) -> tuple[np.ndarray, Annotations]:
    """Rows of a seg_swin of five videos with many equal scores, background among them, and ground truth."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((n, 14))
    rows[:, 0] = rng.choice([4, 6, 7, 1000, 51], n)
    rows[:, 1] = rng.choice(LENGTHS[:4], n)
    rows[:, 2] = 1 + rng.integers(0, 40, n) * rows[:, 1] / 4
    rows[:, 3] = rows[:, 2] + rows[:, 1] - 1
    rows[:, 4:6] = rows[:, 2:4] / 25
    rows[:, 8] = rng.choice([0.3, 0.77777777, 0.999999, 1.0, 0.77777776], n)
    rows[:, 10] = rng.integers(0, 4, n)
    rows[:, 11] = 0.25
    names = [f"video_test_{number:07d}" for number in (4, 6, 7, 1000, 51)]
    spans = [
        (round(s, 1), round(s + d, 1))
        for s, d in zip(rng.uniform(0, 20, 60), rng.uniform(0.4, 5, 60), strict=True)
    ]
    instances = [
        Instance(names[rng.integers(5)], int(label), *span)
        for label, span in zip(rng.integers(-1, 3, 60), spans, strict=True)
    ]
    return rows, annotations_of(instances, videos=tuple(sorted(names)))


def literal(
    rows: np.ndarray, weights: np.ndarray, annotations: Annotations, tiou: float, rounded: bool
) -> list[float]:
    """The authors' eval_scnn_thumos14.m once more, row by row."""
    rows = rows[rows[:, 10] != 0].copy()
    for row in rows:
        row[8] *= weights[int(np.log2(row[1] / 16)), int(row[10]) - 1]
    picked = []
    for video in np.unique(rows[:, 0]):
        for label in range(1, 4):
            mine = np.flatnonzero((rows[:, 0] == video) & (rows[:, 10] == label))
            picked += mine[
                suppressed([tuple(rows[n, [4, 5, 8]]) for n in mine], round(tiou - 0.1, 6))
            ].tolist()
    rows = rows[picked]
    rows = rows[np.argsort(-rows[:, 8], kind="stable")]
    values = []
    for label in range(3):
        written: list[Row] = [
            (
                f"video_test_{int(r[0]):07d}",
                float(f"{r[4]:.1f}" if rounded else r[4]),
                float(f"{r[5]:.1f}" if rounded else r[5]),
                float(f"{r[8]:.5g}" if rounded else r[8]),
            )
            for r in rows
            if r[10] == label + 1
        ]
        truth = list(annotations.of_class(label))
        values.append(
            thumos_ap(thumos_flags(written, truth, list(annotations.ambiguous), tiou), len(truth))
        )
    return values


@pytest.mark.parametrize("rounded", [True, False])
def test_other_windows_in_the_authors_format_come_out_as_their_code_goes(
    rounded: bool, tmp_path: Path
) -> None:
    weights = np.random.default_rng(5).random((4, 3))
    weights[0, 1] = 0.0  # a length that a class never has: its windows stay, with score 0
    for seed in range(6):
        rows, annotations = made(seed)
        savemat(tmp_path / "other.mat", {"seg_swin": rows})
        windows = read_scnn_windows(tmp_path / "other.mat", annotations)
        assert len(windows) == (rows[:, 10] != 0).sum()
        assert len(windows.videos) == 5
        assert np.isnan(windows.action).all()
        for tiou in (0.1, 0.3, 0.5):
            found = detections_of(
                windows, prior_of(weights), overlap=overlap_for(tiou), rounded=rounded
            )
            ap = evaluate(found, annotations, protocol="thumos14", tious=(tiou,)).thresholds[0].ap
            np.testing.assert_allclose(
                ap, literal(rows, weights, annotations, tiou, rounded), rtol=0, atol=1e-12
            )


def test_rounding_is_that_of_print() -> None:
    found, _ = random_case(0, ties=False, n_detections=3)
    exact = dataclasses.replace(
        found,
        start=np.array([0.25, 0.35, 1.15]),
        end=np.array([1.25, 2.449, 2.0]),
        score=np.array([0.1234567, 1e-7 / 3, 1.0]),
    )
    written = as_written(exact)
    assert written.start.tolist() == [0.2, 0.3, 1.1]
    assert written.end.tolist() == [1.2, 2.4, 2.0]
    assert written.score.tolist() == [0.12346, 3.3333e-08, 1.0]


def test_windows_that_cannot_be_are_refused_with_their_row(tmp_path: Path) -> None:
    rows, annotations = made(0)

    def refused(values: object, *told: object) -> None:
        savemat(tmp_path / "bad.mat", {"seg_swin": values})
        with pytest.raises(FeatxError, match=telling("bad.mat", *told)):
            read_scnn_windows(tmp_path / "bad.mat", annotations)

    for column, value, *told in ((8, np.nan), (0, 4.5), (1, 0.0), (5, -1.0), (10, 4.0, 0, 3)):
        bad = rows.copy()
        bad[6, column] = value
        refused(bad, "row 7", *told)
    refused(rows[:, :8], "(400, 8)")
    refused("text")


def test_validation_videos_and_actions_confidences_are_known(tmp_path: Path) -> None:
    rows, annotations = made(0)
    rows[:, 9] = 0.9
    savemat(tmp_path / "val.mat", {"seg_swin": rows})
    named = dataclasses.replace(annotations, videos=("video_validation_0000004",))
    windows = read_scnn_windows(tmp_path / "val.mat", named)
    assert windows.videos[0] == "video_validation_0000004"
    assert (windows.action == 0.9).all()


def test_background_may_hold_anything(tmp_path: Path) -> None:
    rows, annotations = made(0)
    savemat(tmp_path / "good.mat", {"seg_swin": rows})
    rows[rows[:, 10] == 0, 1:9] = np.nan
    savemat(tmp_path / "holes.mat", {"seg_swin": rows})
    good, holes = (
        read_scnn_windows(tmp_path / name, annotations) for name in ("good.mat", "holes.mat")
    )
    assert 0 < len(good) < len(rows)
    assert (good.score.tolist(), good.videos) == (holes.score.tolist(), holes.videos)
