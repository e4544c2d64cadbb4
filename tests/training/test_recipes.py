"""The papers' recipes, against the papers."""

from __future__ import annotations

import json
import math

import pytest
from told import telling

from featx import list_models
from featx.errors import UsageError
from featx.models import model_entry
from featx.training.recipes import RECIPES, Recipe, default_recipe, one_cycle, recipe
from featx.training.sampling import AUGMENTATIONS


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        # lr, batch, duration, its unit, and the schedule's kind, factor and interval
        ("tran2017-ucf101", (0.01, 20, 90_000, "iterations", "step", 0.1, 20_000)),
        ("tran2017-hmdb51", (0.01, 20, 45_000, "iterations", "step", 0.1, 10_000)),
        ("tran2017-sports1m", (0.01, 40, 3_000_000, "iterations", "step", 0.5, 250_000)),
        ("hara2017-kinetics", (0.1, 256, 200, "epochs", "plateau", 0.1, 10)),
        ("hara2018-scratch", (0.03, 128, 250, "epochs", "plateau", 0.1, 10)),
        ("hara2018-finetune", (0.0003, 128, 100, "epochs", "plateau", 0.1, 10)),
        ("semi-cnn", (0.1, 256, 50, "epochs", "plateau", 0.1, 10)),
        ("asymmetric-pretrain", (0.001, 16, 50, "epochs", "step", 0.2, 15)),
        ("asymmetric-finetune", (0.0001, 16, 20, "epochs", "step", 0.1, 8)),
        ("scnn-proposal", (0.001, 8, 16, "epochs", "step", 0.5, 4)),
        ("scnn-classification", (0.001, 8, 16, "epochs", "step", 0.5, 4)),
        ("scnn-localization", (0.001, 8, 16, "epochs", "step", 0.5, 4)),
        ("scnn-c3d-proposal", (0.0001, 3, 30_000, "iterations", "step", 0.1, 10_000)),
        ("scnn-c3d-classification", (0.0001, 3, 30_000, "iterations", "step", 0.5, 10_000)),
        ("scnn-c3d-localization", (0.0001, 3, 30_000, "iterations", "step", 0.5, 5_000)),
    ],
)
def test_a_recipe_has_what_the_paper_prints(name: str, printed: tuple[object, ...]) -> None:
    r = RECIPES[name]
    assert (
        r.lr,
        r.batch,
        r.duration,
        r.unit,
        r.schedule.kind,
        r.schedule.factor,
        r.schedule.every,
    ) == printed


def test_what_single_papers_print() -> None:
    semi = RECIPES["semi-cnn"]
    assert (semi.batch // semi.accumulate, semi.accumulate, semi.dampening, semi.weight_decay) == (
        8,
        32,
        0.9,
        0.0001,
    )
    assert RECIPES["hara2017-kinetics"].schedule.reductions == 3
    assert [
        RECIPES[n].weight_decay
        for n in ("hara2017-kinetics", "hara2018-scratch", "asymmetric-scratch")
    ] == [
        0.001,
        0.001,
        0.0005,
    ]
    assert RECIPES["asymmetric-finetune"].last_layer == 10
    assert (RECIPES["scnn-proposal"].last_layer, RECIPES["scnn-proposal"].last_bias) == (10, 20)
    assert RECIPES["tran2017-sports1m"].augmentation.windows == 5
    assert (RECIPES["scnn-c3d-proposal"].last_layer, RECIPES["scnn-c3d-proposal"].last_bias) == (
        100,
        200,
    )
    assert [RECIPES[n].weight_decay for n in ("scnn-proposal", "scnn-c3d-proposal")] == [
        0.00005,
        0.0005,
    ]
    for stage in ("proposal", "classification", "localization"):
        for row in (RECIPES[f"scnn-{stage}"], RECIPES[f"scnn-c3d-{stage}"]):
            assert row.augmentation.temporal == "whole"
            assert (row.loss, row.overlap_weight, row.overlap_power) == (
                "overlap" if stage == "localization" else "softmax", 1.0, 0.25,
            )  # fmt: skip
    assert all(r.momentum == 0.9 and r.source for r in RECIPES.values())
    motion = RECIPES["generated-motion"]
    assert (motion.schedule.kind, motion.augmentation) == ("one-cycle", AUGMENTATIONS["none"])


def test_every_model_has_a_recipe_of_its_own() -> None:
    for name in list_models():
        for finetune in (False, True):
            assert default_recipe(model_entry(name).family, finetune=finetune) in RECIPES
    assert default_recipe("asymmetric", finetune=True) == "asymmetric-finetune"


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_comes_back_from_json(name: str) -> None:
    assert Recipe.from_dict(json.loads(json.dumps(RECIPES[name].to_dict()))) == RECIPES[name]


