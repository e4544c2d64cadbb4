"""Networks of the user's own: any module, with its clips and preprocessing said."""

from __future__ import annotations

import copy
import hashlib
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import assert_one_sentence, encode, featx
from told import telling, tells
from torch import nn

from featx.clips import ClipSpec
from featx.errors import UsageError
from featx.extraction.extract import OtherSettings, extract
from featx.extraction.extractor import Extractor
from featx.extraction.query import query_features
from featx.extraction.verify import verify
from featx.store.reader import FeatureStore
from featx.transforms import Transform

SIDE, FRAMES = 16, 4
CLIP = ClipSpec(frames=FRAMES, step=2, stride=5)
TRANSFORM = Transform(resize=(20, 24), crop=SIDE, mean=(100.0,) * 3, std=(50.0,) * 3)
HOW: dict[str, Any] = {
    "clip": CLIP,
    "transform": TRANSFORM,
    "device": "cpu",
    "batch_size": 3,
    "workers": 1,
}


class Net(nn.Module):
    """Two convolutions with batch norm and dropout: (N, 3, T, H, W) -> (N, 4)."""

    def __init__(self, seed: int = 0, stride: int = 1) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Sequential(nn.Conv3d(3, 5, 3, stride), nn.BatchNorm3d(5), nn.ReLU(True))
        self.head = nn.ModuleDict({"drop": nn.Dropout(), "fc": nn.Linear(5, 4)})
        self.stem[1].running_mean.uniform_(-1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.dim() == 5, f"takes five dimensions, got {x.dim()}"
        assert x.shape[1] == 3, f"takes 3 channels, got {x.shape[1]}"
        x = self.stem(x).mean((2, 3, 4))
        return self.head["fc"](self.head["drop"](x))


class Other(Net):
    """Another class with the same parameters."""


class FramesFirst(nn.Module):
    """(N, T, 3, H, W) -> (N, T, 2): a 2D network over every frame."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t = x.shape[:2]
        return self.conv(x.flatten(0, 1)).mean((2, 3)).view(n, t, 2)


class Gives(nn.Module):
    """A module that makes of a clip whatever a function does."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("video") / "v.mp4", 31, size=(40, 48))


@pytest.fixture(scope="module")
def clips(video: Path) -> torch.Tensor:
    """The video's clips as a network gets them: (N, 3, T, H, W)."""
    from featx.extraction.video_clips import VideoClips

    dataset = VideoClips(video, clip=CLIP, transform=TRANSFORM)
    return torch.stack([item.clip for item in dataset])


def rows_of(path: Path) -> dict[str, np.ndarray]:
    with FeatureStore(path) as store:
        (video_id,) = store.ids
        return {layer: store[video_id][layer] for layer in store.layers}


@torch.no_grad()
def test_layers_are_module_paths_the_output_and_its_softmax(
    video: Path, clips: torch.Tensor, tmp_path: Path
) -> None:
    module = Net().eval()
    layers = ["stem.0", "stem", "head.fc", "output", "prob"]
    report = extract(video, tmp_path / "out.h5", module, layers=layers, **HOW)
    assert (report.new, report.failures) == (1, [])
    expected = {"stem.0": module.stem[0](clips), "stem": module.stem(clips)}
    expected |= {"head.fc": module(clips), "output": module(clips)}
    expected["prob"] = module(clips).softmax(1)
    rows = rows_of(tmp_path / "out.h5")
    assert list(rows) == layers
    for layer, values in expected.items():
        np.testing.assert_allclose(rows[layer], values.flatten(1).numpy(), rtol=1e-4, atol=1e-5)
    with FeatureStore(tmp_path / "out.h5") as store:
        (only,) = store.ids
        shape = store[only].dataset("stem").clip_shape
        assert shape == tuple(expected["stem"].shape[1:])


def test_by_itself_the_output_is_stored(video: Path, tmp_path: Path) -> None:
    extract(video, tmp_path / "out.h5", Net(), **HOW)
    assert list(rows_of(tmp_path / "out.h5")) == ["output"]


@torch.no_grad()
def test_frames_may_come_before_channels(video: Path, clips: torch.Tensor, tmp_path: Path) -> None:
    module = FramesFirst()
    extract(video, tmp_path / "out.h5", module, layout="NTCHW", **HOW)
    rows = rows_of(tmp_path / "out.h5")["output"]
    expected = module(clips.transpose(1, 2)).flatten(1)
    np.testing.assert_allclose(rows, expected.numpy(), rtol=1e-4, atol=1e-5)
    with FeatureStore(tmp_path / "out.h5") as store:
        assert store[store.ids[0]].dataset("output").clip_shape == (FRAMES, 2)
    assert verify(tmp_path / "out.h5", model=module).ok


def test_a_module_without_parameters(video: Path, clips: torch.Tensor, tmp_path: Path) -> None:
    module = Gives(lambda x: x.mean((2, 3, 4)))
    extract(video, tmp_path / "out.h5", module, **HOW)
    rows = rows_of(tmp_path / "out.h5")["output"]
    np.testing.assert_allclose(rows, clips.mean((2, 3, 4)).numpy(), rtol=1e-4, atol=1e-5)


def test_a_module_in_training_stays_as_it_is_and_is_run_in_evaluation(
    video: Path, tmp_path: Path
) -> None:
    training, evaluating = Net().train(), Net().eval()
    training.head["drop"].eval()  # parts may differ in mode
    state = copy.deepcopy(training.state_dict())
    modes = [part.training for part in training.modules()]
    grads = [p.requires_grad for p in training.parameters()]
    hooks = [len(part._forward_hooks) for part in training.modules()]
    extract(video, tmp_path / "training.h5", training, layers=["stem", "output"], **HOW)
    assert [part.training for part in training.modules()] == modes
    assert [p.requires_grad for p in training.parameters()] == grads
    assert [len(part._forward_hooks) for part in training.modules()] == hooks
    for name, value in training.state_dict().items():
        assert torch.equal(value, state[name]), name
    extract(video, tmp_path / "evaluating.h5", evaluating, layers=["stem", "output"], **HOW)
    made, expected = rows_of(tmp_path / "training.h5"), rows_of(tmp_path / "evaluating.h5")
    for layer in expected:
        np.testing.assert_array_equal(made[layer], expected[layer])


def test_the_file_says_which_module_made_it(video: Path, tmp_path: Path) -> None:
    extract(video, tmp_path / "out.h5", Net(), **HOW)
    with FeatureStore(tmp_path / "out.h5") as store:
        model, weights = store.settings.model, store.settings.weights
    assert model.name == f"{__name__}.Net"
    assert model.more["file_sha256"] == hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    assert model.more["layout"] == "NCTHW"
    assert len(weights.sha256 or "") == 64
    shown = featx("info", tmp_path / "out.h5")
    assert shown.returncode == 0, shown.stderr
    assert f"{__name__}.Net" in shown.stdout


@pytest.mark.parametrize(
    "other",
    [
        Net(seed=1),
        Other(),
        Net(stride=2),  # the same parameters
        nn.Sequential(Net()),
        "res3d",
    ],
    ids=["other parameters", "another class", "another stride", "around it", "a registered one"],
)
def test_another_network_is_refused_on_resuming(other: Any, video: Path, tmp_path: Path) -> None:
    extract(video, tmp_path / "out.h5", Net(), **HOW)
    before = (tmp_path / "out.h5").read_bytes()
    asked = HOW | ({"weights": "random"} if isinstance(other, str) else {})
    with pytest.raises(OtherSettings) as caught:
        extract(video, tmp_path / "out.h5", other, **asked)
    assert_one_sentence(caught.value)
    assert tells(caught.value, tmp_path / "out.h5")
    assert (tmp_path / "out.h5").read_bytes() == before
    assert extract(video, tmp_path / "out.h5", Net(), **HOW).new == 0


def test_a_buffer_that_changes_makes_another_network(video: Path, tmp_path: Path) -> None:
    module = Net()
    extract(video, tmp_path / "out.h5", module, **HOW)
    module.stem[1].running_mean += 1
    with pytest.raises(OtherSettings):
        extract(video, tmp_path / "out.h5", module, **HOW)


def test_two_modules_of_one_class_make_two_files(video: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        extract(video, tmp_path / f"{seed}.h5", Net(seed), **HOW)
    first, second = (rows_of(tmp_path / f"{seed}.h5")["output"] for seed in (0, 1))
    assert not np.allclose(first, second)
    assert verify(tmp_path / "1.h5", model=Net(1)).ok


def test_more_videos_may_come_later(video: Path, tmp_path: Path) -> None:
    extract(video, tmp_path / "out.h5", Net(), root=str(video.parent), **HOW)
    longer = encode(video.parent / "longer.mp4", 40, size=(40, 48))
    report = extract(video.parent, tmp_path / "out.h5", Net(), **HOW)
    assert (report.new, report.done) == (1, 2)
    longer.unlink()


def test_it_is_verified_with_the_module_and_not_without(video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    extract(video, out, Net(), layers=["stem", "output"], **HOW)
    found = verify(out, model=Net())
    assert (found.ok, found.notes, found.deviation) == (True, [], 0)
    assert found.clips > 0
    with pytest.raises(UsageError, match=telling(f"{__name__}.Net", "model")) as caught:
        verify(out)
    assert_one_sentence(caught.value)
    assert verify(out, clips=0).ok  # its structure needs no module
    wrong = verify(out, model=Net(seed=1))
    assert not wrong.ok
    assert wrong.notes
    on_command_line = featx("verify", out)
    assert on_command_line.returncode == 2
    assert f"{__name__}.Net" in on_command_line.stderr
    assert len(on_command_line.stderr.splitlines()) == 1


def test_a_module_is_not_taken_for_a_registered_model(video: Path, tmp_path: Path) -> None:
    registered = HOW | {"transform": None, "clip": None}
    extract(
        video,
        tmp_path / "out.h5",
        "res3d",
        weights="random",
        layers=["pool5"],
        crop=32,
        **registered,
    )
    with pytest.raises(UsageError, match=telling("Net", "res3d")):
        verify(tmp_path / "out.h5", model=Net())


def test_a_query_is_made_with_the_module(video: Path, tmp_path: Path) -> None:
    extract(video, tmp_path / "out.h5", Net(), **HOW)
    with FeatureStore(tmp_path / "out.h5") as store:
        made = query_features(store, video, "output", model=Net())
        np.testing.assert_array_equal(made.rows, store[store.ids[0]]["output"])
        assert made.notes == ()
        with pytest.raises(UsageError, match=telling(f"{__name__}.Net")):
            query_features(store, video, "output")
        with pytest.raises(UsageError, match="sha256"):
            query_features(store, video, "output", model=Net(seed=1))


def test_a_search_is_made_with_the_module(video: Path, tmp_path: Path) -> None:
    from featx.tasks import search

    extract(video, tmp_path / "out.h5", Net(), **HOW)
    other = encode(tmp_path / "other.mp4", 31, size=(40, 48), seed=3)
    found = search(tmp_path / "out.h5", other, model=Net())
    assert found.query.computed
    on_command_line = featx("search", tmp_path / "out.h5", other)
    assert on_command_line.returncode == 2
    assert f"{__name__}.Net" in on_command_line.stderr


def test_frames_in_memory_through_a_module(video: Path, tmp_path: Path) -> None:
    from featx.video.reader import open_video

    extract(video, tmp_path / "out.h5", Net(), **HOW)
    frames = np.stack([f.image() for f in open_video(video, frame_size=TRANSFORM.frame_size)])
    extractor = Extractor(Net(), **HOW)
    np.testing.assert_array_equal(
        extractor.encode(frames)["output"], rows_of(tmp_path / "out.h5")["output"]
    )
    assert "Net" in repr(extractor)


def test_bf16_is_as_asked_and_float32_by_itself(video: Path, tmp_path: Path) -> None:
    module = Net()
    extract(video, tmp_path / "auto.h5", module, **HOW)
    extract(video, tmp_path / "bf16.h5", module, precision="bf16", **HOW)
    for name, precision in (("auto", "float32"), ("bf16", "bf16")):
        with FeatureStore(tmp_path / f"{name}.h5") as store:
            assert store.settings.precision == precision
    assert next(module.parameters()).dtype == torch.float32
    exact, rounded = (rows_of(tmp_path / f"{n}.h5")["output"] for n in ("auto", "bf16"))
    assert not np.array_equal(exact, rounded)
    # bf16 has 8 bits: a few roundings of 1/256 each.
    np.testing.assert_allclose(rounded, exact, atol=0.03 * np.abs(exact).max())


def test_a_module_of_half_precision_or_float64_runs_in_float32(video: Path, tmp_path: Path) -> None:
    extract(video, tmp_path / "single.h5", Net(), **HOW)
    extract(video, tmp_path / "double.h5", Net().double(), **HOW)
    single, double = (rows_of(tmp_path / f"{n}.h5")["output"] for n in ("single", "double"))
    np.testing.assert_allclose(double, single, rtol=1e-5, atol=1e-6)


SHAPE = (FRAMES, SIDE, SIDE)


@pytest.mark.parametrize(
    ("module", "layout", "told"),
    [
        (Net(), "NTCHW", (f"(2, {FRAMES}, 3, {SIDE}, {SIDE})", "got 4")),
        (FramesFirst(), "NCTHW", (f"(2, 3, {FRAMES}, {SIDE}, {SIDE})", "channels")),
        (nn.Conv2d(3, 2, 3), "NCTHW", (f"(2, 3, {FRAMES}, {SIDE}, {SIDE})", "Expected")),
        (nn.Sequential(nn.Flatten(), nn.Linear(7, 2)), "NCTHW", ("Sequential", "7x2")),
        (Gives(lambda x: 1 / 0), "NCTHW", ("Gives", "division by zero")),
        (Gives(lambda x: [][1]), "NCTHW", ("Gives", "list index out of range")),
    ],
    ids=["order", "other order", "images", "size", "an error", "another error"],
)
def test_a_module_that_takes_other_clips_says_so(
    module: nn.Module, layout: Any, told: tuple[Any, ...], video: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=telling(*told)) as caught:
        extract(video, tmp_path / "out.h5", module, layout=layout, **HOW)
    assert_one_sentence(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("gives", "layer"),
    [
        (lambda x: {"features": x.mean((2, 3, 4))}, "output"),
        (lambda x: (x.mean((2, 3, 4)), x), "output"),
        (lambda x: x.transpose(1, 2).flatten(0, 1).mean((2, 3)), "output"),  # (N * T, C)
        (lambda x: x.mean((0, 2, 3, 4)), "output"),  # over the batch
        (lambda x: x.mean((2, 3, 4), keepdim=True).mean(0, keepdim=True), "output"),
        (lambda x: x.mean((1, 2, 3, 4)), "output"),  # a number a clip has no dimension
        (lambda x: x.mean((3, 4)), "prob"),  # not a number a class
        (lambda x: None, "output"),
    ],
    ids=["dict", "tuple", "row a frame", "mean", "one row", "number", "volume", "nothing"],
)
def test_what_is_no_row_a_clip_is_refused(
    gives: Any, layer: str, video: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=telling(layer)) as caught:
        extract(video, tmp_path / "out.h5", Gives(gives), layers=[layer], **HOW)
    assert_one_sentence(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"layers": ["stem.9"]}, ("stem.9",)),
        ({"layers": []}, ("[]",)),
        ({"clip": None}, ("Net", "clip")),
        ({"transform": None}, ("Net", "transform")),
        ({"clip": None, "stride": 8}, ("Net", "clip")),
        ({"stride": 8}, ("clip", "stride")),
        ({"weights": "random"}, ("Net", "weights")),
        ({"layout": "THWC"}, ("THWC",)),
        ({"model": Net}, ("Net",)),
        ({"model": None}, ("NoneType",)),
        ({"model": lambda x: x}, ("function",)),
    ],
)
def test_what_is_lacking_or_too_much_is_told(
    values: dict[str, Any], told: tuple[str, ...], video: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=telling(*told)) as caught:
        extract(video, tmp_path / "out.h5", **{"model": Net(), **HOW, **values})
    assert_one_sentence(caught.value)


