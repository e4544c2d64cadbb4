"""The command line: what it says, its exit status, and that plug-ins are found and never swallowed."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from conftest import SMALL, featx
from told import tells

from featx.cli import _group as cli
from featx.store.reader import FeatureStore


@pytest.fixture(scope="module")
def extracted(
    videos: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("cli") / "out.h5"
    return out, featx("extract", "--model", "res3d_half", *SMALL, videos, out)


def test_extract_says_what_it_did(extracted, videos: Path) -> None:
    out, done = extracted
    assert done.returncode == 0
    weights, run = done.stderr.splitlines()[:2]
    assert tells(weights, "random", "seed 0", "untrained")
    assert tells(run, "res3d_half", "pool5")
    assert tells(done.stdout, out, "6 videos", "9 clips")
    again = featx("extract", "--model", "res3d_half", *SMALL, videos, out)
    assert again.returncode == 0
    assert tells(again.stdout, out, "6 videos")
    assert not tells(again.stdout, "9 clips")


def test_without_weights_those_that_ship_are_taken_and_named(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATX_CACHE", str(tmp_path / "empty"))
    out = tmp_path / "out.h5"
    done = featx("extract", "--model", "res3d_half", "--layers", "pool5", videos / "a", out)
    assert done.returncode == 0
    assert tells(done.stderr.splitlines()[0], "res3d_half-motion", "generated motion", "CC0-1.0")
    with FeatureStore(out) as store:
        assert store.settings.to_json()["weights"]["name"] == "res3d_half-motion"
        assert store.settings.to_json()["weights"]["trained_on"]["dataset"] == "generated"
        assert store.settings.to_json()["transform"]["crop"] == 56
    assert featx("verify", out).returncode == 0


def test_extract_for_machines(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"")
    done = featx(
        "extract",
        "--json",
        "--model",
        "res3d_half",
        *SMALL,
        videos / "a",
        tmp_path / "bad.mp4",
        "--root",
        "/",
        tmp_path / "o.h5",
    )
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["new"], report["total"], report["clips"]) == (3, 4, 4)
    ((path, reason),) = report["failures"]
    assert path == str(tmp_path / "bad.mp4")
    assert tells(reason, "empty")


def test_info_for_people_and_for_machines(extracted, tmp_path: Path) -> None:
    out, _ = extracted
    text = featx("info", out).stdout
    assert tells(text, "res3d_half", "untrained", "pool5", "256x1x1x1", 6, "9 clips", "180 frames")
    picture = tmp_path / "p.png"
    done = featx("info", out, "--json", "--plot", picture, "--video", "b/v5", "--layer", "pool5")
    assert json.loads(done.stdout)["clips"] == 9
    assert picture.read_bytes().startswith(b"\x89PNG")
    for option, value in (("--video", "b/v6"), ("--layer", "pool6")):
        wrong = featx("info", out, "--plot", picture, option, value)
        assert (wrong.returncode, tells(wrong.stderr, f"'{value}'")) == (2, True)


def test_verify_and_merge(extracted, tmp_path: Path) -> None:
    out, _ = extracted
    done = featx("verify", out, "--clips", "4")
    assert (done.returncode, tells(done.stdout, out, "4 clips")) == (0, True)
    assert json.loads(featx("verify", out, "--clips", "2", "--json").stdout)["ok"] is True
    merged = featx("merge", out, tmp_path / "m.h5")
    assert (merged.returncode, tells(merged.stdout, tmp_path / "m.h5", "6 videos")) == (0, True)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["extrakt"], ("'extrakt'", "extract")),
        (["extract", "--model", "sr18", "nowhere", "out.h5"], ("sr18", "--weights random")),
        (
            ["extract", "--model", "res3d", "--weights", "random", "nowhere", "out.h5"],
            ("nowhere",),
        ),
        (
            ["extract", "--model", "res3d", "--weights", "random", "--layers", ",", ".", "out.h5"],
            ("layers", "','"),
        ),
        (["extract", "--model", "res3d", "--weights", "random", ".", "out.h5"], (" .",)),
        (["info", "nowhere.h5"], ("nowhere.h5",)),
        (["verify", "text.h5"], ("text.h5",)),
        (["info", "text.h5", "--layer", "pool5"], ("--plot",)),
        (["merge", "text.h5", "out.h5"], ("text.h5",)),
        (["synth", "--size", "big", "d"], ("size", "'big'")),
        (["weights", "fetch", "r3d"], ("'r3d'",)),
        (["bench", "--model", "res3", "text.h5"], ("'res3'", "res3d")),
    ],
)
def test_wrong_use_gets_one_sentence_and_status_2(
    args: list[str], told: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "text.h5").write_text("text")
    done = featx(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert tells(done.stderr, *told)
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["text.h5"]


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = featx("--debug", "info", tmp_path / "nowhere.h5")
    assert "Traceback" in done.stderr


def test_synth_then_bench(tmp_path: Path) -> None:
    made = featx(
        "synth",
        tmp_path / "v",
        "--per-class",
        "1",
        "--seconds",
        "2",
        "--classes",
        "move_left,grow",
        "--size",
        "96x64",
    )
    assert made.returncode == 0
    assert tells(made.stdout, tmp_path / "v", "2 videos", "2 classes")
    done = featx(
        "bench",
        "--json",
        "--model",
        "res3d_half",
        "--seconds",
        "0.5",
        "--rounds",
        "1",
        "--layers",
        "pool5",
        tmp_path / "v",
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["model"] == "res3d_half"
    for name in ("decode", "backbone", "end_to_end", "matmul", "video_rate", "of_matmul"):
        assert row[name] > 0, name
    assert row["ceiling"] == pytest.approx(1 / (1 / row["decode"] + 1 / row["backbone"]))
    assert row["fraction"] == pytest.approx(row["end_to_end"] / row["ceiling"])
    assert (round(row["params"], 1), round(row["multiply_adds"], 1)) == (8.4, 5.3)
    (tmp_path / "v" / "bad.mp4").write_bytes(b"")
    refused = featx("bench", "--seconds", "0.5", "--rounds", "1", tmp_path / "v")
    assert (refused.returncode, tells(refused.stderr, "bad.mp4")) == (2, True)


def test_weights_list_says_what_there_is() -> None:
    rows = json.loads(featx("weights", "list", "--json").stdout)
    assert "r3d_18-kinetics400" in {r["name"] for r in rows}
    assert "r3d_18-kinetics400" in featx("weights", "list").stdout


def test_a_list_on_standard_input(videos: Path, tmp_path: Path) -> None:
    listed = "".join(f"{p}\n" for p in sorted(videos.rglob("*.mp4"))[:2])
    done = featx("extract", "--model", "res3d_half", *SMALL, "-", tmp_path / "o.h5", input=listed)
    assert done.returncode == 0, done.stderr
    with FeatureStore(tmp_path / "o.h5") as store:
        assert store.ids == ["v0", "v2"]


class _Point:
    value = "third.party:command"
    name = "theirs"

    def __init__(self, load: object) -> None:
        self.load = load


@click.command()
def theirs() -> None:
    """A command of a third party."""
    click.echo("from outside")


def _breaks() -> None:
    raise ImportError("no module named third")


def test_a_third_partys_command_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "entry_points", lambda group: [_Point(lambda: theirs)])
    assert "A command of a third party." in CliRunner().invoke(cli.cli, ["--help"]).output
    assert CliRunner().invoke(cli.cli, ["theirs"]).output == "from outside\n"


@pytest.mark.parametrize(
    ("load", "told"),
    [(_breaks, "no module named third"), (lambda: 3, "int")],
)
def test_a_plug_in_that_does_not_load_says_so_and_harms_no_other(
    monkeypatch: pytest.MonkeyPatch, load: object, told: str
) -> None:
    monkeypatch.setattr(cli, "entry_points", lambda group: [_Point(load)])
    listing = CliRunner().invoke(cli.cli, ["--help"])
    assert listing.exit_code == 0
    assert tells(listing.output, "theirs", "extract")
    called = CliRunner().invoke(cli.cli, ["theirs", "--some", "option"])
    assert tells(called.exception, "third.party:command", told)


def test_choices_are_those_of_the_modules_that_own_them() -> None:
    from typing import get_args

    from featx.clips import Tail
    from featx.transforms import Crops
    from featx.video.decoders import AUTO, decoder_names

    options = {p.name: p for p in cli.features.extract.params}
    for name, owned in [("tail", Tail), ("crops", Crops)]:
        assert tuple(options[name].type.choices) == get_args(owned)
    assert tuple(options["decoder"].type.choices) == (AUTO, *decoder_names())


def test_options_of_extract_are_the_fields_of_settings() -> None:
    from dataclasses import fields

    from featx.extraction.settings import Options, Settings

    options = {p.name for p in cli.features.extract.params}
    own = {f.name for f in fields(Settings)} - {"clip", "transform", "machine"}
    # A second network is for a task to set, as featx detect does; a module's layout is for Python.
    own -= {"cascade", "layout"}
    assert options - {"inputs", "out", "root", "as_json"} == own | set(Options.__annotations__)


def test_flat_options_are_the_fields_of_the_parts() -> None:
    from dataclasses import fields

    from featx.extraction.settings import ClipOptions, Machine, Options, TransformOptions

    parts = [f for part in (ClipOptions, TransformOptions, Machine) for f in fields(part)]
    assert {f.name: f.type for f in parts} == {
        name: kind.__forward_arg__ for name, kind in Options.__annotations__.items()
    }


def test_three_lines_of_python_do_what_the_command_does(videos: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "o.h5")
    script = f"""
