"""What was found on ASLAN, in words, as JSON values, as a table of the pairs, and as a picture."""

from __future__ import annotations

import os
from typing import Any

from featx.report import plot_roc, table, write_csv
from featx.report.picture import drawable
from featx.system.text import Text, joined
from featx.tasks.similarity._folds import Outcome
from featx.tasks.similarity._measures import MEASURES
from featx.tasks.similarity._run import ALL, Similarity

# Res3D paper, table 11: accuracy and AUC in per cent.
PRINTED = (
    ("2D-Resnet", 77.2, 85.0),
    ("AlexNet", 67.5, 73.8),
    ("C3D", 78.3, 86.5),
    ("Res3D", 78.8, 86.6),
)


def as_text(found: Similarity) -> Text:
    """Return what was found as text for a person: accuracies, on what they rest, and the paper's where they compare."""
    whole, pairs = found.whole, found.pairs
    n_pairs, numbers = int(whole.tested.sum()), len(MEASURES)
    rows = [(name, outcome.dims, *_cells(outcome)) for name, outcome in found.by_features.items()]
    rows.append((ALL, whole.dims, *_cells(whole)))
    lines = [
        f"{pairs.title}: {_counted(n_pairs, 'pair')} of {_counted(len(pairs.samples), 'sample')} in"
        f" {_counted(len(whole.folds), 'test fold')}, {100 * pairs.same[whole.tested].mean():.3g} % of them the same",
        *(f"  {title}" for title in found.features),
        f"each averaged over a sample's clips and L2-normalised; {numbers} measures of each (Kliper-Gross et al. 2012, table 3),"
        f" standardised on the training folds; linear SVM, C {found.C:g} (Res3D paper, section 5.2)",
        "",
        table(rows, headers=("features", "numbers", "accuracy %", "AUC %")),
        _meaning(whole),
    ]
    if found.by_measure is not None:
        columns = [*found.names, ALL]
        grid = [
            (m.formula, *(_both(found.by_measure[m.name, name]) for name in columns))
            for m in MEASURES
        ]
        grid.append(
            ("all measures", *(_both(found.by_features.get(name, whole)) for name in columns))
        )
        lines += [
            "",
            "each measure alone, accuracy (AUC):",
            table(grid, headers=("measure", *columns)),
        ]
    folds = [
        (f.number, f.pairs, f.right, f"{100 * f.accuracy:.1f}", f"{100 * f.auc:.1f}")
        for f in whole.folds
    ]
    lines += ["", table(folds, headers=("test fold", "pairs", "right", "accuracy %", "AUC %"))]
    if found.comparable:
        printed = [(name, f"{accuracy:.1f}", f"{auc:.1f}") for name, accuracy, auc in PRINTED]
        lines += [
            "",
            "printed in the Res3D paper, table 11:",
            table(printed, headers=("features", "accuracy %", "AUC %")),
        ]
    return joined([*lines, *(f"note: {note}" for note in found.notes)])


def to_json(found: Similarity) -> dict[str, Any]:
    """Return what was found as plain JSON values; `write_pairs` writes the single pairs."""
    by_measure = None
    if found.by_measure is not None:
        by_measure = [
            {"measure": m.name, "formula": m.formula}
            | {
                "features": {
                    name: _numbers(found.by_measure[m.name, name]) for name in (*found.names, ALL)
                }
            }
            for m in MEASURES
        ]
    return {
        "dataset": "aslan",
        "view": found.pairs.view,
        "pairs": int(found.whole.tested.sum()),
        "samples": len(found.pairs.samples),
        "dropped": {str(fold): n for fold, n in found.dropped.items()},
        "comparable": found.comparable,
        "features": list(found.features),
        "measures": [m.name for m in MEASURES],
        "C": found.C,
        **_numbers(found.whole),
        "folds": [
            {
                "fold": f.number,
                "pairs": f.pairs,
                "right": f.right,
                "accuracy": f.accuracy,
                "auc": f.auc,
            }
            for f in found.whole.folds
        ],
        "by_features": {name: _numbers(outcome) for name, outcome in found.by_features.items()},
        "by_measure": by_measure,
        "notes": list(found.notes),
    }


def write_pairs(found: Similarity, path: str | os.PathLike[str]) -> None:
    """Write every pair that was tested as a line of comma-separated values, its score above 0 for the same."""
    pairs, whole = found.pairs, found.whole
    rows = []
    for place in whole.tested.nonzero()[0]:
        ids = (f"{sample:04d}" for sample in pairs.ids[place])
        label, predicted = int(pairs.same[place]), int(whole.predicted[place])
        score = f"{whole.scores[place]:.6g}"
        rows.append(
            (
                pairs.fold[place],
                *ids,
                *pairs.actions[place],
                label,
                predicted,
                int(label == predicted),
                score,
            )
        )
    write_csv(
        path,
        ("fold", "id1", "id2", "action1", "action2", "label", "predicted", "right", "score"),
        rows,
    )


def plot(found: Similarity, path: str | os.PathLike[str]) -> None:
    """Draw the test folds' ROC curves and their mean."""
    whole = found.whole
    mean = "mean" if whole.folds[1:] else found.pairs.title
    sources = {
        title.partition(" of ")[2] for title in found.features
    }  # the same network's layers are told of together
    names = ", ".join(found.names) + (
        f" of {sources.pop()}" if len(sources) == 1 and "" not in sources else ""
    )
    title = [
        f"{found.pairs.title}: {drawable(names, most=62)}",
        f"accuracy {_percent(whole)} % on {_counted(int(whole.tested.sum()), 'pair')}"
        + ("" if found.comparable else ", not the benchmark's"),
    ]
    kinds = ("pairs that are not the same", "pairs that are the same")
    plot_roc(path, whole.curves, label=f"{mean}, area {whole.auc:.3f}", kinds=kinds, title=title)


def _cells(outcome: Outcome) -> tuple[str, str]:
    return _percent(outcome), f"{100 * outcome.auc:.1f}"


def _both(outcome: Outcome) -> str:
    accuracy, auc = _cells(outcome)
    return f"{accuracy} ({auc})"


def _percent(outcome: Outcome) -> str:
    error = outcome.standard_error
    return f"{100 * outcome.accuracy:.1f}" + ("" if error is None else f" ± {100 * error:.1f}")


def _numbers(outcome: Outcome) -> dict[str, float | None]:
    return {
        "accuracy": outcome.accuracy,
        "standard_error": outcome.standard_error,
        "auc": outcome.auc,
        "pooled_auc": outcome.pooled_auc,
    }


def _meaning(outcome: Outcome) -> str:
    if outcome.standard_error is None:
        return "accuracy and AUC of the one test fold"
    return (
        f"accuracy: mean over {len(outcome.folds)} folds ± standard error; AUC: mean over folds"
        f" (all folds' scores together: {100 * outcome.pooled_auc:.1f})"
    )


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
