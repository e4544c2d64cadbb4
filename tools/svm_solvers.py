"""Measure solvers of the linear SVM on rows like a video's features: seconds, peak memory, accuracy, agreement.

python tools/svm_solvers.py FOLDER                                    HMDB51's split, res5b: 3,570 rows of 25,088
python tools/svm_solvers.py FOLDER --train 7000                       all of HMDB51 to train on
python tools/svm_solvers.py FOLDER --train 400 --test 200 --dims 1000 --classes 10

Each solver runs in a process of its own, one after the other. The rows are written to FOLDER once for each size.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from featx.report import table
from featx.tasks import linear

Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# Fit on rows and labels, and return a function from rows to classes.
Solver = Callable[[Rows, Ints, float], Callable[[Rows], Ints]]

_FACTORS = 300
# How far classes lie apart: about half of the test rows are told right, as with HMDB51's.
_APART = 0.18
_BLOCK = 1000


def write_rows(folder: Path, *, train: int, test: int, dims: int, classes: int, seed: int) -> None:
    """Write rows.npy, (train + test, dims) float32, and labels.npy: factors with a centre a class, mixed, ReLU, unit length."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(count) % classes for count in (train, test)])
    centres = _APART * rng.normal(size=(classes, _FACTORS))
    mixing = rng.normal(size=(_FACTORS, dims)).astype(np.float32) / np.float32(np.sqrt(_FACTORS))
    offsets = rng.normal(0.3, 0.5, dims).astype(np.float32)
    rows = np.lib.format.open_memmap(folder / "rows.npy", "w+", np.float32, (train + test, dims))
    for start in range(0, len(rows), _BLOCK):
        chosen = labels[start : start + _BLOCK]
        factors = (centres[chosen] + rng.normal(size=(len(chosen), _FACTORS))).astype(np.float32)
        block = np.maximum(
            0,
            factors @ mixing + offsets + 0.5 * rng.standard_normal((len(chosen), dims), np.float32),
        )
        rows[start : start + _BLOCK] = block / np.linalg.norm(block, axis=1, keepdims=True)
    rows.flush()
    np.save(folder / "labels.npy", labels)


def _linear_svc(rows: Rows, labels: Ints, C: float, *, dual: bool) -> Callable[[Rows], Ints]:
    from sklearn.svm import LinearSVC

    found = LinearSVC(C=C, dual=dual, random_state=0, max_iter=100_000).fit(rows, labels)
    return lambda test: np.asarray(found.predict(test))


def _sgd(rows: Rows, labels: Ints, C: float, *, loss: str) -> Callable[[Rows], Ints]:
    from sklearn.linear_model import SGDClassifier

    alpha = 1 / ((2 if loss == "squared_hinge" else 1) * C * len(rows))
    found = SGDClassifier(loss=loss, alpha=alpha, random_state=0, n_jobs=2).fit(rows, labels)
    return lambda test: np.asarray(found.predict(test))


def _precomputed(rows: Rows, labels: Ints, C: float, *, rest: bool) -> Callable[[Rows], Ints]:
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import SVC

    one = SVC(kernel="precomputed", C=C)
    found = (OneVsRestClassifier(one) if rest else one).fit(_products(rows, rows), labels)
    return lambda test: np.asarray(found.predict(_products(test, rows)))


def _products(a: Rows, b: Rows) -> Floats:
    out = np.zeros((len(a), len(b)))
    for start in range(0, a.shape[1], 4096):
        out += (
            a[:, start : start + 4096].astype(np.float64)
            @ b[:, start : start + 4096].astype(np.float64).T
        )
    return out


def _span_svc(
    rows: Rows, labels: Ints, C: float, *, dual: bool, threads: int = 1
) -> Callable[[Rows], Ints]:
    from concurrent.futures import ThreadPoolExecutor

    from sklearn.svm import LinearSVC

    span = linear.Coordinates([rows])
    lower = span.rows
    classes = np.unique(labels)

    def fit(label: int) -> tuple[Floats, float]:
        found = LinearSVC(C=C, dual=dual, random_state=0, max_iter=100_000).fit(
            lower, labels == label
        )
        return found.coef_[0], float(found.intercept_[0])

    if threads == 1:
        whole = LinearSVC(C=C, dual=dual, random_state=0, max_iter=100_000).fit(lower, labels)
        coef, intercept = whole.coef_, whole.intercept_
    else:
        with ThreadPoolExecutor(threads) as pool:
            each = list(pool.map(fit, classes.tolist()))
        coef, intercept = np.stack([c for c, _ in each]), np.asarray([i for _, i in each])
    wide = span.back(coef)
    return lambda test: np.asarray((test @ wide.T + intercept).argmax(axis=1))


def _featx(rows: Rows, labels: Ints, C: float) -> Callable[[Rows], Ints]:
    return linear.fit_in(
        linear.Coordinates([rows]), labels, C=C, n_classes=int(labels.max()) + 1
    ).predict


