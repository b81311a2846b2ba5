"""The report in headless Chromium: keys, drawer, tabs, map, light and dark, narrow and wide, nothing from outside."""

import base64
import csv
import io
import json
import shutil

import pytest
from PIL import Image

from seamo_bench.board.leaderboard import build_table
from seamo_bench.board.report import write_report
from seamo_bench.board.tables import to_objects
from seamo_bench.records.record import read_records
from tests.bench.browser import PROGRAM, browser
from tests.bench.test_report import some_results

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here (chromium, google-chrome)")
FOCUSED = "document.activeElement"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = some_results(tmp_path_factory.mktemp("results"))
    path = folder / "report.html"
    write_report(folder, path, resamples=100, figures=folder / "figures")
    profile = tmp_path_factory.mktemp("profile")
    with browser(profile) as one:
        yield one, path
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture
def page(opened):
    one, path = opened
    one.size(1280, 900)
    one.media()
    one.open(path)
    return one


def focus(page, selector):
    assert page.js(f"(document.querySelector({selector!r})?.focus(), {FOCUSED}.matches({selector!r}))"), selector


def tab(page, name):
    page.js(f"document.querySelector('nav a[href=\"#{name}\"]').click()")


def words(page, selector):
    return page.js(f"[...document.querySelectorAll({selector!r})].map((one) => one.textContent)")


