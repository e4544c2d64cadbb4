"""Options that the tasks share: whose features, of which dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from featx.cli.options import grouped, options
from featx.errors import UsageError

if TYPE_CHECKING:
    from featx.extraction.provide import Wanted

detections_options = options(
    click.option("--annotations", required=True, metavar="DIR|JSON",
                 help="The official <Class>_test.txt files' folder, or a JSON file as ActivityNet's."),
    click.option("--subset", metavar="NAME", help="Of a JSON file with several, such as validation, or all."),
    click.option("--annotated-only", is_flag=True,
                 help="Leave out detections of videos that were not annotated, and say how many."),
    click.option("--class-ids", type=click.Choice(["official", "consecutive"]),
                 help="Of the text format: 7, 9, 12, … 97, or 1 to 20; found out from the file where they tell."),
    click.option("--prior", metavar="FILE",
                 help="For the S-CNN authors' windows: weights of window lengths, .mat, .csv or .npy."),
    click.option("--prior-annotations", metavar="DIR",
                 help="What these weights are counted on otherwise; annotation_val beside the annotations."),
)  # fmt: skip
dataset_options = options(
    click.option(
        "--root",
        metavar="DIR",
        help="Where the dataset's official files lie; its folder in $FEATX_DATA.",
    ),
    click.option(
        "--partial",
        is_flag=True,
        help="Go on with the videos that are there, and say how many are not.",
    ),
    click.option(
        "--holdout",
        type=float,
        default=0.2,
        show_default=True,
        help="Test side's share of own data that has none.",
    ),
)
# They reach the command as `wanted`, a `featx.extraction.provide.Wanted`.
extraction_options = grouped(
    "wanted",
    lambda: _wanted,
    click.option(
        "--model", help="Whose features to find beside the dataset, or to extract; res3d."
    ),
    click.option("--weights", help="Whose, as for featx extract; the model's own."),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        help="For extracting: auto, cpu, cuda or cuda:N.",
    ),
    click.option("--workers", type=int, help="For extracting: decoding processes; one a core."),
)


def _wanted(*, model: str | None, weights: str | None, device: str, workers: int | None) -> Wanted:
    from featx.extraction.provide import Wanted
    from featx.extraction.settings import Machine

    return Wanted(model=model, weights=weights, machine=Machine(device=device, workers=workers))


def thresholds_of(text: str) -> list[float]:
    """Return thresholds that are separated by commas; first:step:last is a row of them, both ends included."""
    wrong = UsageError(
        f"--tiou {text!r}: give numbers with commas between them, such as 0.3,0.5,0.7, or 0.3:0.1:0.7"
    )
    found = list[float]()
    for part in text.split(","):
        try:
            numbers = [float(number) for number in part.split(":")]
        except ValueError:
            raise wrong from None
        if len(numbers) == 1:
            found += numbers
            continue
        if len(numbers) != 3 or not (
            0 <= numbers[0] <= numbers[2] <= 1 and 0.001 <= numbers[1] <= 1
        ):
            raise wrong
        first, step, last = numbers
        # To nine decimals: 0.1 added twice to 0.3 is meant to be 0.5.
        found += [round(first + step * n, 9) for n in range(int((last - first) / step + 1e-6) + 1)]
    return found
