"""The backbones: sizes and costs against the papers, shapes, names, repeatable weights."""

from __future__ import annotations

import pytest
import torch

from featx.errors import UsageError
from featx.inference import layer_names
from featx.models import ModelEntry, create_model, list_models, model_entry, register
from featx.models._registry import skeleton
from featx.models.count import count
from featx.models.resnet3d import ResNet3D, ResNetConfig


def small_input(name: str, batch: int = 2) -> torch.Tensor:
    """Return the smallest clips that make sense for the model: c3d's fc6 ties it to about 112 x 112 pixels."""
    shape = (3, 1, 97, 97) if name == "c3d" else (3, 8, 32, 32)
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1))


# ---- the papers' numbers


@pytest.mark.parametrize(
    ("name", "classes", "params", "multiply_adds"),
    [
        # Exact counts of the definitions; Tran et al. 2017 says 33.2 M and 19.3 G for res3d, 11.2 M and 1.6 G for res2d.
        ("res3d", 101, 33_222_309, 20_450_986_496),
        ("res3d", 487, 33_420_327, 20_451_184_128),
        ("res2d", 101, 11_232_549, 1_737_947_648),
        ("r3d_18", 400, 33_371_472, 40_696_553_472),  # parameters: torchvision's own count
        ("c3d", 101, 78_409_573, 38_547_378_176),  # the 78.4 M commonly quoted
        ("c3d", 487, 79_991_015, 38_548_959_232),  # 38.5 G: Tran et al. 2017, section 4
    ],
)
def test_counts(name: str, classes: int, params: int, multiply_adds: int) -> None:
    entry = model_entry(name)
    counts = count(skeleton(name, num_classes=classes), (3, entry.clip.frames, entry.transform.crop, entry.transform.crop))
    assert (counts.params, counts.multiply_adds) == (params, multiply_adds)


def test_counts_agree_with_the_paper() -> None:
    res3d = count(skeleton("res3d"), (3, 8, 112, 112))
    assert res3d.params == pytest.approx(33.2e6, rel=0.06)
    assert res3d.multiply_adds == pytest.approx(19.3e9, rel=0.06)
    c3d = count(skeleton("c3d"), (3, 16, 112, 112))
    assert round(c3d.multiply_adds / 1e9, 1) == 38.5
    assert c3d.params > 2 * res3d.params


def test_excess_over_the_paper_does_not_grow_with_depth() -> None:
    # Table 3: 3D-Res18 19.3 G and 3D-Res34 36.7 G. Each is rounded to 0.05 G, so the difference is known to 0.1 G.
    with torch.device("meta"):
        ours = [
            count(ResNet3D(ResNetConfig(blocks=blocks), num_classes=101), (3, 8, 112, 112)).multiply_adds / 1e9
            for blocks in ((2, 2, 2, 2), (3, 4, 6, 3))
        ]
    assert ours[1] - ours[0] == pytest.approx(36.7 - 19.3, abs=0.1)


def test_72_9_million_is_c3d_with_seven_convolutions() -> None:
    model = skeleton("c3d", num_classes=487)
    without = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("conv5b."))
    assert round(without / 1e6, 1) == 72.9
    assert count(model, (3, 16, 112, 112)).multiply_adds / 1e9 - 0.69 < 38.0  # conv5b's 0.69 G are in the paper's 38.5


