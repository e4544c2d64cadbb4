"""Attack featx with mutated files, kills and interrupts, and print how often it failed; exit status 1 if it ever did.

python tools/faults.py FOLDER [--kills 50] [--interrupts 30] [--videos 2000] [--features 2000] [--checkpoints 300] [--seed 0]

A failure is a traceback, a process that crashes or hangs, a wrong exit status, or a row that differs from an undisturbed run's.
FOLDER is made, and holds the files that failed. Everything is drawn from --seed; when a signal arrives is chance.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import queue
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import click
import numpy as np

SMALL = ("--weights", "random", "--layers", "pool5", "--crop", "32", "--device", "cpu")
EXTRACT = ("extract", "--model", "res3d_half", *SMALL)
INTERRUPTED = 130
CODECS = {
    ".mp4": "libx264",
    ".avi": "mpeg4",
    ".mkv": "libx264",
    ".ts": "libx264",
    ".mpg": "mpeg2video",
    ".webm": "libvpx",
}
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(
    [
        "featx.cli._group",
        "featx.extraction.backends.eager",
        "featx.tasks.recognition",
        "matplotlib.pyplot",
    ]
)
# A process that mutated files are read in. What a command needs itself, torch among it, is about a GB.
MEMORY = 6 << 30
# Seconds that all commands on one file take at most.
LONGEST = 180


def command(*arguments: object) -> list[str]:
    """Return the command line as a process of its own."""
    return [sys.executable, "-c", "from featx.cli import main; main()", *map(str, arguments)]


# ---------------------------------------------------------------- mutations


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return the content of a file with one to four changes: bits, runs of noise or zeros, cuts, repetitions, moved parts."""
    found = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        if len(found) < 16:
            break
        # Headers are short and say most: half of the changes are in the first or last kilobyte.
        where = rng.choice(
            [rng.randrange(len(found)), rng.randrange(min(1024, len(found))),
             len(found) - 1 - rng.randrange(min(1024, len(found)))]
        )  # fmt: skip
        length = min(len(found) - where, rng.choice([1, 4, 16, 256, 4096]))
        _change(found, rng, where, length)
    return bytes(found)


def _change(found: bytearray, rng: random.Random, where: int, length: int) -> None:
    kind = rng.randrange(7)
    if kind == 0:
        found[where] ^= 1 << rng.randrange(8)
    elif kind == 1:
        found[where : where + length] = rng.randbytes(length)
    elif kind == 2:
        found[where : where + length] = bytes(length)
    elif kind == 3:
        found[where : where + length] = b"\xff" * length
    elif kind == 4:
        del found[where:]
    elif kind == 5:
        del found[where : where + length]
    else:
        found[where:where] = found[where : where + length]


@dataclass(frozen=True)
class Mutations:
    """Mutated copies of files, one made from each in turn; which changes are made is drawn from a seed and the copy's number."""

    name: str
    sources: tuple[Path, ...]
    seed: int

    def write(self, number: int, folder: Path) -> Path:
        """Write copy `number` to a folder and return its path."""
        source = self.sources[number % len(self.sources)]
        path = folder / f"{number:05}{source.suffix}"
        path.write_bytes(
            mutated(source.read_bytes(), random.Random(f"{self.seed} {self.name} {number}"))
        )
        return path


# ---------------------------------------------------------------- commands on mutated files, several in a process


Try = Callable[[Path, Path], str]


def outcomes(
    mutations: Mutations, number: int, attempt: Try, folder: Path
) -> Iterator[tuple[int, str]]:
    """Yield each copy's number and what became of it: a word, or "crash" or "traceback" with more.

    There is a process a core, and each reads one copy in so many. What a command imports first, the others fork with.
    """
    count = min(len(os.sched_getaffinity(0)), number)
    found: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
    with ThreadPoolExecutor(count) as pool:
        for first in range(count):
            own = folder / f"process-{first}"
            own.mkdir(exist_ok=True)
            numbers = range(first, number, count)
            pool.submit(_followed, mutations, numbers, attempt, own, found)
        for _ in range(number):
            yield found.get()


def _followed(
    mutations: Mutations,
    numbers: range,
    attempt: Try,
    folder: Path,
    found: queue.SimpleQueue[tuple[int, str]],
) -> None:
    """Try copies in a process; one that a copy crashes is begun anew after that copy."""
    answered = 0
    while answered < len(numbers):
        receive, send = FORKED.Pipe(duplex=False)
        process = FORKED.Process(
            target=_try_all, args=(mutations, numbers[answered:], attempt, folder, send)
        )
        process.start()
        send.close()
        with contextlib.suppress(EOFError):
            while receive.poll(LONGEST):
                word = receive.recv()
                found.put((numbers[answered], word))
                answered += 1
        hangs = process.is_alive() and not receive.poll()
        if hangs:
            process.kill()
        process.join()
        if answered < len(numbers):
            word = f"hang: {LONGEST} s" if hangs else f"crash: exit status {process.exitcode}"
            found.put((numbers[answered], word))
            answered += 1