def test_it_loads_nothing_and_complains_about_nothing(page, opened):
    wanted = [one["params"]["request"]["url"] for one in page.events if one["method"] == "Network.requestWillBeSent"]
    assert [url for url in wanted if not url.startswith("data:")] == [opened[1].as_uri()]
    page.js("document.querySelectorAll('img').forEach((one) => (one.loading = 'eager'))")
    assert page.js("Promise.all([...document.images].map((one) => one.decode())).then((all) => all.length)") == 2
    assert not [one for one in page.events if one["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
    # Even a script that came in could send nothing out.
    assert page.js("fetch('https://example.org/').then(() => 'through', () => 'blocked')") == "blocked"


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out_of_the_window(page, width):
    page.size(width, 800)
    for name in page.js("[...document.querySelectorAll('main > section')].map((one) => one.id)"):
        tab(page, name)
        page.js("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        assert page.js("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), name


def test_a_table_wider_than_a_phone_says_so_and_keeps_its_names_in_sight(page):
    page.size(390, 800)
    tab(page, "scores-single-label")
    page.js("new Promise((done) => setTimeout(done, 100))")  # a resize is heard a moment later
    sign = "getComputedStyle(document.querySelector('#scores-single-label .scroller'), '::before').content"
    assert "scroll sideways" in page.js(sign)
    left = "document.querySelector('#scores-single-label tbody th').getBoundingClientRect().left"
    before = page.js(left)
    page.js("document.querySelector('#scores-single-label .scroll').scrollLeft = 150")
    assert page.js(left) == before
    page.size(1280, 800)
    page.js("new Promise((done) => setTimeout(done, 100))")
    assert page.js(sign) == "none"


def test_enter_on_a_head_sorts_and_again_turns_it(page):
    tab(page, "scores-single-label")
    page.js("document.querySelectorAll('#scores-single-label table')[0].id = 'first'")
    names = "#first tbody th"
    before = words(page, names)
    assert len(before) == 3
    focus(page, "#first thead th:nth-child(2) button")
    page.key("Enter")
    assert page.js("document.querySelector('#first thead th:nth-child(2)').ariaSort") == "descending"
    best_first = words(page, names)
    page.key("Enter")
    assert words(page, names) == best_first[::-1]
    values = [float(one) for one in page.js("[...document.querySelectorAll('#first td.num[data-value]:nth-child(2)')]"
                                            ".map((one) => one.dataset.value)")]  # fmt: skip
    assert values == sorted(values)
    assert values[0] != values[-1]
    page.key("Tab")  # the next head is the next stop
    assert page.js(f"{FOCUSED}.closest('th').cellIndex") == 2
    assert page.js(f"getComputedStyle({FOCUSED}).outlineStyle") == "solid"


def test_the_origin_of_a_score_opens_and_closes_with_keys(page):
    tab(page, "scores-single-label")
    focus(page, "#scores-single-label td a.why")
    target = page.js(f"{FOCUSED}.hash")
    page.key("Enter")
    assert page.js("document.getElementById('drawer').open")
    key = page.js(f"document.querySelector('{target} td.key:last-child').textContent")
    drawer = words(page, "#drawer")[0]
    assert len(key) == 64
    for said in (key, "What it was fed", "affine a=[1354.25] b=[245.5]", "official", "bootstrap over 120 samples"):
        assert said in drawer
    assert page.js(f"document.getElementById('drawer').contains({FOCUSED})")
    page.key("Escape")
    assert not page.js("document.getElementById('drawer').open")
    assert page.js(f"{FOCUSED}.hash") == target


def test_a_blank_says_why_and_leads_to_its_origin(page):
    page.js("document.querySelector('#overview details.blanks').open = true")
    assert "impossible: <script>alert(1)</script>" in words(page, "#overview details.blanks li")[0]
    focus(page, "#overview details.blanks a.why")
    page.key("Enter")
    assert "impossible: <script>alert(1)</script>" in words(page, "#drawer")[0]


def test_tabs_show_a_page_each_and_have_an_address(page):
    shown = "[...document.querySelectorAll('main > section')].filter((one) => one.offsetParent).map((one) => one.id)"
    assert page.js(shown) == ["overview"]
    tab(page, "cost")
    assert (page.js(shown), page.js("location.hash")) == (["cost"], "#tab=cost")
    assert page.js("document.querySelector('nav [aria-current]').textContent") == "Cost"
    page.js("history.back()")
    page.js("new Promise((done) => setTimeout(done, 100))")
    assert page.js(shown) == ["overview"]


def test_filters_hide_rows_and_columns_everywhere_and_stand_in_the_address(page, opened):
    heads = "[...document.querySelectorAll('#overview thead th')].filter((one) => one.offsetParent).length"
    rows = "[...document.querySelectorAll('#overview tbody tr')].filter((one) => one.offsetParent).length"
    assert (page.js(heads), page.js(rows)) == (4, 3)
    assert words(page, "select[name=dataset] option") == ["all", "eurosat", "world"]
    focus(page, "select[name=dataset]")
    page.key("ArrowDown", 2)
    page.key("Enter")
    assert (page.js(heads), page.js("location.hash")) == (3, "#dataset=world")
    assert words(page, ".filters [role=status]") == ["4 of 4 rows, 2 of 3 columns"]
    focus(page, "input[name=q]")
    for letter in "good":
        page.call("Input.dispatchKeyEvent", type="char", text=letter)
    assert (page.js(rows), page.js("location.hash")) == (1, "#dataset=world&q=good")
    # The address shows the same in a new window, with a tab and an open origin, too.
    tab(page, "scores-segmentation")
    page.js("document.querySelector('#scores-segmentation a.why').click()")
    address = page.js("location.hash")
    drawer = words(page, "#drawer")[0]
    page.open(opened[1])
    assert not page.js("document.getElementById('drawer').open")
    page.js(f"location.hash = {address!r}")
    page.js("new Promise((done) => setTimeout(done, 200))")
    assert words(page, "#drawer")[0] == drawer
    assert "mIoU" in drawer
    assert page.js("document.querySelector('#scores-segmentation').offsetParent !== null")
    assert page.js("[document.querySelector('[name=q]').value, document.querySelector('[name=dataset]').value]") == [
        "good",
        "world",
    ]
    page.key("Escape")
    page.js("new Promise((done) => setTimeout(done, 100))")  # a dialog tells that it closed a moment later
    assert "cell=" not in page.js("location.hash")
    page.js("document.querySelector('.filters [type=reset]').click()")
    assert page.js("location.hash") == "#tab=scores-segmentation"
    page.js("document.querySelector('[name=q]').value = 'nobody'")
    page.js("document.querySelector('[name=q]').dispatchEvent(new Event('input', { bubbles: true }))")
    tab(page, "overview")
    assert page.js("getComputedStyle(document.querySelector('#overview table'), '::after').content").startswith(
        '"No row'
    )


def saved(page, click):
    """What a click would put into the downloads: its name and its text."""
    page.js("""window.kept = null; HTMLAnchorElement.prototype.click = function () { kept.name = this.download; };
        URL.createObjectURL = (blob) => { kept = { blob }; return 'blob:x'; }""")
    page.js(click)
    page.js("new Promise((done) => { const wait = () => kept?.name ? done() : setTimeout(wait, 20); wait(); })")
    return page.js("kept.name"), page.js("kept.blob.type.startsWith('image') ? '' : kept.blob.text()")


def test_shown_rows_are_saved_as_the_command_prints_them(page, opened):
    folder = opened[1].parent
    wanted = to_objects(build_table(read_records(folder), folder, resamples=100))
    name, text = saved(page, "document.querySelector('[data-form=json]').click()")
    assert name == "scores.json"
    got = {one["id"]: one for one in json.loads(text)}
    assert len(got) == len(wanted) == 6
    for one in wanted:
        for field in (
            "backbone",
            "dataset",
            "protocol",
            "fraction",
            "value",
            "low",
            "high",
            "best",
            "records",
            "reason",
        ):
            assert got[one["id"]][field] == one[field], field
    page.js("document.querySelector('[name=dataset]').value = 'eurosat'")
    page.js("document.querySelector('[name=dataset]').dispatchEvent(new Event('input', { bubbles: true }))")
    name, text = saved(page, "document.querySelector('[data-form=csv]').click()")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert (name, {line["dataset"] for line in lines}) == ("scores.csv", {"eurosat"})
    assert {line["backbone"]: line["value"] for line in lines} == {
        one["backbone"]: "" if one["value"] is None else repr(one["value"])
        for one in wanted
        if one["dataset"] == "eurosat"
    }
    assert all(not line["backbone"].startswith(("=", "+", "-", "@")) for line in lines)


def test_a_plot_is_saved_as_a_picture_without_asking_anybody(page):
    tab(page, "cost")
    name, _ = saved(page, "document.querySelector('#cost .save').click()")
    assert name == "top-1-against-flops-a-sample.png"
    code = "kept.blob.arrayBuffer().then((one) => btoa(String.fromCharCode(...new Uint8Array(one))))"
    image = Image.open(io.BytesIO(base64.b64decode(page.js(code)))).convert("RGB")
    assert image.size == (1520, 680)
    colors = {color for _, color in image.getcolors(1 << 20)}
    assert (255, 255, 255) in colors  # the card it stands on
    assert (11, 110, 110) in colors  # the accent of the marks: style rules went with it
    assert not [one for one in page.events if one["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]


def test_the_map_walks_by_arrows_and_changes_by_backbone(page):
    tab(page, "map")
    focus(page, "#map rect.hint")
    reading = "#map .reading"
    first = words(page, reading)[0]
    assert first.startswith("10 to 10.05 E, 50 to 50.05 N: Top-1 ")
    assert first.endswith(", n = 10")
    page.key("ArrowRight")
    assert words(page, reading)[0].startswith("10 to 10.05 E, 50.5 to 50.55 N: ")
    page.key("Tab")
    assert not page.js(f"{FOCUSED}.matches('#map rect.hint')")  # the map is one stop
    shades = "[...document.querySelectorAll('#map rect.hint')].map((one) => one.getAttribute('class').slice(-2))"
    good, table = page.js(shades), words(page, "#map tbody tr")
    focus(page, "#map select")
    page.key("ArrowDown")
    page.key("Enter")
    bad = page.js(shades)
    assert sum(int(one[1]) for one in bad) < sum(int(one[1]) for one in good)  # 0 is the worst
    assert words(page, "#map tbody tr") != table
    chosen = page.js("document.querySelector('#map select').value")
    names = "[...document.querySelectorAll('#map option')].map((one) => [one.value, one.textContent])"
    assert words(page, "#map .whose")[0] == dict(page.js(names))[chosen]
    worst = page.js("document.querySelector('#map tbody td:last-child').textContent")
    scores = page.js("document.querySelector('#map select').selectedOptions[0].dataset.scores.split(' ').map(Number)")
    assert float(worst) == pytest.approx(100 * min(scores), abs=0.006)


def test_a_dot_of_the_plot_says_its_values(page):
    tab(page, "cost")
    focus(page, "#cost .plot g.hint")
    assert "FLOPs a sample" in words(page, "#cost .plot .reading")[0]


def test_light_dark_and_the_choice_between(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.js(ground)
    page.media(scheme="dark")
    dark = page.js(ground)
    assert light != dark
    focus(page, ".theme")
    page.key("Enter")
    assert page.js(ground) == light
    page.key(" ")
    page.media(scheme="light")
    assert page.js(ground) == dark


def test_without_script_everything_is_there(page, opened):
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(opened[1])
        assert page.js("document.querySelectorAll('thead button').length") == 0
        assert page.js("document.querySelectorAll('#scores-single-label tbody tr').length") >= 4
        target = page.js("document.querySelector('#scores-single-label a.why').hash")
        assert page.js(f"document.querySelector('{target} dl').textContent.length") > 50
        hidden = "[...document.querySelectorAll('main > section')].filter((one) => !one.offsetParent).length"
        assert page.js(hidden) == 0
        assert page.js("document.querySelector('.filters').offsetParent === null")  # they need the script
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)


def test_on_paper_there_are_no_buttons(page):
    page.media(kind="print")
    assert page.js("document.querySelector('.bar-top').offsetParent === null")
    assert page.js("document.querySelector('.theme').offsetParent === null")


def test_on_paper_all_tabs_and_the_headline_are_there(page):
    tab(page, "cost")
    page.media(kind="print")
    shown = "[...document.querySelectorAll('main > section')].filter((one) => one.offsetParent).map((one) => one.id)"
    assert set(page.js(shown)) >= {"overview", "scores-single-label", "scores-segmentation", "pairs", "cost", "again"}
    assert page.js("document.querySelector('.findings').offsetParent !== null")


@pytest.mark.parametrize("address", ["%", "%E0%A4%A", "tab=nowhere&cell=x@y&at=%00", "no-such-place", "q=%22%3E<img>"])
def test_an_address_of_somebody_else_breaks_nothing(page, address):
    page.js(f"location.hash = {address!r}")
    page.js("new Promise((done) => setTimeout(done, 100))")
    page.reload()
    assert page.js("document.documentElement.classList.contains('script')")
    assert page.js("document.querySelector('#overview').offsetParent !== null")
    assert page.js("document.images.length") == 2  # those of the figures
    page.events.clear()
