"""ImageNet networks' spatial layers in semi-CNNs: tensor by tensor, frame by frame, and the paper's counts."""

from __future__ import annotations

import hashlib
import json
from itertools import takewhile
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from foreign_networks import (
    VGG16,
    State,
    densenet_lower,
    densenet_state,
    old_densenet_names,
    resnet_state,
    resnet_trunk,
    vgg_lower,
    vgg_state,
)
from told import telling, tells
from torch import nn

from featx import cli, create_model, list_models
from featx.errors import FeatxError, UsageError
from featx.models.image_networks import counterparts
from featx.models.network import Network
from featx.models.registry import skeleton
from featx.weights.checkpoint import load_model
from featx.weights.from_2d import from_2d, transfer_2d


def image_state(name: str, seed: int | None = None) -> State:
    """The state dict of a model's image network, of stretched zeros where there is no seed."""
    if name == "semi_vgg16":
        return vgg_state(seed=seed)
    depth = int(name.lstrip("semi_rndt"))
    if name.startswith("semi_densenet"):
        return densenet_state(depth, seed=seed)
    return resnet_state(depth, dims=2, projected=True, classes=1000, seed=seed)


SEMI = [name for name in list_models() if name.startswith("semi_")]
# Table 2, "Pre-trained params", in millions.
TABLE_2 = {
    "semi_vgg16": 5.3,
    "semi_resnet18": 0.4,
    "semi_resnet34": 0.8,
    "semi_resnet50": 0.9,
    "semi_resnet101": 0.9,
    "semi_resnet152": 1.4,
    "semi_densenet121": 0.8,
    "semi_densenet169": 0.8,
}


def spatial_layers(model: Network) -> list[str]:
    """Names of the layers before the first one that looks across frames."""
    return [row.name for row in takewhile(lambda row: row.spatial, model.rows)]


def spatial(model: Network, upto: str) -> nn.Sequential:
    names = model.volume_names[: model.volume_names.index(upto) + 1]
    assert set(names) <= set(spatial_layers(model))
    return nn.Sequential(*(model.get_submodule(name) for name in names)).eval()


@pytest.mark.parametrize("name", SEMI)
def test_the_papers_count_of_pretrained_parameters(name: str) -> None:
    model = skeleton(name)
    assert isinstance(model, Network)
    made = transfer_2d(model, image_state(name))
    assert round(made.parameters / 1e6, 1) == TABLE_2[name]
    with_numbers = [
        layer for layer in spatial_layers(model) if list(model.get_submodule(layer).parameters())
    ]
    assert list(made.layers) == [layer for layer in with_numbers if layer != "transition2a"]
    assert made.network == counterparts()[name]
    # Every number of these layers, running statistics too, and no other's.
    for tensor in model.state_dict():
        wanted = tensor.partition(".")[0] in made.layers and not tensor.endswith(
            "num_batches_tracked"
        )
        assert (tensor in made.tensors) == wanted, tensor


@pytest.mark.parametrize(
    ("name", "upto", "reference"),
    [
        ("semi_resnet18", "res3a", lambda s, x: resnet_trunk(s, x, 18, (2, 0))),
        ("semi_resnet50", "res3b", lambda s, x: resnet_trunk(s, x, 50, (2, 1))),
        ("semi_densenet121", "denseblock2a", densenet_lower),
        ("semi_vgg16", "conv4_2", lambda s, x: vgg_lower(s, x, VGG16.index(512) + 2)),
    ],
)
def test_each_frame_is_treated_as_the_image_network_treats_it(
    name: str, upto: str, reference
) -> None:
    state = image_state(name, seed=6)
    model = transfer_2d(skeleton(name).to_empty(device="cpu"), state).model
    assert isinstance(model, Network)
    x = torch.randn(1, 3, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = spatial(model, upto)(x)
        theirs = torch.stack([reference(state, frame) for frame in x.unbind(2)], dim=2)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.std()))


def test_against_torchvisions_own_networks() -> None:
    models = pytest.importorskip(
        "torchvision.models", reason="torchvision is not installed: compared with F.conv2d alone"
    )
    for name, upto, theirs in (
        ("semi_resnet34", "res3b", "resnet34"),
        ("semi_resnet152", "res3d", "resnet152"),
    ):
        network = getattr(models, theirs)(weights=None).eval()
        model = create_model(name, seed=0, init_2d=network.state_dict())
        x = torch.randn(1, 3, 2, 64, 64, generator=torch.Generator().manual_seed(1))
        number = ord(upto[-1]) - ord("a") + 1
        with torch.no_grad():
            stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
            lower = nn.Sequential(stem, network.layer1, network.layer2[:number])
            frames = torch.stack([lower(frame) for frame in x.unbind(2)], dim=2)
            torch.testing.assert_close(spatial(model, upto)(x), frames, rtol=1e-4, atol=1e-4)
    for name, theirs in (("semi_densenet169", "densenet169"), ("semi_vgg16", "vgg16")):
        made = transfer_2d(skeleton(name), getattr(models, theirs)(weights=None).state_dict())
        assert round(made.parameters / 1e6, 1) == TABLE_2[name]


