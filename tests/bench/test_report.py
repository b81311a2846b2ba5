"""The report: one page, self-contained, escaped, complete."""

from html.parser import HTMLParser

import numpy as np
import pytest

from seamo_bench import records as r
from seamo_bench.predictions import ClassPredictions, TilePredictions
from seamo_bench.report import write_report

HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=y>"
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Tags, attributes and text; refuses a page whose tags do not close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words, self.ids, self.links = [], [], [], set(), []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids.update(value for name, value in attrs if name == "id")
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def put(folder, backbone, right, *, seed=0, dataset="eurosat", floor="", flags=(), kind="single-label", status="ok"):
    dense = kind == "segmentation"
    title = "EuroSAT subset (202 of 27,000)" if dataset == "eurosat" else "World (synthetic)"
    facts = r.Facts(
        stores=(
            r.StoreFacts(id=dataset, content="c" * 64, subset=dataset == "eurosat", synthetic=dataset != "eurosat"),
        ),
        split=r.SplitFacts(scheme="official", lists={"test": "2" * 64}),
        task=r.TaskFacts(kind=kind, classes=("Forest", "River", HOSTILE)),
        backbone=r.BackboneFacts(id=backbone, card="d" * 64),
        adapter=r.AdapterFacts(
            inputs=(
                r.InputFacts(
                    sensor="s2",
                    stack="s2",
                    bands=("B02", "B8A"),
                    unit="dn",
                    steps=(r.StepFacts(op="affine", a=(1354.25,), b=(245.5,)),),
                    filled=("B8A",),
                    statistics=HOSTILE,
                ),
            ),
            missing="zero",
            size=(64, 64),
        ),
        protocol=r.ProtocolFacts(id="dense" if dense else "linear", version=1),
        seed=seed,
        budget="demo",
    )
    about = r.About(stores=(title,), backbone=backbone, floor=floor)
    if status != "ok":
        return r.write_record(folder, facts, about=about, status=status, reason=HOSTILE)
    rng = np.random.default_rng([sum(map(ord, backbone)), seed])
    labels = np.arange(120) % 3
    keys = np.array([f"k{i:03d}" for i in range(120)])
    if dense:
        wrong = rng.integers(0, 20, (120, 3))  # of 100 pixels a class, taken for the next one
        confusion = np.zeros((120, 3, 3), int)
        for k in range(3):
            confusion[:, k, k], confusion[:, k, (k + 1) % 3] = 100 - wrong[:, k], wrong[:, k]
        p = TilePredictions(keys, confusion)
    else:
        guess = np.where(rng.random(120) < right, labels, (labels + 1) % 3)
        p = ClassPredictions(keys, labels, (2 * np.eye(3)[guess]).astype(np.float32))
    cost = r.Cost(seconds=3.0 + seed + 10 * right)
    return r.write_record(folder, facts, about=about, predictions=p, flags=flags, cost=cost)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    flag = r.Flag(kind="filled-bands", text=f"B8A is made up {HOSTILE}")
    for seed in range(3):
        put(folder, "good-net", 0.9, seed=seed, flags=(flag,))
        put(folder, HOSTILE, 0.6, seed=seed)
        put(folder, "good-net", 0.8, seed=seed, dataset="world")
        put(folder, "good-net", 0.8, seed=seed, dataset="world", kind="segmentation")
    put(folder, "stats", 0.5, floor="image statistics")
    put(folder, "blind", 0, status="impossible")
    (folder / "<b>damaged.json").write_text("{")
    output = folder / "report.html"
    write_report(folder, output, title=f"Board {HOSTILE}", resamples=300)
    text = output.read_text()
    return text, Page(text)


def test_nothing_hostile_becomes_markup(page):
    text, parsed = page
    assert "<script>alert" not in text
    assert "<img" not in text
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    assert not any(name.startswith("on") for _, attrs in parsed.tags for name in attrs)
    assert parsed.text.count("<script>alert(1)</script>") > 5  # shown as text: title, row, reason, class, flag


def test_the_page_needs_no_network(page):
    text, parsed = page
    assert all(link.startswith("#") for link in parsed.links)
    assert {link[1:] for link in parsed.links} <= parsed.ids
    assert "url(" not in text
    assert "http" not in text
    assert "@import" not in text


def test_the_header_says_what_the_data_are(page):
    words = page[1].text
    start = words[: words.index("Leaderboard")]
    assert "EuroSAT subset (202 of 27,000)" in start
    assert "SYNTHETIC" in start
    assert "DEMO BUDGET" in start
    assert "random init, supervised" in start
    assert "<b>damaged.json" in start


def test_numbers_blanks_and_contracts_are_there(page):
    text, parsed = page
    for expected in ("impossible: ", "B8A is made up", "affine a=[1354.25] b=[245.5]", "image statistics", "floor:"):
        assert expected in parsed.text
    assert "bootstrap over 120 samples" in parsed.text
    assert "good-net - stats" in parsed.text
    assert text.count("<svg") > 6
    for name in ("nan", "None", "inf,"):
        assert f">{name}" not in text


def test_tables_and_pictures_can_be_read_aloud(page):
    _, parsed = page
    heads = [attrs for tag, attrs in parsed.tags if tag == "th"]
    assert heads
    assert all(attrs.get("scope") in ("col", "row") for attrs in heads)
    pictures = [attrs for tag, attrs in parsed.tags if tag == "svg"]
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in pictures)
    assert ("html", {"lang": "en"}) in parsed.tags
    assert [tag for tag, _ in parsed.tags].count("h1") == 1


def luminance(color):
    color = color if len(color) == 7 else "#" + "".join(2 * c for c in color[1:])
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_contrast_of_light_and_dark(page):
    text = page[0]
    for start in (":root{color-scheme", "{:root{--paper"):
        block = text[text.index(start) :]
        block = block[: block.index("}")].replace("\n", "")
        colors = dict(part.split(":", 1) for part in block[block.index("--") :].split(";") if part.startswith("--"))
        pairs = [("--ink", "--paper"), ("--soft", "--paper"), ("--soft", "--card"), ("--soft", "--blank"),
                 ("--accent", "--paper"), ("--floor", "--card"), ("--warn-ink", "--warn-bg")]  # fmt: skip
        for ink, ground in pairs:
            high, low = sorted((luminance(colors[ink]), luminance(colors[ground])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (start, ink, ground)
