"""The public names: typed, documented, and free of charge until they are used."""

from __future__ import annotations

import ast
import inspect
import json
import pydoc
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from startup import HEAVY

import featx
import featx.tasks
import featx.training
from featx.extraction.settings import Options

PACKAGES = [featx, featx.training, featx.tasks]


def section(doc: str, name: str) -> str:
    """A Google-style docstring's section, empty if it has none."""
    found = re.search(rf"(?m)^{name}:\n((?:[ ]{{4}}.*\n?|\n)*)", doc)
    return found[1] if found else ""


def parameters(value: Any) -> list[str]:
    named = inspect.signature(value).parameters.values()
    return [p.name for p in named if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def methods(kind: type) -> list[tuple[str, Any]]:
    """What a class of ours adds to look at: its public methods and properties."""
    fields = getattr(kind, "__dataclass_fields__", {})
    return [
        (name, value)
        for name, value in vars(kind).items()
        if not name.startswith("_") and name not in fields
        if inspect.isfunction(value) or isinstance(value, property)
    ]


@pytest.mark.parametrize("name", featx.__all__)
def test_every_public_name_has_a_help_that_says_what_it_takes_and_gives(name: str) -> None:
    value = getattr(featx, name)
    doc = inspect.getdoc(value) or ""
    assert vars(value).get("__doc__") or inspect.isfunction(value), "inherited, or none"
    assert not doc.startswith(f"{name}("), "a dataclass's own, which lists its fields alone"
    if isinstance(value, type) and issubclass(value, Exception):
        return
    if isinstance(value, type):
        told = section(doc, "Args") + section(doc, "Attributes")
    else:
        told = section(doc, "Args")
        result = inspect.signature(value).return_annotation
        assert result is not inspect.Signature.empty
        assert result in (None, "None") or section(doc, "Returns")
    for parameter in parameters(value):
        if parameter in Options.__annotations__ and "**options" in told:
            continue
        assert re.search(rf"(?m)^    [\w, *]*\b{parameter}\b[^:\n]*:", told), parameter


@pytest.mark.parametrize("name", [n for n in featx.__all__ if n[0].isupper()])
def test_methods_of_public_classes_have_a_help(name: str) -> None:
    for method, value in methods(getattr(featx, name)):
        doc = inspect.getdoc(value) or ""
        assert doc, method
        if isinstance(value, property):
            continue
        taken = [p for p in parameters(value) if p != "self"]
        assert len(taken) < 2 or section(doc, "Args"), method


@pytest.mark.parametrize("name", featx.__all__)
def test_every_public_name_is_typed(name: str) -> None:
    value = getattr(featx, name)
    called = value.__init__ if isinstance(value, type) else value
    if called is object.__init__ or (isinstance(value, type) and issubclass(value, Exception)):
        return
    signature = inspect.signature(called)
    for parameter in signature.parameters.values():
        assert parameter.name == "self" or parameter.annotation is not parameter.empty, parameter


@pytest.mark.parametrize("name", ["Extractor", "evaluate", "extract", "train"])
def test_help_shows_the_options_one_by_one(name: str) -> None:
    signature = pydoc.render_doc(getattr(featx, name), renderer=pydoc.plaintext).split(") ->")[0]
    for option in Options.__annotations__:
        assert re.search(rf"\b{option}: ", signature), option


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_names_are_the_same_in_the_table_the_list_and_for_the_type_checker(package: Any) -> None:
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    (checked,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    imported = {
        alias.name: node.module
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == package._PUBLIC
    assert set(package.__all__) == set(imported)
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no_such_name"):
        package.no_such_name  # noqa: B018


def test_importing_featx_imports_nothing_heavy() -> None:
    script = "import json, sys, featx; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    modules = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert modules.isdisjoint({*HEAVY, "click", "tqdm", "PIL"})
