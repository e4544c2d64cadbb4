"""What was found as a page to look through: frames, cosines, names and times, all in one file."""

from __future__ import annotations

import os

from featx.errors import FeatxError
from featx.extraction.query import fingerprint
from featx.report.page import Markup, element, page, picture, write_page
from featx.tasks.retrieval._question import Question
from featx.tasks.retrieval._search import Hit, SearchResult
from featx.tasks.times import clock, stretch
from featx.video.thumbnails import thumbnails

FRAMES = 4
_STYLE = """
.query, .hit { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem; }
.query { margin: 1rem 0; border-width: 2px; }
.hits { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: .8rem;
        list-style: none; margin: 0; padding: 0; }
.strip { display: grid; grid-template-columns: repeat(4, 1fr); gap: 2px; margin-bottom: .5rem; }
.strip img { display: block; width: 100%; height: auto; border-radius: 2px; }
.query .strip { max-width: 46rem; }
.gone { display: flex; align-items: center; justify-content: center; min-height: 4.5rem; margin-bottom: .5rem; padding: .5rem;
        border: 1px dashed var(--line); border-radius: 2px; color: var(--soft); font-size: .9rem; text-align: center; }
.line { display: flex; gap: .8rem; align-items: baseline; justify-content: space-between; }
.rank { color: var(--soft); }
.cosine { font-variant-numeric: tabular-nums; }
.when { font-variant-numeric: tabular-nums; white-space: nowrap; }
"""


def write(result: SearchResult, path: str | os.PathLike[str]) -> list[str]:
    """Write the page; returns a sentence for each video of which it has no picture."""
    lacking: list[str] = []
    write_page(path, html_of(result, lacking))
    return list(dict.fromkeys(lacking))


def html_of(result: SearchResult, lacking: list[str]) -> str:
    """Return the page; what it has no picture of is added to `lacking`, a sentence each."""
    query = result.query
    what = "Videos" if result.whole_videos else "Clips"
    head = [element("h1", f"{what} most like {_called(query)}"), _summary(result)]
    shown = element(
        "section",
        _strip(query.path, query.frames, query.fingerprint, f"query, {_called(query)}", lacking),
        element("p", element("strong", "Query: "), query.name),
        element("p", _of_query(query), class_="soft"),
        element("p", query.path, class_="soft") if query.path != query.name else Markup(""),
        class_="query",
    )
    cards = [_card(hit, lacking) for hit in result.hits]
    found = (
        element("ol", *cards, class_="hits")
        if cards
        else element("p", "Nothing was found: there is no other video.")
    )
    return page(
        f"{what} most like {query.name}",
        [*head, shown, element("h2", f"{len(cards)} found"), found],
        style=_STYLE,
    )


def _called(query: Question) -> str:
    return query.name if query.at is None else f"{query.name} at {clock(query.at)}"


def _of_query(query: Question) -> str:
    if query.at is not None:
        return f"the clip {stretch(query.times)}"
    return f"the whole video, {stretch(query.times)}: the mean of its {query.clips} clip{'s' if query.clips != 1 else ''}"


def _summary(result: SearchResult) -> Markup:
    settings = result.settings
    weights = settings.weights
    source = f"random weights, seed {weights.seed}" if weights.name == "random" else weights.name
    how = "compared with all of them" if result.exact else "by cells of faiss"
    if result.recall is not None:
        how += f", recall@{result.recall.at} {result.recall.value:.3f} on {result.recall.queries} of its own clips"
    left = (
        f"; left out, as the query itself: {', '.join(result.left_out)}" if result.left_out else ""
    )
    return element(
        "p",
        f"By the cosine of {result.layer} of {settings.model.name} ({source}), among {result.clips:,} clips of "
        f"{result.videos:,} videos of {result.features}, {how}{left}.",
        class_="soft",
    )


def _card(hit: Hit, lacking: list[str]) -> Markup:
    return element(
        "li",
        _strip(
            hit.path, hit.frames, hit.fingerprint, f"{hit.video}, {stretch(hit.times)}", lacking
        ),
        element(
            "div",
            element("span", f"{hit.rank}.", class_="rank"),
            element("span", "cosine ", element("strong", f"{hit.cosine:.4f}"), class_="cosine"),
            element("span", stretch(hit.times), class_="when"),
            class_="line",
        ),
        element("div", element("strong", hit.video)),
        element("div", hit.path, class_="soft"),
        class_="hit",
    )


def _strip(path: str, frames: tuple[int, int], known: str, name: str, lacking: list[str]) -> Markup:
    """Return frames of a clip side by side, or a word on why there are none."""
    try:
        pictures = _pictures(path, frames, known)
    except FeatxError as error:
        lacking.append(f"no picture of {path}: {error}")
        return element("div", f"no picture: {error}", class_="gone")
    each = [
        picture(jpeg, alt=f"frame {n} of {len(pictures)}: {name}")
        for n, jpeg in enumerate(pictures, start=1)
    ]
    return element("div", *each, class_="strip")


def _pictures(path: str, frames: tuple[int, int], known: str) -> list[bytes]:
    if not os.path.exists(path):
        raise FeatxError("the video is not there any more")
    # What was decoded once, in processes that may die of it, is decoded here; another file is not.
    if known and fingerprint(path) != known:
        raise FeatxError("the video was changed since its features were extracted")
    return thumbnails(path, frames, count=FRAMES)
