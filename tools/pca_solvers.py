"""Measure PCA solvers on rows like features: seconds, memory, and how far they are from the exact components.

    python tools/pca_solvers.py --rows 3570 --width 25088 --dims 500

Each solver runs in a process of its own. The rows are generated: nonnegative, with a falling spectrum, L2-normalised.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import numpy as np

from featx.report import table
from featx.tasks.compactness._pca import fit_pca

# Directions that the generated rows vary in beside their noise, and how fast their variance falls: about as pool5's does.
_DIRECTIONS, _FALL = 800, 0.6


def generated(n: int, width: int) -> Any:
    """Return (n, width) float32 rows."""
    rng = np.random.default_rng(0)
    strength = np.arange(1, _DIRECTIONS + 1, dtype=np.float32) ** -_FALL
    seen = rng.standard_normal((n, _DIRECTIONS), np.float32) * strength
    rows = seen @ rng.standard_normal((_DIRECTIONS, width), np.float32)
    rows += 0.1 * rng.standard_normal((n, width), np.float32)
    np.maximum(rows, 0, out=rows)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def exact(rows: Any, dims: int) -> Any:
    return fit_pca(rows, dims).components


def by_faiss(rows: Any, dims: int) -> Any:
    import faiss

    pca = faiss.PCAMatrix(rows.shape[1], dims)
    pca.train(rows)
    return faiss.vector_to_array(pca.A).reshape(dims, -1)


def by_sklearn(solver: str) -> Callable[[Any, int], Any]:
    def run(rows: Any, dims: int) -> Any:
        from sklearn.decomposition import PCA

        return PCA(dims, svd_solver=solver, random_state=0).fit(rows).components_

    return run


SOLVERS: dict[str, Callable[[Any, int], Any]] = {
    "featx": exact,
    "faiss.PCAMatrix": by_faiss,
    **{
        f"sklearn {name}": by_sklearn(name)
        for name in ("randomized", "arpack", "covariance_eigh", "full")
    },
}


@click.command()
@click.option("--rows", "n", type=int, default=3570, show_default=True)
@click.option("--width", type=int, default=25088, show_default=True)
@click.option("--dims", type=int, default=500, show_default=True)
@click.option(
    "--solver",
    "solvers",
    multiple=True,
    type=click.Choice(list(SOLVERS)),
    help="All of them by default.",
)
@click.option("--limit", type=float, default=280, show_default=True, help="Seconds for a solver.")
@click.option("--only", type=click.Path(path_type=Path), hidden=True)
def main(
    n: int, width: int, dims: int, solvers: tuple[str, ...], limit: float, only: Path | None
) -> None:
    """Measure PCA solvers."""
    if only is not None:
        _measure(np.load(only / "rows.npy"), dims, solvers[0], only)
        return
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "rows.npy", generated(n, width))
        lines = []
        for name in dict.fromkeys(["featx", *(solvers or SOLVERS)]):
            options = ["--dims", str(dims), "--solver", name, "--only", folder]
            try:
                done = subprocess.run(
                    [sys.executable, __file__, *options],
                    timeout=limit,
                    capture_output=True,
                    text=True,
                )
            except subprocess.TimeoutExpired:
                lines.append((name, f"more than {limit:g}", "", "", ""))
                continue
            last = done.stderr.strip().splitlines()[-1:] if done.returncode else []
            lines.append(
                (name, "failed", *last, *([""] * (3 - len(last))))
                if last
                else (name, *json.loads(done.stdout))
            )
            click.echo(f"{lines[-1]}", err=True)
    click.echo(f"{n} rows of {width}, {dims} dimensions")
    click.echo(
        table(
            lines,
            headers=(
                "solver",
                "s",
                "GB more",
                "variance held, %",
                "largest angle to exact: 10, 100, all",
            ),
        )
    )


def _measure(rows: Any, dims: int, name: str, folder: Path) -> None:
    SOLVERS[name](np.ascontiguousarray(rows[:50, :60]), 5)  # what is imported is not measured
    Path("/proc/self/clear_refs").write_text(
        "5"
    )  # the peak starts anew: a new process has its parent's
    before = _peak()
    began = perf_counter()
    found = SOLVERS[name](rows, dims)
    seconds = perf_counter() - began
    more = _peak() - before
    centred = rows - rows.mean(axis=0)
    held = float(
        (centred @ found.T).astype(np.float64).var(axis=0).sum()
        / centred.astype(np.float64).var(axis=0).sum()
    )
    if name == "featx":
        np.save(folder / "exact.npy", found)
    # Where the exact solver ran out of time there is nothing to compare with.
    reference = np.load(folder / "exact.npy") if (folder / "exact.npy").exists() else None
    angles = (
        []
        if reference is None
        else [_angle(found[:k], reference[:k]) for k in (10, 100, dims) if k <= dims]
    )
    text = ", ".join(f"{angle:.2g}°" for angle in angles) or "not compared"
    click.echo(json.dumps([f"{seconds:.1f}", f"{more:.2f}", f"{100 * held:.3f}", text]))


def _peak() -> float:
    """Return the most memory that this process has had, GB."""
    status = Path("/proc/self/status").read_text()
    return (
        int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1e6
    )


def _angle(a: Any, b: Any) -> float:
    """Return the largest principal angle between two subspaces, degrees."""
    from scipy.linalg import subspace_angles

    return float(np.degrees(subspace_angles(a.T.astype(np.float64), b.T.astype(np.float64)).max()))


if __name__ == "__main__":
    main()
