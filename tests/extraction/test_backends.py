"""Layers' outputs: the right ones, untouched, repeatable, from several threads, in both precisions."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import tiny
import torch
from told import telling
from torch import nn

from featx import create_model
from featx.errors import UsageError
from featx.extraction.backends.eager import (
    EagerBackend,
    cpu_has_bf16,
    cuda_settings,
    fold_batch_norm,
    layer_names,
    resolve_device,
    resolve_precision,
)
from featx.models import Backbone, ConvBN

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def res3d() -> Backbone:
    """Return a small-input Res3D whose batch norms have been used: no scale, shift, mean or variance is trivial."""
    model = create_model("res3d", num_classes=7, seed=0)
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            shape = module.weight.shape
            module.weight.data = 0.5 + torch.rand(shape, generator=generator)
            module.bias.data = 0.2 * torch.randn(shape, generator=generator)
            module.running_mean = 0.2 * torch.randn(shape, generator=generator)
            module.running_var = 0.5 + torch.rand(shape, generator=generator)
    return model


def clips(n: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, 3, 8, 32, 32, generator=torch.Generator().manual_seed(seed))


def by_hand(model: Backbone, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Run the network step by step, without hooks and in the memory layout that the extractor uses."""
    model = copy.deepcopy(model).eval().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    out = {}
    with torch.no_grad():
        x = x.contiguous(memory_format=torch.channels_last_3d)
        x = out["conv1"] = model.get_submodule("conv1")(x)
        for name in ["res2a", "res2b", "res3a", "res3b", "res4a", "res4b", "res5a", "res5b"]:
            block: Any = model.get_submodule(name)
            conv1, conv2, projection = block.conv1, block.conv2, block.projection
            y = conv2.bn(conv2.conv(torch.relu(conv1.bn(conv1.conv(x)))))
            out[f"{name}.conv2"] = y
            x = out[name] = torch.relu(
                y + (x if projection is None else projection.bn(projection.conv(x)))
            )
        out["pool5"] = x.mean(dim=(2, 3, 4), keepdim=True)
        out["fc"] = model.get_submodule("fc")(out["pool5"].flatten(1))
        out["prob"] = torch.softmax(out["fc"], dim=1)
    return {name: value.flatten(1) for name, value in out.items()}


# ---- float32


def test_layers_equal_a_forward_pass_by_hand(res3d: Backbone) -> None:
    names = ["res5b", "conv1", "res3a", "res4b.conv2", "fc", "prob"]
    x = clips(2)
    got = EagerBackend(res3d, names, precision="float32", device="cpu")(x)
    wanted = by_hand(res3d, x)
    assert list(got) == names
    for name in names:
        assert got[name].dtype == torch.float32
        assert torch.equal(got[name], wanted[name]), name
    # The pooling sums in another order than mean().
    pooled = EagerBackend(res3d, ["pool5"], precision="float32", device="cpu")(x)["pool5"]
    torch.testing.assert_close(pooled, wanted["pool5"], rtol=1e-6, atol=1e-6)


def test_float32_is_unfolded_and_the_callers_model_is_untouched(res3d: Backbone) -> None:
    before = {name: value.clone() for name, value in res3d.state_dict().items()}
    assert res3d.training
    for precision in ("float32", "bf16"):
        extractor = EagerBackend(res3d, ["pool5"], precision=precision, device="cpu")
        extractor(clips(1))
        norms = [m for m in extractor._model.modules() if isinstance(m, nn.BatchNorm3d)]
        assert len(norms) == (21 if precision == "float32" else 0)
        assert not extractor._model.training
    assert res3d.training
    assert not any(module._forward_hooks for module in res3d.modules())
    assert list(before) == list(res3d.state_dict())
    for name, value in res3d.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name]), name


def test_in_place_relu_does_not_rewrite_what_was_taken(res3d: Backbone) -> None:
    for precision in ("float32", "bf16"):
        taken = EagerBackend(res3d, ["conv1.bn", "conv1"], precision=precision, device="cpu")(
            clips(1)
        )
        assert (taken["conv1.bn"] < 0).any(), precision
        assert torch.equal(taken["conv1.bn"].relu(), taken["conv1"]), precision


