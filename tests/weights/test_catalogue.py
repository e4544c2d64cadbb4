"""featx models: the list, one network's table, the comparison with the papers."""

from __future__ import annotations

import json
from itertools import takewhile

import pytest
from click.testing import CliRunner, Result
from told import tells

from featx import list_models
from featx.cli import cli
from featx.errors import UsageError
from featx.models import model_entry
from featx.weights import catalogue


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["models", *arguments])


def line(text: str, start: str) -> list[str]:
    """Return the cells of the table's first row that starts so."""
    found = next(row for row in text.splitlines() if row.startswith(f"{start}  "))
    return [cell.strip() for cell in found.split("  ") if cell.strip()]


def test_list_has_every_model_of_a_family() -> None:
    text = run("--family", "hara").output
    assert text.startswith("hara\n")
    for name in list_models():
        assert (f"\n{name} " in text) == (model_entry(name).family == "hara")
    cells = line(text, "hara_resnet18")
    assert cells[1:] == [
        "16x112x112",
        "33.2 M",
        "8.3 G",
        "Hara et al. 2017 (arXiv:1708.07632), table 1",
    ]
    told = " ".join(text.split())
    layers = "conv1, pool1, res2a, res2b, res3a, res3b, res4a, res4b, res5a, res5b, pool5, fc, prob"
    assert tells(told, layers, "res5b 512x1x4x4, pool5 512x1x1x1, prob 400")


@pytest.mark.parametrize(
    "arguments",
    [(), ("--check",), ("hara_resnet152",), ("r2plus1d_18",), ("asymmetric3d",), ("semi_vgg16",)],
)
def test_tables_fit_into_120_columns(arguments: tuple[str, ...]) -> None:
    assert max(map(len, run(*arguments).output.splitlines())) <= 120


def test_a_source_that_all_share_stands_above_the_table() -> None:
    text = catalogue.list_text(catalogue.describe_all("tran2017"))
    assert text.startswith("tran2017: Tran et al. 2017 (arXiv:1708.05038)\n\n")
    assert line(text, "sr18_mc3")[-1] == "table 13, MC3"
    assert text.count("arXiv") == 1


def test_json_has_all_that_is_known() -> None:
    found = {model["name"]: model for model in json.loads(run("--family", "c3d", "--json").output)}
    assert set(found) == {"c3d", "c3d_padded"}
    c3d = found["c3d"]
    assert (c3d["params"], c3d["multiply_adds"], c3d["input"]) == (
        79_991_015,
        38_548_959_232,
        [3, 16, 112, 112],
    )
    assert c3d["layers"][0] == {
        "name": "conv1a",
        "shape": [64, 16, 112, 112],
        "text": "3x3x3, 64",
        "params": 5248,
        "multiply_adds": 5184 * 16 * 112 * 112,
    }
    assert sum(layer["params"] for layer in c3d["layers"]) == c3d["params"]


def test_one_model_is_printed_as_the_papers_print_theirs() -> None:
    text = run("res3d").output
    source, takes = text.splitlines()[:2]
    assert tells(source, "res3d", "Tran et al. 2017", "arXiv:1708.05038", "table 2", "3D-Resnet18")
    assert tells(takes, "8 frames", "112x112", "1x1", "487 classes")
    assert line(text, "conv1") == [
        "conv1",
        "64x8x56x56",
        "3x7x7, 64, stride 1x2x2",
        "28,352",
        "0.708",
    ]
    assert line(text, "res3a, res3b")[:3] == [
        "res3a, res3b",
        "128x4x28x28",
        "[3x3x3, 128; 3x3x3, 128] x 2, the first with stride 2x2x2,",  # and, in the next line,
    ]
    assert "\n" + " " * 27 + "projection\n" in text
    assert text.splitlines()[-1].split() == ["33,420,327", "20.451"]


@pytest.mark.parametrize(
    ("model", "layer", "made"),
    [
        ("semi_resnet50", "res3c, res3d", "[1x1x1, 128; 3x1x1, 128; 1x1x1, 512] x 2"),
        ("semi_resnet50", "pool3t", "3x1x1 max pool, stride 2x1x1"),
        ("densenet121_3d", "denseblock2", "[1x1x1, 128; 3x3x3, 32] x 12"),
        ("densenet121_3d", "transition1", "1x1x1, 128; 2x2x2 average pool, stride 2x2x2"),
        (
            "b5_m4",
            "conv5",
            "1x1x1, 16; 1x5x1, 32; 1x1x5, 32; 3x1x1, 32 | 1x1x1, 96; 1x3x1, 128; 1x1x3, 128; 3x1x1, 128 | 1x1x1, 96",
        ),
        ("b8_asyconv5", "conv5", "1x5x1, 512; 1x1x5, 512; 3x1x1, 512"),
        (
            "hara_resnet18",
            "res4a, res4b",
            "[3x3x3, 256; 3x3x3, 256] x 2, the first with stride 2x2x2, zero padding",
        ),
        ("c3d", "fc6", "4096-d linear"),
        (
            "r2plus1d_18",
            "res3a, res3b",
            "[1x3x3, 288; 3x1x1, 128; 1x3x3, 288; 3x1x1, 128] x 2,"
            " the first [1x3x3, 230; 3x1x1, 128; 1x3x3, 230; 3x1x1, 128], stride 2x2x2, projection",
        ),
    ],
)
def test_layers_in_words(model: str, layer: str, made: str) -> None:
    text = catalogue.layers_text(catalogue.describe(model))
    start = next(i for i, row in enumerate(text.splitlines()) if row.startswith(f"{layer}  "))
    first, *more = text.splitlines()[start:]
    column = text.splitlines()[
        [row.startswith("layer ") for row in text.splitlines()].index(True)
    ].index("made of")
    wrapped = list(takewhile(lambda row: row.startswith(" " * column), more))
    cells = [row[column:].split("  ")[0].strip() for row in (first, *wrapped)]
    assert " ".join(cell for cell in cells if cell) == made


def test_check_compares_every_figure() -> None:
    result = run("--check")
    assert result.exit_code == 0
    assert "DIFFERS" not in result.output
    assert line(result.output, "sr18_d16")[1:] == [
        "Tran 2017, tables 7, 14",
        "parameters",
        "33.6 M",
        "33.590",
        "-0.0 %",
        "agrees",
    ]
    assert tells(result.output, "sr18_d16, Tran et al. 2017, tables 7, 14, multiply-adds")


def test_check_fails_on_a_figure_without_a_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from featx.models import printed

    some = [p for p in printed.PRINTED if p.model == "res2d"]
    monkeypatch.setattr(printed, "PRINTED", some)
    monkeypatch.setattr(printed, "EXCEPTIONS", {})
    assert cli.main(["models", "--check"], standalone_mode=False) == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_wrong_use() -> None:
    for arguments, told in (
        (("res3f",), ("'res3f'", "res3d")),
        (("--family", "harra"), ("'harra'", "hara")),
        (("res3d", "--check"), ("--family", "--check")),
    ):
        result = run(*arguments)
        assert isinstance(result.exception, UsageError)
        assert tells(result.exception, *told)
