"""Pages as a browser reads them."""

from __future__ import annotations

from html.parser import HTMLParser


class Read(HTMLParser):
    """What a browser would make of a page: its elements, texts, and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def pictures(self) -> list[str]:
        """The sources of its pictures."""
        return [value for tag, name, value in self.attributes if (tag, name) == ("img", "src")]
