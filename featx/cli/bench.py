"""The command that measures speed."""

from __future__ import annotations

import json
from typing import Any

import click

from featx.cli._options import input_options, json_option, machine_options


@click.command()
@click.argument("inputs", nargs=-1)
@click.option("--model", "models", multiple=True, default=["res3d"], show_default=True, help="A model; give it again to compare.")
@input_options
@machine_options
@click.option("--layers", help="Comma-separated layers to extract; the model's own.")
@click.option("--seconds", type=float, default=10.0, show_default=True, help="How long each measurement lasts.")
@click.option("--rounds", type=int, default=3, show_default=True, help="How often all is measured; medians are printed.")
@json_option
def bench(inputs: tuple[str, ...], models: tuple[str, ...], seconds: float, rounds: int, layers: str | None, as_json: bool,
          **settings: Any) -> None:  # fmt: skip
    """Measure decoding alone, the backbone alone and the whole extraction, and say which binds.

    INPUTS as for extract; without any, videos of 320x240 pixels are generated. Weights are random:
    their values do not change the speed.

    \b
    Example:
      featx bench --model res3d --model c3d videos/
    """
    from featx.bench import bench as run
    from featx.bench import to_json
    from featx.extraction import Settings
    from featx.report import table

    names = layers.split(",") if layers else None
    measured = run(
        list(models),
        inputs,
        settings=Settings(model=models[0], weights="random", layers=names, **settings),
        seconds=seconds,
        rounds=rounds,
        progress=lambda text: click.echo(text, err=True),
    )
    if as_json:
        click.echo(json.dumps(to_json(measured), indent=1))
        return
    rows = [
        ("", *(m.model for m in measured)),
        ("decoding alone, clips/s", *(f"{m.decode:.1f}" for m in measured)),
        ("backbone alone, clips/s", *(f"{m.backbone:.1f}" for m in measured)),
        ("ceiling, clips/s", *(f"{m.ceiling:.1f}" for m in measured)),
        ("end to end, clips/s", *(f"{m.end_to_end:.1f}" for m in measured)),
        (
            "end to end / ceiling",
            *(f"{m.fraction:.1%} ({m.fraction_range[0]:.1%} to {m.fraction_range[1]:.1%})" for m in measured),
        ),
        ("binds", *(m.binding for m in measured)),
        ("video seconds a second", *(f"{m.video_rate:.1f}" for m in measured)),
        ("matrix multiplication, 1e12 multiply-adds/s", *(f"{m.matmul:.3f}" for m in measured)),
        ("backbone / matrix multiplication", *(f"{m.of_matmul:.1%}" for m in measured)),
        ("parameters, millions", *(f"{m.params:.1f}" for m in measured)),
        ("multiply-adds a clip, 1e9", *(f"{m.multiply_adds:.1f}" for m in measured)),
        ("input", *(m.input for m in measured)),
        ("precision, device, batch", *(f"{m.precision}, {m.device}, {m.batch_size}" for m in measured)),
    ]
    click.echo(table(rows[1:], headers=rows[0]))
