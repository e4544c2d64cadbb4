"""Two networks in a row: what the second one sees, and what is written of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import encode
from settings import with_fields
from tiny import ENTRY, NAME
from told import telling

from featx import create_model
from featx.bench import bench_detection
from featx.clips import window_spec
from featx.errors import UsageError
from featx.extraction.backends import PROB
from featx.extraction.backends.eager import EagerBackend
from featx.extraction.cascade import Cascade, CascadeBackend
from featx.extraction.extract import extract
from featx.extraction.settings import Settings, compose
from featx.extraction.verify import verify
from featx.models import Backbone
from featx.store.reader import FeatureStore
from featx.weights.checkpoint import save_checkpoint

LENGTHS = (4, 8, 16)


pytestmark = pytest.mark.usefixtures("tiny_network")


def network(classes: int, seed: int) -> Backbone:
    """A tiny network whose probabilities differ from clip to clip, which those of freshly drawn weights hardly do."""
    model = create_model(NAME, num_classes=classes, seed=seed)
    with torch.no_grad():
        model.get_submodule(model.classifier).weight.normal_(
            0, 0.02, generator=torch.Generator().manual_seed(seed)
        )
    return model


def saved(path: Path, classes: int, *, seed: int, labels: list[str], **changes: Any) -> str:
    values: dict[str, Any] = {
        "transform": ENTRY.transform,
        "clip": window_spec(4, lengths=LENGTHS),
        **changes,
    }
    info = {"name": path.stem, "source": "a test", "licence": None, "labels": labels}
    save_checkpoint(path, network(classes, seed), architecture=NAME, info=info, **values)
    return str(path)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    first = saved(tmp_path / "first.safetensors", 2, seed=1, labels=["background", "action"])
    second = saved(tmp_path / "second.safetensors", 3, seed=2, labels=["background", "a", "b"])
    cascade = Cascade(weights=second, gate="action", threshold=0.5, name="localization")
    return compose(
        model=NAME,
        weights=first,
        cascade=cascade,
        device="cpu",
        precision="float32",
        workers=1,
        batch_size=8,
    )


def extractor(classes: int, seed: int) -> EagerBackend:
    return EagerBackend(
        network(classes, seed),
        [PROB],
        precision="float32",
        device="cpu",
        input_shape=(3, 4, 28, 28),
    )


def test_the_second_network_sees_the_clips_that_the_first_lets_through_and_no_others() -> None:
    first, second = extractor(2, 1), extractor(3, 2)
    x = 40 * torch.randn((8, 3, 4, 28, 28), generator=torch.Generator().manual_seed(0))
    gate = first(x)[PROB][:, 1]
    threshold = float(gate.sort().values[3])
    found = CascadeBackend(first, second, name="two", place=1, threshold=threshold)(x)
    passed = (gate >= threshold).numpy()
    assert passed.sum() == 5
    assert torch.equal(found[PROB][:, 1], gate)
    alone = torch.cat([second(part)[PROB] for part in torch.split(x, 1)])
    assert torch.equal(found["two"][passed], alone[passed])
    assert not found["two"][~passed].any()


def test_the_second_networks_row_does_not_depend_on_which_other_clips_pass() -> None:
    first, second = extractor(2, 1), extractor(3, 2)
    x = 40 * torch.randn((8, 3, 4, 28, 28), generator=torch.Generator().manual_seed(0))
    gate = first(x)[PROB][:, 1]
    every = CascadeBackend(first, second, name="two", place=1, threshold=0.0)(x)["two"]
    best = int(gate.argmax())
    one = CascadeBackend(first, second, name="two", place=1, threshold=float(gate.max()))(x)["two"]
    assert torch.equal(one[best], every[best])


def changed(settings: Settings, threshold: float) -> Settings:
    assert settings.cascade is not None
    return with_fields(settings, cascade=replace(settings.cascade, threshold=threshold))


def test_a_file_of_both_networks_says_so_and_is_verified(
    settings: Settings, tmp_path: Path
) -> None:
    video = str(encode(tmp_path / "video.mp4", 70))
    extract(video, tmp_path / "all.h5", settings=changed(settings, 0.0))
    with FeatureStore(tmp_path / "all.h5") as store:
        every = store[store.ids[0]]["localization"]
        middle = float(np.median(store[store.ids[0]]["prob"][:, 1]))
    out = tmp_path / "out.h5"
    extract(video, out, settings=changed(settings, middle))
    with FeatureStore(out) as store:
        assert list(store.layers) == ["prob", "localization"]
        prob, second = store[store.ids[0]]["prob"], store[store.ids[0]]["localization"]
        recorded = store.settings.to_json()["cascade"]
        assert recorded["labels"] == ["background", "a", "b"]
        assert recorded["weights"]["sha256"] != store.settings.to_json()["weights"]["sha256"]
        assert set(np.diff(store[store.ids[0]].clip_frames)[:, 0].tolist()) == set(LENGTHS)
    passed = prob[:, 1] >= np.float32(middle)
    assert 0 < passed.sum() < len(passed)
    np.testing.assert_array_equal(second[passed], every[passed])
    assert not second[~passed].any()
    assert verify(out).ok
    with pytest.raises(UsageError, match=telling("cascade.threshold")):
        extract(video, out, settings=changed(settings, 0.99))


def test_networks_that_do_not_fit_together_are_refused(settings: Settings, tmp_path: Path) -> None:
    video = str(encode(tmp_path / "video.mp4", 20))

    def run(**changes: Any) -> None:
        extract(video, tmp_path / "out.h5", settings=with_fields(settings, **changes))

    labels = ["background", "a", "b"]
    other_clips = saved(
        tmp_path / "other.safetensors",
        3,
        seed=2,
        labels=labels,
        clip=window_spec(4, lengths=(4, 8)),
    )
    for cascade, told in (
        (Cascade(weights=other_clips, gate="action", threshold=0.5), "other"),
        (Cascade(weights=str(settings.weights), gate="dance", threshold=0.5), "'dance'"),
    ):
        with pytest.raises(UsageError, match=telling(told)):
            run(cascade=cascade)
    with pytest.raises(UsageError, match=telling("layers", "pool5")):
        run(layers=["pool5"])
    with pytest.raises(UsageError, match=telling("ten")):
        run(crops="ten")
    with pytest.raises(UsageError, match=telling(1.5)):
        Cascade(weights="w", gate="action", threshold=1.5)


def test_the_share_of_windows_that_both_networks_see_is_measured(tmp_path: Path) -> None:
    video = [str(encode(tmp_path / "a.mp4", 400))]
    asked = compose(model=NAME, device="cpu", precision="float32", workers=1)
    (found,) = bench_detection([NAME], video, settings=asked, share=0.3, seconds=0.1, rounds=1)
    # The threshold is of all of the video's windows, which are fewer than are drawn for it: what differs is one window or two.
    assert found.share == pytest.approx(0.3, abs=0.02)
    assert found.ceiling == pytest.approx(
        1 / (1 / found.decode + (1 + found.share) / found.backbone)
    )
    with pytest.raises(UsageError, match=telling("share", 2)):
        bench_detection([NAME], video, settings=asked, share=2, seconds=0.1, rounds=1)
