"""How well a network recognises a dataset's videos, by the protocols of the papers."""

from featx.evaluation._generated import HELD_OUT, evaluate_generated
from featx.evaluation._picture import plot_confusion
from featx.evaluation._protocols import PROTOCOLS, Protocol, protocol_named
from featx.evaluation._report import as_text, to_json, write_csv
from featx.evaluation._result import Evaluation
from featx.evaluation._run import evaluate, recognise

__all__ = [
    "HELD_OUT",
    "PROTOCOLS",
    "Evaluation",
    "Protocol",
    "as_text",
    "evaluate",
    "evaluate_generated",
    "plot_confusion",
    "protocol_named",
    "recognise",
    "to_json",
    "write_csv",
]