def test_a_part_named_as_the_softmax_is_that_part(
    video: Path, clips: torch.Tensor, tmp_path: Path
) -> None:
    module = nn.Sequential()
    module.add_module("mean", Gives(lambda x: x.mean((2, 3, 4))))
    module.add_module("prob", nn.Sigmoid())
    module.add_module("more", nn.Linear(3, 2))
    extract(video, tmp_path / "out.h5", module, layers=["prob"], **HOW)
    np.testing.assert_allclose(
        rows_of(tmp_path / "out.h5")["prob"], clips.mean((2, 3, 4)).sigmoid(), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", ["clip_frames", "clip_times", "a/b"])
def test_a_part_whose_name_the_file_cannot_hold_is_refused(
    name: str, video: Path, tmp_path: Path
) -> None:
    module = nn.Sequential()
    module.add_module(name, nn.Flatten())
    with pytest.raises(UsageError, match=telling(repr(name))):
        extract(video, tmp_path / "out.h5", module, layers=[name], **HOW)


def test_a_class_of_a_prompt_has_no_file(video: Path, tmp_path: Path) -> None:
    script = f"""
        import torch, featx
        class Mean(torch.nn.Module):
            def forward(self, x):
                return x.mean((2, 3, 4))
        clip = featx.ClipSpec(frames=4, stride=8)
        transform = featx.Transform(resize=(20, 24), crop=16, mean=(0,) * 3, std=(1,) * 3)
        how = dict(clip=clip, transform=transform, device="cpu", workers=1)
        for done in (1, 0):
            report = featx.extract({str(video)!r}, {str(tmp_path / "out.h5")!r}, Mean(), **how)
            assert report.new == done
        assert featx.verify({str(tmp_path / "out.h5")!r}, model=Mean()).ok
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with FeatureStore(tmp_path / "out.h5") as store:
        assert store.settings.model.name == "__main__.Mean"
        assert store.settings.model.more["file_sha256"] is None