def test_every_tensor_comes_from_its_own_and_the_rest_is_as_without() -> None:
    state = image_state("semi_resnet18", seed=6)
    plain = create_model("semi_resnet18", num_classes=5, seed=3).state_dict()
    model = create_model("semi_resnet18", num_classes=5, seed=3)
    made = transfer_2d(model, state)
    assert made.model is model
    where = {
        "res2a.conv1.conv.weight": "layer1.0.conv1.weight",
        "res3a.projection.bn.running_var": "layer2.0.downsample.1.running_var",
    }
    where |= {
        "conv1.bn.bias": "bn1.bias",
        "res2b.conv2.bn.running_mean": "layer1.1.bn2.running_mean",
    }
    for name, theirs in where.items():
        value = state[theirs]
        assert torch.equal(
            model.state_dict()[name], value.unsqueeze(2) if value.dim() == 4 else value
        ), name
    for name, value in model.state_dict().items():
        assert torch.equal(value, plain[name]) == (name not in made.tensors), name


def test_torchvisions_files_of_densenets_have_older_names() -> None:
    state = image_state("semi_densenet121", seed=6)
    old = old_densenet_names(state)
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    one, two = (
        transfer_2d(skeleton("semi_densenet121").to_empty(device="cpu"), each)
        for each in (state, old)
    )
    assert one.tensors == two.tensors
    for name in one.tensors:
        assert torch.equal(one.model.state_dict()[name], two.model.state_dict()[name]), name


def refusal(name: str, state: object) -> str:
    """Return why a state is refused, having seen that not a number of the model changed."""
    model = skeleton(name)
    if name == "semi_resnet18":
        model.to_empty(device="cpu")
        for value in model.state_dict().values():
            value.fill_(3)
    with pytest.raises(UsageError) as caught:
        transfer_2d(model, state)  # type: ignore[arg-type]
    assert all((value == 3).all() for value in model.state_dict().values() if not value.is_meta)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_another_networks_state_is_refused() -> None:
    small = image_state("semi_resnet18")
    assert refusal("semi_resnet18", image_state("semi_resnet34")) == (
        "init_2d is no ResNet-18: it has 3 + 4 + 6 + 3 blocks, not 2 + 2 + 2 + 2"
    )
    assert (
        "no ResNet-34: its layer1.0.conv1.weight is torch.float32 (64, 64, 1, 1), not torch.float32 (64, 64, 3, 3)"
        in refusal("semi_resnet34", image_state("semi_resnet50"))
    )
    assert (
        "no ResNet-50: its layer1.0.conv1.weight is torch.float32 (64, 64, 3, 3), not torch.float32 (64, 64, 1, 1)"
        in refusal("semi_resnet50", image_state("semi_resnet34"))
    )
    assert (
        "is no DenseNet-121: it has 6 + 12 + 32 + 32 dense layers, not 6 + 12 + 24 + 16"
        in refusal("semi_densenet121", image_state("semi_densenet169"))
    )
    assert "is no VGG-16: it is a ResNet" in refusal("semi_vgg16", small)
    vgg19 = vgg_state(
        [
            64,
            64,
            0,
            128,
            128,
            0,
            256,
            256,
            256,
            256,
            0,
            512,
            512,
            512,
            512,
            0,
            512,
            512,
            512,
            512,
            0,
        ],
        seed=None,
    )
    assert "is no VGG-16: it has 16 convolutions, not 13" in refusal("semi_vgg16", vgg19)
    assert "is no ResNet-18: its names are of no network known here" in refusal(
        "semi_resnet18", {"a": torch.zeros(1)}
    )
    # A 3D network has the same names.
    assert (
        "its conv1.weight is torch.float32 (64, 3, 7, 7, 7), not torch.float32 (64, 3, 7, 7)"
        in refusal("semi_resnet18", resnet_state(18, dims=3, projected=True, classes=2, seed=None))
    )
    assert "it must map names to tensors" in refusal("semi_resnet18", {})
    assert "it must map names to tensors" in refusal("semi_resnet18", {"conv1.weight": 3})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"layer2.0.downsample.1.running_mean": None}, ()),
        ({"layer1.1.bn2.weight": torch.zeros(7)}, ("torch.float32 (7,)", "torch.float32 (64,)")),
        (
            {"bn1.bias": torch.zeros(64, dtype=torch.int64)},
            ("torch.int64 (64,)", "torch.float32 (64,)"),
        ),
    ],
)
def test_a_wanted_tensor_that_is_missing_or_misshapen(
    change: dict[str, torch.Tensor | None], told: tuple[str, ...]
) -> None:
    state = {n: v for n, v in (image_state("semi_resnet18") | change).items() if v is not None}
    assert tells(refusal("semi_resnet18", state), "ResNet-18", *change, *told)


