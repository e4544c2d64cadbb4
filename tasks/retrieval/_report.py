"""Indexing and searching in words, tables and JSON."""

from __future__ import annotations

from dataclasses import asdict

from featx.report import table
from featx.system.text import Text, joined, json_text
from featx.tasks.retrieval._folder import Recall
from featx.tasks.retrieval._index import IndexReport
from featx.tasks.retrieval._place import Plan
from featx.tasks.retrieval._search import SearchResult
from featx.tasks.times import stretch


def plan_text(plan: Plan) -> str:
    """Say what an indexing is going to do."""
    again = f" (anew: {plan.why})" if plan.why else ""
    how = "exhaustive" if plan.exact else "in cells"
    return (
        f"indexing {plan.layer}, {plan.dims:,} numbers a clip, in {plan.index}: {_videos(plan.new)} to read, {plan.clips:,} clips"
        f" in all, {how}, {plan.size / 1e6:,.1f} MB to write{again}"
    )


def _videos(n: int) -> str:
    return f"{n:,} video{'s' if n != 1 else ''}"


def index_text(report: IndexReport) -> str:
    """Say what an indexing did."""
    did = {
        "nothing": "nothing to do",
        "added": f"{_videos(report.added)} added" if report.added else "another way of searching",
        "built": "built" + (f" anew ({report.why})" if report.why else ""),
    }
    found = f"exhaustive search: every clip is compared; {report.bytes / 1e6:,.1f} MB"
    if report.recall is not None:
        looked = f"{report.probes:,} of {report.cells:,} cells are looked into"
        found = f"{looked}: {_recall(report.recall)}; {report.bytes / 1e6:,.1f} MB"
    return (
        f"{report.index}: {did[report.done]} in {report.seconds:.1f} s; {report.layer} of {report.clips:,} clips"
        f" of {report.videos:,} videos; {found}"
    )


def search_text(result: SearchResult) -> Text:
    """Return what was found as a table, under a line that says what was asked, and over one that says on what it rests."""
    query = result.query
    of = (
        f"clip {stretch(query.times)}"
        if query.at is not None
        else f"the mean of {query.clips} clips, {stretch(query.times)}"
    )
    lines = [f"query: {query.name}, {of}"]
    if result.left_out:
        lines.append(f"left out, as the query itself: {', '.join(result.left_out)}")
    rows = [
        (hit.rank, f"{hit.cosine:.4f}", hit.video, stretch(hit.times), hit.path)
        for hit in result.hits
    ]
    lines += [
        "",
        table(rows, ["rank", "cosine", "video", "from-to", "path"])
        if rows
        else "nothing found: no other video",
        "",
    ]
    kind = "videos' means" if result.whole_videos else "clips"
    limit = ""
    if not result.whole_videos and result.per_video:
        limit = f", at most {result.per_video} of a video, none that overlap"
    n = result.videos if result.whole_videos else result.clips
    how = (
        "compared with all"
        if result.exact
        else _recall(result.recall)
        if result.recall
        else "in cells"
    )
    lines.append(
        f"cosine of {result.layer} among {n:,} {kind}{limit}; {how}; {result.seconds:.2f} s"
    )
    return joined(lines)


def to_json(report: IndexReport | SearchResult) -> Text:
    """Return a report as JSON."""
    told = asdict(report)
    if isinstance(report, SearchResult):
        told["settings"] = report.settings.to_json()
    return json_text(told)


def _recall(recall: Recall) -> str:
    return (
        f"recall@{recall.at} {recall.value:.3f} against exact search, {recall.milliseconds:.1f} ms a query,"
        f" on {recall.queries} of the file's own clips"
    )
