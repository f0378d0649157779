"""The page: self-contained, escaped, the same each time, with colours that can be told apart."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re

import numpy as np
import pytest

from tests.report.facts import HOSTILE, full_run
from textcl.report import tables
from textcl.report.contents import RunFacts
from textcl.report.render import _page_file, render, script_json
from textcl.report.sections import sections


@pytest.fixture(scope="module")
def page():
    return render([full_run(), full_run("other", 0.02)])


def test_the_page_is_the_same_each_time(page):
    assert page == render([full_run(), full_run("other", 0.02)])
    assert len(page.encode()) < 6_000_000


def test_only_the_scripts_that_the_policy_names_are_on_the_page(page):
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert len(digests) == 2
    assert re.findall(r"'sha256-(.*?)'", page) == digests
    assert "default-src 'none'" in page


def test_nothing_that_a_user_wrote_is_markup(page):
    assert HOSTILE not in page
    assert "<script>window.broken" not in page
    assert "<img" not in page.split("<script")[0]
    assert page.count("&lt;script&gt;window.broken = 1") > 10


def test_the_page_names_no_address_to_load_from(page):
    own = page.replace(re.search(r"<script>(.*?)</script>", page, flags=re.DOTALL)[1], "")
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", own)
    assert "url(" not in own


def test_json_in_the_page_reads_back_and_ends_no_element():
    value = {"text": "</script> <!-- & \u2028 ü", "number": None}
    written = script_json(value)
    assert not set(written) & set("<>&\u2028")
    assert json.loads(written) == value


def test_what_is_missing_is_left_out_and_said():
    bare = RunFacts("bare", "runs/bare", missing=["the map: nothing was encoded"])
    assert sections([bare]) == []
    page = render([bare])
    assert "Not in this report" in page
    assert "the map: nothing was encoded" in page
    assert [section.key for section in sections([full_run()])] == [
        "results", "training", "health", "speed", "index", "similarities", "map", "slices", "worst", "recipe",
    ]  # fmt: skip


def test_the_headline_has_every_ranking_and_what_they_differ_by():
    table = tables.headline([full_run()])
    assert table.columns[1:5] == ["base model", "BM25", "trained model", "trained model less base model"]
    first = [cell.text for cell in table.rows[0]]
    assert first[:5] == ["ndcg@10", "40.0 (35.0 to 55.0)", "35.0 (30.0 to 50.0)", "50.0 (45.0 to 65.0)",
                         "+10.0 (+8.0 to +12.0)"]  # fmt: skip
    assert first[-1] == "40"


def test_settings_that_differ_between_runs_stand_side_by_side():
    table = tables.settings([full_run(), full_run("other", 0.02)])
    assert [[cell.text for cell in row] for row in table.rows] == [["seed", "0.0", "0.02"]]
    assert tables.settings([full_run()]) is None


# What three kinds of the colour-blind see of linear RGB: Machado, Oliveira and Fernandes (2009), severity 1.0.
SIGHT = {
    "usual": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def linear(colour):
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE 1976 L*a*b* of linear sRGB, white D65."""
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                       [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
    x, y, z = (
        np.cbrt(one) if one > 216 / 24389 else (24389 / 27 * one + 16) / 116
        for one in to_xyz @ rgb / np.array([0.95047, 1, 1.08883])
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def palettes():
    light, dark = re.findall(
        r"--paper: (#\w{6}).*?--muted: (#\w{6}).*?((?:--series-\d: #\w{6}; ?)+)", _page_file("page.css"), re.S
    )
    return {name: (one[0], one[1], re.findall(r"#\w{6}", one[2])) for name, one in (("light", light), ("dark", dark))}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHT)
def test_series_are_told_apart_by_every_kind_of_sight(theme, sight):
    _paper, _muted, colours = palettes()[theme]
    assert len(colours) == 6
    seen = [lab(np.clip(SIGHT[sight] @ linear(colour), 0, 1)) for colour in colours]
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2)) > 25


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_stand_out_from_the_page(theme):
    paper, muted, colours = palettes()[theme]
    luminance = np.array([0.2126, 0.7152, 0.0722])

    def contrast(colour):
        low, high = sorted(float(luminance @ linear(one)) for one in (colour, paper))
        return (high + 0.05) / (low + 0.05)

    assert min(map(contrast, colours)) >= 3  # WCAG 2.2, 1.4.11: graphics
    assert contrast(muted) >= 4.5  # 1.4.3: text
