"""What all measurements share: videos, ceilings, and how fast the machine multiplies matrices."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

from featx.errors import UsageError
from featx.extraction.engine import compute_threads
from featx.video.source import find_videos


def check(rounds: int, seconds: float) -> None:
    """Raise UsageError where there is nothing to measure."""
    if not seconds > 0 or rounds < 1:
        raise UsageError(
            f"{rounds} rounds of {seconds:g} s: give at least 1 round of more than 0 s"
        )


def videos(
    inputs: Sequence[str | os.PathLike[str]], folder: Path, progress: Callable[[str], None]
) -> list[str]:
    """Return the paths of the videos that are given, or of videos generated below `folder` where none are."""
    from featx.synthetic.render import MOTIONS, write_videos

    if inputs:
        return [source.path for source in find_videos(inputs).sources]
    progress("generating videos")
    return [
        str(p)
        for p in write_videos(
            folder / "videos", per_class=1, seconds=8.0, classes=list(MOTIONS)[:8]
        )
    ]


def ceiling(device_type: str, decode: float, compute: float) -> float:
    """Return the clips/s that nothing can exceed: the two overlap on a GPU, and share the cores on CPU."""
    return min(decode, compute) if device_type == "cuda" else 1 / (1 / decode + 1 / compute)


def side_by_side(
    device_type: str, seconds: float, make: Callable[[], Callable[[], object]]
) -> float:
    """Return how many calls a second the engine's number of compute threads make, each with one thread of its own."""
    import torch

    threads, cuda = compute_threads(device_type), device_type == "cuda"
    before = torch.get_num_threads()
    ready, total = threading.Barrier(threads + 1), [0] * threads
    ended = threading.Event()
    errors: list[BaseException] = []

    def work(place: int) -> None:
        try:
            measure(place)
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            errors.append(error)
            ready.abort()

    def measure(place: int) -> None:
        if not cuda:
            torch.set_num_threads(1)
        with torch.inference_mode():
            call = make()
            call()
            ready.wait()
            while not ended.is_set():
                call()
                total[place] += 1
        ready.wait()

    running = [
        threading.Thread(target=work, args=(place,), daemon=True) for place in range(threads)
    ]
    for thread in running:
        thread.start()
    try:
        ready.wait()
        began = perf_counter()
        ended.wait(seconds)
        ended.set()
        ready.wait()
        if cuda:
            torch.cuda.synchronize()
        spent = perf_counter() - began
    except threading.BrokenBarrierError:
        raise errors[0] from None
    finally:
        ended.set()
        for thread in running:
            thread.join()
        torch.set_num_threads(before)
    return sum(total) / spent


def matmul_rate(device_type: str, precision: str, seconds: float) -> float:
    """Return multiply-adds/s of 2048 x 2048 matrix products (8192 on a GPU) in a precision, "bf16" or "float32"."""
    import torch

    side = 8192 if device_type == "cuda" else 2048
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32

    def make() -> Callable[[], object]:
        a = torch.rand((side, side), device=device_type).to(dtype)
        b = torch.rand((side, side), device=device_type).to(dtype)

        def call() -> None:
            c = a @ b
            if device_type == "cuda":
                c[:1, :1].cpu()

        return call

    return side_by_side(device_type, seconds, make) * side**3
