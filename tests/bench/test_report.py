"""The report: one page, self-contained, escaped, complete."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from seamo.errors import ProtocolError
from seamo_bench import facts as f
from seamo_bench.board.citations import CONTESTED
from seamo_bench.board.report import write_report
from seamo_bench.predictions import ClassPredictions, TilePredictions
from seamo_bench.records import record as r

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

    def of(self, tag, name):
        """Values of an attribute."""
        return [attrs[name] for found, attrs in self.tags if found == tag and name in attrs]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def put(folder, backbone, right, *, seed=0, dataset="eurosat", floor="", flags=(), kind="single-label", status="ok"):
    dense = kind == "segmentation"
    title = "EuroSAT subset (202 of 27,000)" if dataset == "eurosat" else "World (synthetic)"
    facts = f.Facts(
        stores=(
            f.StoreFacts(id=dataset, content="c" * 64, subset=dataset == "eurosat", synthetic=dataset != "eurosat"),
        ),
        split=f.SplitFacts(scheme="official", lists={"test": "2" * 64}),
        task=f.TaskFacts(kind=kind, classes=("Forest", "River", HOSTILE)),
        backbone=f.BackboneFacts(id=backbone, card="d" * 64),
        adapter=f.AdapterFacts(
            inputs=(
                f.InputFacts(
                    sensor="s2",
                    stack="s2",
                    bands=("B02", "B8A"),
                    unit="dn",
                    steps=(f.StepFacts(op="affine", a=(1354.25,), b=(245.5,)),),
                    filled=("B8A",),
                    statistics=HOSTILE,
                ),
            ),
            missing="zero",
            size=(64, 64),
        ),
        protocol=f.ProtocolFacts(id="dense" if dense else "linear", version=1),
        seed=seed,
        budget="demo",
    )
    about = r.About(stores=(title,), backbone=backbone, floor=floor)
    if status != "ok":
        return r.write_record(folder, facts, about=about, status=status, reason=HOSTILE)
    rng = np.random.default_rng([sum(map(ord, backbone)), seed])
    labels = np.arange(120) % 3
    keys = np.array([f"k{i:03d}" for i in range(120)])
    geo = {}
    if dataset == "eurosat":
        grid = np.stack(np.meshgrid([10.02, 10.52, 11.02, 11.52], [50.02, 50.52, 51.02]), axis=-1).reshape(-1, 2)
        names = np.array([HOSTILE] * 50 + ["Kosovo"] * 12 + [""] * 58)
        geo = {"places": grid[np.arange(120) % 12].astype(np.float32), "countries": names}
    if dense:
        wrong = rng.integers(0, 20, (120, 3))  # of 100 pixels a class, taken for the next one
        confusion = np.zeros((120, 3, 3), int)
        for k in range(3):
            confusion[:, k, k], confusion[:, k, (k + 1) % 3] = 100 - wrong[:, k], wrong[:, k]
        p = TilePredictions(keys, confusion)
    else:
        guess = np.where(rng.random(120) < right, labels, (labels + 1) % 3)
        p = ClassPredictions(keys, labels, (2 * np.eye(3)[guess]).astype(np.float32), **geo)
    cost = r.Cost(seconds=3.0 + seed + 10 * right, samples_per_second=1234.5, flops_per_sample=2e9 * (1 + right))
    return r.write_record(folder, facts, about=about, predictions=p, flags=flags, cost=cost)


def some_results(folder):
    flag = r.Flag(kind="data-check", text=f"B8A is made up {HOSTILE}")
    for seed in range(3):
        put(folder, "good-net", 0.9, seed=seed, flags=(flag,))
        put(folder, HOSTILE, 0.6, seed=seed)
        put(folder, "good-net", 0.8, seed=seed, dataset="world")
        put(folder, "good-net", 0.8, seed=seed, dataset="world", kind="segmentation")
    put(folder, "stats", 0.5, floor="image statistics")
    put(folder, "blind", 0, status="impossible")
    (folder / "<b>damaged.json").write_text("{")
    drawn = folder / "figures"
    drawn.mkdir()
    for name in ("figure05-a_b", HOSTILE.replace("/", "")):
        Image.new("RGB", (40, 30), "green").save(drawn / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = some_results(tmp_path_factory.mktemp("results"))
    output = folder / "report.html"
    write_report(folder, output, title=f"Board {HOSTILE}", resamples=300, figures=folder / "figures")
    text = output.read_text()
    return text, Page(text)


def test_nothing_hostile_becomes_markup(page):
    text, parsed = page
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    scripts = [attrs for tag, attrs in parsed.tags if tag == "script"]
    assert [attrs.get("type") for attrs in scripts] == ["application/json", None]  # data, and the page's own
    assert not any(name.startswith("on") for _, attrs in parsed.tags for name in attrs)
    assert parsed.text.count("<script>alert(1)</script>") > 5  # shown as text: title, row, reason, class, flag


def test_the_page_needs_no_network(page):
    text, parsed = page
    inside = {link for link in parsed.links if link.startswith("#")}
    outside = {link for link in parsed.links if link.startswith("https://")}
    manifest = {"https://github.com/phelber/EuroSAT", "https://arxiv.org/abs/1709.00029"}
    assert manifest <= outside <= manifest | {where for _, where in CONTESTED.values()}
    assert all(link.startswith("data:image/png;base64,") for link in {*parsed.links} - inside - outside)
    for tag, attrs in parsed.tags:
        if attrs.get("href") in outside:
            assert (tag, attrs["rel"]) == ("a", "noopener noreferrer")
    assert {link[1:] for link in inside} <= parsed.ids
    (policy,) = (attrs["content"] for tag, attrs in parsed.tags if "http-equiv" in attrs)
    assert "default-src 'none'" in policy
    assert "url(" not in text
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "")  # the name of SVG, in the script
    assert "@import" not in text


def test_the_header_says_what_the_data_are(page):
    words = page[1].text
    start = words[: words.index("Overview Single-label classification")]
    assert "EuroSAT subset (202 of 27,000)" in start
    assert "SYNTHETIC" in start
    assert "DEMO BUDGET" in start
    assert "random init, supervised" in start
    assert "1 damaged file left out" in start
    assert "<b>damaged.json: is not a record" in words  # the tab Flags says which and why
    assert "2 models and 1 floor on 2 data sets in 3 columns" in start
    assert "World (synthetic), dense (demo budget): good-net leads with" in start


def test_numbers_blanks_and_contracts_are_there(page):
    text, parsed = page
    for expected in ("impossible: ", "B8A is made up", "affine a=[1354.25] b=[245.5]", "image statistics", "floor:"):
        assert expected in parsed.text
    assert "bootstrap over 120 samples" in parsed.text
    assert "good-net - stats" in parsed.text
    assert "1,234" in parsed.text  # samples a second
    assert text.count("<svg") > 6
    for name in ("nan", "None", "inf,"):
        assert f">{name}" not in text


def test_tables_and_pictures_can_be_read_aloud(page):
    _, parsed = page
    heads = [attrs for tag, attrs in parsed.tags if tag == "th"]
    assert heads
    assert all(attrs.get("scope") in ("col", "row") for attrs in heads)
    pictures = [attrs for tag, attrs in parsed.tags if tag == "svg"]
    hidden = [attrs for attrs in pictures if attrs.get("aria-hidden") == "true"]
    assert all(a["role"] in ("img", "group") and a["aria-label"] for a in pictures if a not in hidden)
    assert {attrs.get("class", "shade") for attrs in hidden} == {"interval", "shade"}  # beside their numbers
    assert len(hidden) < len(pictures)
    assert parsed.text.count("[") > len(hidden) / 2
    assert all(parsed.of("img", "alt"))
    assert ("html", {"lang": "en"}) in parsed.tags
    assert [tag for tag, _ in parsed.tags].count("h1") == 1


def luminance(color):
    color = color if len(color) == 7 else "#" + "".join(2 * c for c in color[1:])
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def mixed(color, ground, share):
    """As color-mix(in srgb, ...) has it."""
    parts = [[int(one[i : i + 2], 16) for i in (1, 3, 5)] for one in (color, ground)]
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in zip(*parts, strict=True))


def test_contrast_of_light_and_dark(page):
    found = re.findall(r"--([\w-]+):light-dark\((#\w+),(#\w+)\)", page[0])
    assert len(found) > 10
    for theme in (1, 2):
        colors = {one[0]: one[theme] for one in found}
        colors["deepest"] = mixed(colors["accent"], colors["card"], 0.45)  # of the overview's shades
        pairs = [("ink", "paper"), ("ink", "card"), ("ink", "deepest"), ("soft", "paper"), ("soft", "card"),
                 ("soft", "blank"), ("accent", "paper"), ("floor", "card"), ("warn-ink", "warn-bg"),
                 ("paper", "accent")]  # fmt: skip
        for ink, ground in pairs:
            high, low = sorted((luminance(colors[ink]), luminance(colors[ground])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (theme, ink, ground)


def test_maps_show_every_cell_and_countries_their_numbers(page):
    _, parsed = page
    # Ten samples in each of twelve cells, listed from west to east and, of one longitude, from south to north.
    cells = [attrs for tag, attrs in parsed.tags if tag == "rect" and "data-spot" in attrs]
    assert len(cells) == 12
    assert {one["data-n"] for one in cells} == {"10"}
    assert cells[0]["data-spot"] == "10 to 10.05 E, 50 to 50.05 N"
    options = parsed.of("option", "data-scores")
    assert len(options) == 3  # the column's backbones with scores
    assert all(len(one.split()) == 12 for one in options)
    labels = np.arange(120) % 3
    for option, (backbone, right, seeds) in zip(
        options, (("good-net", 0.9, 3), (HOSTILE, 0.6, 3), ("stats", 0.5, 1)), strict=True
    ):
        hits = []
        for seed in range(seeds):
            rng = np.random.default_rng([sum(map(ord, backbone)), seed])
            guess = np.where(rng.random(120) < right, labels, (labels + 1) % 3)
            hits.append((guess == labels).reshape(10, 3, 4).mean(axis=0).T.ravel())
        np.testing.assert_allclose([float(one) for one in option.split()], np.mean(hits, axis=0), atol=1e-4)
    assert "n = 12: no interval" in parsed.text
    assert parsed.text.count("Kosovo") == 1
    assert parsed.text.index(f"{HOSTILE} 50".replace("  ", " ")) < parsed.text.index("Kosovo 12")


def test_figures_have_captions(page):
    _, parsed = page
    assert "Figure 5 a b" in parsed.of("img", "alt")
    assert len(parsed.of("img", "src")) == 2


def test_a_folder_of_figures_must_hold_pictures(tmp_path):
    put(tmp_path, "stats", 0.5)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProtocolError, match=r"holds no \.png"):
        write_report(tmp_path, tmp_path / "r.html", figures=tmp_path / "empty")
    (tmp_path / "empty" / "a.png").write_text("<svg onload=alert(1)>")
    with pytest.raises(ProtocolError, match="is not a PNG"):
        write_report(tmp_path, tmp_path / "r.html", figures=tmp_path / "empty")


def test_a_page_with_nothing_but_blanks(tmp_path):
    put(tmp_path, "blind", 0, status="impossible")
    write_report(tmp_path, tmp_path / "r.html", resamples=50)
    parsed = Page((tmp_path / "r.html").read_text())
    for said in ("No backbone has a score here.", "No record says what it cost.", "No record says where its samples",
                 "No data set here names countries.", "No record has per-class values."):  # fmt: skip
        assert said in parsed.text


def test_the_same_results_give_the_same_page(tmp_path):
    some_results(tmp_path)
    pages = []
    for name in ("one.html", "two.html"):
        write_report(tmp_path, tmp_path / name, resamples=50)
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]
