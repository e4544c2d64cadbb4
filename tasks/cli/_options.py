"""Options that the tasks share: whose features, of which dataset."""

from __future__ import annotations

import click

from featx.cli.options import options

dataset_options = options(
    click.option("--root", metavar="DIR", help="Where the dataset's official files lie; its folder in $FEATX_DATA."),
    click.option("--partial", is_flag=True, help="Go on with the videos that are there, and say how many are not."),
    click.option("--holdout", type=float, default=0.2, show_default=True, help="Test side's share of own data that has none."),
)
extraction_options = options(
    click.option("--model", help="Whose features to find beside the dataset, or to extract; res3d."),
    click.option("--weights", help="Whose, as for featx extract; the model's own."),
    click.option("--device", default="auto", show_default=True, help="For extracting: auto, cpu, cuda or cuda:N."),
    click.option("--workers", type=int, help="For extracting: decoding processes; one a core."),
)
