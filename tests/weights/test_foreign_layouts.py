"""Other libraries' checkpoints: each layout against a forward pass written for these tests, and what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from foreign_networks import (
    State,
    c3d_forward,
    c3d_names,
    c3d_state,
    resnet_forward,
    resnet_state,
    trainable,
    video_forward,
    video_state,
)
from told import telling, tells

from featx import FeatureStore, create_model, extract
from featx.errors import FeatxError, UsageError
from featx.extraction.backends.eager import EagerBackend
from featx.extraction.settings import compose
from featx.models import c3d, hara, model_entry, torchvision_video
from featx.models.registry import skeleton
from featx.store import info
from featx.weights import manifest
from featx.weights.checkpoint import load_model, save_checkpoint
from featx.weights.fitting import NO_CLASSIFIER, misfit, with_weights
from featx.weights.layouts import Foreign, layout_names, layouts, translated
from featx.weights.layouts.hara import HARA_2020
from featx.weights.manifest import find, path_of

BGR = "conv1 from BGR to RGB"  # what a feature file says of a Caffe network


pytestmark = pytest.mark.usefixtures("cache")


def clips(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def ours(architecture: str, state: State, x: torch.Tensor) -> torch.Tensor:
    foreign = translated(architecture, state, where="memory")
    assert foreign is not None
    model = with_weights(architecture, foreign.state, where="memory")
    with torch.no_grad():
        return model(x)


def fits(architecture: str, state: State, classes: int, **hints: object) -> Foreign:
    """Assert that every tensor finds its place, and return what was found out."""
    foreign = translated(architecture, state, where="it.pth", **hints)  # type: ignore[arg-type]
    assert foreign is not None
    counters = {
        n: torch.zeros((), dtype=torch.int64)
        for n in skeleton(architecture).state_dict()
        if n.endswith("tracked")
    }
    assert misfit(architecture, {**counters, **foreign.state}, num_classes=classes) == ""
    return foreign


def refusal(architecture: str, state: State, **hints: object) -> str:
    with pytest.raises(UsageError) as caught:
        translated(architecture, state, where="it.pth", **hints)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert tells(caught.value, "it.pth")
    return str(caught.value)


def test_layouts_are_found_by_their_files() -> None:
    assert [layout.name for layout in layouts()] == list(layout_names())
    assert {"hara", "torchvision-video"} <= set(layout_names())


def test_no_two_layouts_are_recognised_by_the_same_names() -> None:
    for one in layouts():
        for names in one.signatures:
            state = dict.fromkeys(names, torch.zeros(1))
            assert [each.name for each in layouts() if each.recognises(state)] == [one.name]


@pytest.mark.parametrize(
    "architecture",
    ["res3d", "c3d", "r2plus1d_18", "hara_resnet50", "semi_densenet121", "semi_vgg16"],
)
def test_our_own_names_are_of_no_foreign_layout(architecture: str) -> None:
    assert translated(architecture, skeleton(architecture).state_dict(), where="it.pth") is None


# ---- torchvision.models.video

PUBLISHED = {
    "r3d_18": 33_371_472,
    "mc3_18": 11_695_440,
    "r2plus1d_18": 31_505_325,
}  # num_params in torchvision's documentation


@pytest.mark.parametrize("name", PUBLISHED)
def test_torchvisions_video_networks(name: str) -> None:
    state = video_state(name)
    assert trainable(state) == PUBLISHED[name]
    assert sum(p.numel() for p in skeleton(name).parameters()) == PUBLISHED[name]
    x = clips(1, 3, 8, 40, 36)
    theirs = video_forward(state, x)
    # The same float32 operations in the same order; only the mean of 9 numbers a channel may sum otherwise.
    torch.testing.assert_close(ours(name, state, x), theirs, rtol=1e-5, atol=1e-5)
    assert theirs.std() > 0.1
    assert fits(name, state, 400).transform == torchvision_video.KINETICS
    for other in {*PUBLISHED, "res3d"} - {name}:
        assert f"holds weights of model {name}, not of {other}: " in refusal(other, state)


@pytest.mark.parametrize("name", PUBLISHED)
def test_against_torchvision_itself(name: str) -> None:
    video = pytest.importorskip(
        "torchvision.models.video",
        reason="torchvision is not installed: compared with F.conv3d alone",
    )
    theirs = getattr(video, name)(weights=None).eval()
    state = video_state(name)
    theirs.load_state_dict(state)
    x = clips(2, 3, 8, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(ours(name, state, x), theirs(x), rtol=1e-5, atol=1e-5)


def test_a_deeper_video_network_has_no_model_here() -> None:
    state = video_state("r2plus1d_18", seed=None)
    state |= {
        n.replace("layer3.1", "layer3.2"): v for n, v in state.items() if n.startswith("layer3.1")
    }
    assert (
        "weights that no model here has: they are a video ResNet named as torchvision's with (2, 2, 3, 2)"
        in refusal("r2plus1d_18", state)
    )


@pytest.mark.parametrize(
    ("name", "digest", "top1", "top5"),
    [("mc3_18", "a90a0ba3", 63.96, 84.13), ("r2plus1d_18", "91a641e6", 67.463, 86.175)],
)
def test_torchvisions_other_checkpoints_are_registered(
    name: str, digest: str, top1: float, top5: float
) -> None:
    checkpoint, first = find(f"{name}-kinetics400"), find("r3d_18-kinetics400")
    assert checkpoint.url == f"https://download.pytorch.org/models/{name}-{digest}.pth"
    assert (checkpoint.architecture, checkpoint.sha256, checkpoint.num_classes) == (
        name,
        digest,
        400,
    )
    assert (
        checkpoint.metrics["kinetics400 top-1 (%)"],
        checkpoint.metrics["kinetics400 top-5 (%)"],
    ) == (top1, top5)
    assert (checkpoint.transform, checkpoint.clip) == (first.transform, first.clip)
    assert checkpoint.transform == model_entry(name).transform


# ---- Hara et al.


@pytest.mark.parametrize(
    ("depth", "projected", "architecture"),
    [(18, False, "hara_resnet18"), (18, True, "resnet18_3d"), (50, True, "hara_resnet50")],
)
def test_haras_networks(depth: int, projected: bool, architecture: str) -> None:
    state = resnet_state(depth, dims=3, projected=projected, classes=7)
    x = clips(1, 3, 9, 45, 40)
    theirs = resnet_forward(state, x, depth)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours(architecture, state, x), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
@pytest.mark.parametrize("projected", [False, True])
def test_shortcuts_of_the_other_type_are_refused(depth: int, projected: bool) -> None:
    state = resnet_state(depth, dims=3, projected=projected, classes=400, seed=None)
    right = [f"hara_resnet{depth}"] if projected == (depth >= 50) else []
    right += [f"resnet{depth}_3d"] if projected else []
    kind = "projections (type B)" if projected else "zero padding (type A)"
    for architecture in (f"hara_resnet{depth}", f"resnet{depth}_3d"):
        if architecture in right:
            fits(architecture, state, 400, arch=f"resnet-{depth}")
        elif right:
            assert refusal(architecture, state) == (
                f"it.pth holds weights of model {' or '.join(right)}, not of {architecture}:"
                f" a 3D ResNet-{depth} whose shortcuts are {kind}"
            )
        else:
            assert (
                f"no model here has: they are a 3D ResNet-{depth} whose shortcuts are {kind}"
                in refusal(architecture, state)
            )


def test_arch_must_agree_with_the_tensors() -> None:
    state = resnet_state(101, dims=3, projected=True, classes=400, seed=None)
    words = refusal("hara_resnet101", state, arch="resnext-101")
    assert tells(words, "'resnext-101'", "'resnet-101'")
    words = refusal("hara_resnet50", state, arch="resnet-101")
    assert tells(words, "hara_resnet101", "resnet101_3d", "hara_resnet50")


def test_the_two_releases_of_haras_differ_in_preprocessing() -> None:
    """The 2017 files are saved from DataParallel and subtract a mean; those of 2020 are bare and divide by a deviation too."""
    type_a = resnet_state(18, dims=3, projected=False, classes=400, seed=None)
    type_b = resnet_state(50, dims=3, projected=True, classes=700, seed=None)
    assert fits("hara_resnet18", type_a, 400).transform == hara.HARA
    assert fits("hara_resnet50", type_b, 700, parallel=True).transform == hara.HARA
    new = fits("hara_resnet50", type_b, 700)
    assert new.transform == HARA_2020
    assert new.assumed == "preprocessing of Hara et al.'s 2020 release"
    # mean.py of the release, dataset 'kinetics', for pixels in 0..1
    assert [round(m / 255, 4) for m in HARA_2020.mean] == [0.4345, 0.4051, 0.3775]
    assert [round(m / 255, 4) for m in HARA_2020.std] == [0.2768, 0.2713, 0.2737]


def test_haras_file_as_it_is_distributed(tmp_path: Path) -> None:
    state = resnet_state(18, dims=3, projected=False, classes=400, seed=None)
    content = {
        "epoch": 200,
        "arch": "resnet-18",
        "state_dict": {f"module.{name}": value for name, value in state.items()},
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
    }
    path = tmp_path / "resnet-18-kinetics.pth"
    torch.save(content, path)
    loaded = load_model("hara_resnet18", path)
    assert loaded.transform == hara.HARA
    assert loaded.weights_info["note"] == "preprocessing of Hara et al.'s 2017 release"
    assert loaded.model.has_classifier
    with pytest.raises(UsageError, match=telling("hara_resnet18", "resnet18_3d")):
        load_model("resnet18_3d", path)
    torch.save({**content, "arch": "preresnet-18"}, path)
    with pytest.raises(UsageError, match=telling("'preresnet-18'")):
        load_model("hara_resnet18", path)


def test_a_2d_network_is_told_where_it_can_go() -> None:
    state = resnet_state(18, dims=2, projected=True, classes=1000, seed=None)
    assert "a 2D network's weights, not hara_resnet18's: give weights of hara_resnet18;" in refusal(
        "hara_resnet18", state
    )


# ---- C3D


@pytest.fixture(scope="module")
def sports1m() -> State:
    """C3D for Sports-1M in random numbers, its first layer's inputs blue, green and red as Caffe's are."""
    return c3d_state(487)


def without_classifier(state: State) -> State:
    return {name: value for name, value in state.items() if not name.startswith("fc8.")}


PORTS: list[tuple[str, Callable[[State], State]]] = [
    ("c3d-pytorch", lambda s: s),
    ("c3d-pytorch", without_classifier),
    ("c3d-sequence", lambda s: c3d_names(without_classifier(s), "sequence")),
    ("c3d-sequence", lambda s: c3d_names(s, "sequence")),
    ("c3d-mmaction2", lambda s: c3d_names(without_classifier(s), "mmaction2, pretrained")),
]


@pytest.mark.parametrize(("layout", "port"), PORTS)
def test_every_port_of_caffes_c3d_gives_the_same_tensors(
    sports1m: State, layout: str, port: Callable[[State], State]
) -> None:
    theirs = port(sports1m)
    for architecture in ("c3d", "c3d_b8"):
        foreign = translated(architecture, theirs, where="it.pth")
        assert foreign is not None
        assert (foreign.layout, foreign.changed, foreign.transform) == (layout, BGR, c3d.SPORTS1M)
        assert len(foreign.state) == len(theirs)
        for name, value in foreign.state.items():
            module, _, leaf = name.partition(".")
            source = sports1m[
                f"{ {'conv1a': 'conv1', 'conv2a': 'conv2'}.get(module, module) }.{leaf.rpartition('.')[2]}"
            ]
            wanted = source[:, [2, 1, 0]] if name == "conv1a.conv.weight" else source
            assert torch.equal(value, wanted), name
    if "fc8.weight" in foreign.state:
        assert tells(refusal("c3d_padded", theirs), "c3d", "c3d_b8", "c3d_padded")
    else:  # without a classifier nothing tells whether a port trained it further: the user's choice of model does
        assert translated("c3d_padded", theirs, where="it.pth") is not None
    assert tells(refusal("c3d_224", theirs), "c3d", "c3d_224")


def test_caffes_c3d_gives_for_rgb_what_it_gave_for_bgr(sports1m: State) -> None:
    x = clips(1, 3, 3, 112, 112)
    model = with_weights("c3d", translated("c3d", sports1m, where="it.pth").state, where="it.pth")  # type: ignore[union-attr]
    extractor = EagerBackend(model, ["fc6", "fc7", "fc8"], precision="float32", device="cpu")
    with torch.no_grad():
        theirs, found = c3d_forward(sports1m, x[:, [2, 1, 0]], padded=False), extractor(x)
        wrong = c3d_forward(sports1m, x, padded=False)
    for name, value in found.items():
        # Sums of up to 13,824 products in another order of channels: float32's step, 6e-8, times the root of that.
        torch.testing.assert_close(
            value, theirs[name], rtol=1e-4, atol=1e-4 * float(theirs[name].std())
        )
        assert (
            wrong[name] - value
        ).std() > 0.01 * value.std()  # a hundred times the tolerance: the order does matter


def test_mmaction2s_recognisers_are_rgb_and_padded(sports1m: State) -> None:
    trained = dict(sports1m) | {
        "fc8.weight": sports1m["fc8.weight"][:101],
        "fc8.bias": sports1m["fc8.bias"][:101],
    }
    theirs = c3d_names(trained, "mmaction2")
    foreign = fits("c3d_padded", theirs, 101)
    assert (foreign.changed, foreign.transform) == (None, c3d.MMACTION)
    x = clips(1, 3, 16, 112, 112)
    with torch.no_grad():
        found = with_weights("c3d_padded", foreign.state, where="it.pth")(x)
        wanted = c3d_forward(trained, x, padded=True)["fc8"]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * float(wanted.std()))
    assert (
        "of model c3d_padded, not of c3d: a recogniser of MMAction2, trained with a padded pool5"
        in refusal("c3d", theirs)
    )


def test_a_port_trained_further_is_padded_and_bgr() -> None:
    state = c3d_state(51, seed=None)
    foreign = fits("c3d_padded", state, 51)
    assert (foreign.changed, foreign.transform) == (BGR, c3d.SPORTS1M)
    assert (
        foreign.assumed
        == "assumed: images in blue, green, red order and Sports-1M's mean, as in Caffe; pool5 padded"
    )
    assert (
        "of model c3d_padded, not of c3d: a C3D trained for 51 classes in a port, which pads pool5"
        in refusal("c3d", state)
    )


@pytest.mark.parametrize("size", [(24, 112, 112), (16, 100, 120)])
def test_c3d_padded_pools_as_ports_do_at_other_sizes_too(
    sports1m: State, size: tuple[int, int, int]
) -> None:
    # Their first four poolings round down: of 100 pixels they leave 6, where Caffe's leave 7.
    model = with_weights(
        "c3d_padded", translated("c3d", sports1m, where="it.pth").state, where="it.pth"
    )  # type: ignore[union-attr]
    x = clips(1, 3, *size)
    with torch.no_grad():
        wanted = c3d_forward(sports1m, x[:, [2, 1, 0]], padded=True)["fc8"]
        torch.testing.assert_close(model(x), wanted, rtol=1e-4, atol=1e-4 * float(wanted.std()))
    with pytest.raises(UsageError, match=telling(16, 31, "96x96", "127x127", 15)):
        model(torch.zeros(1, 3, 15, 112, 112))


@pytest.fixture(scope="module")
def pretrained_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MMAction2's Sports-1M file in small: the same names and shapes, zeros that take no room."""
    path = tmp_path_factory.mktemp("c3d") / "c3d_sports1m_pretrain_20201016-dcc47ddc.pth"
    torch.save(c3d_names(c3d_state(None, seed=None), "mmaction2, pretrained"), path)
    return path


