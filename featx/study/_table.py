"""The comparisons that the papers make: a study a row here, a training run a row of it, with what the paper prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from featx.errors import UsageError, nearest

# What a row starts from: no weights, the checkpoint of another training, or ImageNet weights in a semi-CNN's spatial layers.
Start = Literal["nothing", "checkpoint", "imagenet"]

_TRAN = "Tran et al. 2017"
_HARA = "Hara et al. 2018 (Good Practice)"
_LEONG = "Leong et al. 2020 (semi-CNN)"
_YANG = "Yang et al. 2019 (asymmetric 3D-CNN)"


@dataclass(frozen=True, kw_only=True)
class Printed:
    """An accuracy that a paper prints, in percent. split: of the dataset, None for the mean of its three; where: its table."""

    accuracy: float
    dataset: str
    split: int | None
    where: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One training run of a study.

    group: rows that the paper compares with each other. step: of the clip, the model's own by default.
    recipe: instead of the study's; overrides: fields of it. imagenet: it starts from ImageNet weights (`init_2d`).
    """

    name: str
    model: str
    group: str
    printed: tuple[Printed, ...] = ()
    step: int | None = None
    recipe: str | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    imagenet: bool = False

    @property
    def options(self) -> str:
        """What is not the model's or the recipe's own, in words."""
        step = [f"step={self.step}"] if self.step is not None else []
        return ", ".join([*step, *(f"{name}={value}" for name, value in self.overrides.items())])

    def figure(self, dataset: str, split: int) -> Printed | None:
        """Return what the paper prints for that split, else for another of the dataset, else for another dataset."""
        ranked = sorted(self.printed, key=lambda p: (p.dataset != dataset, p.split != split))
        return ranked[0] if ranked else None


@dataclass(frozen=True, kw_only=True)
class Study:
    """A comparison. recipes: by dataset, "" for any other. protocol: of evaluation. notes: what the paper leaves open."""

    name: str
    title: str
    paper: str
    tables: str
    protocol: str
    recipes: Mapping[str, str]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """The paper, and where in it."""
        return f"{self.paper}, {self.tables}"

    def recipe(self, row: Row, dataset: str) -> str:
        """Return the name of the recipe that a row is trained by on a dataset."""
        return row.recipe or self.recipes.get(dataset, self.recipes[""])

    def start(self, row: Row, dataset: str) -> Start:
        """Return what a row starts from in the paper."""
        if row.imagenet:
            return "imagenet"
        return "checkpoint" if self.recipe(row, dataset).endswith("-finetune") else "nothing"

    def choose(self, names: tuple[str, ...] | None) -> tuple[Row, ...]:
        """Return the rows of these names in the study's order, all for None; UsageError for a name that it does not have."""
        known = [row.name for row in self.rows]
        for name in names or ():
            if name not in known:
                raise UsageError(f"{self.name} has no row {name!r}{nearest(name, known)}")
        return tuple(row for row in self.rows if names is None or row.name in names)


def study_named(name: str) -> Study:
    """Return the study of that name; UsageError with the nearest names when there is none."""
    if name not in STUDIES:
        raise UsageError(f"unknown study {name!r}{nearest(name, STUDIES)}")
    return STUDIES[name]


def _tran(
    table: str, ucf101: float, hmdb51: tuple[str, float] | None = None
) -> tuple[Printed, ...]:
    found = [Printed(accuracy=ucf101, dataset="ucf101", split=1, where=table)]
    if hmdb51 is not None:
        # Appendix C: "We use train and test split 1".
        found.append(Printed(accuracy=hmdb51[1], dataset="hmdb51", split=1, where=hmdb51[0]))
    return tuple(found)


