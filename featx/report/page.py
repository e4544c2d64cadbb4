"""A page of HTML that is one file: everything in it, nothing fetched from elsewhere, every text escaped."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from html import escape
from pathlib import Path

from featx.errors import UsageError
from featx.system.files import check_target, disk_full, write_atomically

# Elements that have no end tag.
_VOID = frozenset({"br", "img", "meta"})
# What the browser is to hold it to: no script, no request, pictures out of the page itself.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #f6f7f9; --card: #fff; --line: #d8dee4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --soft: #9aa4af; --paper: #14171b; --card: #1d2126; --line: #343b43; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem; max-width: 76rem; background: var(--paper); color: var(--ink);
       font: 16px/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin: 0 0 .4rem; }
h2 { font-size: 1.1rem; margin: 1.6rem 0 .6rem; }
p { margin: .3rem 0; }
.soft { color: var(--soft); font-size: .9rem; }
"""


class Markup(str):
    """Text that is HTML already; any other text is escaped when it is put into an element."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str) -> Markup:
    """Return an element with its children and attributes, escaped; `class_` is the attribute class."""
    given = "".join(
        f' {name.rstrip("_")}="{escape(_sound(value))}"' for name, value in attributes.items()
    )
    inner = "".join(_markup(child) for child in children)
    return Markup(f"<{tag}{given}>") if tag in _VOID else Markup(f"<{tag}{given}>{inner}</{tag}>")


def picture(jpeg: bytes, *, alt: str, **attributes: str) -> Markup:
    """Return a JPEG as an element that holds it."""
    source = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
    return element("img", src=source, alt=alt, **attributes)


def page(title: str, body: Iterable[Markup], *, style: str = "") -> str:
    """Return a whole page; style: rules beside the page's own."""
    head = [
        element("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        Markup(f"<style>{_STYLE}{style}</style>"),
    ]
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        *head,
        "</head>",
        "<body>",
        *body,
        "</body>",
        "</html>",
        "",
    ]
    return "\n".join(parts)


def check_page(path: str | os.PathLike[str]) -> None:
    """Raise UsageError if no page can be written to `path`, before any work is done; nor to what may be a video by its name."""
    if Path(path).suffix.lower() not in (".html", ".htm") or Path(
        os.path.realpath(path)
    ).suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            f"cannot write a page to {os.fspath(path)}: give a name that ends in .html"
        )
    check_target(Path(os.path.realpath(path)), example="page.html")


def write_page(path: str | os.PathLike[str], text: str) -> None:
    """Write a page, whole or not at all; the folder is made where it is missing."""
    target = Path(os.path.realpath(path))
    with disk_full(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, text.encode("utf-8"))


def _markup(child: str) -> str:
    return child if isinstance(child, Markup) else escape(_sound(child))


def _sound(text: str) -> str:
    """Replace what no page can hold: control characters, and bytes of a file name that are no text."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(
        c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text
    )