def test_the_registered_sports1m_checkpoint(
    pretrained_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = find("c3d-sports1m")
    assert checkpoint.url is not None
    assert checkpoint.url.endswith(f"-{checkpoint.sha256}.pth")
    assert (checkpoint.architecture, checkpoint.num_classes, checkpoint.transform) == (
        "c3d",
        None,
        c3d.SPORTS1M,
    )
    digest = hashlib.sha256(pretrained_file.read_bytes()).hexdigest()
    checkpoint = replace(checkpoint, sha256=digest)
    monkeypatch.setattr(manifest, "list_checkpoints", lambda: [checkpoint])
    cache.mkdir()
    path_of(checkpoint.name).symlink_to(pretrained_file)
    loaded = load_model("c3d", None)
    assert loaded.weights_info == {
        "name": "c3d-sports1m",
        "sha256": digest,
        "source": checkpoint.source,
        "licence": checkpoint.licence,
        "seed": None,
        "note": f"{BGR}; {NO_CLASSIFIER}",
    }
    assert not loaded.model.has_classifier
    monkeypatch.setattr(manifest, "list_checkpoints", lambda: [replace(checkpoint, format="hara")])
    with pytest.raises(FeatxError, match=telling("hara", "c3d-sports1m")):
        load_model("c3d", None)


def test_c3d_pytorchs_pickle_is_read_like_any_other(tmp_path: Path) -> None:
    torch.save(c3d_state(487, seed=None), tmp_path / "c3d.pickle")
    loaded = load_model("c3d", tmp_path / "c3d.pickle")
    assert loaded.model.num_classes == 487
    assert (
        loaded.weights_info["note"]
        == f"{BGR}; assumed: images in blue, green, red order and Sports-1M's mean, as in Caffe"
    )


# ---- weights without a classifier


def test_without_a_classifier_its_outputs_are_refused(pretrained_file: Path) -> None:
    model = load_model("c3d", pretrained_file).model
    assert model.get_parameter("fc8.weight").isnan().all()
    assert model.get_parameter("fc8.bias").isnan().all()
    assert model.num_classes == 487
    for layers, told in (
        (["fc6", "prob"], ("prob", "layers=['fc6']", "conv1a, pool1")),
        (["fc8", "conv5b", "prob"], ("fc8", "prob", "layers=['conv5b']")),
        (["prob"], ("prob", "layers=['fc7']")),
    ):
        with pytest.raises(UsageError, match=telling("classifier", *told)) as caught:
            EagerBackend(model, layers, device="cpu")
        assert "\n" not in str(caught.value)
        # The others are listed, from the first on; none of them is the classifier's.
        assert "fc8" not in str(caught.value).partition("conv1a")[2]
    for precision in ("float32", "bf16"):
        found = EagerBackend(model, ["fc7", "pool5"], device="cpu", precision=precision)(
            clips(1, 3, 2, 100, 100)
        )
        assert all(value.isfinite().all() for value in found.values())


def res2d_state(classes: int = 3) -> State:
    return dict(create_model("res2d", num_classes=classes, seed=1).state_dict())


def test_no_number_is_made_up_for_a_missing_classifier(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    state = {name: value for name, value in res2d_state().items() if not name.startswith("fc.")}
    torch.save(state, path)
    loaded = load_model("res2d", path)
    for name, value in loaded.model.state_dict().items():
        assert value.isnan().all() if name.startswith("fc.") else torch.equal(value, state[name]), (
            name
        )
    assert loaded.weights_info["note"] == NO_CLASSIFIER
    assert load_model("res2d", path, num_classes=10).model.num_classes == 10
    with pytest.raises(UsageError, match=telling("num_classes", 0)):
        load_model("res2d", path, num_classes=0)
    # Half a classifier is a damaged file, not one without.
    torch.save({**state, "fc.weight": torch.zeros(3, 512)}, path)
    with pytest.raises(UsageError, match=telling(path, "fc.bias")):
        load_model("res2d", path)


def test_what_has_no_classifier_is_saved_without_one(tmp_path: Path) -> None:
    torch.save(
        {n: v for n, v in res2d_state().items() if not n.startswith("fc.")}, tmp_path / "a.pt"
    )
    loaded = load_model("res2d", tmp_path / "a.pt")
    save_checkpoint(
        tmp_path / "b.safetensors",
        loaded.model,
        architecture="res2d",
        transform=loaded.transform,
        clip=loaded.clip,
        info={},
    )
    again = load_model("res2d", tmp_path / "b.safetensors")
    assert not again.model.has_classifier
    assert again.weights_info["note"] == NO_CLASSIFIER
    again.model.initialise(torch.Generator().manual_seed(0))
    assert again.model.has_classifier
    assert not again.model.get_parameter("fc.weight").isnan().any()


def test_extraction_without_a_classifier(tmp_path: Path, videos: Path) -> None:
    torch.save(
        {n: v for n, v in res2d_state().items() if not n.startswith("fc.")}, tmp_path / "a.pt"
    )
    args = {"model": "res2d", "weights": str(tmp_path / "a.pt"), "device": "cpu", "workers": 1}
    video, out = videos / "a" / "v0.mp4", tmp_path / "o.h5"
    with pytest.raises(UsageError, match=telling("prob", "res5b", "pool5", "conv1, res2a")):
        extract([video], out, settings=compose(**args))
    assert not out.exists()
    assert extract([video], out, settings=compose(**args, layers="pool5")).clips > 0
    with FeatureStore(out) as store:
        found = info.summarise(store)
    assert found["weights"]["note"] == NO_CLASSIFIER
    assert found["model"]["num_classes"] is None
    assert f"note      {NO_CLASSIFIER}" in info.as_text(found)