def test_count_leaves_the_model_alone() -> None:
    model = create_model("res2d", num_classes=3, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count(model, (3, 1, 32, 32))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


# ---- every model


@pytest.mark.parametrize("name", list_models())
def test_every_model(name: str) -> None:
    entry = model_entry(name)
    model = create_model(name, num_classes=5, seed=0).eval()
    assert model.num_classes == 5
    assert set(entry.layers) <= set(layer_names(model))
    with torch.no_grad():
        logits = model(small_input(name))
    assert logits.shape == (2, 5)
    assert torch.isfinite(logits).all()
    assert not torch.equal(logits[0], logits[1])
    assert entry.transform.crop == 112
    assert entry.source


@pytest.mark.parametrize("name", ["res3d", "res2d"])
def test_trains(name: str) -> None:
    model = create_model(name, num_classes=3, seed=0)
    loss = torch.nn.functional.cross_entropy(model(small_input(name)), torch.tensor([0, 2]))
    torch.autograd.backward(loss)
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert missing == []


@pytest.mark.parametrize("name", list_models())
def test_only_clips_are_taken(name: str) -> None:
    model = create_model(name, num_classes=2, seed=0)
    with pytest.raises(UsageError, match=r"\(N, 3, T, H, W\), got \(3, 8, 32, 32\)"):
        model(torch.zeros(3, 8, 32, 32))


def test_c3d_says_what_size_it_takes() -> None:
    with pytest.raises(UsageError, match="16 frames of 112x112 pixels, got 17 of 112x112"):
        skeleton("c3d")(torch.empty(1, 3, 17, 112, 112, device="meta"))
    assert skeleton("c3d", num_classes=9)(torch.empty(1, 3, 16, 112, 112, device="meta")).shape == (1, 9)


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one = create_model("res2d", num_classes=3, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    two = create_model("res2d", num_classes=3, seed=7)
    other = create_model("res2d", num_classes=3, seed=8)
    same = [torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)]
    assert all(same)
    assert not torch.equal(one.get_parameter("conv1.conv.weight"), other.get_parameter("conv1.conv.weight"))


def test_initialisation() -> None:
    model = create_model("res3d", seed=0)
    weight = model.get_parameter("res5b.conv2.conv.weight")
    # He et al. 2015, fan out: variance 2 / (512 * 27); 7 million samples put the estimate within 0.1 %.
    assert weight.std().item() == pytest.approx((2 / (512 * 27)) ** 0.5, rel=1e-3)
    assert torch.equal(model.get_parameter("res5b.conv2.bn.weight"), torch.ones(512))
    assert torch.equal(model.get_buffer("res5b.conv2.bn.running_var"), torch.ones(512))
    assert torch.equal(model.get_parameter("fc.bias"), torch.zeros(487))


# ---- each family


def outputs(model: torch.nn.Module, x: torch.Tensor, *names: str) -> dict[str, torch.Tensor]:
    taken: dict[str, torch.Tensor] = {}
    handles = [
        model.get_submodule(name).register_forward_hook(lambda m, i, o, name=name: taken.update({name: o.clone()}))
        for name in names
    ]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return taken


def test_res3d_sizes_are_table_2s() -> None:
    sizes = {
        name: tuple(value.shape[1:])
        for name, value in outputs(
            skeleton("res3d"),
            torch.empty(1, 3, 8, 112, 112, device="meta"),
            *["conv1", "res2b", "res3b", "res4b", "res5a", "res5b", "pool5", "fc"],
        ).items()
    }
    assert sizes == {
        "conv1": (64, 8, 56, 56),
        "res2b": (64, 8, 56, 56),
        "res3b": (128, 4, 28, 28),
        "res4b": (256, 2, 14, 14),
        "res5a": (512, 1, 7, 7),
        "res5b": (512, 1, 7, 7),
        "pool5": (512, 1, 1, 1),
        "fc": (487,),
    }


def test_projections() -> None:
    names = {name for name, _ in skeleton("res3d").named_modules() if name.endswith("projection")}
    assert names == {"res2a.projection", "res3a.projection", "res4a.projection", "res5a.projection"}
    names = {name for name, _ in skeleton("r3d_18").named_modules() if name.endswith("projection")}
    assert names == {"res3a.projection", "res4a.projection", "res5a.projection"}


def test_res2d_treats_frames_on_their_own() -> None:
    model = create_model("res2d", num_classes=4, seed=0).eval()
    x = small_input("res2d", batch=1)[:, :, :3]
    whole = outputs(model, x, "res5b", "pool5")
    frames = [outputs(model, x[:, :, t : t + 1], "res5b", "pool5") for t in range(3)]
    # The same arithmetic in other tile sizes: float32 rounding through 18 layers stays below 1e-4 of the size.
    torch.testing.assert_close(whole["res5b"], torch.cat([f["res5b"] for f in frames], dim=2), rtol=1e-4, atol=1e-4)
    mean = torch.stack([f["pool5"] for f in frames]).mean(dim=0)
    torch.testing.assert_close(whole["pool5"], mean, rtol=1e-4, atol=1e-4)


def test_res3d_mixes_frames() -> None:
    model = create_model("res3d", num_classes=4, seed=0).eval()
    x = small_input("res3d", batch=1)
    order = torch.tensor([1, 0, *range(2, 8)])
    assert not torch.allclose(outputs(model, x, "pool5")["pool5"], outputs(model, x[:, :, order], "pool5")["pool5"], rtol=1e-2)


def test_c3d_pools_as_caffe_does() -> None:
    # Caffe's pool3d_layer.cpp: windows start at 0, 2, 4, 6 and the last is cut off at the edge.
    x = torch.arange(7.0).expand(1, 1, 2, 7, 7)
    pooled = skeleton("c3d").get_submodule("pool5")(x)
    assert pooled.shape == (1, 1, 1, 4, 4)
    assert pooled[0, 0, 0, 0].tolist() == [1, 3, 5, 6]


def test_c3d_fc6_is_after_the_relu() -> None:
    model = create_model("c3d", num_classes=2, seed=0).eval()
    taken = outputs(model, small_input("c3d", batch=1), "pool5", "fc6.linear", "fc6", "fc7")
    assert taken["pool5"].shape == (1, 512, 1, 4, 4)
    assert (taken["fc6.linear"] < 0).any()
    assert torch.equal(taken["fc6"], taken["fc6.linear"].relu())
    assert taken["fc6"].shape == taken["fc7"].shape == (1, 4096)


# ---- the registry


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown model 'res3f'; did you mean .*res3d"):
        create_model("res3f")


@pytest.mark.parametrize("bad", [0, -3, 1.5, True, "10"])
def test_num_classes_must_be_a_count(bad: object) -> None:
    with pytest.raises(UsageError, match="num_classes is"):
        create_model("res2d", num_classes=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [-1, 2**63, 0.5, True])
def test_seed_must_be_a_number(bad: object) -> None:
    with pytest.raises(UsageError, match="seed is"):
        create_model("res2d", seed=bad)  # type: ignore[arg-type]


def test_a_name_is_registered_once() -> None:
    entry = model_entry("res3d")
    assert isinstance(entry, ModelEntry)
    with pytest.raises(ValueError, match="two models are named 'res3d'"):
        register(entry)
    assert list_models() == sorted(list_models())
    assert {"c3d", "r3d_18", "res2d", "res3d"} <= set(list_models())
