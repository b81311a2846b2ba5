"""The report in headless Chromium: keys, drawer, tabs, map, light and dark, narrow and wide, nothing from outside."""

import shutil

import pytest

from seamo_bench.board.report import write_report
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
    page.js("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert page.js("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_enter_on_a_head_sorts_and_again_turns_it(page):
    page.js("document.querySelectorAll('#leaderboard table')[0].id = 'first'")
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
    focus(page, "#leaderboard td a.why")
    target = page.js(f"{FOCUSED}.hash")
    page.key("Enter")
    assert page.js("document.getElementById('drawer').open")
    key = page.js(f"document.querySelector('{target} th.key').textContent")
    drawer = words(page, "#drawer")[0]
    assert len(key) == 64
    for said in (key, "What it was fed", "affine a=[1354.25] b=[245.5]", "official", "bootstrap over 120 samples"):
        assert said in drawer
    assert page.js(f"document.getElementById('drawer').contains({FOCUSED})")
    page.key("Escape")
    assert not page.js("document.getElementById('drawer').open")
    assert page.js(f"{FOCUSED}.hash") == target


def test_a_blank_of_the_overview_says_why(page):
    focus(page, "#heat td.none a")
    page.key("Enter")
    assert "impossible: <script>alert(1)</script>" in words(page, "#drawer")[0]


def test_arrows_on_the_tabs_choose_task_and_protocol(page):
    shown = "[...document.querySelectorAll('#leaderboard .col')].filter((one) => one.offsetParent).length"
    heads = "[...document.querySelectorAll('#heat thead th')].filter((one) => one.offsetParent).length"
    nothing = "document.querySelector('#countries > p.note').offsetParent !== null"
    assert words(page, "fieldset:first-of-type label") == ["all", "single-label", "segmentation"]
    assert (page.js(shown), page.js(heads), page.js(nothing)) == (3, 4, False)
    focus(page, "#show-t-all")
    page.key("ArrowRight")
    assert (page.js(shown), page.js(heads), page.js(nothing)) == (2, 3, False)
    page.key("ArrowRight")
    assert (page.js(shown), page.js(heads), page.js(nothing)) == (1, 2, True)  # its data set names no countries
    assert words(page, ".filters [role=status]") == ["1 of 3 columns"]
    focus(page, "#show-p-all")
    page.key("ArrowRight")
    assert words(page, "#show-p0 + label") == ["linear"]
    assert words(page, ".filters [role=status]") == ["0 of 3 columns: no such pair was run"]


def test_the_map_walks_by_arrows_and_changes_by_backbone(page):
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
    assert words(page, "#map .whose")[0] == chosen
    worst = page.js("document.querySelector('#map tbody td:last-child').textContent")
    scores = page.js("document.querySelector('#map select').selectedOptions[0].dataset.scores.split(' ').map(Number)")
    assert float(worst) == pytest.approx(100 * min(scores), abs=0.006)


def test_a_dot_of_the_plot_says_its_values(page):
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
        assert page.js("document.querySelectorAll('#leaderboard tbody tr').length") > 4
        target = page.js("document.querySelector('#leaderboard a.why').hash")
        assert page.js(f"document.querySelector('{target} dl').textContent.length") > 50
        page.js("document.querySelector('#show-t0').checked = true")  # the tabs are style rules
        hidden = "[...document.querySelectorAll('#leaderboard .col')].filter((one) => !one.offsetParent).length"
        assert page.js(hidden) in (1, 2)
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)


def test_on_paper_there_are_no_buttons(page):
    page.media(kind="print")
    assert page.js("document.querySelector('.bar-top').offsetParent === null")
    assert page.js("document.querySelector('.theme').offsetParent === null")
