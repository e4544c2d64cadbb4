"""Write random detections of annotated videos in the official text format, to time `featx detect eval` with.

python tools/many_detections.py ANNOTATIONS 100000 many.txt
time featx detect eval many.txt --annotations ANNOTATIONS
"""

from __future__ import annotations

import sys

import numpy as np

from featx.datasets.thumos14 import read_annotations
from featx.tasks.localization._formats import write_text
from featx.tasks.localization._types import Detections


def main(arguments: list[str]) -> None:
    """Write as many detections as asked, 0.5 to 20 s long, in each video's first five minutes, of any class and score."""
    annotations, number, out = read_annotations(arguments[0]), int(arguments[1]), arguments[2]
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 300, number)
    found = Detections(
        classes=annotations.classes,
        videos=annotations.videos,
        video=rng.integers(len(annotations.videos), size=number),
        label=rng.integers(len(annotations.classes), size=number),
        start=start,
        end=start + rng.uniform(0.5, 20, number),
        score=rng.random(number),
    )
    write_text(found, out)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1:])
