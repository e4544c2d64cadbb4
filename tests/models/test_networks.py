"""Every network: its layers' shapes, gradients, compilation, bf16, batches and the sizes that it takes."""

from __future__ import annotations

import functools
import math
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from told import telling
from torch import nn

from featx import create_model, list_models
from featx.errors import UsageError
from featx.extraction.backends.eager import EagerBackend, resolve_precision
from featx.models import Backbone, model_entry
from featx.models.count import count, layers
from featx.models.network import Network
from featx.models.registry import skeleton
from featx.models.rows import DenseBlock

Size = tuple[int, int, int]


def shallow(model: Network) -> Network:
    """Return a DenseNet with two layers a block, for tracing them all takes a minute; any other network as it is."""
    if not any(isinstance(row, DenseBlock) for row in model.rows):
        return model
    rows = [replace(row, layers=2) if isinstance(row, DenseBlock) else row for row in model.rows]
    made = Network(rows, num_classes=5, size=model.size, stacked=model.stacked)
    made.initialise(torch.Generator().manual_seed(0))
    return made.eval()


@dataclass
class Case:
    """An untrained network in evaluation mode, two small clips, and what it gives for them."""

    name: str
    model: Network
    x: torch.Tensor
    logits: torch.Tensor


def small(model: Backbone) -> Size:
    """Return a small clip's size that the network takes: 8 frames of 32 x 32, or the least from there that it takes."""
    assert isinstance(model, Network)
    wanted = (8, 32, 32)
    sizes = [
        max(w, least) if most is None else min(max(w, least), most)
        for w, (least, most) in zip(wanted, model.range, strict=True)
    ]
    return (sizes[0], sizes[1], sizes[2])


def slow(*names: str) -> list[Any]:
    """Return these models as parameters of tests that run where slow ones are asked for."""
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


@functools.cache
def bare(name: str) -> Network:
    """Return a network of five classes without numbers."""
    model = skeleton(name, num_classes=5)
    assert isinstance(model, Network)
    return model


@functools.cache
def kind(name: str) -> frozenset[object]:
    """Return what a network is built of: networks of one kind differ in numbers alone."""
    model = bare(name)
    rows: list[object] = []
    for row in model.rows:
        options = {
            k: v
            for k, v in vars(row).items()
            if k in ("norm", "split", "bottleneck", "shortcut", "ceil", "left", "middle")
        }
        axes = tuple(k > 1 for k in getattr(row, "kernel", ()))
        rows.append((type(row), *options.items(), axes))
    return frozenset([*rows, ("stacked", model.stacked), ("hidden", len(model.hidden_names))])


@functools.cache
def work(name: str) -> int:
    """Return the multiply-adds of a small clip."""
    return count(bare(name), (3, *small(bare(name)))).multiply_adds


@functools.cache
def quick() -> list[str]:
    """Return of each kind of network the smallest one, without those that take seconds a pass."""
    size = {name: sum(p.numel() for p in bare(name).parameters()) for name in list_models()}
    first: dict[frozenset[object], str] = {}
    for name in sorted(size, key=lambda n: size[n]):
        first.setdefault(kind(name), name)
    return sorted(name for name in first.values() if work(name) < 30e9)


def with_the_others_slow(chosen: Iterable[str]) -> list[Any]:
    """Return all models, those that are not chosen marked slow."""
    names = sorted(chosen)
    return [*names, *slow(*(name for name in list_models() if name not in names))]


def of_each_row() -> list[str]:
    """Return few networks that have every kind of row among them: what each shows is shown once."""
    left, names = set().union(*map(kind, quick())), list[str]()
    while left:
        names.append(max(quick(), key=lambda name: (len(left & kind(name)), -work(name))))
        left -= kind(names[-1])
    return names


def of_each_family() -> list[str]:
    """Return the smallest network of each family that has a small one."""
    by_family: dict[str, list[str]] = {}
    for name in quick():
        by_family.setdefault(model_entry(name).family, []).append(name)
    least = [min(names, key=work) for names in by_family.values()]
    return [name for name in least if work(name) < 10e9]


@pytest.fixture(scope="module", params=with_the_others_slow(quick()))
def case(request: pytest.FixtureRequest) -> Case:
    name: str = request.param
    model = create_model(name, num_classes=5, seed=0).eval()
    assert isinstance(model, Network)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(
            module, nn.BatchNorm3d
        ):  # what training would leave in them, so that folding them does something
            for tensor in (module.running_mean, module.bias):
                nn.init.normal_(tensor, std=0.1, generator=generator)
            for tensor in (module.running_var, module.weight):
                nn.init.uniform_(tensor, 0.8, 1.2, generator=generator)
    x = torch.randn(2, 3, *small(model), generator=generator)
    with torch.no_grad():
        return Case(name, model, x, model(x))