def _tran_rows() -> Iterator[Row]:
    basic = "2D and 3D ResNets (table 3)"
    for name, model, accuracy in (
        ("2d-res18", "res2d", 42.2),
        ("2d-res34", "res2d_34", 42.2),
        ("3d-res18", "res3d", 45.6),
        ("3d-res34", "res3d_34", 45.9),
    ):
        yield Row(name=name, model=model, group=basic, printed=_tran("table 3", accuracy))
    # One network stands in four tables: input stride 4, crop 112, 3D, D18.
    yield Row(
        name="sr18",
        model="sr18",
        group="SR18 (tables 4 to 7)",
        printed=_tran("tables 4 to 7", 46.1, ("tables 15 to 17", 21.5)),
    )
    for stride, accuracy in ((1, 43.8), (2, 46.3), (8, 38.8), (16, 38.1), (32, 36.9)):
        yield Row(
            name=f"stride-{stride}",
            model="sr18",
            group="input stride (table 4)",
            step=stride,
            printed=_tran("table 4", accuracy),
        )
    for crop, ucf101, hmdb51 in ((56, 37.6, 18.3), (224, 44.0, 17.9)):
        yield Row(
            name=f"crop-{crop}", model=f"sr18_{crop}", group="resolution (table 5)",
            printed=_tran("table 5", ucf101, ("table 15", hmdb51)),
        )  # fmt: skip
    for name, model, ucf101, hmdb51 in (
        ("mc1", "sr18_mc1", 43.3, 19.7),
        ("mc2", "sr18_mc2", 44.5, 19.4),
        ("mc3", "sr18_mc3", 44.8, 19.9),
        ("mc4", "sr18_mc4", 44.3, 20.4),
        ("mc5", "sr18_mc5", 45.1, 20.9),
        ("2.5d", "sr18_25d", 44.6, 21.4),
    ):
        printed = _tran("table 6", ucf101, ("table 16", hmdb51))
        yield Row(name=name, model=model, group="kind of convolution (table 6)", printed=printed)
    for depth, ucf101, hmdb51 in (
        (10, 45.3, 21.3),
        (16, 46.8, 22.8),
        (26, 46.3, 22.0),
        (34, 45.8, 20.1),
    ):
        printed = _tran("table 7", ucf101, ("table 17", hmdb51))
        yield Row(
            name=f"d{depth}", model=f"sr18_d{depth}", group="depth (table 7)", printed=printed
        )


def _augmentation_rows() -> Iterator[Row]:
    for name, kinetics, ucf101, hmdb51 in (
        ("spatial-center", 52.3, (82.4, 82.9, 81.8), (54.8, 53.3, 51.8)),
        ("spatial-random", 55.3, (84.5, 85.4, 84.5), (56.6, 54.2, 55.2)),
        ("multi-scale-spatial-random", 57.0, (85.0, 83.8, 84.9), (57.5, 55.2, 55.7)),
        ("multi-scale-spatial-corner", 53.2, (84.2, 83.9, 82.5), (56.3, 52.1, 54.6)),
        ("multi-scale-spatiotemporal-random", 56.2, (84.4, 83.2, 83.1), (54.8, 55.0, 51.2)),
    ):
        tuned = [
            Printed(accuracy=accuracy, dataset=dataset, split=split, where="table III")
            for dataset, figures in (("ucf101", ucf101), ("hmdb51", hmdb51))
            for split, accuracy in enumerate(figures, start=1)
        ]
        scratch = Printed(accuracy=kinetics, dataset="kinetics", split=1, where="table II")
        yield Row(
            name=name,
            model="hara_resnet18_2018",
            group="augmentation",
            overrides={"augmentation": name},
            printed=(scratch, *tuned),
        )


def _freezing_rows() -> Iterator[Row]:
    yield Row(name="all", model="hara_resnet18_2018", group="trained layers")
    for stage in range(1, 6):
        yield Row(
            name=f"above-conv{stage}",
            model="hara_resnet18_2018",
            group="trained layers",
            overrides={"freeze": f"conv{stage}"},
        )


def _semi_rows() -> Iterator[Row]:
    for network, deep, figures in (
        ("vgg16", "c3d_224", (36.53, 54.27)),
        ("resnet18", "resnet18_3d", (47.11, 64.92)),
        ("resnet34", "resnet34_3d", (48.19, 66.53)),
        ("resnet50", "resnet50_3d", (37.67, 50.67)),
        ("densenet121", "densenet121_3d", ()),
    ):
        printed = [Printed(accuracy=a, dataset="ucf101", split=1, where="table 3") for a in figures]
        yield Row(name=f"3d-{network}", model=deep, group="3D-CNN", printed=tuple(printed[:1]))
        yield Row(
            name=f"semi-{network}",
            model=f"semi_{network}",
            group="semi-CNN",
            printed=tuple(printed[1:]),
            imagenet=True,
        )


def _yang(table: str, accuracy: float) -> Printed:
    return Printed(accuracy=accuracy, dataset="ucf101", split=None, where=table)


