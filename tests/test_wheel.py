"""The built wheel has all of featx in it, nothing else, and works where the sources are not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*command, **how):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **how)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy of what a clone would have, so that leftovers of other builds cannot get in."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: no list of the sources")
    work = tmp_path_factory.mktemp("wheel")
    listed = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (work / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, work / "source" / name)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
    ]
    run(*pip, "--wheel-dir", work / "dist", work / "source")
    (built,) = (work / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Unpack the wheel into a folder of its own, with its dependencies taken from this environment."""
    target = tmp_path_factory.mktemp("installed")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--no-deps",
    ]
    run(*pip, "--target", target, wheel)
    return target


def python(installed, elsewhere, *arguments):
    """Run Python on the unpacked wheel from another folder."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return run(sys.executable, *arguments, cwd=elsewhere, env=env | {"PYTHONPATH": str(installed)})


def test_every_module_is_in_the_wheel_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "featx").rglob("*.py")}
    modules |= {
        f"featx/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "tasks").rglob("*.py")
    }
    assert modules - set(names) == set(), "packages missing from [tool.setuptools]"
    assert {"featx/py.typed", "featx/models/__init__.py", "featx/_weights/manifest.json"} <= set(
        names
    )
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"featx"}
    assert [name for name in names if "/test" in name or name.endswith((".pyc", ".toml"))] == []


def test_shipped_weights_are_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        shipped = {
            name.removeprefix("featx/_weights/")
            for name in archive.namelist()
            if name.startswith("featx/_weights/")
        }
    ignored = {"__pycache__", "README.md"}
    assert shipped >= {
        path.name for path in (ROOT / "weights").iterdir() if path.name not in ignored
    }


def test_the_wheel_works_elsewhere(installed, tmp_path):
    where = python(installed, tmp_path, "-c", "import featx; print(featx.__file__)")
    assert Path(where.strip()).is_relative_to(installed)
    script = installed / "bin" / "featx"
    assert script.exists()
    for arguments in (["--help"], ["extract", "--help"], ["svm", "--help"], ["weights", "list"]):
        assert python(installed, tmp_path, script, *arguments).strip()
    listed = python(installed, tmp_path, "-c", "import featx; print(featx.list_models())")
    assert "res3d" in listed


def test_version_is_the_same_everywhere(wheel, installed, tmp_path):
    version = python(installed, tmp_path, "-c", "import featx; print(featx.__version__)").strip()
    assert wheel.name.startswith(f"featx-{version}-")
    cited = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {version}\n" in cited


def test_the_licence_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (licence,) = [name for name in archive.namelist() if name.endswith("/licenses/LICENSE")]
        (about,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        text, metadata = archive.read(licence).decode(), archive.read(about).decode()
    assert text == (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    told = message_from_string(metadata)
    assert told["License-Expression"] == "Apache-2.0"
    assert told["Author"] == "The featx authors"
    assert "\nlicense: Apache-2.0\n" in (ROOT / "CITATION.cff").read_text()


def test_what_a_bare_install_brings_and_what_the_extras_do(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (about,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        told = message_from_string(archive.read(about).decode())
    assert {"all", "tasks", "train", "plot", "flow"} <= set(told.get_all("Provides-Extra"))
    bare = {
        re.split(r"[^\w-]", each)[0]
        for each in told.get_all("Requires-Dist")
        if "extra ==" not in each
    }
    assert {"torch", "numpy", "h5py", "av"} <= bare
    assert not bare & {"scikit-learn", "scipy", "faiss-cpu", "matplotlib", "tensorboard"}