def _try_all(
    mutations: Mutations, numbers: range, attempt: Try, folder: Path, send: Connection
) -> None:
    import torch

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.chdir(folder)
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    for number in numbers:
        path = mutations.write(number, folder)
        send.send(attempt(path, folder))
        path.unlink()


def answer(call: Callable[..., object], *given: object) -> str:
    """Return how a call ended: done, refused, or a traceback."""
    from featx.errors import FeatxError

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            call(*given)
    except (FeatxError, click.ClickException):
        return "refused"
    except SystemExit as error:
        return "done" if error.code in (0, 1) else "refused"
    except BaseException as error:  # noqa: BLE001, what ends here is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        told = str(error).splitlines()[:1]
        return f"traceback: {type(error).__name__}: {told} at {last.filename}:{last.lineno}"
    return "done"


def read_features(path: Path, folder: Path, *, videos: Path) -> str:
    """Run each command that reads a feature file on one; return the first fault, else whether all were done."""
    from featx.cli import cli

    out = folder / "out"
    video = "grow/grow_g01_c01"
    commands = (
        ["info", path],
        ["info", path, "--plot", out / "plot.png", "--video", video],
        ["verify", path, "--clips", "2"],
        ["merge", path, out / "merged.h5"],
        ["export", path, out / "export", "--to", "actionformer"],
        ["index", path, "--index", out / "index"],
        ["search", path, video, "--id", "--index", out / "other"],
        ["svm", "--dataset", videos, "--features", path, "--folds", "2"],
        ["compact", "--dataset", videos, "--features", path, "--dims", "2"],
    )
    refused = []
    for each in commands:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        word = answer(partial(cli.main, standalone_mode=False), [*map(str, each)])
        if word == "refused":
            refused.append(str(each[0]))
        elif word != "done":
            return f"{word} in {each[0]}"
    if refused:
        return "refused by all" if len(refused) == len(commands) else f"refused by {refused[0]}"
    return "done"


def read_checkpoint(path: Path, folder: Path) -> str:
    """Load a checkpoint as extraction does."""
    from featx.weights.checkpoint import load_model

    return answer(load_model, "res3d_half", str(path))


# ---------------------------------------------------------------- the attacks


