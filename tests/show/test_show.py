"""The papers' pictures: their numbers against plain computations, and each kind of wrong use."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import encode
from conftest import featx as run
from matplotlib.image import imread
from PIL import Image
from startup import HEAVY, modules_after
from tiny import registered
from told import telling, tells

import featx.show
from featx import ClipSpec, FeatureStore, Transform, create_model, extract, list_models, open_video
from featx.cli import cli
from featx.cli.show import filters as filters_command
from featx.errors import FeatxError, UsageError
from featx.extraction.settings import Hooks, compose
from featx.models import model_entry
from featx.models.network import Network
from featx.models.registry import ModelEntry, skeleton
from featx.models.rows import Conv
from featx.show import _cost, _exciting, _features, _filters, _predictions
from featx.video.pool import ClipArrived
from featx.video.source import Source
from featx.video.worker import Failed, Restarted
from featx.weights.checkpoint import load_model, save_checkpoint

SMALL = {"model": "tiny", "weights": "random", "seed": 3, "workers": 1}
CLASSES = ("a", "b", "juggling")


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Iterator[None]:
    """A registered network of two layers, which costs next to nothing: 4 frames of 32 x 32, of every fourth source frame."""

    def build(num_classes: int) -> Network:
        layers = [
            Conv(name="conv1", width=8, stride=(1, 2, 2)),
            Conv(name="conv2", width=16, stride=(2, 2, 2)),
        ]
        return Network(layers, num_classes=num_classes, size=(4, 32, 32))

    entry = ModelEntry(
        name="tiny",
        family="tests",
        builder=build,
        num_classes=12,
        clip=ClipSpec(frames=4, step=4, stride=16),
        transform=Transform(
            resize=(36, 45), crop=32, mean=(90.0, 100.0, 110.0), std=(50.0, 60.0, 70.0)
        ),
        layers=("conv2",),
        source="no paper",
    )
    with registered(entry):
        yield


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint of three named classes, two of them named as the folders of `videos`."""
    path = tmp_path_factory.mktemp("weights") / "three.safetensors"
    entry = model_entry("tiny")
    model = create_model("tiny", num_classes=3, seed=5)
    info = {"name": "three-classes", "labels": list(CLASSES)}
    save_checkpoint(
        path, model, architecture="tiny", transform=entry.transform, clip=entry.clip, info=info
    )
    return str(path)


