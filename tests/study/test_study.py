"""The studies' tables against the papers, and a small study from its first update to its picture."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED
from tiny import NAME
from told import telling, tells

from featx.cli import cli
from featx.datasets import GENERATED, Dataset, DatasetRef, Item, load_dataset
from featx.errors import FeatxError, UsageError
from featx.extraction.settings import Machine
from featx.models import model_entry
from featx.models.count import count
from featx.models.registry import skeleton
from featx.study import (
    STUDIES,
    Printed,
    Row,
    Study,
    StudySettings,
    Watcher,
    as_text,
    listed,
    run_study,
    study_named,
    to_json,
)
from featx.study._comparable import differences, row_differences
from featx.synthetic.layouts import write_dataset
from featx.training import RunOptions
from featx.training.recipes import recipe

PAPERS = SHARED.parent / "papers"


def paper(name: str) -> str:
    path = PAPERS / f"{name}.txt"
    if not path.exists():
        pytest.skip(f"{path} is not here: the papers are not part of the project")
    return path.read_text(encoding="utf-8")


def printed(study: str, dataset: str, split: int | None = 1) -> dict[str, list[float]]:
    return {
        row.name: [p.accuracy for p in row.printed if (p.dataset, p.split) == (dataset, split)]
        for row in STUDIES[study].rows
    }


def line(text: str, start: str, before: str) -> list[float]:
    """The numbers of the last line that starts so, before the caption that starts so."""
    lines = [row for row in text[: text.index(before)].splitlines() if row.startswith(start)]
    return [float(n) for n in re.findall(r"\d+\.?\d*", lines[-1].removeprefix(start))]


# ---------------------------------------------------------------- the tables


def test_tran_is_as_printed() -> None:
    text = paper("res3d-convnet-architecture-search")
    ours, hmdb51 = printed("tran2017-search", "ucf101"), printed("tran2017-search", "hmdb51")

    def of(names: list[str], figures: dict[str, list[float]]) -> list[float]:
        return [figures[name][0] for name in names]

    assert of(["2d-res18", "2d-res34", "3d-res18", "3d-res34"], ours) == line(
        text, "Accuracy (%)", "Table 3. **"
    )
    strides = ["stride-1", "stride-2", "sr18", "stride-8", "stride-16", "stride-32"]
    assert of(strides, ours) == line(text, "Accuracy (%)", "Table 4. **")
    assert {row.step for row in STUDIES["tran2017-search"].rows if row.model == "sr18"} == {
        None,
        1,
        2,
        8,
        16,
        32,
    }
    assert model_entry("sr18").clip.step == 4
    crops, mixes = (
        ["crop-56", "sr18", "crop-224"],
        ["mc1", "mc2", "mc3", "mc4", "mc5", "2.5d", "sr18"],
    )
    assert of(crops, ours) == line(text, "Accuracy (%)", "FLOPs ($\\times 10^9$)\t2.6")
    assert of(mixes, ours) == line(text, "Accuracy (%)", "Table 6. **")
    depths = ["d10", "d16", "sr18", "d26", "d34"]
    assert of(depths, ours) == [
        line(text, f"D{n}\t", "Table 7. **")[-1] for n in (10, 16, 18, 26, 34)
    ]
    for names, caption in (
        (crops, "Table 15. **"),
        (mixes, "Table 16. **"),
        (depths, "Table 17. **"),
    ):
        assert of(names, hmdb51) == line(text, "HMDB51", caption)
        assert of(names, ours) == line(text, "UCF101", caption)


def test_hara_is_as_printed() -> None:
    text = paper("hara-good-practice")
    found = re.findall(r"^\| ((?:Multi|Spatial)[^|]*?) *\| (.*) \|$", text, flags=re.M)
    lines = [
        (name.lower().replace(" ", "-"), [float(n) for n in re.split(r"[|±]", numbers)])
        for name, numbers in found
    ]
    tuned = [
        printed("hara2018-augmentation", dataset, split)
        for dataset in ("ucf101", "hmdb51")
        for split in (1, 2, 3)
    ]
    scratch = printed("hara2018-augmentation", "kinetics")
    assert sorted(len(numbers) for _, numbers in lines) == [3] * 5 + [10] * 5
    for name, numbers in lines:
        if len(numbers) == 3:  # table II: top-1, top-5, their mean
            assert scratch[name] == numbers[:1]
        else:  # table III, for each dataset: three splits, their mean and its deviation
            assert [figures[name] for figures in tuned] == [
                [n] for n in (*numbers[:3], *numbers[5:8])
            ]
    # Figure 2 has no numbers in the text.
    assert not any(row.printed for row in STUDIES["hara2018-freezing"].rows)


def test_leong_is_as_printed() -> None:
    text = paper("semi-cnn").split("**Table 3.**")[1]
    ours = printed("semi-cnn", "ucf101")
    for network in ("VGG-16", "ResNet-18", "ResNet-34", "ResNet-50"):
        three, _, semi, _ = line(text, f"{network}\t", "**Figure 2.**")
        key = network.lower().replace("-", "")
        assert (ours[f"3d-{key}"], ours[f"semi-{key}"]) == ([three], [semi])
    assert "DenseNet-121\t" not in text
    assert (ours["3d-densenet121"], ours["semi-densenet121"]) == ([], [])


def test_yang_is_as_printed() -> None:
    text = paper("asymmetric-3d-cnn")
    ours = printed("asymmetric", "ucf101", None)
    tables: dict[str, list[float]] = {}
    for name, value in re.findall(r"^<i>([cb]\S+)</i>\t\S+M\t([\d.]+)%", text, flags=re.M):
        tables.setdefault(name.lower(), []).append(float(value))
    assert len(tables) == 20
    for name, figures in tables.items():
        assert set(ours[name]) == set(figures), name
    table4 = text.split("Table 4:")[1].split("Figure 7:")[0]
    tuned = [float(value) for value in re.findall(r"^\S.*\t([\d.]+)%$", table4, flags=re.M)]
    names = [
        "c3d-b8-finetuned",
        "asymmetric3d-m2-finetuned",
        "asymmetric3d-m3-finetuned",
        "asymmetric3d-finetuned",
    ]
    assert [ours[name] for name in names] == [[v] for v in tuned]


@pytest.mark.parametrize("name", STUDIES)
def test_every_row_can_be_asked_for(name: str) -> None:
    study = study_named(name)
    names = [row.name for row in study.rows]
    assert len(set(names)) == len(names)
    assert len({(row.model, row.options, row.recipe) for row in study.rows}) == len(names)
    for dataset in ("ucf101", "hmdb51", "kinetics"):
        settings = StudySettings(
            study=name,
            dataset=DatasetRef(name=dataset),
            weights={"": "none"},
            overrides={"duration": "3"},
        )
        for row in study.rows:
            asked = settings.training(study, row)
            assert model_entry(asked.model)
            assert recipe(asked.recipe or "", asked.overrides).duration == 3
            assert asked.weights is asked.init_2d is None
    assert all(row.name in listed(study) for row in study.rows)


def test_what_rows_start_from() -> None:
    augmentation = study_named("hara2018-augmentation")
    row = augmentation.rows[0]
    assert (augmentation.recipe(row, "kinetics"), augmentation.start(row, "kinetics")) == (
        "hara2018-scratch",
        "nothing",
    )
    assert (augmentation.recipe(row, "hmdb51"), augmentation.start(row, "hmdb51")) == (
        "hara2018-finetune",
        "checkpoint",
    )
    StudySettings(study="hara2018-augmentation", dataset=DatasetRef(name="kinetics")).chosen()
    with pytest.raises(UsageError, match=telling("checkpoint")):
        StudySettings(study="hara2018-augmentation", dataset=DatasetRef(name="ucf101")).chosen()
    with pytest.raises(UsageError, match=telling("semi-vgg16", "ImageNet")):
        StudySettings(study="semi-cnn", dataset=DatasetRef(name="ucf101")).chosen()
    semi, rows = StudySettings(
        study="semi-cnn",
        dataset=DatasetRef(name="ucf101"),
        rows=("semi-resnet18",),
        weights={"semi-resnet18": "f"},
    ).chosen()
    asked = StudySettings(
        study="semi-cnn", dataset=DatasetRef(name="ucf101"), weights={"": "f"}
    ).training(semi, rows[0])
    assert (asked.weights, asked.init_2d) == (None, "f")
    # A row that starts from nothing in the paper does so here, whatever the others start from.
    assert (
        StudySettings(study="asymmetric", dataset=DatasetRef(name="ucf101"), weights={"": "f"})
        .training(*_first("asymmetric"))
        .weights
        is None
    )
    with pytest.raises(UsageError, match=telling("augmentation")):
        StudySettings(
            study="hara2018-augmentation",
            dataset=DatasetRef(name="kinetics"),
            overrides={"augmentation": "none"},
        ).chosen()
    with pytest.raises(UsageError, match=telling("'mc6'")):
        StudySettings(
            study="tran2017-search", dataset=DatasetRef(name="ucf101"), rows=("mc6",)
        ).chosen()
    with pytest.raises(UsageError, match=telling("'tran2017'", "tran2017-search")):
        study_named("tran2017")


def _first(name: str) -> tuple[Study, Row]:
    return STUDIES[name], STUDIES[name].rows[0]


# ---------------------------------------------------------------- what can be compared


def side(
    subset: str,
    videos: int,
    *,
    name: str = "ucf101",
    classes: int = 101,
    notes: tuple[str, ...] = (),
) -> Dataset:
    items = tuple(Item(id=str(i), path="", label=0) for i in range(videos))
    return Dataset(
        name=name,
        split=1,
        subset=subset,
        classes=tuple(map(str, range(classes))),
        items=items,
        notes=notes,
    )


SETTINGS = StudySettings(study="tran2017-search", dataset=DatasetRef(name="ucf101"))


@pytest.mark.parametrize(
    ("settings", "sides", "expected"),
    [
        ({}, (side("train", 9537), side("test", 3783)), []),
        ({}, (side("train", 9537), side("test", 3782)), [("3,782", "3,783")]),
        ({}, (side("train", 10, classes=11), side("test", 3783)), [(11, 101), (10, "9,537")]),
        ({}, (side("train", 9537, notes=("generated videos, not the official ones",)), side("test", 3783)), [("generated",)]),
        ({}, (side("train", 9, name="mine"), side("test", 3, name="mine")), [("own",)]),
        ({"crop": 32}, (side("train", 9537), side("test", 3783)), [(32,)]),
        ({"overrides": {"batch": "8"}}, (side("train", 9537), side("test", 3783)), [("batch=8",)]),
        ({}, (side("train", 230_000, name="kinetics", classes=400), side("val", 18_500, name="kinetics", classes=400)), []),
    ],
)  # fmt: skip
def test_what_sets_a_study_apart(
    settings: dict[str, Any], sides: tuple[Dataset, Dataset], expected: list[tuple[object, ...]]
) -> None:
    found = differences(replace(SETTINGS, **settings), *sides)
    assert len(found) == len(expected), found
    assert all(tells(text, *values) for text, values in zip(found, expected, strict=True)), found


def test_what_sets_a_row_apart() -> None:
    tran, sr18 = (
        STUDIES["tran2017-search"],
        next(r for r in STUDIES["tran2017-search"].rows if r.name == "sr18"),
    )
    assert row_differences(SETTINGS, tran, sr18) == []
    for given, value in (
        (DatasetRef(name="ucf101", split=2), "split 1"),
        (DatasetRef(name="kinetics"), "ucf101"),
    ):
        (difference,) = row_differences(replace(SETTINGS, dataset=given), tran, sr18)
        assert tells(difference, value)
    (difference,) = row_differences(SETTINGS, *_first("asymmetric"))
    assert tells(difference, "3 splits")
    tuned = replace(
        SETTINGS,
        study="hara2018-augmentation",
        weights={"": "none"},
        dataset=DatasetRef(name="ucf101", split=2),
    )
    assert len(row_differences(tuned, *_first("hara2018-augmentation"))) == 1
    assert (
        row_differences(replace(tuned, weights={"": "f"}), *_first("hara2018-augmentation")) == []
    )


# ---------------------------------------------------------------- a small study

ROWS = (
    Row(
        name="a",
        model=NAME,
        group="one",
        printed=(Printed(accuracy=12.3, dataset="ucf101", split=1, where="table 9"),),
    ),
    Row(name="b", model=NAME, group="two", step=1, overrides={"freeze": "conv1"}),
    Row(name="wide", model="c3d_b5", group="two"),
)
TINY = Study(name="tiny", title="nothing", paper="Nobody 2000", tables="table 9", protocol="clip",
             recipes={"": "tran2017-ucf101"}, rows=ROWS)  # fmt: skip


class Told(Watcher):
    """What happened, in order; stops after `stop` reports of progress."""

    def __init__(self, stop: int | None = None) -> None:
        self.told: list[str] = []
        self._stop = stop

    def training(self, plan: Any, trainer: Any) -> None:
        self.told.append(f"from {trainer.state.step}")

    def trained(self, progress: Any) -> None:
        if self._stop is not None and progress.step >= self._stop:
            raise KeyboardInterrupt

    def ended(self, entry: Any) -> None:
        self.told.append(entry.row.name)


@pytest.mark.usefixtures("tiny_network")
def test_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STUDIES, "tiny", TINY)  # type: ignore[misc]
    monkeypatch.setenv("FEATX_DATA", str(tmp_path))
    write_dataset("ucf101", tmp_path, classes=["move_left", "grow"], seconds=0.6, per_class=8)
    assert (tmp_path / "ucf101" / GENERATED).exists()
    few = {"duration": "4", "unit": "iterations", "batch": "4"}
    settings = StudySettings(
        study="tiny",
        dataset=DatasetRef(name="ucf101", partial=True),
        crop=28,
        overrides=few,
        run=RunOptions(machine=Machine(device="cpu", workers=1), save_seconds=0.0),
    )
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run_study(replace(settings, rows=("a", "b")), out, watcher=Told(stop=3))
    watcher = Told()
    report = run_study(replace(settings, rows=("a", "b")), out, watcher=watcher)
    assert watcher.told == [
        "from 2",
        "a",
        "from 0",
        "b",
    ]  # what was saved after the second update went on
    assert report.failures == {}

    again = Told()
    report = run_study(settings, out, watcher=again)
    assert again.told == [
        "a",
        "b",
        "wide",
    ]  # done rows are told and not repeated; the network that refuses never began
    assert list(report.failures) == ["wide"]
    assert tells(report.failures["wide"], 16, "frames")
    test = load_dataset("ucf101", subset="test", partial=True)
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["name"], r["videos"], r["updates"], r["paper"]) for r in rows] == [
        ("a", str(len(test.items)), "4", "12.3"),
        ("b", str(len(test.items)), "4", ""),
    ]
    assert all(
        0 <= float(r["low"]) <= float(r["accuracy"]) <= float(r["high"]) <= 100 for r in rows
    )
    cost = count(skeleton(NAME, num_classes=2), (3, 4, 28, 28))
    assert [(r["multiply_adds"], r["parameters"]) for r in rows] == 2 * [
        (str(cost.multiply_adds), str(cost.params))
    ]
    text = (out / "results.txt").read_text()
    assert text == f"{as_text(report)}\n"
    assert tells(text, "comparable", "generated videos", "duration=4")
    assert re.search(r"^a .* 12\.3 +no ", text, flags=re.M)
    assert (out / "results.png").stat().st_size > 10_000
    assert to_json(report)["rows"][2]["failure"] == report.failures["wide"]

    with pytest.raises(UsageError, match=telling("overrides.batch", "'4'", "'2'")):
        run_study(replace(settings, overrides={**few, "batch": "2"}), out)
    with pytest.raises(UsageError, match=telling(out / "a")):
        run_study(settings, out / "a")
    (out / "a" / "result.json").write_text("{")
    with pytest.raises(FeatxError, match=telling("result.json")):
        run_study(settings, out)


def test_the_command_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("FEATX_DATA", str(tmp_path))
    with pytest.raises(UsageError, match=telling("--list")):
        cli.main(["study", "semi-cnn"], standalone_mode=False)
    with pytest.raises(UsageError, match=telling("ucf101", tmp_path / "ucf101")):
        cli.main(
            ["study", "tran2017-search", "--dataset", "ucf101", str(tmp_path / "out")],
            standalone_mode=False,
        )
    assert not (tmp_path / "out").exists()
    assert cli.main(["study", "--list"], standalone_mode=False) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in STUDIES)
