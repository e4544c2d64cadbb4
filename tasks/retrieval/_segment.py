"""Videos of a feature file to the files of one addition to an index, a block of rows at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from featx.store.reader import FeatureStore
from featx.system.files import created, disk_full, sync_folder
from featx.tasks.retrieval._folder import Segment, sync, synced_sha256
from featx.tasks.retrieval._rows import mean_of, read, unit
from featx.tasks.retrieval._videos import Table, packed


def write_segment(
    store: FeatureStore,
    table: Table,
    folder: Path,
    *,
    layer: str,
    dims: int,
    number: int,
    on_progress: Callable[[int, int], None],
) -> Segment:
    """Write the rows, means and table of these videos, synced; on_progress is called with (videos written, in all)."""
    rows_name, means_name, table_name = (
        f"rows-{number}.f32",
        f"means-{number}.f32",
        f"videos-{number}.npz",
    )
    videos = table.videos
    digest = hashlib.sha256()
    with (
        disk_full(folder),
        created(folder / rows_name) as rows_file,
        created(folder / means_name) as means_file,
    ):
        for done, video in enumerate(videos):
            on_progress(done, len(videos))
            total = np.zeros(dims, np.float64)
            for rows in read(store[video.id], layer, video.clips, dims):
                content = unit(rows).astype("<f4").tobytes()
                rows_file.write(content)
                digest.update(content)
                total += rows.sum(axis=0, dtype=np.float64)
            means_file.write(mean_of(total, video.clips).astype("<f4").tobytes())
        on_progress(len(videos), len(videos))
    with disk_full(folder):
        with created(folder / table_name) as file:
            file.write(packed(table))
        # The rows may be many gigabytes: their sha256 is that of what was written, they are not read for it.
        written = {name: synced_sha256(folder / name) for name in (means_name, table_name)}
        sync(folder / rows_name)
        sync_folder(folder)
    return Segment(
        clips=len(table.frames),
        videos=len(videos),
        rows=rows_name,
        means=means_name,
        table=table_name,
        sha256={rows_name: digest.hexdigest(), **written},
    )
