"""The THUMOS'14 and ActivityNet protocols against plain transcriptions of them, and case by case."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from localization_slow import annotations_of, ap_of, detections_of, random_case
from told import telling, tells

from featx.datasets.untrimmed import Annotations, Instance
from featx.errors import UsageError
from featx.tasks.localization._evaluate import Resampled, curve, draws, evaluate, ordered
from featx.tasks.localization._types import AtThreshold, Detections, Protocol

BOTH: tuple[Protocol, ...] = ("thumos14", "activitynet")
CLASSES = ("Jump", "Run")


def at(
    rows: list[tuple[str, str, float, float, float]],
    instances: list[Instance],
    protocol: Protocol,
    tiou: float = 0.5,
) -> AtThreshold:
    annotations = annotations_of(instances, classes=CLASSES)
    return evaluate(
        detections_of(rows, CLASSES), annotations, protocol=protocol, tious=(tiou,)
    ).thresholds[0]


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("ties", [False, True])
def test_agrees_with_the_plain_transcription(protocol: Protocol, ties: bool) -> None:
    for seed in range(25):
        found, annotations = random_case(seed, ties=ties)
        for each in evaluate(
            found, annotations, protocol=protocol, tious=(0.1, 0.3, 0.5, 0.7)
        ).thresholds:
            expected = ap_of(found, annotations, each.tiou, protocol)
            # Sums of at most 160 numbers below 1, in another order.
            np.testing.assert_allclose(
                each.ap, expected, rtol=0, atol=1e-13, err_msg=f"seed {seed}, tIoU {each.tiou}"
            )


def test_overlap_must_exceed_the_threshold_by_thumos_and_reach_it_by_activitynet() -> None:
    half = [("a", "Jump", 0.0, 5.0, 0.9)]  # 5 of 10 seconds
    truth = [Instance("a", 0, 0.0, 10.0)]
    assert at(half, truth, "thumos14").mean_ap == 0
    assert at(half, truth, "activitynet").mean_ap == 1
    assert at(half, truth, "thumos14", 0.49).mean_ap == 1


def test_by_thumos_an_instance_takes_the_best_overlap_and_by_activitynet_the_surest_detection() -> (
    None
):
    rows = [("a", "Jump", 0.0, 6.0, 0.9), ("a", "Jump", 0.0, 10.0, 0.1)]
    truth = [Instance("a", 0, 0.0, 10.0)]
    assert at(rows, truth, "thumos14").matched.tolist() == [0, 1]
    assert at(rows, truth, "activitynet").matched.tolist() == [1, 0]


@pytest.mark.parametrize("protocol", BOTH)
def test_an_instance_is_found_once(protocol: Protocol) -> None:
    rows = [("a", "Jump", 0.0, 10.0, 0.9), ("a", "Jump", 0.0, 10.0, 0.8)]
    assert at(rows, [Instance("a", 0, 0.0, 10.0)], protocol).matched.tolist() == [1, 0]


def test_instances_that_overlap_choose_in_the_order_of_their_file() -> None:
    rows = [("a", "Jump", 0.0, 10.0, 0.9), ("a", "Jump", 0.0, 5.9, 0.8)]
    first = [Instance("a", 0, 0.0, 10.0), Instance("a", 0, 0.0, 9.0)]
    # The second instance would have chosen the first detection (0.9), but has only the other one left (0.66).
    assert at(rows, first, "thumos14", 0.6).matched.tolist() == [1, 1]
    assert at(rows, first[::-1], "thumos14", 0.6).matched.tolist() == [1, 0]


def test_what_shares_time_with_an_ambiguous_stretch_is_dropped_unless_it_is_right() -> None:
    truth = [Instance("a", 0, 0.0, 10.0), Instance("a", -1, 9.0, 30.0)]
    rows = [
        ("a", "Jump", 0.0, 10.0, 0.9),  # right, and ambiguous at its end
        ("a", "Jump", 29.99, 40.0, 0.8),  # shares 0.01 s
        ("a", "Jump", 30.0, 40.0, 0.7),  # touches
        ("a", "Run", 20.0, 21.0, 0.6),  # of another class: ambiguous stretches are of none
    ]
    assert at(rows, truth, "thumos14").matched.tolist() == [1, -1, 0, -1]
    assert at(rows, truth, "activitynet").matched.tolist() == [1, 0, 0, 0]


def test_average_precision_by_hand() -> None:
    truth = [
        Instance("a", 0, 0.0, 10.0),
        Instance("b", 0, 0.0, 10.0),
        Instance("b", 0, 20.0, 30.0),
        Instance("c", 0, 0.0, 1.0),
    ]
    rows = [
        ("a", "Jump", 50.0, 60.0, 0.9),
        ("a", "Jump", 0.0, 10.0, 0.8),
        ("b", "Jump", 0.0, 10.0, 0.7),
    ]
    rows += [("b", "Jump", 40.0, 41.0, 0.6), ("b", "Jump", 20.0, 30.0, 0.5)]
    # Right are places 2, 3 and 5 of 5, of four instances: precisions 1/2, 2/3, 3/5; interpolated, 2/3, 2/3, 3/5.
    assert at(rows, truth, "thumos14").mean_ap == pytest.approx((1 / 2 + 2 / 3 + 3 / 5) / 4)
    assert at(rows, truth, "activitynet").mean_ap == pytest.approx((2 / 3 + 2 / 3 + 3 / 5) / 4)


@pytest.mark.parametrize("protocol", BOTH)
def test_a_class_without_detections_scores_0_and_one_without_instances_does_not_count(
    protocol: Protocol,
) -> None:
    truth = [Instance("a", 0, 0.0, 10.0), Instance("a", 1, 0.0, 10.0)]
    rows = [("a", "Jump", 0.0, 10.0, 0.9)]
    assert at(rows, truth, protocol).ap.tolist() == [1.0, 0.0]
    alone = at([*rows, ("a", "Run", 0.0, 10.0, 0.9)], truth[:1], protocol)
    assert alone.mean_ap == 1
    assert np.isnan(alone.ap[1])


@pytest.mark.parametrize("protocol", BOTH)
def test_videos_without_detections_and_no_detections_at_all_still_count(protocol: Protocol) -> None:
    truth = [Instance("a", 0, 0.0, 10.0), Instance("b", 0, 0.0, 10.0)]
    assert at([("a", "Jump", 0.0, 10.0, 0.9)], truth, protocol).mean_ap == 0.5
    assert at([], truth, protocol).mean_ap == 0


def test_equal_scores_go_by_videos_names_then_rows_by_thumos_and_last_first_by_activitynet() -> (
    None
):
    rows = [
        ("b", "Jump", 0.0, 1.0, 0.5),
        ("a", "Jump", 2.0, 3.0, 0.5),
        ("a", "Jump", 0.0, 1.0, 0.5),
    ]
    found = evaluate(
        detections_of(rows, CLASSES), annotations_of([Instance("b", 0, 0.0, 1.0), Instance("a", 0, 9.0, 9.5)], classes=CLASSES),
        protocol="thumos14", tious=(0.5,),
    )  # fmt: skip
    assert ordered(found.thresholds[0], "thumos14", 0).tolist() == [1, 2, 0]
    assert ordered(found.thresholds[0], "activitynet", 0).tolist() == [2, 1, 0]


def test_curves_end_at_the_last_detections_recall() -> None:
    found, annotations = random_case(3, ties=False)
    evaluation = evaluate(found, annotations, protocol="thumos14", tious=(0.3,))
    threshold = evaluation.thresholds[0]
    for label in range(3):
        recall, precision = curve(evaluation, threshold, label)
        own = threshold.matched[threshold.detections.label == label]
        assert len(recall) == (own >= 0).sum()
        assert recall[-1] == (own == 1).sum() / evaluation.instances[label]
        assert precision[-1] == (own == 1).sum() / (own >= 0).sum()


def repeated(
    found: Detections, annotations: Annotations, times: np.ndarray
) -> tuple[Detections, Annotations]:
    """Every video as often as it was drawn, its copies under names of their own."""
    names = [
        f"{video}#{copy}"
        for place, video in enumerate(annotations.videos)
        for copy in range(times[place])
    ]

    def copies(instances: tuple[Instance, ...]) -> tuple[Instance, ...]:
        return tuple(
            dataclasses.replace(i, video=name)
            for i in instances
            for name in names
            if name.split("#")[0] == i.video
        )

    rows = [
        (
            name,
            found.classes[found.label[n]],
            float(found.start[n]),
            float(found.end[n]),
            float(found.score[n]),
        )
        for n in range(len(found))
        for name in names
        if name.split("#")[0] == found.videos[found.video[n]]
    ]
    changed = dataclasses.replace(
        annotations,
        instances=copies(annotations.instances),
        ambiguous=copies(annotations.ambiguous),
        videos=tuple(sorted(names)),
    )
    return detections_of(rows, found.classes), changed


@pytest.mark.parametrize("protocol", BOTH)
def test_a_draws_mean_is_that_of_the_videos_as_often_as_they_are_drawn(protocol: Protocol) -> None:
    found, annotations = random_case(7, ties=False)
    times = draws(len(annotations.videos), 8, seed=1)
    whole = evaluate(found, annotations, protocol=protocol, tious=(0.3,)).thresholds[0]
    resampled = Resampled(protocol, times)
    for label in range(3):
        rows = ordered(whole, protocol, label)
        counts = np.array(
            [sum(i.video == v for i in annotations.of_class(label)) for v in annotations.videos]
        )
        resampled.add(whole.matched[rows] == 1, whole.detections.video[rows], counts)
    for draw, mean in enumerate(resampled.means()):
        expected = np.nanmean(ap_of(*repeated(found, annotations, times[:, draw]), 0.3, protocol))
        assert mean == pytest.approx(expected, abs=1e-12), draw


@pytest.mark.parametrize("protocol", BOTH)
def test_intervals_hold_the_mean_and_come_out_the_same_again(protocol: Protocol) -> None:
    found, annotations = random_case(11, ties=True, n_videos=30, n_detections=600)
    first, again = (
        evaluate(
            found, annotations, protocol=protocol, tious=(0.3, 0.5), bootstrap=300, seed=4
        ).thresholds
        for _ in range(2)
    )
    for one, two in zip(first, again, strict=True):
        assert one.interval == two.interval
        assert one.interval is not None
        assert one.interval[0] < one.mean_ap < one.interval[1]
    assert (
        evaluate(found, annotations, protocol=protocol, tious=(0.3,)).thresholds[0].interval is None
    )


def test_detections_may_depend_on_the_threshold() -> None:
    found, annotations = random_case(2, ties=False)
    asked = []

    def at_threshold(tiou: float) -> Detections:
        asked.append(tiou)
        return found.take(found.score > tiou)

    evaluation = evaluate(at_threshold, annotations, protocol="thumos14", tious=(0.2, 0.6))
    assert asked == [0.2, 0.6]
    assert [len(each.detections) for each in evaluation.thresholds] == [
        (found.score > 0.2).sum(),
        (found.score > 0.6).sum(),
    ]


def test_a_list_of_videos_restricts_and_may_name_videos_free_of_actions() -> None:
    truth = annotations_of(
        [Instance("a", 0, 0.0, 10.0), Instance("b", 0, 0.0, 10.0)], classes=CLASSES
    )
    rows = [
        ("a.mp4", "Jump", 0.0, 10.0, 0.5),
        ("b", "Jump", 50.0, 60.0, 0.9),
        ("empty", "Jump", 0.0, 1.0, 0.8),
    ]
    found = detections_of(rows, CLASSES)
    with pytest.raises(UsageError, match=telling("'empty'", "`annotated_only=True`")):
        evaluate(found, truth, protocol="thumos14", tious=(0.5,))
    left = evaluate(found, truth, protocol="thumos14", tious=(0.5,), annotated_only=True)
    assert left.thresholds[0].mean_ap == pytest.approx(1 / 2 / 2)
    assert tells(left.notes[0], "1 detection")
    listed = evaluate(
        found, truth, protocol="thumos14", tious=(0.5,), videos=["a", "empty.avi", "a.mp4"]
    )
    assert listed.videos == ("a", "empty.avi")
    assert listed.thresholds[0].mean_ap == pytest.approx(1 / 2)
    assert len(listed.notes) == 3
    for note, told in zip(listed.notes, ("1 detection", "1 video", "Run"), strict=True):
        assert tells(note, told)
    with pytest.raises(UsageError, match=telling("1 videos")):
        evaluate(found, truth, protocol="thumos14", videos=["empty"])


def test_wrong_requests_are_refused() -> None:
    found, annotations = random_case(0, ties=False)
    for tious in ((), (0.0,), (1.0,), (0.5, 0.5), (float("nan"),)):
        with pytest.raises(UsageError, match=telling("tIoUs")):
            evaluate(found, annotations, protocol="thumos14", tious=tious)
    with pytest.raises(UsageError, match=telling(-1)):
        evaluate(found, annotations, protocol="thumos14", bootstrap=-1)
    other = dataclasses.replace(found, classes=("Jump", "Run", "Swimm"))
    with pytest.raises(UsageError, match=telling("'Swimm'", "Swim")):
        evaluate(other, annotations, protocol="activitynet")