def test_nothing_runs_after_the_last_wanted_layer(res3d: Backbone) -> None:
    # Wanted in another order than that of the network: what counts is what has been taken.
    extractor = EagerBackend(res3d, ["res3a", "conv1", "res2b"], precision="float32", device="cpu")
    ran: list[str] = []
    for name, module in extractor._model.named_modules():
        if not list(module.children()):
            module.register_forward_pre_hook(lambda m, i, name=name: ran.append(name))
    taken = extractor(clips(1))
    assert {"conv1.conv", "res3a.conv2.conv"} <= set(ran)
    assert not any(name.startswith(("res3b", "res4", "res5", "pool5", "fc")) for name in ran)
    assert all(torch.equal(taken[name], by_hand(res3d, clips(1))[name]) for name in taken)


def test_shapes(res3d: Backbone) -> None:
    extractor = EagerBackend(res3d, ["res5b", "pool5", "prob"], precision="float32", device="cpu")
    assert extractor.shapes == {}
    taken = extractor(clips(3))
    assert extractor.shapes == {"res5b": (512, 1, 2, 2), "pool5": (512, 1, 1, 1), "prob": (7,)}
    assert {name: tuple(value.shape) for name, value in taken.items()} == {
        "res5b": (3, 2048),
        "pool5": (3, 512),
        "prob": (3, 7),
    }
    ahead = EagerBackend(
        res3d, ["res4a"], precision="bf16", device="cpu", input_shape=(3, 4, 48, 32)
    )
    assert ahead.shapes == {"res4a": (256, 1, 6, 4)}


def test_prob_is_a_distribution(res3d: Backbone) -> None:
    for precision in ("float32", "bf16"):
        taken = EagerBackend(res3d, ["prob", "fc"], precision=precision, device="cpu")(clips(2))
        torch.testing.assert_close(taken["prob"].sum(dim=1), torch.ones(2))
        assert torch.equal(taken["prob"], torch.softmax(taken["fc"], dim=1))


# ---- rows, threads


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_row_depends_on_its_clip_alone(res3d: Backbone, precision: str) -> None:
    extractor = EagerBackend(res3d, ["res5b", "pool5", "prob"], precision=precision, device="cpu")
    x = clips(5)
    first = extractor(x)
    again = extractor(x)
    order = [3, 0, 4, 2, 1]
    shuffled = extractor(x[order])
    others = clips(5, seed=9)
    others[4] = x[0]
    among_others = extractor(others)
    for name, rows in first.items():
        assert torch.equal(rows, again[name])
        assert torch.equal(rows[order], shuffled[name]), name
        assert torch.equal(rows[0], among_others[name][4]), name


def test_threads_share_an_extractor(res3d: Backbone) -> None:
    extractor = EagerBackend(
        res3d, ["conv1.bn", "res3b", "prob"], precision="float32", device="cpu"
    )
    batches = [clips(1 + seed % 2, seed=seed) for seed in range(12)]
    alone = [extractor(x) for x in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(extractor, batches))
    for one, other in zip(alone, together, strict=True):
        for name in one:
            assert torch.equal(one[name], other[name]), name


# ---- bf16


def test_folding_is_the_same_function(res3d: Backbone) -> None:
    # In float64 only the folded numbers' own rounding is left: the deviation is the folding's.
    plain = copy.deepcopy(res3d).double().eval()
    folded = copy.deepcopy(plain)
    fold_batch_norm(folded)
    assert not any(isinstance(m, nn.BatchNorm3d) for m in folded.modules())
    with torch.no_grad():
        torch.testing.assert_close(
            folded(clips(2).double()), plain(clips(2).double()), rtol=1e-10, atol=1e-10
        )
    plain, folded = plain.float(), copy.deepcopy(res3d).eval()
    fold_batch_norm(folded)
    with torch.no_grad():
        torch.testing.assert_close(folded(clips(2)), plain(clips(2)), rtol=1e-4, atol=1e-5)


