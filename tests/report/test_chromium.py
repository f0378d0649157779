"""The report in a real browser: nothing asked of the network, nothing on the console, every chart drawn."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys

from tests.report.chromium import (
    BROWSER,
    DRIVER,
    THEMES,
    WIDTHS,
    browser,
    console,
    requests,
    screenshot,
    show,
)
from tests.report.facts import full_run
from textcl.assemble.demo import demo
from textcl.assemble.reporting import report
from textcl.report.render import render
from textcl.report.sections import sections

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None or DRIVER is None, reason="needs chromium: make chromium"),
    # selenium's own: it leaves its pipe to the driver to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

DRAWN = """
return [...document.querySelectorAll('.chart')].map((chart) => {
  const box = chart.querySelector('.main-svg').getBoundingClientRect();
  const marks = chart.querySelectorAll('.points path, .lines path, path.js-line, .bars path').length;
  return [chart.id, marks, box.left >= 0 && box.right <= innerWidth];
});
"""


@pytest.fixture(scope="module")
def driver():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of everything, with texts that would like to be code."""
    path = tmp_path_factory.mktemp("report") / "full.html"
    path.write_text(render([full_run(), full_run("other", 0.02)]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def demo_page(tmp_path_factory):
    """The report of the demo, which trains for two steps here."""
    folder = tmp_path_factory.mktemp("demo")
    demo(out=folder / "run", overrides={"training.max_steps": 2, "training.log_every": 1})
    missing = report([folder / "run"], out=folder / "demo.html", sample=60)
    assert missing == []
    return folder / "demo.html"


def check(driver, path, keys, tmp_path):
    for width in WIDTHS:
        for theme in THEMES:
            requests(driver), console(driver)
            show(driver, path, width, theme)
            assert requests(driver) == [path.resolve().as_uri()]
            assert console(driver) == []
            drawn = driver.execute_script(DRAWN)
            assert [key for key, _marks, _inside in drawn] == keys
            assert all(marks > 0 and inside for _key, marks, inside in drawn), drawn
            assert driver.execute_script("return document.documentElement.scrollWidth") == width  # nothing sticks out
            background = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 29)"}[theme]
            screenshot(driver, tmp_path / f"{width}-{theme}.png")
            assert (tmp_path / f"{width}-{theme}.png").stat().st_size > 50_000


def test_a_full_report_in_both_themes_and_widths(driver, page, tmp_path):
    keys = [chart.key for one in sections([full_run(), full_run("other", 0.02)]) for chart in one.charts]
    check(driver, page, keys, tmp_path)


def test_the_report_of_the_demo_in_both_themes_and_widths(driver, demo_page, tmp_path):
    keys = ["changes", "levels", "loss", "learning-rate"]
    show(driver, demo_page)
    shown = driver.execute_script("return [...document.querySelectorAll('.chart')].map((chart) => chart.id)")
    assert shown[:4] == keys
    assert {"health-alignment", "health-uniformity", "health-effective-rank", "speed-pairs-per-s"} < set(shown)
    assert shown[-3:] == ["similarities-0", "map-0-before", "map-0-after"]
    check(driver, demo_page, shown, tmp_path)
    parts = driver.execute_script("return [...document.querySelectorAll('section')].map((one) => one.id)")
    assert {"results", "slices", "worst", "recipe"} < set(parts)
    assert driver.execute_script("return document.querySelectorAll('#worst tbody tr').length") == 20


def test_texts_do_not_become_code(driver, page):
    show(driver, page)
    assert driver.execute_script("return window.broken") is None
    assert driver.execute_script("return document.images.length") == 0
    driver.execute_script("Plotly.Fx.hover('map-0-after', [{curveNumber: 1, pointNumber: 0}])")
    shown = driver.execute_script("return document.querySelector('#map-0-after .hovertext').textContent")
    assert "<script>window.broken" in shown
    assert driver.execute_script("return window.broken") is None
    # The policy holds even for what is put into the page later.
    driver.execute_script("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.broken = 2\">')")
    driver.execute_async_script("setTimeout(arguments[0], 300)")
    assert driver.execute_script("return window.broken") is None
    assert any("Content Security Policy" in line for line in console(driver))


def test_tables_sort_both_ways_from_the_keyboard(driver, page):
    show(driver, page)
    head = driver.find_elements("css selector", "#results th button")[4]
    values = (
        "return [...document.querySelectorAll('#results tbody tr')].map((row) => Number(row.cells[4].dataset.order))"
    )
    for order, name in ((sorted, "ascending"), (lambda one: sorted(one, reverse=True), "descending")):
        head.send_keys(Keys.ENTER)
        found = driver.execute_script(values)
        assert found == order(found)
        assert len(set(found)) > 1
        states = driver.execute_script(
            "return [...document.querySelectorAll('#results th')].map((one) => one.ariaSort)"
        )
        assert states[4] == name
        assert set(states[:4]) == {"none"}


def test_arrow_keys_go_through_the_points_of_a_chart(driver, page):
    show(driver, page)
    chart = driver.find_element("id", "loss")
    spoken = []
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_LEFT):
        chart.send_keys(key)
        spoken.append(driver.find_element("id", "spoken").get_attribute("textContent"))
    assert spoken == ["run, 1, 1", "run, 2, 0.5", "other, 2, 0.52", "other, 1, 1.02"]
    assert driver.find_elements("css selector", "#loss .hovertext")


def test_the_button_changes_the_colours_of_page_and_charts(driver, page):
    show(driver, page, theme="light")
    look = """return [getComputedStyle(document.body).backgroundColor,
                      document.querySelector('#loss .js-line').style.stroke]"""
    before = driver.execute_script(look)
    driver.find_element("id", "theme").click()
    driver.execute_async_script("setTimeout(arguments[0], 300)")
    after = driver.execute_script(look)
    assert before[0] != after[0]
    assert before[1] != after[1]
