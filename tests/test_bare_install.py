"""A bare install, without the extras' packages: it extracts, reads and searches, and says what the rest needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from conftest import featx

from featx.synthetic.render import write_videos
from featx.system.extras import EXTRAS
from featx.tasks import index, search

SITE = f"import sys\nsys.modules.update(dict.fromkeys({sorted(EXTRAS)}))\n"
# Whatever begins to import one of the extras' packages in a module's head fails in all of these.
EXTRACT = ("--model", "res2d", "--weights", "random", "--layers", "pool5", "--workers", "1")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables that make the extras' packages missing, in workers' processes too."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(SITE)
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(tiny.__file__).parent)])}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bare") / "videos"
    write_videos(folder, per_class=3, seconds=0.8, size=(48, 64), classes=["move_left", "grow"])
    return folder


@pytest.fixture(scope="module")
def features(videos: Path, bare: dict[str, str]) -> Path:
    out = videos.parent / "features.h5"
    done = featx("extract", *EXTRACT, videos, out, env=bare)
    assert done.returncode == 0, done.stderr
    return out


def test_the_packages_are_missing(bare: dict[str, str]) -> None:
    script = f"import importlib.util as u; print([u.find_spec(m) for m in {list(EXTRAS)}])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **bare},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str([None] * len(EXTRAS))


@pytest.mark.parametrize("arguments", [["info"], ["verify"], ["show", "--help"]], ids=" ".join)
def test_what_a_bare_install_does(
    arguments: list[str], features: Path, bare: dict[str, str]
) -> None:
    done = featx(*arguments, features, env=bare)
    assert done.returncode == 0, done.stderr


def test_a_search_finds_the_same(
    features: Path, videos: Path, bare: dict[str, str], tmp_path: Path
) -> None:
    query = videos / "grow" / "grow_g01_c01.mp4"
    page = tmp_path / "page.html"
    for options in ([], ["--videos"], ["--html", page]):
        args = ["search", features, query, "--index", tmp_path / "bare", *options, "--json"]
        done = featx(*args, env=bare)
        assert done.returncode == 0, done.stderr
        found = search(features, query, index=tmp_path / "full", videos=options == ["--videos"])
        hits = [
            (hit["video"], hit["clip"], hit["cosine"]) for hit in json.loads(done.stdout)["hits"]
        ]
        assert hits == [(hit.video, hit.clip, hit.cosine) for hit in found.hits]
        assert hits
    assert "data:image" in page.read_text()
    rows = [next((tmp_path / name).rglob("rows-*.f32")).read_bytes() for name in ("bare", "full")]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        (["svm", "--dataset", "{videos}", "--features", "{features}"], "scikit-learn", "tasks"),
        (["compact", "--dataset", "{videos}", "--features", "{features}"], "scikit-learn", "tasks"),
        (["aslan", "--features", "{features}"], "scipy", "tasks"),
        (["index", "{features}", "--cells"], "faiss-cpu", "tasks"),
        (["info", "{features}", "--plot", "{out}/a.png"], "matplotlib", "plot"),
        (["show", "filters", "--model", "res3d", "{out}/a.gif"], "matplotlib", "plot"),
        (["svm", "--dataset", "{videos}", "--plot", "{out}/a.png"], "matplotlib", "plot"),
        (["extract", *EXTRACT, "--input", "flow", "{videos}", "{out}/a.h5"], "OpenCV", "flow"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_a_command_says_what_it_needs(
    arguments: list[str],
    package: str,
    extra: str,
    features: Path,
    videos: Path,
    bare: dict[str, str],
    tmp_path: Path,
) -> None:
    places = {"features": features, "videos": videos, "out": tmp_path}
    done = featx(*(each.format(**places) for each in arguments), env=bare)
    assert done.returncode == 2
    assert done.stdout == ""
    (told,) = done.stderr.splitlines()
    assert package in told
    assert f"pip install 'featx[{extra}]'" in told
    assert list(tmp_path.iterdir()) == []


def test_an_index_of_cells_is_not_begun(
    features: Path, bare: dict[str, str], tmp_path: Path
) -> None:
    done = featx("index", features, "--cells", "--index", tmp_path / "i", env=bare)
    assert done.returncode == 2
    assert list(tmp_path.rglob("rows-*")) == []


def test_an_index_of_cells_made_elsewhere_is_not_made_anew(
    features: Path, videos: Path, bare: dict[str, str], tmp_path: Path
) -> None:
    index(features, index=tmp_path / "i", exact=False)
    before = {path: path.read_bytes() for path in (tmp_path / "i").rglob("*") if path.is_file()}
    done = featx("search", features, "grow/grow_g01_c01", "--index", tmp_path / "i", env=bare)
    assert done.returncode == 2
    assert "featx[tasks]" in done.stderr
    assert {p: p.read_bytes() for p in (tmp_path / "i").rglob("*") if p.is_file()} == before


def test_training_notes_what_it_does_not_write(
    videos: Path, bare: dict[str, str], tmp_path: Path
) -> None:
    options = ["--workers", "1", "--device", "cpu", "--set", "batch=3", "--set", "duration=2"]
    options += ["--set", "unit=iterations", "--validate", "none"]
    runs = {}
    for name, env in (("bare", bare), ("full", {})):
        args = ["train", "--model", tiny.NAME, "--dataset", videos, *options, tmp_path / name]
        done = subprocess.run(
            tiny.command(*args),
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        runs[name] = done.stderr + done.stdout
        said = [extra for extra in ("featx[train]", "featx[plot]") if extra in runs[name]]
        assert said == (["featx[train]", "featx[plot]"] if env else [])
    written = {name: {p.name for p in (tmp_path / name).iterdir()} for name in runs}
    lacking = written["full"] - written["bare"]
    assert "curves.png" in lacking
    assert all(name == "curves.png" or "tfevents" in name for name in lacking)
    assert (tmp_path / "bare" / "last.safetensors").read_bytes() == (
        tmp_path / "full" / "last.safetensors"
    ).read_bytes()