def test_runs_from_before_there_were_losses_and_windows_are_continued() -> None:
    told = json.dumps(RECIPES["tran2017-ucf101"].to_dict())
    assert not any(word in told for word in ('"loss"', '"overlap', '"temporal"', '"optimizer"'))
    changed = recipe(
        "tran2017-ucf101",
        {
            "loss": "overlap",
            "optimizer": "adamw",
            "overlap_power": "0.5",
            "augmentation.temporal": "whole",
        },
    )
    assert Recipe.from_dict(json.loads(json.dumps(changed.to_dict()))) == changed


@pytest.mark.parametrize("updates", [1, 2, 9, 10, 60, 1000])
def test_one_cycle_goes_up_in_a_twentieth_of_the_run_and_ends_at_a_thousandth(updates: int) -> None:
    shares = [one_cycle(update, updates) for update in range(updates + 1)]
    warm = max(1, round(updates / 20))
    assert shares[:warm] == pytest.approx([(update + 1) / warm for update in range(warm)])
    falling = [
        0.001 + 0.999 * (1 + math.cos(math.pi * k / (updates - warm))) / 2
        for k in range(1, updates - warm + 1)
    ]
    assert shares[warm:updates] == pytest.approx(falling)
    # The rate that is set after the last update is never used.
    assert shares[updates - 1] == pytest.approx(0.001 if updates > 1 else 1.0)


def test_any_field_can_be_replaced() -> None:
    changed = recipe("semi-cnn", {
        "lr": "0.5", "batch": "64", "accumulate": "2", "freeze": "conv3", "schedule.kind": "step", "schedule.every": "7",
        "augmentation": "spatial-center", "augmentation.flip": "0", "augmentation.scales": "1,0.5",
        "augmentation.frame_size": "none", "schedule.reductions": "2",
    })  # fmt: skip
    assert (changed.lr, changed.batch, changed.accumulate, changed.freeze) == (0.5, 64, 2, "conv3")
    assert (changed.schedule.kind, changed.schedule.every, changed.schedule.reductions) == (
        "step",
        7,
        2,
    )
    assert (
        changed.augmentation.position,
        changed.augmentation.flip,
        changed.augmentation.scales,
    ) == ("center", 0.0, (1.0, 0.5))
    assert changed.augmentation.frame_size is None
    assert changed.dampening == RECIPES["semi-cnn"].dampening
    assert AUGMENTATIONS["spatial-center"].flip == 0.5
    assert recipe("hara2018-finetune", {"freeze": "none"}).freeze is None
    assert (
        recipe("semi-cnn", {"batch": "2", "accumulate": "1"}).batch == 2
    )  # 32 passes of 2 clips would be refused


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"learning_rate": "1"}, ("'learning_rate'",)),
        ({"schedule.evry": "1"}, ("schedule.evry", "schedule.every")),
        ({"source": "me"}, ("'source'",)),
        ({"lr": "fast"}, ("lr", "'fast'")),
        ({"lr": "0"}, ("lr", 0)),
        ({"batch": "2.5"}, ("batch", "2.5")),
        ({"batch": "0"}, ("batch", 0)),
        ({"batch": "100"}, (100, 32)),
        ({"freeze": "conv6"}, ("'conv6'", "conv1", "conv5")),
        ({"schedule.kind": "cosine"}, ("'cosine'", "constant", "step", "plateau", "one-cycle")),
        ({"optimizer": "adam"}, ("optimizer", "'adam'", "sgd", "adamw")),
        ({"optimizer": "adamw"}, ("adamw", "dampening")),
        ({"optimizer": "adamw", "dampening": "0", "momentum": "1"}, ("momentum", 1)),
        ({"schedule.unit": "iterations"}, ("epochs",)),
        ({"augmentation": "corner"}, ("'corner'", "none")),
        ({"unit": "hours"}, ("'hours'", "iterations", "epochs")),
        ({"loss": "hinge"}, ("loss", "'hinge'", "softmax", "overlap")),
        ({"overlap_weight": "-1"}, ("overlap_weight", "-1.0")),
        ({"augmentation.temporal": "part"}, ("temporal", "'part'")),
        (
            {"augmentation.temporal": "whole", "augmentation.windows": "5"},
            ("temporal", "'whole'", "windows"),
        ),
    ],
)
def test_wrong_fields_are_told(overrides: dict[str, str], told: tuple[object, ...]) -> None:
    with pytest.raises(UsageError, match=telling(*told)):
        recipe("semi-cnn", overrides)


def test_an_unknown_recipe_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=telling("'hara-2018-scratch'", "hara2018-scratch")):
        recipe("hara-2018-scratch")
