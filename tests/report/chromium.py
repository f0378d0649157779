"""Headless Chromium on a page: what it says, what it asks the network for, and how the page looks."""

from __future__ import annotations

import base64
import json
import shutil
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
WIDTHS = (1280, 400)
THEMES = ("light", "dark")


@contextmanager
def browser():
    """Yield a driver of Debian's Chromium that logs its console and its network; nothing is downloaded for it."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    driver.set_page_load_timeout(120)
    driver.set_script_timeout(120)
    try:
        yield driver
    finally:
        driver.quit()


def set_up(driver, width, theme):
    """Give the window a width in CSS pixels, and the system a theme."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": theme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def show(driver, path, width=1280, theme="light"):
    """Open a report and wait until all its charts are drawn."""
    set_up(driver, width, theme)
    driver.get(Path(path).resolve().as_uri())
    WebDriverWait(driver, 120).until(lambda it: it.execute_script("return document.documentElement.dataset.ready"))


def console(driver):
    """Return what the console has had to say since it was last asked."""
    return [f"{line['level']}: {line['message']}" for line in driver.get_log("browser")]


def requests(driver):
    """Return the addresses that were asked for since this was last asked."""
    events = [json.loads(line["message"])["message"] for line in driver.get_log("performance")]
    return [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]


def screenshot(driver, path):
    """Write the whole page as a PNG."""
    driver.execute_script("document.documentElement.style.scrollBehavior = 'auto'; scrollTo(0, 0)")
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    Path(path).write_bytes(base64.b64decode(shot["data"]))