def attack_videos(folder: Path, number: int, seed: int) -> Counter[str]:
    """Extract mutated videos in one run: each is in the file or among the failures, and no process ends in a traceback."""
    import av

    sources = []
    for suffix, codec in CODECS.items():
        path = folder / f"source{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
            noise = np.random.default_rng(0)
            for i in range(20):
                image = np.clip(noise.integers(0, 60, (32, 48, 3)) + 9 * i, 0, 255)
                frame = av.VideoFrame.from_ndarray(image.astype(np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        sources.append(path)
    videos = folder / "mutated-videos"
    videos.mkdir()
    mutations = Mutations("videos", tuple(sources), seed)
    for i in range(number):
        mutations.write(i, videos)
    done = subprocess.run(
        command(*EXTRACT, "--timeout", 60, videos, folder / "mutated.h5"),
        capture_output=True,
        text=True,
    )
    from featx import FeatureStore

    counts: Counter[str] = Counter(videos=number)
    counts["tracebacks"] = done.stderr.count("Traceback")
    counts["wrong exit statuses"] = int(done.returncode not in (0, 1))
    if not counts["wrong exit statuses"]:
        with FeatureStore(folder / "mutated.h5") as store:
            counts["read"], counts["refused"] = len(store), len(store.failures)
            counts["lost"] = number - len(store) - len(store.failures)
    (folder / "videos.log").write_text(done.stderr)
    return counts


def attack_files(mutations: Mutations, folder: Path, number: int, attempt: Try) -> Counter[str]:
    """Read mutated files; those that end in a traceback or a crash stay in FOLDER/failed."""
    for source in mutations.sources:
        if (word := attempt(source, folder)) != "done":
            raise SystemExit(f"{source} is a good file, and reading it ended otherwise: {word}")
    counts: Counter[str] = Counter({mutations.name: number})
    for i, word in outcomes(mutations, number, attempt, folder):
        kind = word.split(":")[0]
        counts[
            {"traceback": "tracebacks", "crash": "crashes", "hang": "hangs"}.get(kind, kind)
        ] += 1
        if kind in ("traceback", "crash", "hang"):
            failed = folder / "failed" / mutations.name
            failed.mkdir(parents=True, exist_ok=True)
            click.echo(f"{mutations.write(i, failed)}: {word}")
    return counts


def write_checkpoints(folder: Path) -> tuple[Path, ...]:
    """Write a network's weights as featx, and as torch.save, writes them."""
    import torch

    from featx import create_model
    from featx.models import model_entry
    from featx.weights.checkpoint import save_checkpoint

    model, entry = create_model("res3d_half", seed=0), model_entry("res3d_half")
    paths = folder / "good.safetensors", folder / "good.pth"
    save_checkpoint(
        paths[0],
        model,
        architecture=entry.name,
        transform=entry.transform,
        clip=entry.clip,
        info={"name": "good"},
        storage="int8",
    )
    torch.save(model.state_dict(), paths[1])
    return paths


def attack_kills(folder: Path, videos: Path, number: int, rng: random.Random) -> Counter[str]:
    """SIGKILL extractions until they have been killed `number` times in all; the last run's rows are an undisturbed run's."""
    whole = folder / "whole.h5"
    subprocess.run(command(*EXTRACT, videos, whole), check=True, capture_output=True)
    counts: Counter[str] = Counter()
    while counts["kills"] < number:
        out = folder / "killed.h5"
        out.unlink(missing_ok=True)
        while not out.exists():
            process = subprocess.Popen(
                command(*EXTRACT, videos, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            limit = rng.uniform(0, 12) if counts["kills"] < number else None
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(limit)
            if process.poll() is None:
                process.kill()
                counts["kills"] += 1
            elif process.returncode:
                counts["wrong exit statuses"] += 1
                break
            process.wait()
        counts["runs compared"] += 1
        counts["differing rows"] += differing(whole, out)
    return counts


def differing(a: Path, b: Path) -> int:
    """Return how many videos' rows differ between two feature files."""
    from featx import FeatureStore
    from featx.store.reader import same_video

    with FeatureStore(a) as left, FeatureStore(b) as right:
        ids = {*left.ids, *right.ids}
        return sum(
            i not in left or i not in right or not same_video(left[i], right[i]) for i in ids
        )


def attack_interrupts(folder: Path, videos: Path, number: int) -> Counter[str]:
    """Send SIGINT and SIGTERM in turn, at `number` instants from 0 s on, 0.1 s apart; then end the run and compare."""
    counts: Counter[str] = Counter()
    out = folder / "interrupted.h5"
    for i in range(number):
        process = subprocess.Popen(
            command(*EXTRACT, videos, out),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(0.1 * i)
        process.send_signal(signal.SIGINT if i % 2 == 0 else signal.SIGTERM)
        told, errors = process.communicate()
        counts["interrupts"] += 1
        counts["tracebacks"] += "Traceback" in told + errors
        if process.returncode == 0:
            counts["ended before"] += 1
            out.unlink(missing_ok=True)
        elif process.returncode < 0:
            counts["before the first instruction"] += 1
        elif process.returncode != INTERRUPTED:
            counts["wrong exit statuses"] += 1
            click.echo(
                f"interrupted after {0.1 * i:.1f} s: exit status {process.returncode}: {errors}"
            )
    subprocess.run(command(*EXTRACT, videos, out), check=True, capture_output=True)
    counts["differing rows"] = differing(folder / "whole.h5", out)
    return counts


FAULTS = ("tracebacks", "crashes", "hangs", "wrong exit statuses", "differing rows", "lost")


@click.command(help=(__doc__ or "").split("\n\n")[0])
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--kills", default=50, show_default=True)
@click.option("--interrupts", default=30, show_default=True)
@click.option("--videos", default=2000, show_default=True)
@click.option("--features", default=2000, show_default=True)
@click.option("--checkpoints", default=300, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(
    folder: Path,
    kills: int,
    interrupts: int,
    videos: int,
    features: int,
    checkpoints: int,
    seed: int,
) -> None:
    """Run the attacks and print their counts."""
    folder.mkdir(parents=True)
    folder = folder.resolve()
    rng = random.Random(seed)
    good = folder / "videos"
    subprocess.run(
        command("synth", good, "--per-class", 2, "--seconds", 4, "--size", "64x48", "--classes", "grow,move_left,move_right"),
        check=True, capture_output=True,
    )  # fmt: skip
    # Two groups a class, so that an SVM can be tested on them.
    for path in good.rglob("*_g01_c02.mp4"):
        path.rename(path.with_name(path.name.replace("g01_c02", "g02_c01")))
    found: dict[str, Counter[str]] = {}

    def report(name: str, counts: Counter[str]) -> None:
        found[name] = counts
        click.echo(f"{name} {json.dumps(dict(counts))}")

    if kills or interrupts:
        report("kills", attack_kills(folder, good, kills, rng))
        report("interrupts", attack_interrupts(folder, good, interrupts))
    subprocess.run(command(*EXTRACT, good, folder / "good.h5"), check=True, capture_output=True)
    if features:
        copies = Mutations("features", (folder / "good.h5",), seed)
        report(
            "features", attack_files(copies, folder, features, partial(read_features, videos=good))
        )
    if checkpoints:
        copies = Mutations("checkpoints", write_checkpoints(folder), seed)
        report("checkpoints", attack_files(copies, folder, checkpoints, read_checkpoint))
    if videos:
        report("videos", attack_videos(folder, videos, seed))
    faults = {word: sum(counts[word] for counts in found.values()) for word in FAULTS}
    click.echo(f"in all {json.dumps(faults)}")
    sys.exit(1 if any(faults.values()) else 0)


if __name__ == "__main__":
    main()