SOLVERS: dict[str, tuple[str, Solver]] = {
    "featx": ("own span, LinearSVC dual, tolerance 1e-5 (featx)", _featx),
    "span-dual": ("own span, LinearSVC dual", lambda *a: _span_svc(*a, dual=True)),
    "span-dual-2": (
        "own span, LinearSVC dual, classes in 2 threads",
        lambda *a: _span_svc(*a, dual=True, threads=2),
    ),
    "span-primal": ("own span, LinearSVC primal", lambda *a: _span_svc(*a, dual=False)),
    "wide-dual": ("LinearSVC dual", lambda *a: _linear_svc(*a, dual=True)),
    "wide-primal": ("LinearSVC primal", lambda *a: _linear_svc(*a, dual=False)),
    "sgd": ("SGDClassifier, hinge", lambda *a: _sgd(*a, loss="hinge")),
    "sgd-squared": ("SGDClassifier, squared hinge", lambda *a: _sgd(*a, loss="squared_hinge")),
    "kernel": ("SVC, kernel precomputed, one against one", lambda *a: _precomputed(*a, rest=False)),
    "kernel-rest": (
        "SVC, kernel precomputed, one against the rest",
        lambda *a: _precomputed(*a, rest=True),
    ),
}


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--train", default=3570, show_default=True, help="Rows to train on.")
@click.option("--test", default=1530, show_default=True)
@click.option("--dims", default=25088, show_default=True)
@click.option("--classes", default=51, show_default=True)
@click.option("--C", "C", default=1.0, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--seconds", default=360.0, show_default=True, help="Until a solver is stopped.")
@click.option(
    "--solver",
    "names",
    type=click.Choice(list(SOLVERS)),
    multiple=True,
    help="All of them unless told.",
)
@click.option("--child", hidden=True)
def main(folder: Path, train: int, test: int, dims: int, classes: int, C: float, seed: int, seconds: float,
         names: tuple[str, ...], child: str | None) -> None:  # fmt: skip
    place = folder / f"{train}-{test}-{dims}-{classes}-{seed}"
    if child is not None:
        _measure(place, child, train=train, C=C)
        return
    if not (place / "labels.npy").exists():
        place.mkdir(parents=True, exist_ok=True)
        write_rows(place, train=train, test=test, dims=dims, classes=classes, seed=seed)
    for name in names or SOLVERS:
        known = place / f"{name}-C{C:g}.json"
        known.write_text(json.dumps(_run(place, name, seconds, C=C)))
        click.echo(f"{name}: {known.read_text()}", err=True)
    click.echo(
        f"{train} rows of {dims} to train on, {test} to test, {classes} classes, C {C:g}, {os.cpu_count()} cores"
    )
    click.echo(_table(place, C, np.load(place / "labels.npy")[train:]))


def _table(place: Path, C: float, truth: Ints) -> str:
    """Return what has been measured so far on these rows."""
    measured = {name: place / f"{name}-C{C:g}.json" for name in SOLVERS}
    found = {name: json.loads(path.read_text()) for name, path in measured.items() if path.exists()}
    answers = {
        name: np.load(place / f"{name}-C{C:g}.npy")
        for name, each in found.items()
        if "accuracy" in each
    }
    reference = next(
        (name for name in ("wide-dual", "span-dual", "featx") if name in answers), None
    )
    lines = []
    for name, each in found.items():
        right = f"{100 * float((answers[name] == truth).mean()):.1f}" if name in answers else ""
        same = (
            f"{100 * float((answers[name] == answers[reference]).mean()):.2f}"
            if reference and name in answers
            else ""
        )
        lines.append(
            (
                SOLVERS[name][0],
                each["seconds"],
                f"{each['cpu']:.0f}",
                f"{each['gib']:.2f}",
                right,
                same,
            )
        )
    told = SOLVERS[reference][0] if reference else "none"
    return table(
        lines,
        headers=(
            "solver",
            "seconds",
            "CPU seconds",
            "peak GiB",
            "accuracy %",
            f"same answers as {told} %",
        ),
    )


def _run(place: Path, name: str, seconds: float, *, C: float) -> dict[str, Any]:
    train, test, dims, classes, seed = place.name.split("-")
    command = [sys.executable, __file__, str(place.parent), "--child", name, "--train", train, "--test", test, "--dims", dims,
               "--classes", classes, "--seed", seed, "--C", str(C)]  # fmt: skip
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    stopped = False
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        if not stopped and time.monotonic() - began > seconds:
            process.kill()
            stopped = True
        time.sleep(0.1)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    said = process.stdout.read()
    used = {"gib": usage.ru_maxrss / 2**20, "cpu": usage.ru_utime + usage.ru_stime}
    if stopped:
        return {"seconds": f"stopped after {seconds / 60:.0f} min", **used}
    if process.returncode:
        return {"seconds": f"failed ({process.returncode})", **used}
    return {**used, **json.loads(said)}


def _measure(place: Path, name: str, *, train: int, C: float) -> None:
    rows, labels = np.load(place / "rows.npy", mmap_mode="r"), np.load(place / "labels.npy")
    own = np.array(rows[:train])
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.monotonic()
    predict = SOLVERS[name][1](own, labels[:train], C)
    took = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    answers = np.concatenate([predict(np.array(part)) for part in np.array_split(rows[train:], 4)])
    np.save(place / f"{name}-C{C:g}.npy", answers)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = {"seconds": f"{took:.0f}", "cpu": used, "gib": after.ru_maxrss / 2**20}
    sys.stdout.write(json.dumps({**found, "accuracy": float((answers == labels[train:]).mean())}))


if __name__ == "__main__":
    main()
