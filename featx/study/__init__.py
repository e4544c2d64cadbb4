"""The comparisons that the papers make, rerun: each trains its rows on a dataset and sets them beside the printed figures."""

from featx.study._report import as_text, listed, overview, to_json
from featx.study._run import Entry, Result, StudyReport, Watcher, run_study
from featx.study._settings import NOTHING, StudySettings
from featx.study._table import STUDIES, Printed, Row, Study, study_named

__all__ = [
    "NOTHING",
    "STUDIES",
    "Entry",
    "Printed",
    "Result",
    "Row",
    "Study",
    "StudyReport",
    "StudySettings",
    "Watcher",
    "as_text",
    "listed",
    "overview",
    "run_study",
    "study_named",
    "to_json",
]
