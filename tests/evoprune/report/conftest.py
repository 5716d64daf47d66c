"""Reads a page as a browser does."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Refuses tags that are not closed in order; collects all tags with their attributes, and texts."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def named(self, tag):
        """The attributes of each ``tag``."""
        return [attributes for name, attributes in self.tags if name == tag]

    def asks_no_network(self):
        """Asserts that the page is one that works alone, also without pictures and on a phone."""
        sources = [value for _, attributes in self.tags for key, value in attributes.items() if key in {"src", "href"}]
        assert sources
        assert all(source.startswith("data:") for source in sources)
        assert [meta for meta in self.named("meta") if "default-src 'none'" in meta.get("content", "")]
        assert not self.named("script")
        assert all(image["alt"].strip() for image in self.named("img"))
        assert [meta for meta in self.named("meta") if meta.get("name") == "viewport"]
