"""A command opens a feature file once, and reads a list once, whatever it does with them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from feature_files import clustered, write_features

from featx.datasets import GENERATED, _protocol, hmdb51
from featx.store.reader import FeatureStore
from featx.synthetic.layouts import hmdb51 as layout
from featx.synthetic.layouts._plan import Settings
from featx.tasks import compact, svm
from featx.tasks.cli.compact import compact as compact_command
from featx.tasks.cli.search import search as search_command
from featx.tasks.cli.svm import svm as svm_command

CLASSES = ("grow", "move_up")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated hmdb51 of empty videos, with features of all layers beside it."""
    base = tmp_path_factory.mktemp("data") / "hmdb51"
    plan = layout.plan(
        Settings(classes=CLASSES, per_class=12, seconds=1.0, fps=25.0, size=(32, 32), seed=0)
    )
    files = {**plan.files, GENERATED: b"", **{v.path: b"" for v in plan.videos}}
    for path, content in files.items():
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_bytes(content)
    ids = sorted(Path(v.path).with_suffix("").as_posix() for v in plan.videos)
    rows = clustered([CLASSES.index(Path(i).parent.name) for i in ids], 8, seed=0, spread=2.5)
    (base / "features").mkdir()
    write_features(
        base / "features" / "res3d.h5",
        {i: {"res5b": [row], "pool5": [row[:4]]} for i, row in zip(ids, rows, strict=True)},
    )
    return base


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each feature file was opened and each list was read, by name."""
    seen: Counter[str] = Counter()
    opened, read = FeatureStore.__init__, _protocol.lines

    def init(self: FeatureStore, path: Any) -> None:
        seen[Path(path).name] += 1
        opened(self, path)

    def lines(path: Path) -> list[str]:
        seen[path.name] += 1
        return read(path)

    monkeypatch.setattr(FeatureStore, "__init__", init)
    monkeypatch.setattr(hmdb51, "lines", lines)
    return seen


def run(command: Any, *arguments: object) -> None:
    done = CliRunner().invoke(command, [str(each) for each in arguments])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    "arguments",
    [
        (svm_command, "--C", "cv"),
        (svm_command, "--folds", "2"),
        (compact_command, "--dims", "2", "--layer", "pool5", "--layer", "res5b"),
    ],
)
@pytest.mark.parametrize("given", [True, False])
def test_of_a_dataset(
    arguments: tuple[Any, ...], given: bool, root: Path, counted: Counter[str]
) -> None:
    command, *rest = arguments
    file = ["--features", root / "features" / "res3d.h5"] if given else []
    run(command, "--dataset", "hmdb51", "--root", root, *file, *rest)
    assert counted["res3d.h5"] == 1
    assert len(counted) == 1 + 3 * len(CLASSES)
    assert set(counted.values()) == {1}


def test_of_a_search(root: Path, counted: Counter[str], tmp_path: Path) -> None:
    file = root / "features" / "res3d.h5"
    with FeatureStore(file) as store:
        query = store.ids[0]
    for _ in range(2):  # the index is made first, and then there
        counted.clear()
        run(search_command, file, query, "--index", tmp_path)
        assert counted == {"res3d.h5": 1}


def test_a_store_that_is_given_stays_open(root: Path) -> None:
    with FeatureStore(root / "features" / "res3d.h5") as store:
        by_store = svm("hmdb51", store, root=root, layers="pool5")
        assert store.file
        assert by_store.mean == svm("hmdb51", store.path, root=root, layers="pool5").mean
        assert compact("hmdb51", [store, store], root=root, layers=["pool5", "res5b"], dims=[2])
        assert store.file
