"""Detections read from and written to text, JSON and tables; what cannot be is refused by its row."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from localization_slow import annotations_of, detections_of, random_case
from told import telling

from featx.datasets.thumos14 import OFFICIAL_NUMBERS
from featx.datasets.untrimmed import Annotations, Instance
from featx.errors import FeatxError, UsageError
from featx.tasks.localization import ClassIds
from featx.tasks.localization._evaluate import evaluate
from featx.tasks.localization._formats import (
    kind_of,
    read_detections,
    write_json,
    write_table,
    write_text,
)
from featx.tasks.localization._types import Detections

CLASSES = tuple(OFFICIAL_NUMBERS)


def thumos() -> Annotations:
    return dataclasses.replace(
        annotations_of([Instance("a", 0, 0.0, 1.0)], classes=CLASSES),
        numbers=tuple(OFFICIAL_NUMBERS.values()),
    )


def as_rows(found: Detections) -> list[tuple[object, ...]]:
    columns = (found.video, found.label, found.start, found.end, found.score)
    return [
        (found.videos[video], found.classes[label], start, end, score)
        for video, label, start, end, score in zip(*(c.tolist() for c in columns), strict=True)
    ]


def test_a_table_shows_names_as_texts_in_a_spreadsheet_and_is_read_back(tmp_path: Path) -> None:
    found, annotations = random_case(4, ties=False)
    odd = ("=1+1", "-v", "'@v")
    found = dataclasses.replace(found, videos=(*odd, *found.videos[len(odd) :]))
    write_table(found, tmp_path / "found.csv")
    assert {line[:2] for line in (tmp_path / "found.csv").read_text().splitlines()} >= {"'=", "'-"}
    assert as_rows(read_detections(tmp_path / "found.csv", annotations)) == as_rows(found)


def read_text(tmp_path: Path, text: str, class_ids: ClassIds | None = None) -> Detections:
    path = tmp_path / "found.txt"
    path.write_text(text)
    return read_detections(path, thumos(), class_ids=class_ids)


@pytest.mark.parametrize("suffix", [".txt", ".json", ".csv", ".other"])
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str) -> None:
    found, annotations = random_case(4, ties=False)
    writers: tuple[Callable[[Detections, Path], None], ...] = (write_text, write_json, write_table)
    for place, write in enumerate(writers):
        path = (
            tmp_path
            / f"found{place}"
            / f"x{suffix if suffix not in ('.json', '.csv') else ('.txt', '.json', '.csv')[place]}"
        )
        write(found, path)
        again = read_detections(path, annotations)
        assert sorted(as_rows(again)) == sorted(as_rows(found))
        if write is not write_json:  # which has them video by video
            assert as_rows(again) == as_rows(found)
        for protocol in ("thumos14", "activitynet"):
            one, other = (
                evaluate(each, annotations, protocol=protocol).thresholds for each in (found, again)
            )
            assert [each.ap.tolist() for each in one] == [each.ap.tolist() for each in other]
        content = path.read_bytes()
        write(found, path)
        assert path.read_bytes() == content


def test_json_keeps_videos_without_detections(tmp_path: Path) -> None:
    found = dataclasses.replace(
        detections_of([("b", "Diving", 0.0, 1.0, 0.5)], CLASSES), videos=("b", "nothing")
    )
    write_json(found, tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text()).keys() == {
        "version",
        "results",
        "external_data",
    }
    assert read_detections(tmp_path / "found.json", thumos()).videos == ("b", "nothing")


def test_official_numbers_are_written_where_they_are_given(tmp_path: Path) -> None:
    found = detections_of(
        [("b", "Diving", 0.0, 1.0, 0.5), ("a c", "HighJump", 0.1 + 0.2, 1.0, 1e-9)], CLASSES
    )
    write_text(found, tmp_path / "found.txt", numbers=thumos().numbers)
    assert (
        tmp_path / "found.txt"
    ).read_text() == "b 0.0 1.0 26 0.5\na c 0.30000000000000004 1.0 40 1e-09\n"
    assert as_rows(read_detections(tmp_path / "found.txt", thumos())) == as_rows(found)
    with pytest.raises(UsageError, match=telling("' c'")):
        write_text(dataclasses.replace(found, videos=("b", " c")), tmp_path / "found.txt")


def test_class_ids_tell_what_they_are(tmp_path: Path) -> None:
    assert read_text(tmp_path, "v 0 1 1 0.5\nv 0 1 20 0.5\nv 0 1 7 0.5").label.tolist() == [
        0,
        19,
        6,
    ]
    assert read_text(tmp_path, "v 0 1 7 0.5 \r\n\r\nv\t0 1 97 0.5\r\n").label.tolist() == [0, 19]
    with pytest.raises(UsageError, match=telling("7, 9, 12", "`class_ids='official'`")):
        read_text(tmp_path, "v 0 1 12 0.5\nv 0 1 7 0.5\nv 0 1 9 0.5")
    assert read_text(tmp_path, "v 0 1 7 0.5", class_ids="official").label.tolist() == [0]
    assert read_text(tmp_path, "v 0 1 7 0.5", class_ids="consecutive").label.tolist() == [6]
    with pytest.raises(UsageError, match=telling("line 2", 21, 20)):
        read_text(tmp_path, "v 0 1 7 0.5\nv 0 1 21 0.5", class_ids="consecutive")
    with pytest.raises(UsageError, match=telling("line 1", 0, 20, "7, 9, 12", 97)):
        read_text(tmp_path, "v 0 1 0 0.5")
    with pytest.raises(UsageError, match=telling(1, "line 2", 97, "line 1")):
        read_text(tmp_path, "v 0 1 97 0.5\nv 0 1 1 0.5")
    assert len(read_text(tmp_path, "\n")) == 0


def test_classes_without_official_numbers_count_from_1(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("v 0 1 3 0.5\n")
    plain = annotations_of([Instance("a", 0, 0.0, 1.0)])
    assert read_detections(tmp_path / "x.txt", plain).label.tolist() == [2]
    with pytest.raises(UsageError, match=telling("official")):
        read_detections(tmp_path / "x.txt", plain, class_ids="official")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("v 0 1 7", ("'v 0 1 7'",)),
        ("v 0 one 7 0.5", ("'v 0 one 7 0.5'",)),
        ("v 0 1 Diving 0.5", ("'Diving'",)),
        ("v 0 1 7.5 0.5", ("'7.5'",)),
        ("v 0 1 21 nan", ("nan",)),
        ("v 0 inf 21 0.5", (0, "inf")),
        ("v 2 1 21 0.5", (2, 1)),
    ],
)
def test_lines_that_are_no_detection_are_named(
    tmp_path: Path, line: str, told: tuple[object, ...]
) -> None:
    with pytest.raises(FeatxError, match=telling("found.txt", "line 3", *told)):
        read_text(tmp_path, f"v 0 1 21 0.5\n\n{line}\n")


def test_what_other_programs_write_is_read(tmp_path: Path) -> None:
    assert read_text(tmp_path, "v 0 1 21 -3.5").score.tolist() == [-3.5]
    text = "# video start end class score\n\nv.mp4\t-2.0e-01\t1.5E+00\t21.0\t9.0e-01\r\n  # v 0 1 9 0.5\nv 3 3 +22 1\n"
    found = read_text(tmp_path, text)
    assert as_rows(found) == [
        ("v.mp4", "CleanAndJerk", -0.2, 1.5, 0.9),
        ("v", "CliffDiving", 3.0, 3.0, 1.0),
    ]
    with pytest.raises(FeatxError, match=telling("line 6")):
        read_text(tmp_path, text + "v 3 2 21 1")
    (tmp_path / "found.json").write_text(
        '{"results": {"v": [{"label": "Diving", "score": "0.5", "segment": ["0", 1], "x": 1}]}}'
    )
    assert as_rows(read_detections(tmp_path / "found.json", thumos())) == [
        ("v", "Diving", 0.0, 1.0, 0.5)
    ]
    with pytest.raises(UsageError, match=telling("'#1'")):
        write_text(
            detections_of([("#1", "Diving", 0.0, 1.0, 0.5)], CLASSES), tmp_path / "found.txt"
        )


GOOD = '{"label": "Diving", "score": 0.5, "segment": [0, 1]}'


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"results": {"v": [' + GOOD + '], "v": []}}', ("'v'",)),
        ('{"results": {"v": [{"label": "Diving", "score": 1, "score": 2, "segment": [0, 1]}]}}', ("'score'",)),
        ('{"results": {"v": [' + GOOD, ()),
        ('{"database": {}}', ("results",)),
        ("[1, 2]", ("results",)),
        ('{"results": {"v": {}}}', ("'v'",)),
        ('{"results": {"v": [' + GOOD + ', {"label": "Diving", "segment": [0, 1]}]}}', ("v", "number 2")),
        ('{"results": {"v": [{"label": "Diving", "score": "high", "segment": [0, 1]}]}}', ("v", "number 1")),
        ('{"results": {"v": [{"label": "Diving", "score": "nan", "segment": [0, 1]}]}}', ("number 1", "nan")),
        ('{"results": {"v": [{"label": 8, "score": 0.5, "segment": [0, 1]}]}}', ("v", "number 1")),
        ('{"results": {"v": [{"label": "Diving", "score": true, "segment": [0, 1]}]}}', ("v", "number 1")),
        ('{"results": {"v": [{"label": "Diving", "score": 0.5, "segment": [0, 1, 2]}]}}', ("v", "number 1")),
        ('{"results": {"v": [{"label": "Diving", "score": 1' + "0" * 400 + ', "segment": [0, 1]}]}}', ("number 1",)),
        ('{"results": {"v": [{"label": "Diving", "score": NaN, "segment": [0, 1]}]}}', ("number 1", "nan")),
        ('{"results": {"v": [' + GOOD.replace("[0, 1]", "[1, 0]") + "]}}", ("v", "number 1", 0)),
        ('{"results": {"v": [' + GOOD.replace("Diving", "diving") + "]}}", ("'diving'", "Diving")),
        ("[" * 100_000, ()),
    ],
)  # fmt: skip
def test_json_that_is_none_of_activitynets_is_refused(
    tmp_path: Path, content: str, told: tuple[object, ...]
) -> None:
    path = tmp_path / "found.json"
    path.write_text(content)
    with pytest.raises(FeatxError, match=telling("found.json", *told)):
        read_detections(path, thumos())


def test_tables_have_their_columns_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "found.csv"
    path.write_text('\ufeffscore, end,start,more,class,video\r\n0.5,1,0,x,Diving,"a,b"\r\n')
    assert as_rows(read_detections(path, thumos())) == [("a,b", "Diving", 0.0, 1.0, 0.5)]
    for content, told in (
        ("video,class,start,end\nv,Diving,0,1\n", ("score", "video,class,start,end,score")),
        ("video,class,start,end,score\nv,Diving,0,1,x\n", ("line 2", "score")),
        ("video,class,start,end,score\nv,Diving,0,1\n", ("line 2", "score")),
        ("video,class,start,end,score\nv,,0,1,0.5\n", ("line 2",)),
        ("video,class,start,end,score\nv,Diving,0,1,0.5,7\n", ("line 2",)),
        (
            "video,class,start,end,score\nv,Diving,0,1,0.5\nv,Divin,0,1,0.5\n",
            ("line 3", "'Divin'", "Diving"),
        ),
        ("video,class,start,end,score\nv,Diving,1,0,0.5\n", ("line 2", 1, 0)),
        ('video,class,start,end,score\n"v,Diving,1,1,0.5\n', ()),
        ("", ("video",)),
    ):
        path.write_text(content)
        with pytest.raises(FeatxError, match=telling("found.csv", *told)):
            read_detections(path, thumos())


def test_what_a_file_is_shows_in_its_content(tmp_path: Path) -> None:
    contents = {
        "scnn": b"MATLAB 5.0 MAT-file",
        "json": b"\xef\xbb\xbf \n{}",
        "table": b"video,class,start,end,score\r\n",
        "text": b"a,b 1 2 3 4",
    }
    for kind, content in contents.items():
        (tmp_path / "file").write_bytes(content)
        assert kind_of(tmp_path / "file") == kind
    (tmp_path / "file").write_bytes(b"\x00\x01\x02")
    for name in ("file", "absent", "."):
        with pytest.raises(UsageError, match=telling(tmp_path / name)):
            kind_of(tmp_path / name)
    (tmp_path / "file").write_bytes(b"v 0 1 7 \xff")
    with pytest.raises(FeatxError, match=telling(tmp_path / "file")):
        read_detections(tmp_path / "file", thumos())


def test_many_rows_are_read_within_seconds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        f"video_test_{n % 213:07d} {n / 50} {n / 50 + 1} {1 + n % 20} {s}"
        for n, s in enumerate(rng.random(100_000).tolist())
    ]
    found = read_text(tmp_path, "\n".join(rows))
    assert len(found) == 100_000
    assert len(found.videos) == 213