@pytest.fixture(scope="module")
def extracted(videos: Path, labelled: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the same clips by `featx.extract`."""
    out = tmp_path_factory.mktemp("features") / "out.h5"
    extract(
        videos,
        out,
        settings=compose(
            model="tiny", weights=labelled, layers=["conv2", "fc", "prob"], stride=4, workers=1
        ),
    )
    return out


def picture(path) -> np.ndarray:
    pixels = imread(path)[:, :, :3]
    assert pixels.std() > 0.03  # something is drawn
    return pixels


# ---------------------------------------------------------------- filters


@pytest.mark.parametrize(("c", "t"), [(3, 5), (12, 1)], ids=["3D", "stacked"])
def test_filter_frames_are_in_order_of_time_with_their_three_channels(c, t):
    weight = np.random.default_rng(0).normal(size=(4, c, t, 2, 3)).astype(np.float32)
    frames = _filters.filter_frames(weight)
    assert frames.shape == (4, max(t, c // 3), 2, 3, 3)
    for f, frame, y, x, channel in np.ndindex(frames.shape):
        expected = (
            weight[f, channel, frame, y, x] if c == 3 else weight[f, 3 * frame + channel, 0, y, x]
        )
        assert frames[f, frame, y, x, channel] == expected


def test_every_model_has_filters_of_its_clips_frames():
    for name in list_models():
        network = skeleton(name).to_empty(device="cpu")
        layer, weight = _filters.first_convolution(network, name)
        frames = _filters.filter_frames(weight)
        kernel = network.get_submodule(layer).kernel_size
        assert frames.shape[1] == (
            model_entry(name).clip.frames if getattr(network, "stacked", False) else kernel[0]
        ), name


def test_scales_make_zero_gray_and_the_largest_weight_full():
    frames = np.zeros((3, 2, 2, 2, 3))
    frames[0, 0, 0, 0, 0], frames[0, 1, 0, 0, 1], frames[1, 0, 0, 0, 0] = 4, -2, -1
    each = _filters.scaled(frames, "filter")
    assert (each[0, 0, 0, 0, 0], each[0, 1, 0, 0, 1], each[1, 0, 0, 0, 0]) == (1, 0.25, 0)
    assert (each[2] == 0.5).all()
    joint = _filters.scaled(frames, "joint")
    assert (joint[0, 0, 0, 0, 0], joint[1, 0, 0, 0, 0]) == (1, 0.375)


def test_a_filter_that_stands_still_does_not_move():
    still = np.random.default_rng(0).normal(size=(1, 1, 3, 3, 3)).repeat(4, axis=1)
    turning = still * np.array([1, -1, 1, -1]).reshape(1, 4, 1, 1, 1)
    assert _filters._moving(np.concatenate([still, turning, 0 * still])) == pytest.approx(
        [0, 1, 0], abs=1e-12
    )


def test_filters_lie_side_by_side_on_white():
    images = np.arange(5 * 2 * 1 * 2 * 3, dtype=float).reshape(5, 2, 1, 2, 3)
    paper = _filters.sheet(images, 3)
    assert paper.shape == (5, 21, 3)
    np.testing.assert_array_equal(paper[0, 8:10], images[1, 0, 0])
    np.testing.assert_array_equal(paper[4, 11:13], images[4, 1, 0])
    assert (paper[:, [2, 5, 6, 7]] == 1).all()
    assert (paper[1:4] == 1).all()


def test_filters_as_picture_and_moving(tmp_path):
    found = featx.show.filters("res3d", tmp_path / "f.png", weights="random", seed=2)
    weight = load_model("res3d", "random", seed=2).model.conv1.conv.weight.detach().numpy()
    assert (found.layer, found.shape, found.frames) == ("conv1.conv", (64, 3, 3, 7, 7), 3)
    np.testing.assert_array_equal(found.largest, np.abs(weight).max(axis=(1, 2, 3, 4)))
    # Of three independent values a third of the energy is their mean's: two thirds change, as 64 x 147 of them tell to 2 %.
    assert np.mean(found.moving) == pytest.approx(2 / 3, rel=0.02)
    picture(tmp_path / "f.png")
    featx.show.filters("res3d", tmp_path / "f.gif", weights="random", scale="joint")
    with Image.open(tmp_path / "f.gif") as moving:
        assert (moving.n_frames, moving.info["loop"]) == (3, 0)
        shown = []
        for t in range(3):
            moving.seek(t)
            shown.append(np.asarray(moving.convert("RGB"), float))
    assert all(np.abs(a - b).mean() > 5 for a, b in combinations(shown, 2))


def test_filters_refuse_what_cannot_be_shown(tmp_path, monkeypatch):
    for model, out, told, options in [
        ("res2d", "f.gif", ("res2d", ".png"), {}),
        ("res2d", "f.jpg", ("f.jpg", ".png", ".svg", ".pdf", ".gif"), {}),
        ("res2d", ".", (tmp_path,), {}),
        ("res2d", "f.png", ("scale", "'own'"), {"scale": "own"}),
        ("res2", "f.png", ("'res2'", "res2d"), {}),
    ]:
        with pytest.raises(UsageError, match=telling(*told)):
            featx.show.filters(model, tmp_path / out, weights="random", **options)
    assert list(tmp_path.iterdir()) == []
    from torch import nn

    with pytest.raises(UsageError, match=telling("net")):
        _filters.first_convolution(nn.Sequential(nn.Linear(3, 3)), "net")
    with pytest.raises(UsageError, match=telling("net", 0, 2)):
        _filters.first_convolution(nn.Sequential(nn.Conv3d(2, 3, 3)), "net")


# ---------------------------------------------------------------- features


def by_hand(path: Path, model: str, seed: int, number: int, layer: str) -> np.ndarray:
    """Maps of a clip, (C, T, H, W), cut and computed without anything of featx but the reader and the network."""
    import torch

    loaded = load_model(model, "random", seed=seed)
    clip, transform = loaded.clip, loaded.transform
    images = [frame.image() for frame in open_video(path, frame_size=lambda h, w: transform.resize)]
    start = number * clip.stride
    frames = np.stack([images[start + i * clip.step] for i in range(clip.frames)])
    top, left = ((length - transform.crop) // 2 for length in transform.resize)
    x = frames[:, top : top + transform.crop, left : left + transform.crop].astype(np.float32)
    x = (x - np.float32(transform.mean)) / np.float32(transform.std)
    taken = {}
    loaded.model.get_submodule(layer).register_forward_hook(
        lambda module, args, out: taken.update(out=out.clone())
    )
    with torch.no_grad():
        loaded.model(torch.from_numpy(x).permute(3, 0, 1, 2)[None])
    return taken["out"][0].numpy()


def test_feature_maps_are_those_of_the_middle_clip(videos, tmp_path):
    video = videos / "b" / "v5.mp4"  # 40 frames: clips 0 and 1
    settings = compose(**SMALL, layers=["conv1", "conv2"], precision="float32")
    found = featx.show.features(video, tmp_path / "m.png", settings, top=2)
    assert (found.video, found.clip, found.clip_frames, found.looped) == ("v5", 1, (16, 32), False)
    assert found.clip_times == pytest.approx((0.64, 1.28))
    for maps in found.layers:
        volume = by_hand(video, "tiny", 3, 1, maps.layer)
        mean = np.abs(volume).mean(axis=(1, 2, 3))
        assert maps.shape == volume.shape
        assert maps.channels == np.argsort(-mean)[:2].tolist()
        # float32 sums in another order
        np.testing.assert_allclose(maps.mean, mean[maps.channels], rtol=1e-4)
        np.testing.assert_allclose(
            maps.largest, volume[maps.channels].max(axis=(1, 2, 3)), rtol=1e-4
        )
    assert picture(tmp_path / "m.png").shape[0] > 300


def test_channels_as_asked_for_and_a_short_video_is_said_to_be_looped(tmp_path):
    video = encode(tmp_path / "short.mp4", 3)
    settings = compose(**SMALL, layers=["conv2"])
    found = featx.show.features(video, tmp_path / "m.svg", settings, channels=[7, 1])
    assert (found.looped, found.clip_frames, found.layers[0].channels) == (True, (0, 3), [7, 1])
    text = (tmp_path / "m.svg").read_text()
    assert "looped: the video is shorter than a clip" in text
    assert "tiny (untrained, seed 3): feature maps of short" in text


@pytest.mark.parametrize(
    ("clip", "at", "number"),
    [(None, None, 2), (0, None, 0), (3, None, 3), (None, 0.0, 0), (None, 1.4, 1), (None, 1.8, 2)],
)
def test_which_clip_is_shown(clip, at, number):
    summary = SimpleNamespace(clip_times=np.array([[0, 2], [0.5, 2.5], [1, 3], [1.5, 3.5]]))
    assert _features._chosen(summary, "v", clip, at) == number


def test_a_clip_that_is_not_there():
    summary = SimpleNamespace(clip_times=np.array([[0, 1], [2, 3.0]]))
    with pytest.raises(UsageError, match=telling("v", 2, 0, 1)):
        _features._chosen(summary, "v", 2, None)
    with pytest.raises(UsageError, match=telling("v", "1.8 s", "clip 1", "2.00", "3.00 s")):
        _features._chosen(summary, "v", None, 1.8)


def test_maps_cover_equal_shares_of_the_frames():
    assert _features.covered(8, 4) == [(0, 2), (2, 4), (4, 6), (6, 8)]
    assert _features.covered(16, 1) == [(0, 16)]
    assert _features.covered(3, 2) == [(0, 1.5), (1.5, 3)]


# ---------------------------------------------------------------- exciting


@pytest.mark.parametrize(("layer", "per_video"), [("conv2", 2), ("fc", 1)])
def test_the_most_exciting_clips_are_those_of_the_extracted_features(
    videos, labelled, extracted, tmp_path, layer, per_video
):
    expected = []
    with FeatureStore(extracted) as store:
        for video in store.values():
            shape = video.dataset(layer).clip_shape
            maps = (
                np.asarray(video.dataset(layer))
                .reshape(len(video), *shape)[:, 2]
                .reshape(len(video), -1)
            )
            order = sorted(range(len(video)), key=lambda i, maps=maps: (-maps[i].max(), i))[
                :per_video
            ]
            expected += [
                (-float(maps[i].max()), video.id, i, tuple(video.clip_times[i])) for i in order
            ]
    started = []
    settings = compose(model="tiny", weights=labelled, layers=[layer], stride=4, workers=1)
    found = featx.show.exciting(
        videos,
        tmp_path / "e.png",
        settings,
        2,
        top=4,
        per_video=per_video,
        hooks=Hooks(on_start=started.append),
    )
    assert [(-e.value, e.video, e.clip, e.clip_times) for e in found.top] == sorted(expected)[:4]
    assert (found.videos, found.clips, found.failures, started[0].total) == (6, 27, [], 6)
    picture(tmp_path / "e.png")


def test_equal_clips_go_by_id_and_a_bad_video_is_listed(videos, tmp_path):
    for name in "cab":
        shutil.copy(videos / "a" / "v0.mp4", tmp_path / f"{name}.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"")
    settings = compose(**{**SMALL, "workers": 2}, layers=["conv2"])
    found = featx.show.exciting(tmp_path, tmp_path / "e.pdf", settings, 0, top=2)
    assert [e.video for e in found.top] == ["a", "b"]
    ((path, reason),) = found.failures
    assert path == str(tmp_path / "bad.mp4")
    assert tells(reason, "empty")
    with pytest.raises(FeatxError, match=telling(0, 1, path, reason)):
        featx.show.exciting(tmp_path / "bad.mp4", tmp_path / "no.png", settings, 0)
    assert not (tmp_path / "no.png").exists()


SUMMARY = SimpleNamespace(
    clip_frames=np.array([[0, 8], [8, 16]]), clip_times=np.array([[0, 1.0], [1, 2]])
)


def best(**options) -> _exciting._Best:
    values = {"n_top": 2, "per_video": 1, **options}
    return _exciting._Best(
        [Source("x", "x"), Source("y", "y")], "fc", (3,), 1, values["n_top"], values["per_video"]
    )


def arrive(sink, key, clip, gray):
    sink.arrived(ClipArrived(key, clip, np.full((1, 2, 4, 4, 3), gray, np.uint8)))


def rows(*values):
    return {"fc": np.array([[0, value, 0] for value in values], np.float32)}


def test_a_video_that_is_begun_anew_counts_once_and_shows_its_new_frames():
    sink = best()
    arrive(sink, 0, 0, 1)
    arrive(sink, 0, 1, 1)
    sink.rows(0, [1], rows(9))
    # Decoding begins anew, and its first clip arrives, before the other thread has heard of it.
    sink.arrived(Restarted(0, "why"))
    arrive(sink, 0, 0, 2)
    sink.rows(0, [0], rows(8))
    sink.restarted(0)
    sink.rows(0, [0], rows(4))
    sink.done(0, SUMMARY, 8)
    ((found, frames),) = sink.top
    assert (found.value, found.clip, found.place) == (4, 0, None)
    assert (frames == 2).all()
    assert sink._frames == {}


def test_a_video_that_fails_half_way_has_no_clip_among_the_best():
    sink = best()
    for clip in (0, 1):
        arrive(sink, 0, clip, 1)
    sink.rows(0, [0], rows(9))
    sink.arrived(Failed(0, "broken"))
    sink.restarted(0)
    sink.failed(0, "broken")
    arrive(sink, 1, 0, 3)
    sink.rows(1, [0], rows(-1))
    sink.done(1, SUMMARY, 8)
    assert [found.video for found, _ in sink.top] == ["y"]
    assert [reason for _, reason in sink.failures] == ["broken"]
    assert sink._frames == {}


def test_no_more_clips_are_held_than_can_be_shown():
    sink = best(per_video=2)
    for clip in range(50):
        arrive(sink, 0, clip, clip)
        sink.rows(0, [clip], rows(clip % 7))
    assert [c.clip for c in sink._candidates[0]] == [6, 13]  # of equal ones the first
    assert sink._frames == {}


def test_weights_that_give_no_number_are_an_error():
    sink = best()
    arrive(sink, 0, 0, 1)
    with pytest.raises(FeatxError, match=telling("channel 1", "fc", "nan", "clip 0", "x")):
        sink.rows(0, [0], rows(np.nan))


@pytest.mark.parametrize(("step", "columns"), [(0, [0, 1, 2, 3]), (1, [4, 5, 6, 7])])
def test_the_cell_is_framed_on_the_frames_of_its_step(step, columns):
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    _exciting._frame_cell(axes, list(range(8)), 8, (64, 2, 4, 8), (step, 3, 1))
    assert [int(patch.get_x()) for patch in axes.patches] == columns
    assert axes.patches[0].get_y() == 0  # the lowest of four
    assert axes.patches[0].get_x() - columns[0] == pytest.approx(0.02 + 0.96 / 8)


# ---------------------------------------------------------------- predictions


def test_predictions_are_the_mean_of_the_clips_probabilities(videos, labelled, extracted, tmp_path):
    settings = compose(model="tiny", weights=labelled, stride=4, workers=1)
    found = featx.show.predictions(videos, tmp_path / "p.png", settings, top=2)
    with FeatureStore(extracted) as store:
        assert [v.video for v in found.videos] == store.ids
        for prediction in found.videos:
            mean = np.asarray(store[prediction.video]["prob"]).mean(axis=0, dtype=np.float64)
            order = np.argsort(-mean)
            assert prediction.classes == [CLASSES[i] for i in order[:2]]
            assert prediction.probabilities == mean[order[:2]].tolist()
            folder = prediction.video.partition("/")[0]
            assert (prediction.label, prediction.label_from) == (folder, "folder")
            assert order[prediction.rank - 1] == CLASSES.index(folder)
            assert prediction.label_probability == mean[CLASSES.index(folder)]
    assert found.named
    picture(tmp_path / "p.png")


def test_a_label_that_is_given_goes_before_the_folder(videos, labelled, tmp_path):
    settings = compose(model="tiny", weights=labelled, workers=1)
    found = featx.show.predictions(
        videos / "a" / "v0.mp4", tmp_path / "p.svg", settings, label="juggling"
    )
    assert (found.videos[0].label, found.videos[0].label_from) == ("juggling", "given")
    text = (tmp_path / "p.svg").read_text()
    assert "true: juggling, as given" in text
    assert "tiny (three-classes): the 3 most probable of 3 classes" in text


def test_classes_without_names_have_numbers_and_no_folder_is_one(videos, tmp_path):
    shutil.copytree(videos / "a", tmp_path / "7")
    settings = compose(**SMALL)
    found = featx.show.predictions(tmp_path / "7", tmp_path / "p.svg", settings)
    assert not found.named
    assert {v.label for v in found.videos} == {None}
    assert all(0 <= int(name) < found.num_classes for name in found.videos[0].classes)
    assert "they are numbered from 0" in (tmp_path / "p.svg").read_text()


@pytest.mark.parametrize("n", [1, 3, 4, 17, 1000])
def test_few_frames_of_a_video_of_any_length_evenly_spread(n):
    frames = _predictions._SpreadFrames()
    most = 0
    for clip in range(n):
        frames.arrived(ClipArrived(0, clip, np.full((1, 2, 1, 1, 3), clip, np.uint16)))
        most = max(most, len(frames._kept[0]))
    shown = [int(frame[0, 0, 0]) for frame in frames.of(0)]
    assert most <= 16
    assert len(shown) == min(n, 4)
    assert shown[0] == 0
    # What is kept at the end is at most an eighth of the video apart from its end, and from where it should be.
    np.testing.assert_allclose(shown, np.linspace(0, n - 1, len(shown)), atol=n / 8)
    frames.arrived(Restarted(0, "why"))
    frames.arrived(ClipArrived(0, 0, np.full((1, 2, 1, 1, 3), 7, np.uint16)))
    assert len(frames.of(0)) == 1


# ---------------------------------------------------------------- cost

TABLE = """name,model,group,accuracy,paper,multiply_adds,parameters
SR18,sr18,depth,46.5,47.0,9.1e9,1
D34,sr18_d34,depth,,46.8,10200000000,1
MC1,sr18_mc1,mixed,40.25,,8.8e9,1
later,sr18_mc2,mixed,,,8.9e9,1
"""


def test_cost_draws_what_the_study_wrote(tmp_path):
    table = tmp_path / "search.csv"
    table.write_text(TABLE)
    found = featx.show.cost(table, tmp_path / "c.svg")
    assert [(r.name, r.group, r.accuracy, r.paper, r.multiply_adds) for r in found] == [
        ("SR18", "depth", 46.5, 47.0, 9.1e9),
        ("D34", "depth", None, 46.8, 10.2e9),
        ("MC1", "mixed", 40.25, None, 8.8e9),
        ("later", "mixed", None, None, 8.9e9),
    ]
    text = (tmp_path / "c.svg").read_text()
    for name in (
        "SR18",
        "D34",
        "MC1",
        "depth",
        "mixed",
        "as the paper prints it",
        "search",
        "1 of 4 without an accuracy",
    ):
        assert f"<!-- {name} -->" in text, name
    assert "<!-- later -->" not in text


def test_cost_takes_other_names_of_columns(tmp_path):
    (tmp_path / "t.csv").write_text("multiply_adds,row,accuracy,paper_accuracy\n1e9,one,50,51\n")
    (row,) = _cost.read_costs(tmp_path / "t.csv")
    assert (row.name, row.multiply_adds, row.accuracy, row.paper, row.group) == (
        "one",
        1e9,
        50,
        51,
        "",
    )


def test_names_of_networks_do_not_meet(tmp_path):
    """Twelve networks of nearly the same cost and accuracy: their names are told apart."""
    from matplotlib.figure import Figure

    drawn = [
        featx.show.Cost(
            name=f"network {i}", multiply_adds=(9 + 0.3 * (i % 3)) * 1e9, accuracy=40 + 0.5 * i
        )
        for i in range(12)
    ]
    figure = Figure(figsize=(9, 6))
    axes = figure.add_subplot(xlim=(0, 20), ylim=(38, 48))
    _cost._name(axes, drawn)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == [row.name for row in drawn]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,accuracy\na,1\n", ("multiply_adds", "name", "accuracy")),
        ("", ("name", "accuracy", "multiply_adds")),
        (
            "name,accuracy,multiply_adds\na,1,1e9\nb,many,1e9\n",
            ("line 3", "accuracy", "'many'"),
        ),
        ("name,accuracy,multiply_adds\na,101,1e9\n", ("line 2", "accuracy", "'101'")),
        ("name,accuracy,multiply_adds\na,50,\n", ("line 2", "'a'", "multiply_adds")),
        ("name,accuracy,multiply_adds\na,50\n", ("line 2", "'a'", "multiply_adds")),
        ("name,accuracy,multiply_adds\na,50,-1\n", ("line 2", "multiply_adds", "'-1'")),
    ],
)
def test_a_table_that_is_none(tmp_path, text, told):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UsageError, match=telling("t.csv", *told)):
        featx.show.cost(tmp_path / "t.csv", tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


def test_a_study_without_a_result_has_no_picture(tmp_path):
    with pytest.raises(FeatxError, match=telling(1, "accuracy")):
        featx.show.plot_cost(
            [featx.show.Cost(name="a", multiply_adds=1e9, accuracy=None)], tmp_path / "c.png"
        )


# ---------------------------------------------------------------- wrong use, and the command line


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda v, o, s: featx.show.features(v, o, s(["convX"])), ("'convX'", "conv1")),
        (lambda v, o, s: featx.show.features(v, o, s(["fc"])), ("tiny", "fc", 12)),
        (lambda v, o, s: featx.show.features(v, o, s(None)), ("layer",)),
        (
            lambda v, o, s: featx.show.features(v, o, s(["conv1"]), channels=[8]),
            ("channel 8", "tiny", "conv1", 0, 7),
        ),
        (
            lambda v, o, s: featx.show.features(v, o, s(["conv1"]), clip=1, at=2.0),
            ("clip 1", "2 s"),
        ),
        (lambda v, o, s: featx.show.features(v, o, s(["conv1"]), top=0), ("channels", 0)),
        (lambda v, o, s: featx.show.features(v.parent.parent, o, s(["conv1"])), ("6 videos",)),
        (lambda v, o, s: featx.show.features("nowhere.mp4", o, s(["conv1"])), ("nowhere.mp4",)),
        (lambda v, o, s: featx.show.features(v, "f.gif", s(["conv1"])), ("'f.gif'",)),
        (lambda v, o, s: featx.show.features(v, v / "in" / "f.png", s(["conv1"])), ("v0.mp4/in",)),
        (lambda v, o, s: featx.show.exciting(v, o, s(["conv2", "fc"]), 1), ("layers", "conv2,fc")),
        (lambda v, o, s: featx.show.exciting(v, o, s(["fc"]), -1), ("-1", "tiny", "fc", 0, 11)),
        (lambda v, o, s: featx.show.exciting(v, o, s(["fc"]), 1, top=0), ("top", 0)),
        (lambda v, o, s: featx.show.exciting(v, o, s(["fc"]), 1, per_video=0), ("video", 0)),
        (lambda v, o, s: featx.show.predictions(v, o, s(None), label="jump"), ("label", "'jump'")),
        (lambda v, o, s: featx.show.predictions(v, o, s(None), top=0), ("top", 0)),
    ],
)
def test_wrong_use_is_said_before_anything_is_decoded(videos, tmp_path, monkeypatch, call, told):
    from featx.video.pool import Pool

    monkeypatch.setattr(
        Pool, "__init__", lambda *args, **options: pytest.fail("decoding has begun")
    )
    with pytest.raises(UsageError, match=telling(*told)):
        call(
            videos / "a" / "v0.mp4",
            tmp_path / "f.png",
            lambda layers: compose(**SMALL, layers=layers),
        )
    assert list(tmp_path.iterdir()) == []


def test_more_videos_than_a_picture_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(
        _predictions, "find_videos", lambda *args, **options: SimpleNamespace(sources=[None] * 25)
    )
    with pytest.raises(UsageError, match=telling(25, 24)):
        featx.show.predictions("many", tmp_path / "p.png", compose(**SMALL))


def test_an_unreadable_video_is_named_with_its_reason(tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(FeatxError, match=telling("bad.mp4")):
        featx.show.features(
            tmp_path / "bad.mp4", tmp_path / "f.png", compose(**SMALL, layers=["conv1"])
        )
    assert [p.name for p in tmp_path.iterdir()] == ["bad.mp4"]


def test_a_command_for_machines_with_its_exit_status(videos, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"")
    done = run("show", "exciting", "--model", "res3d", "--weights", "random", "--workers", "1", "--layer", "conv1",
                 "--channel", "4", "--json", videos / "a", tmp_path / "bad.mp4", "--root", "/", tmp_path / "e.png")  # fmt: skip
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert (result["videos"], len(result["top"])) == (3, 3)
    assert [path for path, _ in result["failures"]] == [str(tmp_path / "bad.mp4")]
    assert tells(done.stderr, "res3d", "conv1")


def test_commands_for_people(videos, labelled, tmp_path, capsys):
    def show(*args) -> str:
        assert not cli.main(["show", *map(str, args)], standalone_mode=False)
        return capsys.readouterr().out

    small = ("--model", "tiny", "--weights", labelled, "--workers", "1")
    text = show("predictions", *small, videos / "b", tmp_path / "p.png")
    assert tells(text, "3 videos", "tiny", "three-classes", "b")
    text = show(
        "features",
        *small,
        "--layers",
        "conv1,conv2",
        "--channels",
        "3",
        videos / "a" / "v0.mp4",
        tmp_path / "f.png",
    )
    assert tells(text, "conv2", "16x2x8x8", 3)
    assert tells(text, "clip 0", "v0", "0.00", "0.64 s", "tiny", "three-classes")
    text = show("filters", *small[:4], tmp_path / "c.png")
    assert tells(text, "8 filters", "conv1.conv", "tiny", "three-classes", "3 frames")
    (tmp_path / "t.csv").write_text(TABLE)
    assert tells(show("cost", tmp_path / "t.csv", tmp_path / "cost.png"), "4 networks", 2)
    for name in "pfc":
        picture(tmp_path / f"{name}.png")
    with pytest.raises(UsageError, match=telling("channels", "'0,x'")):
        show(
            "features",
            *small,
            "--layers",
            "conv1",
            "--channels",
            "0,x",
            videos / "a" / "v0.mp4",
            tmp_path / "x.png",
        )
    with pytest.raises(UsageError, match=telling("layers", "','")):
        show("features", *small, "--layers", ",", videos / "a" / "v0.mp4", tmp_path / "x.png")


def test_help_imports_nothing_heavy():
    modules, text = modules_after("show", "exciting", "--help")
    assert "--per-video" in text
    assert sorted(set(modules) & set(HEAVY)) == []


def test_choices_are_those_of_the_function():
    from typing import get_args

    scale = next(p for p in filters_command.params if p.name == "scale")
    assert tuple(scale.type.choices) == get_args(featx.show.Scale)
