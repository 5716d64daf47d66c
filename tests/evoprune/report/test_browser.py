"""The pages in a real browser, without a window."""

import shutil
import subprocess

import numpy
import pytest
from matplotlib.image import imread

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LIGHT, DARK = 1, 0
"""Chromium's numbers of what a reader prefers."""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def shoot(tmp_path_factory):
    """Opens a page and returns its picture ``(height, width, channels)`` and what the console says."""
    profile = tmp_path_factory.mktemp("profile")

    def call(page, scheme=LIGHT, width=1280):
        picture = page.with_suffix(".png")
        done = subprocess.run(
            [
                BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                "--enable-logging=stderr", f"--user-data-dir={profile}", f"--window-size={width},900",
                f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={picture}", page.as_uri(),
            ],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return imread(picture), [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return call


@pytest.fixture(params=["runs", "ablation"])
def page(request, run, sphere, evoprune, ablate, tmp_path):
    if request.param == "ablation":
        code, folder = ablate("--vary", "operators.mate=blend,uniform")
        assert code == 0
        return folder / "report.html"
    folders = [run(sphere, f"seed={seed}", name=f"seed{seed}").folder for seed in (0, 1)]
    assert evoprune("report", *folders, "--out", tmp_path / "report.html").code == 0
    return tmp_path / "report.html"


def test_a_page_shows_itself_without_a_word_on_the_console(page, shoot):
    light, said = shoot(page)
    dark, said_in_the_dark = shoot(page, DARK)
    phone, said_on_the_phone = shoot(page, width=390)
    assert not said + said_in_the_dark + said_on_the_phone
    for picture in (light, dark, phone):
        assert numpy.ptp(picture[..., :3]) > 0.5  # there is something on it
    assert numpy.median(light[..., :3]) > 0.9
    assert numpy.median(dark[..., :3]) < 0.2


def test_the_console_is_heard(tmp_path, shoot):
    (tmp_path / "loud.html").write_text("<script>console.error('help')</script>")
    assert shoot(tmp_path / "loud.html")[1]
