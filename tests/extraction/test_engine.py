"""The pipeline between decoding and the sink, with a model whose answers are known."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import encode
from decoding import SETTINGS
from told import telling

from featx.errors import FeatxError
from featx.extraction.engine import Engine, Rows, _by_key
from featx.video.cutting import Summary
from featx.video.pool import Pool
from featx.video.worker import DecodeSettings, Job


class MeanColour:
    """Stands where the backbone does: the mean of a clip's pixels, by channel; remembers the batch sizes it saw."""

    device = torch.device("cpu")

    def __init__(self, *, most: int = 10_000, fails_at: int | None = None) -> None:
        self.sizes: list[int] = []
        self._most, self._fails_at = most, fails_at

    def __call__(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        self.sizes.append(len(x))
        if len(x) > self._most:
            raise torch.OutOfMemoryError("no room")
        if self._fails_at is not None and len(self.sizes) > self._fails_at:
            raise RuntimeError("the model breaks")
        return {"mean": x.mean((2, 3, 4))}

    def finish(self, rows: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return rows


class Memory:
    """A sink that keeps everything, and notes what came in an order that it must not."""

    def __init__(self) -> None:
        self.kept: dict[int, dict[int, np.ndarray]] = {}
        self.summaries: dict[int, Summary] = {}
        self.reasons: dict[int, str] = {}
        self.threads: set[int] = set()
        self.batch_sizes: set[int] = set()

    def rows(self, key: int, clips: list[int], rows: Rows) -> None:
        self.threads.add(threading.get_ident())
        assert key not in self.summaries, "rows after the end"
        for clip, row in zip(clips, rows["mean"], strict=True):
            assert clip not in self.kept.setdefault(key, {}), "a row twice"
            self.kept[key][clip] = row

    def restarted(self, key: int) -> None:
        self.kept.pop(key, None)

    def done(self, key: int, summary: Summary, batch_size: int) -> None:
        self.batch_sizes.add(batch_size)
        assert len(self.kept.get(key, {})) == len(summary.clip_frames), (
            "the end before the last row"
        )
        self.summaries[key] = summary

    def failed(self, key: int, reason: str) -> None:
        self.reasons[key] = reason


def run(
    paths: list[Path],
    model: MeanColour,
    sink: object,
    *,
    batch_size: int = 8,
    decoder: str = "auto",
    settings: DecodeSettings = SETTINGS,
) -> object:
    with Pool(settings, workers=2) as pool:
        engine = Engine(model, settings, pool, sink, batch_size=batch_size)
        return engine.run([Job(key, str(path), decoder) for key, path in enumerate(paths)])


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("engine")
    return [encode(folder / f"{i}.mp4", 30 + 5 * i, seed=i) for i in range(5)]


def test_every_row_reaches_the_sink_once_and_before_its_videos_end(
    paths: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"bad")
    sink, model = Memory(), MeanColour()
    stats = run([*paths, tmp_path / "bad.mp4"], model, sink)
    assert {k: len(v) for k, v in sink.kept.items()} == {k: (30 + 5 * k) // 4 for k in range(5)}
    assert sink.summaries.keys() == set(range(5))
    assert list(sink.reasons) == [5]
    assert (stats.videos, stats.failed, stats.clips) == (
        5,
        1,
        sum((30 + 5 * k) // 4 for k in range(5)),
    )
    assert set(model.sizes) == {8}, "every batch has the same shape, the last one too"
    assert len(sink.threads) == 1
    levels = np.array([sink.kept[0][c].mean() for c in range(7)])
    assert (np.diff(levels) > 20).all(), (
        "each clip of four frames is 28 gray levels above the one before"
    )


def test_out_of_device_memory_halves_the_batch_and_goes_on(paths: list[Path]) -> None:
    whole, halved = Memory(), Memory()
    run(paths, MeanColour(), whole)
    model = MeanColour(most=2)
    run(paths, model, halved)
    assert {8, 4, 2} == set(model.sizes)
    assert whole.batch_sizes == {8}
    assert 2 in halved.batch_sizes, "the sink is told, for the file to say so"
    for key, rows in whole.kept.items():
        for clip, row in rows.items():
            np.testing.assert_allclose(halved.kept[key][clip], row, rtol=1e-5)


def test_out_of_memory_for_one_clip_is_an_error(paths: list[Path]) -> None:
    with pytest.raises(FeatxError, match=telling("memory")):
        run(paths, MeanColour(most=0), Memory())


def test_an_error_of_the_model_or_of_the_sink_ends_the_run(paths: list[Path]) -> None:
    with pytest.raises(RuntimeError, match=telling("the model breaks")):
        run(paths, MeanColour(fails_at=3), Memory())

    class Full(Memory):
        def rows(self, key: int, clips: list[int], rows: Rows) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=telling("No space left on device")):
        run(paths * 10, MeanColour(), Full(), batch_size=1)


def test_rows_of_an_attempt_that_was_given_up_are_left_out() -> None:
    entries = [(1, 0, 5), (2, 0, 0), (1, 1, 5), (1, 1, 6)]
    assert _by_key(entries, {}) == {1: [0], 2: [1]}
    assert _by_key(entries, {1: 1}) == {2: [1], 1: [2, 3]}


def test_a_video_that_decord_gives_up_comes_from_pyav(tmp_path: Path) -> None:
    from featx.video.decoders import decoder_named

    if decoder_named("decord").missing() is not None:
        pytest.skip("decord is not installed: it has wheels for x86-64 Linux and Windows only")
    good = encode(tmp_path / "good.mp4", 60, options={"g": "10", "crf": "10"})
    data = bytearray(good.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = np.random.default_rng(0).bytes(2000)
    (tmp_path / "damaged.mp4").write_bytes(data)
    by_decord, by_pyav = Memory(), Memory()
    wide = replace(SETTINGS, transform=replace(SETTINGS.transform, resize=(32, 64)))
    run([good, tmp_path / "damaged.mp4"], MeanColour(), by_decord, decoder="decord", settings=wide)
    run([good, tmp_path / "damaged.mp4"], MeanColour(), by_pyav, settings=wide)
    assert [by_decord.summaries[k].decoder for k in (0, 1)] == ["decord", "pyav"]
    assert by_decord.summaries[1].damaged_frames == by_pyav.summaries[1].damaged_frames > 0
    assert by_decord.kept[1].keys() == by_pyav.kept[1].keys()
    for clip, row in by_pyav.kept[1].items():
        np.testing.assert_array_equal(by_decord.kept[1][clip], row)


def test_an_interrupt_while_the_last_batches_are_computed_loses_no_row(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    joining, interrupted = threading.Event(), threading.Event()
    before = signal.getsignal(signal.SIGINT)

    class Slow(MeanColour):
        def __call__(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            time.sleep(0.2)
            if joining.is_set():
                interrupted.wait(30)
            return super().__call__(x)

    sink, model = Memory(), Slow()
    with Pool(SETTINGS, workers=2) as pool:
        # 48 clips: the tenth batch of five is not full, so it is given to compute when decoding ends, right before the joining.
        engine = Engine(model, SETTINGS, pool, sink, batch_size=5)
        join = engine._join

        def interrupt_twice() -> None:
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
                assert engine._stop.wait(30)
            interrupted.set()

        def joined() -> None:
            joining.set()
            threading.Thread(target=interrupt_twice, daemon=True).start()
            join()

        monkeypatch.setattr(engine, "_join", joined)
        with pytest.raises(KeyboardInterrupt):
            engine.run([Job(key, str(path), "pyav") for key, path in enumerate(paths)])
    assert interrupted.is_set()
    assert signal.getsignal(signal.SIGINT) is before
    delivered = sum(len(rows) for rows in sink.kept.values())
    assert delivered == engine.stats.clips
    assert not any(thread.is_alive() for thread in (*engine._compute, engine._delivery))


def test_torchs_threads_are_what_they_were(paths: list[Path]) -> None:
    before = torch.get_num_threads()
    run(paths[:1], MeanColour(), Memory())
    assert torch.get_num_threads() == before


def test_a_short_run_that_waits_for_the_backbone_says_so(tmp_path: Path) -> None:
    # Fewer batches than may be under way: decoding is long over while the backbone computes, and waits for nobody in between.
    class Slow(MeanColour):
        def __call__(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            time.sleep(2.0)
            return super().__call__(x)

    videos = [encode(tmp_path / f"{i}.mp4", n_frames=20) for i in range(2)]
    stats = run(videos, Slow(), Memory())
    assert stats.binding == "backbone"
