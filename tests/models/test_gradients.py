"""Every layer's gradient on this processor, against float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from featx import create_model

# The smallest clips at which every kind of layer meets the lengths of time that it meets in training: res3d's conv4_x has
# two frames there, at which bf16 gradients are wrong on some processors.
NETWORKS = {
    "res3d": (8, 32),
    "hara_resnet18": (16, 48),
    "c3d_b5": (16, 97),
    "b5_m2": (16, 97),
    "sr18_25d": (4, 64),
}


@pytest.mark.parametrize(
    "name", ["res3d", *(pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS if n != "res3d")]
)
def test_weight_and_input_gradients_are_those_of_float64(name: str) -> None:
    length, side = NETWORKS[name]
    model = create_model(name, num_classes=5, seed=0).to(memory_format=torch.channels_last_3d)
    model.train()
    seen: dict[str, dict[str, torch.Tensor]] = {}

    def watch(path: str, layer: nn.Module) -> None:
        def forward(module: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
            seen[path] = {"x": inputs[0].detach().clone()}
            output.register_hook(lambda g: seen[path].__setitem__("g", g.detach().clone()))
            if inputs[0].requires_grad:
                inputs[0].register_hook(lambda g: seen[path].setdefault("gx", g.detach().clone()))

        layer.register_forward_hook(forward)

    for path, layer in model.named_modules():
        if isinstance(layer, nn.Conv3d | nn.Linear):
            watch(path, layer)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((2, 3, length, side, side), generator=generator).to(
        memory_format=torch.channels_last_3d
    )
    torch.manual_seed(0)  # dropout
    functional.cross_entropy(model(x), torch.tensor([0, 3])).backward()
    assert len(seen) > 5
    for path, tensors in seen.items():
        layer = model.get_submodule(path)
        given, gradient = tensors["x"].double(), tensors["g"].double()
        if isinstance(layer, nn.Linear):
            expected = gradient.T @ given
        else:
            expected = torch.nn.grad.conv3d_weight(
                given,
                layer.weight.shape,
                gradient,
                stride=layer.stride,
                padding=layer.padding,
                dilation=layer.dilation,
            )
        found = layer.weight.grad
        assert found is not None
        error = (found.double() - expected).norm() / expected.norm()
        # Sums of some 10^5 float32 products: 10^-7 each, at worst 10^-5 together. bf16's errors were factors.
        assert error < 1e-4, f"{path}: {error:.2g}"
