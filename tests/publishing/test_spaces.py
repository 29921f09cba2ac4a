"""Evaluate modules as Spaces: pushed, loaded from there, and their pages used in a real browser."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub
from reports import report

from hf_unlearn import metric_path
from hf_unlearn.modules import MODULES
from hf_unlearn.publishing import PublicationError, publish, push_metrics
from hf_unlearn.publishing._wheel import build_wheel


WHEEL = f"hf_unlearn-{version('hf-unlearn')}-py3-none-any.whl"
NAMES = ("fade", "representation_forgetting", "truth_ratio")
"""Of those whose Spaces are looked at one by one: models, and plain values."""
PROGRAM = """
import evaluate
fade = evaluate.load("me/fade")
side = {"log_prob_own": [-1.0, -2.0], "log_prob_other": [-1.5, -2.5], "num_tokens": [3, 5]}
print(fade.compute(from_reference=side, from_candidate=side)["fade"])
ratio = evaluate.load("me/truth_ratio")
ratio.add_batch(paraphrased=[-1.0], perturbed=[[-1.0, -1.0]])
print(ratio.compute()["truth_ratio"])
"""


def test_a_metric_is_loaded_from_its_space(hub: LoopbackHub, there: dict, tmp_path: Path):
    urls = push_metrics("me", **there)
    assert set(urls) == set(MODULES) >= set(NAMES)
    space = hub.repository("me/fade", "space")
    files = {"README.md", "app.py", "fade.py", "requirements.txt"}
    assert space.sdk == "gradio" and set(space.files()) == {*files, WHEEL}
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
    assert done.returncode == 0 and done.stdout.split() == ["1.0", "1.0"], done.stderr[-2000:]


def test_a_space_installs_the_library_from_itself(hub: LoopbackHub, there: dict, tmp_path: Path):
    """pip takes the wheel by its address, looks at its hash, and asks no index; a changed wheel is refused."""
    push_metrics("me", names=["fade"], **there)
    files = hub.repository("me/fade", "space").files()
    (tmp_path / "requirements.txt").write_bytes(files["requirements.txt"])
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-cache-dir",
        "--no-index",
        "--no-deps",
        "--disable-pip-version-check",
    ]
    given = {"capture_output": True, "text": True, "timeout": 200, "check": False}
    done = subprocess.run([*command, "--dry-run", "-r", str(tmp_path / "requirements.txt")], **given)
    assert done.returncode == 0 and "Would install hf-unlearn" in done.stdout, done.stderr
    assert f"GET /spaces/me/fade/resolve/main/{WHEEL}" in {
        f"{request.method} {request.path}" for request in hub.requests
    }
    line = re.search(rb'pip install "(hf-unlearn @ http.*)"', files["README.md"])[1].decode()
    assert line.encode() in files["requirements.txt"].splitlines()
    done = subprocess.run([*command, "--target", str(tmp_path / "site"), line], **given)
    assert done.returncode == 0, done.stderr
    program = "import hf_unlearn; print(hf_unlearn.__file__, hf_unlearn.metric_path('fade'))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, **given)
    assert done.stdout.count(str(tmp_path / "site")) == 2, done.stderr
    hub.repository("me/fade", "space").commit({WHEEL: files[WHEEL] + b"x"}, "somebody's")
    done = subprocess.run([*command, "--dry-run", line], **given)
    assert done.returncode != 0 and "DO NOT MATCH THE HASHES" in done.stderr


def test_who_lacks_the_library_is_sent_to_the_space(hub: LoopbackHub, there: dict, tmp_path: Path):
    """Evaluate's own message would name the bare package."""
    push_metrics("me", **there)
    hub.tokens = None
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "0",
        "HF_EVALUATE_OFFLINE": "0",
    }
    for name in NAMES:
        program = f"import sys; sys.modules['hf_unlearn'] = None\nimport evaluate\nevaluate.load('me/{name}')"
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=200, check=False
        )
        assert f"pip install {hub.endpoint}/spaces/me/{name}/resolve/main/{WHEEL}#sha256=" in done.stderr, done.stderr[
            -2000:
        ]


def test_nothing_that_is_published_names_the_bare_package(hub: LoopbackHub, there: dict):
    """Cards, requirements, modules, and what is inside the wheel: a bare name could be anybody's on an index."""
    push_metrics("me", **there)
    publish(report(), "me/model", **there)
    texts = {}
    for kind, name in (*(("space", f"me/{name}") for name in MODULES), ("model", "me/model")):
        texts |= {f"{name}/{path}": data for path, data in hub.repository(name, kind).files().items()}
    with zipfile.ZipFile(build_wheel(hub.root)) as archive:
        texts |= {path: archive.read(path) for path in archive.namelist()}
    installed = re.compile(rb"pip3? install[^\n]{0,60}\bhf[-_]unlearn\b(?! @ )")
    required = re.compile(rb"^hf[-_]unlearn\b(?! @ http)", re.MULTILINE)
    assert installed.search(b"$ pip install -U 'hf-unlearn'") and required.search(b"evaluate\nhf-unlearn>=0.1\n")
    requirements = [path for path in texts if path.endswith("requirements.txt")]
    assert len(requirements) == 2 * len(MODULES) and "me/model/README.md" in texts
    assert not [path for path, data in texts.items() if installed.search(data)]
    assert not [path for path in requirements if required.search(texts[path])]


def test_the_wheel_is_the_library(tmp_path: Path):
    """Every source file of the package, whose hash the wheel's own record states; the same bytes each time."""
    (tmp_path / "again").mkdir()
    wheel, again = build_wheel(tmp_path), build_wheel(tmp_path / "again")
    assert wheel.name == WHEEL and wheel.read_bytes() == again.read_bytes()
    package = Path(sys.modules["hf_unlearn"].__file__).parent
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert {part.date_time[0] for part in archive.infolist()} == {1980}  # not the time of building
        assert {f"hf_unlearn/{path.relative_to(package).as_posix()}" for path in package.rglob("*.py")} <= names
        assert "hf_unlearn/publishing/card_section.md.jinja" in names and "hf_unlearn/py.typed" in names
        info = next(name for name in names if name.endswith("RECORD"))
        listed = [line.rsplit(",", 2) for line in archive.read(info).decode().splitlines()]
        assert {name for name, _, _ in listed} == names
        sizes = {name: int(size) for name, _, size in listed if size}
        assert sizes == {name: archive.getinfo(name).file_size for name in names - {info}}


def test_what_cannot_be_pushed(hub: LoopbackHub, there: dict):
    with pytest.raises(KeyError, match="no metric 'nothing'"):
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
    key = {"fade": '"fade": 1.0', "representation_forgetting": '"progress"', "truth_ratio": '"truth_ratio": 0.'}[name]
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