def test_layers_are_what_is_said_of_them(case: Case) -> None:
    said = {layer.name: layer.shape for layer in layers(case.model, case.x.shape[1:])}
    found: dict[str, tuple[int, ...]] = {}
    handles = [
        module.register_forward_hook(
            lambda m, i, o, name=name: found.update({name: tuple(o.shape)})
        )
        for name, module in case.model.named_children()
    ]
    with torch.no_grad():
        case.model(case.x)
    for handle in handles:
        handle.remove()
    assert found == {name: (2, *shape) for name, shape in said.items()}
    assert list(found) == list(said)  # in the order in which they are defined
    assert set(model_entry(case.name).layers) <= {*said, "prob"}
    assert case.logits.shape == (2, 5)
    assert torch.isfinite(case.logits).all()
    assert not torch.allclose(case.logits[0], case.logits[1])


def test_a_clip_alone_gives_what_it_gives_in_a_batch(case: Case) -> None:
    with torch.no_grad():
        alone = torch.cat([case.model(case.x[:1]), case.model(case.x[1:])])
    # The same sums in another order: float32 rounding, 1e-7 each, grows with depth; 152 layers stay below 1e-4 of the size.
    torch.testing.assert_close(
        alone, case.logits, rtol=1e-4, atol=1e-4 * float(case.logits.abs().max())
    )


def test_gradients_reach_every_parameter(case: Case) -> None:
    model = case.model
    for p in model.parameters():
        p.grad = None
    # Not a loss that saturates: untrained logits of a deep network are large. Batch norm as in evaluation: of the few values
    # that a small clip leaves in the last layers, batch statistics would leave next to nothing.
    loss = (model(case.x) * torch.tensor([[1.0, -2, 3, -4, 5], [5, 4, -3, 2, 1]])).sum()
    torch.autograd.backward(loss)
    missing = [
        n
        for n, p in model.named_parameters()
        if p.grad is None or not torch.isfinite(p.grad).all() or not p.grad.any()
    ]
    for p in model.parameters():
        p.grad = None
    assert missing == []


@pytest.mark.parametrize("case", with_the_others_slow(of_each_row()), indirect=True)
def test_compiles_as_one_graph(case: Case) -> None:
    model = shallow(case.model)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(case.x), model(case.x), rtol=0, atol=0)


@pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None,
    reason="inductor needs a C++ compiler",
)
@pytest.mark.filterwarnings("ignore")  # the compiler's own, which differ from one torch to the next
@pytest.mark.parametrize("name", slow("res3d", "semi_resnet18", "b5_m2", "densenet121_3d"))
def test_inductor_gives_what_eager_gives(name: str) -> None:
    model = create_model(name, num_classes=5, seed=0).eval()
    x = torch.randn(1, 3, *small(model), generator=torch.Generator().manual_seed(1))
    torch.compiler.reset()
    with torch.no_grad():
        eager = model(x)
        compiled = torch.compile(model, fullgraph=True)(x)
    # Other kernels, fused and summed in another order: float32 rounding through up to 121 layers.
    torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-3 * float(eager.abs().max()))


# A processor without bf16 computes it by emulation, at a tenth of the speed: one network a family shows the same there.
@pytest.mark.parametrize(
    "case",
    with_the_others_slow(
        quick() if resolve_precision("auto", torch.device("cpu")) == "bf16" else of_each_family()
    ),
    indirect=True,
)
def test_bf16_gives_what_float32_gives(case: Case) -> None:
    layer = model_entry(case.name).layers[0]
    exact, rounded = (
        EagerBackend(case.model, [layer], precision=precision, device="cpu")(case.x)[layer]
        for precision in ("float32", "bf16")
    )
    # bf16 has 8 bits: every layer rounds by up to 2^-9 of a value, at random, so that errors add up as the square root of
    # the number of layers that a value passes: 150 of them make 2.4 %. Three times that, and no less than 3 %, is allowed;
    # 1 % was found.
    depth = sum(isinstance(m, nn.Conv3d | nn.Linear) for m in case.model.modules())
    allowed = max(0.03, 3 * math.sqrt(depth) * 2**-9)
    error = float((rounded - exact).norm() / exact.norm())
    assert error < allowed


@pytest.mark.parametrize("name", list_models())
def test_sizes_are_taken_or_refused(name: str) -> None:
    model = bare(name).eval()
    assert isinstance(model, Network)
    least = model.minimum
    grown = [
        (length + more) if most is None else min(length + more, most)
        for length, more, (_, most) in zip(least, (3, 5, 2), model.range, strict=True)
    ]
    for size in (least, (grown[0], grown[1], grown[2]), model.size, (least[0], grown[1], least[2])):
        assert model(torch.empty(1, 3, *size, device="meta")).shape == (1, 5)
    for axis, (low, high) in enumerate(model.range):
        for bad in (low - 1, None if high is None else high + 1):
            if bad:
                size = tuple(bad if i == axis else n for i, n in enumerate(least))
                told = "{}x{}".format(*least[1:]), size[0], "{}x{}".format(*size[1:])
                with pytest.raises(UsageError, match=telling(*told)):
                    model(torch.empty(1, 3, *size, device="meta"))


def test_the_smallest_clip_is_computed(case: Case) -> None:
    if math.prod(case.model.minimum) >= math.prod(case.x.shape[2:]):
        return  # as small as `x`, with which the other tests run
    x = torch.randn(1, 3, *case.model.minimum, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.isfinite(case.model(x)).all()