def test_the_lower_layers_alone_are_enough() -> None:
    state = {
        n: v
        for n, v in image_state("semi_resnet18").items()
        if n.startswith(("conv1", "bn1", "layer1", "layer2"))
    }
    assert transfer_2d(skeleton("semi_resnet18"), state).parameters == 387_648


@pytest.mark.parametrize("bad", [3, None, [1]])
def test_init_2d_must_be_a_state_or_a_path(bad: object) -> None:
    with pytest.raises(UsageError, match=telling("init_2d", bad)):
        transfer_2d("semi_resnet18", bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["res3d", "resnet18_2d", "resnet18_3d", "c3d_b5"])
def test_a_model_without_counterpart_names_those_that_have_one(name: str) -> None:
    with pytest.raises(UsageError, match=telling(name, *counterparts())):
        create_model(name, init_2d={})
    assert set(counterparts()) == set(SEMI)


# ---- files and the command


@pytest.fixture(scope="module")
def image_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "resnet18-f37072fd.pth"
    torch.save(image_state("semi_resnet18", seed=6), path)
    return path


def test_a_file_does_as_well(image_file: Path, tmp_path: Path) -> None:
    one = create_model("semi_resnet18", seed=0, init_2d=image_file).state_dict()
    two = create_model("semi_resnet18", seed=0, init_2d=str(image_file)).state_dict()
    three = create_model(
        "semi_resnet18", seed=0, init_2d=image_state("semi_resnet18", seed=6)
    ).state_dict()
    assert all(
        torch.equal(value, two[name]) and torch.equal(value, three[name])
        for name, value in one.items()
    )
    with pytest.raises(UsageError, match=telling("missing.pth")):
        create_model("semi_resnet18", init_2d=tmp_path / "missing.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(FeatxError, match=telling("text.pth")):
        create_model("semi_resnet18", init_2d=tmp_path / "text.pth")


def test_the_command_makes_a_checkpoint_that_says_what_it_is(
    image_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "semi.safetensors"
    args = [
        "weights",
        "from-2d",
        "semi_resnet18",
        str(image_file),
        str(out),
        "--num-classes",
        "5",
        "--seed",
        "3",
    ]
    done = CliRunner().invoke(cli.cli, args, catch_exceptions=False)
    digest = hashlib.sha256(image_file.read_bytes()).hexdigest()
    layers = "conv1", "res2a", "res2b", "res3a"
    assert tells(done.output, "semi_resnet18", "387,648", "ResNet-18", *layers)
    loaded = load_model("semi_resnet18", out)
    source = loaded.weights_info["source"]
    assert tells(loaded.weights_info["name"], "untrained", "semi_resnet18")
    assert tells(source, "ResNet-18", image_file.name, digest, "untrained", "seed 3")
    assert source in done.output
    assert loaded.weights_info["seed"] == 3
    wanted = create_model("semi_resnet18", num_classes=5, seed=3, init_2d=image_file).state_dict()
    assert all(
        torch.equal(value, wanted[name]) for name, value in loaded.model.state_dict().items()
    )
    described = json.loads(
        json.loads(out.read_bytes()[8:][: int.from_bytes(out.read_bytes()[:8], "little")])[
            "__metadata__"
        ]["featx"]
    )
    assert described["info"]["transferred"] == {
        "network": "ResNet-18",
        "file": image_file.name,
        "sha256": digest,
        "parameters": 387_648,
        "layers": ["conv1", "res2a", "res2b", "res3a"],
    }
    again = CliRunner().invoke(cli.cli, [*args, "--json"], catch_exceptions=False)
    assert json.loads(again.output) == {
        "path": str(out),
        "model": "semi_resnet18",
        "network": "ResNet-18",
        "parameters": 387_648,
        "layers": ["conv1", "res2a", "res2b", "res3a"],
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
        "source": source,
    }


@pytest.mark.parametrize(
    ("model", "out", "told"),
    [
        ("res3d", "a.safetensors", ("res3d", "semi_resnet18")),
        (
            "semi_resnet34",
            "a.safetensors",
            ("resnet18-f37072fd.pth", "ResNet-34", "2 + 2 + 2 + 2"),
        ),
        ("semi_resnet18", "a.pth", ("a.pth", ".safetensors")),
        ("semi_resnet19", "a.safetensors", ("'semi_resnet19'", "semi_resnet18")),
    ],
)
def test_wrong_use_writes_nothing(
    image_file: Path, tmp_path: Path, model: str, out: str, told: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError, match=telling(*told)):
        from_2d(model, image_file, tmp_path / out)
    assert list(tmp_path.iterdir()) == []
