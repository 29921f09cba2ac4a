"""Evaluate modules as Spaces: pushed, loaded from there, and their pages used in a real browser."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub

from hf_unlearn import metric_path
from hf_unlearn.publishing import PublicationError, push_metrics


NAMES = ("fade", "representation_forgetting")
PROGRAM = """
import evaluate
fade = evaluate.load("me/fade")
side = {"log_prob_own": [-1.0, -2.0], "log_prob_other": [-1.5, -2.5], "num_tokens": [3, 5]}
print(fade.compute(from_reference=side, from_candidate=side)["fade"])
"""


def test_a_metric_is_loaded_from_its_space(hub: LoopbackHub, there: dict, tmp_path: Path):
    urls = push_metrics("me", **there)
    assert set(urls) == set(NAMES)
    space = hub.repository("me/fade", "space")
    assert space.sdk == "gradio" and {"README.md", "app.py", "fade.py", "requirements.txt"} == set(space.files())
    push_metrics("me", names=["fade"], **there)
    assert len(space.messages) == 2  # unchanged: no commit
    hub.tokens = None
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
        "HF_EVALUATE_OFFLINE": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0 and float(done.stdout) == 1.0, done.stderr[-2000:]


def test_what_cannot_be_pushed(hub: LoopbackHub, there: dict):
    with pytest.raises(KeyError):
        push_metrics("me", names=["nothing"], **there)
    assert not hub.requests
    hub.fail("commit", status=403, times=9)
    with pytest.raises(PublicationError, match="may not write"):
        push_metrics("me", names=["fade"], **there)


@pytest.fixture
def browser():
    """A page in Debian's Chromium."""
    found = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)
    if found is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield started.new_page()
        started.close()


@pytest.fixture(params=NAMES)
def served(request: pytest.FixtureRequest, tmp_path: Path):
    """The app of a metric, started as a Space starts it: from its own folder, which holds nothing else."""
    folder = shutil.copytree(metric_path(request.param), tmp_path / request.param)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "0",
        "HF_HOME": str(tmp_path / "home"),
    }
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=folder, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            try:
                urllib.request.urlopen(address, timeout=2)
                break
            except OSError:
                time.sleep(0.5)
        yield request.param, address
    finally:
        process.terminate()
        process.wait(20)


def test_the_page_of_a_metric_in_a_browser(served: tuple[str, str], browser):
    """The example is there; a press computes it; bad input is said, not raised."""
    name, address = served
    browser.goto(address, wait_until="load", timeout=60_000)
    editors = browser.locator(".cm-content")
    editors.first.wait_for(timeout=60_000)
    browser.get_by_role("button", name="Submit").click()
    key = {"fade": '"fade": 1.0', "representation_forgetting": '"progress"'}[name]
    browser.get_by_text(key).first.wait_for(timeout=60_000)
    editors.first.click()
    browser.keyboard.press("Control+A")
    if name == "fade":  # other numbers, another answer: each direction 0.5 and 2, mean 1.25, both ways 2.5
        side = json.dumps({"log_prob_own": [-1.0, -2.0], "log_prob_other": [-1.5, -4.0], "num_tokens": [3, 5]})
        browser.keyboard.insert_text(side)
        browser.get_by_role("button", name="Submit").click()
        browser.get_by_text('"fade": 1.75').first.wait_for(timeout=60_000)
        editors.first.click()
        browser.keyboard.press("Control+A")
    browser.keyboard.insert_text("{nonsense")
    browser.get_by_role("button", name="Submit").click()
    browser.locator(".toast-body, [data-testid=toast-body]").first.wait_for(timeout=60_000)
