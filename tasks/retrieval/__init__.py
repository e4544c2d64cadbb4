"""Similarity search: the clips and videos of a feature file that are most like a given one.

A query is compared with rows that lie L2-normalised in files beside the feature file: with all of them up to a
size, and above it with those in the nearest of faiss's cells, with the recall that this has on the file's own clips.
"""

from featx.tasks.retrieval._faiss import EXACT_BYTES
from featx.tasks.retrieval._folder import Recall
from featx.tasks.retrieval._index import IndexReport, index
from featx.tasks.retrieval._place import Plan
from featx.tasks.retrieval._question import Question
from featx.tasks.retrieval._report import index_text, plan_text, search_text, to_json
from featx.tasks.retrieval._search import Hit, SearchResult, search

__all__ = [
    "EXACT_BYTES",
    "Hit",
    "IndexReport",
    "Plan",
    "Question",
    "Recall",
    "SearchResult",
    "index",
    "index_text",
    "plan_text",
    "search",
    "search_text",
    "to_json",
]
