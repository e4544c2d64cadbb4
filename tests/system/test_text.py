"""Text for terminals and logs: control characters are shown, line breaks are featx's own."""

import json

import pytest

from featx.system.text import Text, joined, json_text, printable, visible


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain, é, 日本\u3000語, 👩\u200d💻", "plain, é, 日本\u3000語, 👩\u200d💻"),
        ("a\nfailed: b\r\tc", r"a\nfailed: b\r\tc"),
        ("\x1b[31m\x07\x00\x7f", r"\x1b[31m\x07\x00\x7f"),
        ("\x85\x9b2J", r"\x85\x9b2J"),
        ("\u202egpj\u2066x\u2069\u200f", r"\u202egpj\u2066x\u2069\u200f"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\udcff", r"\udcff"),
    ],
)
def test_a_line_shows_what_could_steer_a_terminal(given: str, shown: str) -> None:
    assert visible(given) == shown
    assert visible(shown) == shown


def test_a_text_keeps_its_own_line_breaks_and_no_others() -> None:
    inner = joined(["one\nforged", "two"])
    assert inner == "one\\nforged\ntwo"
    assert joined(["head", "", inner]) == "head\n\none\\nforged\ntwo"
    assert joined([f"{inner}!"]) == "one\\nforged\\ntwo!"


def test_printing_keeps_the_line_breaks_of_a_text_alone() -> None:
    assert printable("a\nb") == "a\\nb"
    assert printable(joined(["a", "b"])) == "a\nb"
    assert printable(Text("a\x1b\nb")) == "a\\x1b\nb"


def test_json_has_no_control_character_and_reads_back() -> None:
    value = {"a\x1b\n": ["\x7f\u202e", 1]}
    text = json_text(value)
    assert all(c == "\n" or c.isprintable() for c in text)
    assert json.loads(printable(text)) == value