def _asymmetric_rows() -> Iterator[Row]:
    five, eight = "five convolutions (tables 2 and 3)", "eight convolutions (table 2)"
    # Tables 2 and 3 have the baseline with 45.4 and 45.7 %.
    yield Row(
        name="c3d-b5",
        model="c3d_b5",
        group=five,
        printed=(_yang("table 2", 45.4), _yang("table 3", 45.7)),
    )
    for name, accuracy in (
        ("3", 46.7),
        ("4", 46.5),
        ("5", 47.2),
        ("34", 45.7),
        ("35", 46.2),
        ("45", 46.9),
        ("345", 45.2),
    ):
        printed = (_yang("tables 2 and 3" if name == "5" else "table 2", accuracy),)
        yield Row(name=f"b5-asyconv{name}", model=f"b5_asyconv{name}", group=five, printed=printed)
    for i, accuracy in enumerate((46.6, 48.1, 47.5, 45.8), start=1):
        yield Row(
            name=f"b5-m{i}", model=f"b5_m{i}", group=five, printed=(_yang("table 3", accuracy),)
        )
    yield Row(name="c3d-b8", model="c3d_b8", group=eight, printed=(_yang("table 2", 42.3),))
    for name, accuracy in (
        ("3", 44.3),
        ("4", 44.7),
        ("5", 45.3),
        ("34", 42.9),
        ("35", 43.2),
        ("45", 44.1),
        ("345", 42.3),
    ):
        yield Row(
            name=f"b8-asyconv{name}",
            model=f"b8_asyconv{name}",
            group=eight,
            printed=(_yang("table 2", accuracy),),
        )
    hmdb51 = Printed(accuracy=56.7, dataset="hmdb51", split=None, where="section 4.6")
    for name, model, tuned in (
        ("c3d-b8-finetuned", "c3d_b8", (_yang("table 4", 84.6), hmdb51)),
        ("asymmetric3d-m2-finetuned", "asymmetric3d_m2", (_yang("table 4", 86.2),)),
        ("asymmetric3d-m3-finetuned", "asymmetric3d_m3", (_yang("table 4", 85.1),)),
        ("asymmetric3d-finetuned", "asymmetric3d", (_yang("table 4", 86.4),)),
    ):
        yield Row(
            name=name,
            model=model,
            group="fine-tuned (table 4)",
            recipe="asymmetric-finetune",
            printed=tuned,
        )


STUDIES: Mapping[str, Study] = {
    study.name: study
    for study in (
        Study(
            name="tran2017-search",
            title="the architecture search that led to Res3D",
            paper=_TRAN,
            tables="tables 3 to 7 (HMDB51: 15 to 17)",
            protocol="clip",
            recipes={"hmdb51": "tran2017-hmdb51", "": "tran2017-ucf101"},
            rows=tuple(_tran_rows()),
            notes=(
                "the paper reports the accuracy of clips; which of a video's it does not say: here the one in the middle",
                "videos shorter than a clip, many at strides 8 to 32, are looped here; the paper leaves them out (appendix C)",
            ),
        ),
        Study(
            name="hara2018-augmentation",
            title="five ways to crop training clips: on kinetics from scratch, on other data fine-tuned",
            paper=_HARA,
            tables="tables II and III",
            protocol="hara",
            recipes={"kinetics": "hara2018-scratch", "": "hara2018-finetune"},
            rows=tuple(_augmentation_rows()),
        ),
        Study(
            name="hara2018-freezing",
            title="fine-tuning the layers above conv1 ... conv5 alone",
            paper=_HARA,
            tables="figure 2",
            protocol="hara",
            recipes={"": "hara2018-finetune"},
            rows=tuple(_freezing_rows()),
            notes=(
                "the paper's accuracies are in figure 2 alone, without numbers; its text has >conv4 best on UCF101 and HMDB51"
                " but for HMDB51's split 1",
            ),
        ),
        Study(
            name="semi-cnn",
            title="3D-CNNs against semi-CNNs",
            paper=_LEONG,
            tables="table 3",
            protocol="clip",
            recipes={"": "semi-cnn"},
            rows=tuple(_semi_rows()),
            notes=(
                "the paper validates on clips \"at fixed locations\" without saying which: here the one in the middle",
                "DenseNet-121's line of table 3 is missing in the copy that the figures are from; the text says that the semi-CNN"
                " gains almost 30 % there",
            ),
        ),
        Study(
            name="asymmetric",
            title="asymmetric 3D convolutions and MicroNets from scratch, and three networks fine-tuned",
            paper=_YANG,
            tables="tables 2, 3 and 4",
            protocol="asymmetric",
            recipes={"": "asymmetric-scratch"},
            rows=tuple(_asymmetric_rows()),
            notes=("section 4.1: the paper's accuracies are means over three splits",),
        ),
    )
}  # fmt: skip
