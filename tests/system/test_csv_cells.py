"""Cells that a spreadsheet takes for what they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.system.csv_cells import cell_text, text_cell


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-a.mp4", "@SUM(A1)", "\t=1", "\r=1"]
)
def test_a_formula_becomes_a_text(text: str) -> None:
    assert text_cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "value", [-1, -0.5, "-0.500000", "+3", "1e-5", "a=b", "", "'quoted'", None]
)
def test_numbers_and_other_texts_stay(value: object) -> None:
    assert text_cell(value) is value


@given(st.text(alphabet="'=+-@\t\r1a", max_size=6))
def test_what_was_written_is_read_back(text: str) -> None:
    assert cell_text(str(text_cell(text))) == text