from featx.extraction.extract import Report  # importing the module must not take the function's place
import featx
report = featx.extract([{str(videos)!r}], {out!r}, "res3d_half", weights="random", layers=["pool5"], crop=32)
print(report.clips, featx.FeatureStore({out!r}).video_level("pool5").shape, "res3d" in featx.list_models())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("9 (6, 256) True")


@pytest.mark.parametrize("kind", ["features", "video", "protected"])
def test_an_output_does_not_take_the_place_of_what_nobody_meant_to_lose(tmp_path, kind):
    """A rename asks nothing of the file that it replaces, not even whether it may be written."""
    from conftest import encode
    from feature_files import write_features

    features = write_features(
        tmp_path / "f.h5", {"a/1": {"pool5": [[1.0, 0]]}, "b/1": {"pool5": [[0, 1.0]]}}
    )
    file = {
        "features": features,
        "video": encode(tmp_path / "v.avi", 4, codec="mpeg4"),
        "protected": tmp_path / "old.csv",
    }[kind]
    if kind == "protected":
        file.write_text("my,results\n")
        file.chmod(0o444)
    before = file.read_bytes()
    done = featx("compact", "--dataset", tmp_path, "--features", features, "--csv", file)
    assert done.returncode == 2
    assert tells(done.stderr, file, "compact.csv")
    assert file.read_bytes() == before


def test_options_of_svm_before_predict_are_not_ignored():
    done = featx("svm", "--dataset", "hmdb51", "predict", "svm.npz", "f.h5")
    assert done.returncode == 2
    assert tells(done.stderr, "--dataset", "predict")


@pytest.mark.parametrize("command", ["compact", "svm", "eval"])
def test_a_table_of_results_does_not_take_the_place_of_the_dataset(tmp_path, command):
    own = tmp_path / "own.csv"
    own.write_text("path,label,split\na.avi,a,train\n")
    more = {
        "compact": ("--csv", own),
        "svm": ("--predictions", own),
        "eval": ("--checkpoint", "random", "--predictions", own),
    }
    done = featx(command, "--dataset", own, *more[command])
    assert done.returncode == 2
    assert tells(done.stderr, own)
    assert own.read_text().startswith("path,label,split")
