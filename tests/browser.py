"""An installed Chromium, in which pages are read as a user does."""

import contextlib
import os
import shutil
import subprocess

import pytest
from playwright.sync_api import sync_playwright

WITHOUT_NETWORK = (
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
SOFTWARE_WEBGL = ("--enable-unsafe-swiftshader", "--use-gl=angle", "--use-angle=swiftshader")


def find_browser():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)  # Ubuntu's may be a stub that asks for snap
        if path and not subprocess.run([path, "--version"], capture_output=True).returncode:
            return path
    return None


@contextlib.contextmanager
def open_browser():
    """For a fixture of one module: no event loop of other tests may run while it is open."""
    path = find_browser()
    if path is None:
        if os.environ.get("SMDSB_REQUIRE_BROWSER") == "1":
            pytest.fail("SMDSB_REQUIRE_BROWSER=1, and no Chromium is installed.")
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*WITHOUT_NETWORK, *SOFTWARE_WEBGL], chromium_sandbox=False
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def open_page(browser, address, drawn, **window):
    """The page, when the element `drawn` has its plot, and a list of what went wrong on it so far."""
    window = {"viewport": {"width": 1400, "height": 900}, "offline": True} | window
    context = browser.new_context(**window)
    page, wrong = context.new_page(), []
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else wrong.append(r.url)
    )
    page.goto(address)
    wait_for_plot(page, drawn)
    yield page, wrong
    context.close()


def wait_for_plot(page, drawn):
    page.wait_for_function(f"document.querySelector('{drawn}').data")
