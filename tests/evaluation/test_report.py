import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.image import imread

from monarch_sciml.evaluation import ComparisonTable, save, training_figure, write_report

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Collect tags, references and text; fail on tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.references, self.text = [], [], [], []
        self.images = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


@pytest.fixture
def table():
    rows = [
        {"network": name, "seed": seed, "rel_l2": error + 0.01 * seed}
        for name, error in (("FNO", 0.2), ("Monarch|NO <i>", 0.1))
        for seed in range(2)
    ]
    return ComparisonTable.from_rows(rows, ["rel_l2"], baseline="FNO")


@pytest.fixture
def page(table, tmp_path):
    figure = training_figure({"FNO": [([1, 2], [1.0, 0.5])]})
    png = save(training_figure({"other": [([1, 2], [0.5, 1.0])]}), tmp_path / "other.png")
    path = write_report(
        tmp_path / "run" / "report.html",
        title="FNO & Monarch-NO",
        summary="First <script>alert(1)</script> paragraph.\n\nSecond one, see https://example.org.",
        tables={"Test error": table, "Plain": "| a | b |\n|---|---|\n| 1 | **2** |\n\nA note."},
        figures={'Training "loss"': figure, "Another": png},
        environment={"torch": "2.13.0", "device": {"name": "CPU <0>", "cores": 2}},
        configuration="network:\n  class_path: '{{ x }} <b>'\n",
        command="monarch-sciml compare --config a.yaml",
        seeds=[0, 1],
        budget="2 epochs",
    )
    return path, Page(path.read_text(encoding="utf-8"))


def test_report_is_well_formed_and_self_contained(page):
    _, html = page
    assert not html.open
    assert not {"script", "link", "iframe", "object", "a"} & set(html.tags)
    assert html.references and all(
        ref.startswith("data:image/png;base64,") for ref in html.references
    )
    style = page[0].read_text().split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style
    assert "prefers-color-scheme: dark" in style and "@media print" in style


def test_report_contains_every_figure_once(page):
    path, html = page
    assert [image["alt"] for image in html.images] == ['Training "loss"', "Another"]
    assert html.tags.count("figure") == html.tags.count("figcaption") == 2
    data = [base64.b64decode(image["src"].split(",", 1)[1]) for image in html.images]
    assert data[0] != data[1] and data[1] == (path.parents[1] / "other.png").read_bytes()
    assert all(np.ptp(imread(io.BytesIO(png))) > 0 for png in data)


def test_report_shows_the_result_table_first_then_figures_then_how(page):
    path, html = page
    text = path.read_text()
    assert text.index('id="results"') < text.index('id="figures"') < text.index('id="made"')
    assert html.tags.count("table") == 2 + 1 + 1  # result and its pairs, plain, facts
    assert html.tags.count("strong") == 2


def test_report_escapes_all_text(page):
    _, html = page
    shown = "".join(html.text)
    for text in (
        "<script>alert(1)</script>",
        "Monarch|NO <i>",
        "CPU <0>",
        "class_path: '{{ x }} <b>'",
        "FNO & Monarch-NO",
    ):
        assert text in shown
    assert "b" not in html.tags and "i" not in html.tags


def test_report_says_how_it_was_made(page):
    shown = "".join(page[1].text)
    for text in ("monarch-sciml compare --config a.yaml", "0, 1", "2 epochs", "device.cores"):
        assert text in shown


def test_report_without_tables_or_figures_has_no_empty_section(tmp_path):
    path = write_report(
        tmp_path / "report.html",
        title="empty",
        summary="",
        tables={},
        figures={},
        environment={},
        configuration="",
    )
    html = Page(path.read_text())
    assert "Figures" not in html.text and "Results" not in html.text
    assert "Command" not in html.text and "Configuration" not in html.text


def test_report_refuses_what_it_cannot_embed_and_leaves_no_file(tmp_path):
    def report(figure):
        return write_report(
            tmp_path / "report.html",
            title="t",
            summary="",
            tables={},
            figures={"f": figure},
            environment={},
            configuration="",
        )

    (tmp_path / "fake.png").write_text("no image")
    with pytest.raises(ValueError, match="must be a PNG file"):
        report(tmp_path / "fake.png")
    with pytest.raises(FileNotFoundError, match="must exist"):
        report(tmp_path / "absent.png")
    assert [file.name for file in tmp_path.iterdir()] == ["fake.png"]
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(FileExistsError, match="must not exist yet"):
        report(training_figure({"a": [([1], [1.0])]}))
    assert (tmp_path / "report.html").read_text() == "mine"