def test_folding_with_a_biased_convolution() -> None:
    block = ConvBN(3, 4, (3, 3, 3), (1, 2, 2), relu=True).double().eval()
    generator = torch.Generator().manual_seed(0)
    block.conv.bias = nn.Parameter(torch.randn(4, generator=generator, dtype=torch.float64))
    block.bn.running_mean = torch.randn(4, generator=generator, dtype=torch.float64)
    model = nn.Sequential(block)
    x = torch.randn(2, 3, 4, 6, 6, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        wanted = model(x)
        fold_batch_norm(model)
        torch.testing.assert_close(model(x), wanted, rtol=1e-12, atol=1e-12)


def test_a_norm_that_is_not_folded_keeps_its_numbers_in_bf16() -> None:
    model = create_model("semi_densenet121", num_classes=3, seed=0).eval()
    own = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, 1.003, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            own[name] = module.running_mean.clone(), module.running_var.clone()
    fast = EagerBackend(model, ["pool5"], precision="bf16", device="cpu")._model
    left = {name: m for name, m in fast.named_modules() if isinstance(m, nn.BatchNorm3d)}
    assert set(left) == {name for name in own if "norm" in name}
    for name, module in left.items():
        assert torch.equal(module.running_mean, own[name][0])
        assert torch.equal(module.running_var, own[name][1])


def test_bf16_is_close_to_float32(res3d: Backbone) -> None:
    names = ["conv1", "res3a", "res5b", "pool5", "fc", "prob"]
    exact = EagerBackend(res3d, names, precision="float32", device="cpu")(clips(4))
    fast = EagerBackend(res3d, names, precision="bf16", device="cpu")(clips(4))
    for name in names:
        assert fast[name].dtype == torch.float32
        assert torch.cosine_similarity(exact[name], fast[name]).min() > 0.999, name
        assert not torch.equal(exact[name], fast[name]), name


def test_convolutions_and_norms_can_be_tapped_in_bf16(res3d: Backbone) -> None:
    names = [
        "res3a.conv1.conv",
        "res3a.conv1.bn",
        "res4a.projection.bn",
        "res4a.conv2.conv",
        "res5b",
    ]
    exact = EagerBackend(res3d, names, precision="float32", device="cpu")(clips(2))
    fast = EagerBackend(res3d, names, precision="bf16", device="cpu")
    left = {name for name, m in fast._model.named_modules() if isinstance(m, nn.BatchNorm3d)}
    assert left == {
        "res3a.conv1.bn",
        "res4a.conv2.bn",
    }  # those whose convolution is wanted as it is
    taken = fast(clips(2))
    for name in names:
        # A folded convolution in place of the plain one would be far off: scales are 0.4 to 2, shifts 0.2 and more.
        error = (taken[name] - exact[name]).norm() / exact[name].norm()
        assert error < 0.03, (name, error)


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_bf16_is_close_to_float32_whatever_the_length(res3d: Backbone, frames: int) -> None:
    # oneDNN's AMX kernels get the first convolution wrong for a clip of one frame, by factors or NaN.
    x = clips(2)[:, :, :frames]
    taken = [
        EagerBackend(res3d, ["conv1", "res5b"], precision=p, device="cpu")(x)
        for p in ("float32", "bf16")
    ]
    for name in ("conv1", "res5b"):
        assert torch.cosine_similarity(taken[0][name], taken[1][name]).min() > 0.999, name


def test_bf16_logits_are_float32s(res3d: Backbone) -> None:
    logits = EagerBackend(res3d, ["fc"], precision="bf16", device="cpu")(clips(2))["fc"]
    assert not torch.equal(logits, logits.bfloat16().float())


def test_c3d_runs_in_both_precisions() -> None:
    model = create_model("c3d", num_classes=3, seed=0)
    x = 50 * torch.randn(1, 3, 1, 97, 97, generator=torch.Generator().manual_seed(1))
    names = ["fc6.linear", "fc6", "pool5"]
    taken = [EagerBackend(model, names, precision=p, device="cpu")(x) for p in ("float32", "bf16")]
    for name in names:
        assert torch.cosine_similarity(taken[0][name], taken[1][name]).min() > 0.999, name
    for got in taken:
        # A linear layer's output is as it is taken, in type and layout: only a real copy survives the ReLU in place.
        assert (got["fc6.linear"] < 0).any()
        assert torch.equal(got["fc6.linear"].relu(), got["fc6"])


# ---- wrong use


def test_unknown_layers_name_the_nearest(res3d: Backbone) -> None:
    def ask(*layers: str) -> EagerBackend:
        return EagerBackend(res3d, layers, precision="float32", device="cpu")

    with pytest.raises(UsageError, match=telling("'res5c'", "res5b")):
        ask("pool5", "res5c")
    with pytest.raises(UsageError, match=telling("'res5b.conv1.cnv'", "res5b.conv1.conv")):
        ask("res5b.conv1.cnv")
    with pytest.raises(UsageError, match=telling("layers")):
        ask()
    with pytest.raises(UsageError, match=telling("layers")):
        EagerBackend(res3d, "pool5", precision="float32", device="cpu")
    assert ask("pool5", "res5b", "pool5").layers == ("pool5", "res5b")
    assert layer_names(res3d)[-1] == "prob"
    assert "res2a.conv1.conv" in layer_names(res3d)


class Odd(Backbone):
    """A network with modules that cannot be features."""

    classifier = "head"

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Identity()
        self.never = nn.Identity()
        self.pair = Pair()
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pair(self.twice(self.twice(x)))[0]
        logits: torch.Tensor = self.head(x.mean(dim=(2, 3, 4)))
        return logits


class Pair(nn.Module):
    """Two outputs."""

    def forward(self, x: Any) -> tuple[Any, Any]:
        return x, x


@pytest.mark.parametrize("layer", ["twice", "never", "pair"])
def test_modules_that_are_no_features(layer: str) -> None:
    extractor = EagerBackend(Odd(), [layer, "head"], precision="float32", device="cpu")
    with pytest.raises(UsageError, match=telling(layer)):
        extractor(clips(1))


def test_precision() -> None:
    assert resolve_precision("float32", CPU) == "float32"
    assert resolve_precision("bf16", CPU) == "bf16"
    assert resolve_precision("auto", CPU) in ("float32", "bf16")
    with pytest.raises(UsageError, match=telling("precision", "'fp16'")):
        resolve_precision("fp16", CPU)


def test_auto_precision_asks_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for native, wanted in ((True, "bf16"), (False, "float32")):
        monkeypatch.setattr(
            "featx.extraction.backends.eager._has_native_bf16", lambda device, native=native: native
        )
        assert resolve_precision("auto", CPU) == wanted


@pytest.mark.parametrize(
    ("cpuinfo", "native"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 amx_bf16\n", True),
        ("flags\t\t: fpu avx2 amx_bf16\n", True),
        ("flags\t\t: fpu avx2 avx512f avx512_fp16\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n", True),
        ("Features\t: fp asimd svebf16x\n", False),
        ("model name\t: bf16 avx512_bf16\n", False),
        ("", False),
    ],
)
def test_cpu_has_bf16(cpuinfo: str, native: bool) -> None:
    assert cpu_has_bf16(cpuinfo) is native


def test_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == resolve_device(CPU) == CPU
    for name in ("cuda", "cuda:1"):
        with pytest.raises(UsageError, match=telling(f"'{name}'", "GPU")):
            resolve_device(name)
    for name in ("gpu", "mps", "cuda:x", "", "meta"):
        with pytest.raises(UsageError, match=telling(repr(name))):
            resolve_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda")
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(UsageError, match=telling("'cuda:1'", "1 GPUs")):
        resolve_device("cuda:1")


def test_cuda_settings_are_exact_inside_and_restored_after() -> None:
    cudnn: Any = torch.backends.cudnn
    matmul = torch.backends.cuda.matmul
    new = hasattr(cudnn, "conv")

    def state() -> tuple[Any, ...]:
        tf32 = (
            (cudnn.conv.fp32_precision, matmul.fp32_precision)
            if new
            else (cudnn.allow_tf32, matmul.allow_tf32)
        )
        return cudnn.benchmark, cudnn.deterministic, *tf32

    before = state()
    with cuda_settings():
        assert state() == (False, True, *(("ieee", "ieee") if new else (False, False)))
    assert state() == before
    with pytest.raises(KeyError), cuda_settings():
        raise KeyError
    assert state() == before


@pytest.mark.parametrize("classes", [1, 2, 3, 4])
def test_a_row_of_few_outputs_does_not_depend_on_its_place(classes: int) -> None:
    """The product of MKL that torch takes for few columns does, on some processors."""
    model = tiny.ENTRY.builder(num_classes=classes)
    model.initialise(torch.Generator().manual_seed(classes))
    with torch.no_grad():
        model.get_submodule(model.classifier).weight.normal_(
            generator=torch.Generator().manual_seed(1)
        )
    ready = EagerBackend(model, ["fc"], precision="float32", device="cpu")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((8, *tiny.ENTRY.input_shape), generator=generator)
    rows = ready(x)["fc"]
    plain = model.eval()(x)
    torch.testing.assert_close(rows, plain, rtol=1e-5, atol=1e-5)
    for _ in range(4):
        order = torch.randperm(8, generator=generator)
        assert torch.equal(ready(x[order])["fc"], rows[order])
