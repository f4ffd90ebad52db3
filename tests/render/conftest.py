"""What the tests of the pen share: sample records, and a strict reader of pages."""

import importlib.util
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

VOID = {"br", "img", "link", "meta"}
FOREIGN = {"svg", "path", "rect", "text", "line", "circle"}


@dataclass
class Element:
    tag: str
    attributes: dict
    parent: "Element | None" = None
    children: list = field(default_factory=list)

    @property
    def text(self):
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, tag, **attributes):
        found = []
        for child in self.children:
            if isinstance(child, Element):
                wanted = all(child.attributes.get(key.rstrip("_")) == value for key, value in attributes.items())
                found += [child] if child.tag == tag and wanted else []
                found += child.all(tag, **attributes)
        return found

    def ancestors(self):
        return [self.parent, *self.parent.ancestors()] if self.parent else []


class Reader(HTMLParser):
    """Builds a tree and refuses what is not well nested."""

    def __init__(self):
        super().__init__()
        self.root = self.open = Element("", {})

    def handle_starttag(self, tag, attributes):
        names = [key for key, _ in attributes]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice"
        element = Element(tag, dict(attributes), self.open)
        self.open.children.append(element)
        if self.open.tag == "p":
            assert tag not in {"p", "div", "ul", "dl", "table", "h3", "details", "figure"}, f"{tag} inside p"
        if tag not in VOID:
            self.open = element

    def handle_endtag(self, tag):
        assert self.open.tag == tag, f"</{tag}> closes <{self.open.tag}>"
        self.open = self.open.parent

    def handle_data(self, data):
        self.open.children.append(data)


@pytest.fixture(scope="session")
def read():
    def reading(page):
        reader = Reader()
        reader.feed(page)
        reader.close()
        assert reader.open is reader.root, f"<{reader.open.tag}> is never closed"
        return reader.root

    return reading


@pytest.fixture(scope="session")
def samples():
    spec = importlib.util.spec_from_file_location("render_samples", Path(__file__).with_name("samples.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def pages(samples):
    """The pages a person meets: runs, a check, an inspection and a preview of data, a cause, a proof."""
    from dataclasses import replace

    from isograd.render.html import inspection_page, preview_page, report_page, run_page
    from isograd.render.pairs import proof_page

    tabular = tuple(
        replace(e, metrics=(("rmse", 30_000 + 90_000 * e.loss), ("r2", 0.9 - e.loss / 3))) for e in samples.epochs()
    )
    sick = samples.vanishing("watch", tuple(range(1, 90, 3)))
    common = {"toml": samples.TOML}
    return {
        "digits": run_page(
            run=samples.run(), summary=samples.summary(), epochs=samples.epochs(), report=samples.report(),
            evaluation=samples.classification(errors=24), bundle=samples.bundle(), **common,
        ),
        "sick": run_page(
            run=samples.run(status="stopped"), summary=samples.summary(), epochs=samples.epochs(2), report=sick,
            evaluation=None, bundle=None, **common,
        ),
        "regression": run_page(
            run=samples.run("regression"), summary=samples.table_summary(), epochs=tabular, report=None,
            evaluation=samples.regression(), bundle=None, **common,
        ),
        "check": report_page(samples.vanishing()),
        "inspection": inspection_page(samples.inspection()),
        "preview": preview_page(samples.preview()),
        "cause": report_page(replace(samples.vanishing("watch"), cause=samples.explanation())),
        "proof": proof_page(samples.proof(), "--- train.py\n+++ train.py\n@@ -1 +1 @@\n-LR = 30.0\n+LR = 0.5\n"),
    }  # fmt: skip
