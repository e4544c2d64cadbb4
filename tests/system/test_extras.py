"""Packages of the extras: what is said where one is missing, and that pyproject.toml and the code agree on them."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from featx.errors import UsageError
from featx.system.extras import EXTRAS, absent, installed, need

ROOT = Path(__file__).parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text()


def listed(name: str) -> set[str]:
    """Names of the packages in one list of pyproject.toml."""
    (content,) = re.findall(rf"^{name} = \[(.*?)\]$", PYPROJECT, re.MULTILINE | re.DOTALL)
    return {re.split(r"[>=;\[ ]", each)[0] for each in re.findall(r'"([^"]+)"', content)}


def imported() -> dict[str, set[str]]:
    """Modules of other packages that featx imports, whenever that is, by who does."""
    found: dict[str, set[str]] = {}
    for path in [*(ROOT / "featx").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            for name in names:
                found.setdefault(name.partition(".")[0], set()).add(str(path.relative_to(ROOT)))
    ours = {"featx", "typing_extensions"}  # typing_extensions: for type checkers alone
    return {
        name: who for name, who in found.items() if name not in {*sys.stdlib_module_names, *ours}
    }


# What only turns a feature file into a type of theirs: whoever calls that has them, and no extra brings them.
THEIRS = {"pandas", "xarray"}


def test_every_import_is_of_a_dependency_or_of_an_extra() -> None:
    bare, distributions = listed("dependencies"), packages_distributions()
    for module, who in imported().items():
        if module not in {*EXTRAS, *THEIRS}:
            assert bare & set(distributions.get(module, [module])), f"{module} of {min(who)}"


def test_the_table_is_pyprojects() -> None:
    for extra in {extra for _, extra in EXTRAS.values()}:
        packages = {package for package, of in EXTRAS.values() if of == extra}
        assert listed(extra) == packages
        assert not packages & listed("dependencies")
    assert set(EXTRAS) - {"tensorboard"} <= set(imported())  # torch.utils imports that one
    (everything,) = re.findall(r'^all = \["featx\[(.*)\]"\]$', PYPROJECT, re.MULTILINE)
    assert set(everything.split(",")) == {extra for _, extra in EXTRAS.values()}


def test_what_is_there_needs_nothing() -> None:
    assert installed("numpy")
    need("matplotlib", what="drawing")
    assert absent("matplotlib", "tensorboard", what="nothing") == []


def test_what_is_missing_is_said_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("scipy", "faiss"):
        monkeypatch.setitem(sys.modules, name, None)
    assert not installed("faiss")
    with pytest.raises(UsageError) as caught:
        need("sklearn", "scipy", "faiss", what="this", otherwise="do that")
    told = str(caught.value)
    for part in ("this", "scipy", "faiss-cpu", "pip install 'featx[tasks]'", "do that"):
        assert part in told
    assert "scikit-learn" not in told
    (note,) = absent("faiss", what="no cells")
    assert "faiss-cpu" in note
    assert "no cells" in note
