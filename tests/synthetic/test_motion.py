"""Generated motion: what a clip depends on, what its class says, and what a single frame does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from told import telling

from featx.datasets import GENERATED_CLIPS
from featx.errors import UsageError
from featx.synthetic import motion
from featx.synthetic.motion._artefacts import faults
from featx.synthetic.motion._classes import MOTIONS, Table
from featx.synthetic.motion._draws import Draws, mix, signed
from featx.synthetic.motion._figures import figures
from featx.synthetic.motion._paths import LARGEST, ROOM, SMALLEST, paths
from featx.synthetic.motion._textures import sample, tile, tile_side

CPU = torch.device("cpu")


def clips(
    places: list[int] | range,
    *,
    seed: int = 0,
    frames: int = 8,
    size: int = 32,
    held_out: bool = False,
) -> motion.Clips:
    return motion.clips(places, seed=seed, frames=frames, size=size, device=CPU, held_out=held_out)


def test_a_clip_depends_on_its_place_alone() -> None:
    together = clips(range(40))
    assert together.frames.shape == (40, 8, 32, 32, 3)
    assert together.frames.dtype == torch.uint8
    order = [17, 3, 39, 0]
    apart = clips(order)
    assert torch.equal(apart.labels, together.labels[order])
    assert torch.equal(apart.frames, together.frames[order])
    for place in order:
        assert torch.equal(clips([place]).frames[0], together.frames[place])


@pytest.mark.parametrize("other", [{"seed": 1}, {"held_out": True}, {"seed": 1 << 32}])
def test_another_seed_and_the_held_out_stream_have_other_clips(other: dict[str, int]) -> None:
    first, second = clips(range(16)), clips(range(16), **other)  # type: ignore[arg-type]
    same = (first.frames == second.frames).float().mean((1, 2, 3, 4))
    assert same.max() < 0.2


def test_places_beyond_32_bits_are_places_of_their_own() -> None:
    far = clips([5, 5 + (1 << 32), 5 + (1 << 40)])
    assert not torch.equal(far.frames[0], far.frames[1])
    assert not torch.equal(far.frames[1], far.frames[2])


def test_no_two_of_many_clips_have_the_same_keys() -> None:
    train = Draws.of(range(50_000), seed=0, held_out=False).keys
    held = Draws.of(range(50_000), seed=0, held_out=True).keys
    assert len(torch.unique(torch.cat([train, held]), dim=0)) == 100_000


def test_the_hash_mixes_every_bit() -> None:
    """Turning one bit of the input over turns each bit of the output over in half of the cases."""
    x = torch.arange(20_000, dtype=torch.int32) * 7919
    for bit in range(32):
        changed = mix(x) ^ mix(x ^ signed(1 << bit))
        flipped = torch.stack([(changed >> k) & 1 for k in range(32)]).float().mean(1)
        # Five standard deviations of a share of 20,000; the hash is known for a bias of less than a hundredth.
        assert (flipped - 0.5).abs().max() < 5 * 0.5 / 20_000**0.5 + 0.01


def test_draws_are_uniform_and_independent_of_each_other() -> None:
    draws = Draws.of(range(5_000), seed=3, held_out=False)
    found = draws.uniform("a", 4).numpy()
    for column in found.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    both = np.corrcoef(np.concatenate([found, draws.uniform("b", 4).numpy()], 1).T)
    assert abs(both - np.eye(8)).max() < 5 / 5_000**0.5


def test_classes_come_equally_often() -> None:
    labels = paths(Draws.of(range(20_000), seed=0, held_out=False), 1).labels
    counts = torch.bincount(labels, minlength=len(motion.CLASSES)).numpy()
    assert stats.chisquare(counts).pvalue > 1e-4


def test_at_no_time_do_places_sizes_and_angles_tell_the_class() -> None:
    """Each of them is uniform in every class, at a time of a clip that is known: its first frame."""
    found = paths(Draws.of(range(20_000), seed=1, held_out=False), 8)
    ranges = [(-ROOM, ROOM), (-ROOM, ROOM), (0, 2 * np.pi), (SMALLEST, LARGEST)]
    worst = 1.0
    for label in range(len(motion.CLASSES)):
        poses = found.objects[found.labels == label][:, 0, 0].numpy()
        for values, (low, high) in zip(poses.T, ranges, strict=True):
            around = (values - low) % (high - low) / (high - low)
            worst = min(worst, stats.kstest(around, "uniform").pvalue)
    # The least of 4 p-values a class is below this once in 1,000 such tests.
    assert worst > 1e-3 / (4 * len(motion.CLASSES))


def test_at_no_time_do_the_limbs_tell_the_class() -> None:
    found = paths(Draws.of(range(10_000), seed=2, held_out=False), 8)
    names = np.array(motion.CLASSES)[found.labels.numpy()]
    swinging = np.isin(names, [name for name, row in MOTIONS.items() if row.arms])
    arms = found.arms[:, 0, 2].numpy()
    assert stats.ks_2samp(arms[swinging], arms[~swinging]).pvalue > 1e-4


def _only(name: str, n: int = 24, size: int = 64) -> torch.Tensor:
    """Return the frames of the first n clips of a class, (n, 8, size, size) grey levels."""
    labels = Draws.of(range(4_000), seed=0, held_out=False).number("label", len(motion.CLASSES))
    places = torch.nonzero(labels == motion.CLASSES.index(name))[:n, 0].tolist()
    found = clips(places, size=size)
    assert (found.labels == motion.CLASSES.index(name)).all()
    return found.frames.float().mean(-1)


@pytest.mark.parametrize(
    ("name", "axis", "sign"),
    [("pan_right", 1, 1), ("pan_left", 1, -1), ("pan_down", 0, 1), ("pan_up", 0, -1)],
)
def test_in_a_pan_the_picture_moves_as_the_name_says(name: str, axis: int, sign: int) -> None:
    """Phase correlation of neighbouring frames, a method that knows nothing of the generator."""
    frames = _only(name)
    one, two = torch.fft.fft2(frames[:, :-1]), torch.fft.fft2(frames[:, 1:])
    cross = two * one.conj()
    peak = torch.fft.ifft2(cross / cross.abs().clamp(min=1e-6)).real.flatten(2).argmax(-1)
    shift = torch.stack([peak // 64, peak % 64], -1)
    shift = torch.where(shift > 32, shift - 64, shift).float().median(1).values
    right = (sign * shift[:, axis] > 0).float().mean()
    assert right > 0.7


def test_what_is_still_changes_less_than_what_moves() -> None:
    def change(name: str) -> float:
        frames = _only(name, size=32)
        return float((frames[:, 1:] - frames[:, :-1]).abs().mean((1, 2, 3)).median())

    still = change("still")
    # Light, noise and an unsteady camera are in all of them.
    for name in ("pan_right", "zoom_in", "roll_cw", "boil_fast", "limbs_fast", "turn_cw_fast"):
        assert change(name) > 1.2 * still, name


def test_the_rows_differ_in_more_than_their_names() -> None:
    rows = list(MOTIONS.values())
    assert len(set(rows)) == len(rows) == len(motion.CLASSES)


def test_a_table_has_the_rows_of_its_labels() -> None:
    labels = torch.tensor(
        [motion.CLASSES.index("zoom_out"), motion.CLASSES.index("right_then_left")]
    )
    found = Table.of(labels)
    assert found.camera[0, 3] < 0
    assert found.first[1, 0] > 0 > found.then[1, 0]


def test_tiles_join_at_their_edges() -> None:
    draws = Draws.of(range(8), seed=0, held_out=False)
    made = tile(draws, "ground", tile_side(32))
    assert made.shape == (8, 3, 48, 48)
    inside = (made[..., 1:] - made[..., :-1]).abs().amax(-1).amax(-1).amax(-1)
    seam = (made[..., 0] - made[..., -1]).abs().amax(-1).amax(-1)
    assert (seam <= 1.5 * inside + 1e-3).all()


def test_looking_a_tile_up_a_whole_tile_further_finds_the_same() -> None:
    made = tile(Draws.of(range(2), seed=0, held_out=False), "ground", 48)
    line = torch.linspace(-0.9, 0.9, 12)
    x = line.expand(2, 1, 12, 12)
    y = x.transpose(-1, -2)
    torch.testing.assert_close(sample(made, x, y), sample(made, x + 3, y - 2), atol=1e-3, rtol=0)
    # In a pixel's middle stands the pixel.
    middle = ((torch.arange(48) + 0.5) / 48).expand(2, 1, 48, 48)
    torch.testing.assert_close(
        sample(made, middle, middle.transpose(-1, -2))[:, :, 0], made, atol=1e-4, rtol=0
    )


def test_boiling_changes_the_pattern_and_keeps_its_strength() -> None:
    draws = Draws.of(range(64), seed=0, held_out=False)
    strengths = [
        tile(draws, "ground", 48, torch.full((64,), z)).std((1, 2, 3)).mean()
        for z in (0.0, 0.5, 1.0)
    ]
    assert max(strengths) < 1.1 * min(strengths)
    near, far = (
        (
            tile(draws, "ground", 48, torch.full((64,), z))
            - tile(draws, "ground", 48, torch.zeros(64))
        )
        .abs()
        .mean()
        for z in (0.02, 0.9)
    )
    assert near < 0.2 * far


def test_what_goes_to_a_gpu_can_be_pinned() -> None:
    """Pinning copies a tensor in its own strides, and one whose numbers are one in memory cannot be copied so."""
    draws = Draws.of(range(4), seed=0, held_out=False)
    for each in (*paths(draws, 8), *figures(draws), *faults(draws), draws.keys):
        torch.empty_strided(each.shape, each.stride(), dtype=each.dtype).copy_(each)


def test_frames_too_small_for_a_texture_are_refused() -> None:
    assert clips([0], size=3).frames.shape == (1, 8, 3, 3, 3)
    with pytest.raises(UsageError, match=telling(2, 3)):
        clips([0], size=2)


def test_one_frame_is_a_frame_at_a_drawn_time() -> None:
    found = paths(Draws.of(range(4_000), seed=0, held_out=False), 1)
    assert stats.kstest((found.times[:, 0].numpy() + 1) / 2, "uniform").pvalue > 1e-4


def test_the_streams_are_those_that_training_takes_and_their_labels_are_places_in_their_classes() -> (
    None
):
    assert tuple(motion.STREAMS) == GENERATED_CLIPS
    basic = motion.STREAMS["generated-basic"]
    assert set(basic) < set(motion.STREAMS["generated"])
    found = motion.clips(
        range(300), seed=0, frames=8, size=16, device=CPU, stream="generated-basic"
    )
    assert set(found.labels.tolist()) == set(range(len(basic)))
    # Still clips are known by their camera and objects, which stand.
    still = paths(Draws.of(range(300), seed=0, held_out=False), 8, basic)
    at = torch.nonzero(still.labels == basic.index("still"))[:, 0]
    assert torch.equal(still.labels, found.labels)
    torch.testing.assert_close(still.ripple[at][..., 0], still.ripple[at][..., -1])
    assert (still.boil[at][:, 0] == still.boil[at][:, -1]).all()


def test_version_1_makes_these_clips() -> None:
    """Checkpoints say which version of the generator they were trained on: one that makes other clips has another number."""
    assert motion.VERSION == 1
    made = clips(range(6))
    names = [motion.CLASSES[label] for label in made.labels]
    assert names == [
        "back_then_turn",
        "move_up_right_slow",
        "move_left_slow",
        "bounce_fast",
        "boil_slow",
        "meet_left",
    ]
    grey = [[111.0, 122.1, 111.1], [164.4, 163.5, 163.5], [140.2, 155.4, 153.1], [110.8, 111.4, 112.3], [140.8, 148.9, 143.6],
            [154.7, 141.1, 142.4]]  # fmt: skip
    # A machine's own rounding turns single pixels over at edges; another draw changes whole frames.
    torch.testing.assert_close(
        made.frames.float().mean((2, 3, 4))[:, ::3], torch.tensor(grey), atol=0.5, rtol=0
    )
