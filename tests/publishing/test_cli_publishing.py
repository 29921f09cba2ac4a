"""The commands: publish, verify, compare, push-metrics."""

import functools
from pathlib import Path

import huggingface_hub
import pytest
from loopback_hub import LoopbackHub
from reports import TOKEN, report
from typer.testing import CliRunner

import hf_unlearn.publishing._hub as ours
from hf_unlearn.cli import app


@pytest.fixture
def cli(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch):
    # A user sets HF_ENDPOINT, which the client reads once, when it is imported.
    here = functools.partial(huggingface_hub.HfApi, endpoint=hub.endpoint, token=TOKEN)
    monkeypatch.setattr(ours, "HfApi", lambda **options: here(library_name=options["library_name"]))
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments: object):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


def test_publish_compare_verify(cli, hub: LoopbackHub, tmp_path: Path):
    report().save(tmp_path / "audit")
    dry = cli("publish", tmp_path / "audit", "--repo-id", "me/model", "--dry-run")
    assert dry.exit_code == 0 and "+## Unlearning audit" in dry.output and not hub.repositories, dry.output
    done = cli("publish", tmp_path / "audit", "--repo-id", "me/model", "--forgotten", "20 [red]persons", "--private")
    assert done.exit_code == 0 and "data_key.txt" in done.output, done.output
    assert (
        hub.repository("me/model").private
        and "20 &#91;red&#93;persons" in hub.repository("me/model").files()["README.md"].decode()
    )
    cli("publish", tmp_path / "audit", "--repo-id", "me/other")
    hub.repository("me/model").private = False
    table = cli("compare", "me/model", "me/other")
    assert table.exit_code == 0 and table.output.count("12.40 [0.46]") == 2, table.output
    checked = cli("verify", "me/other")
    assert checked.exit_code == 0 and "not checkable" in checked.output and "reproduced" in checked.output
    card = hub.repository("me/other").files()["README.md"].replace(b"12.4", b"0.1")
    hub.repository("me/other").commit({"README.md": card}, "edited")
    checked = cli("verify", "me/other")
    assert checked.exit_code == 1 and "not reproduced card: model-index is not what" in " ".join(
        checked.output.split()
    )


def test_errors_are_one_sentence(cli, hub: LoopbackHub, tmp_path: Path):
    report().save(tmp_path / "audit")
    hub.fail("commit", status=403, times=9)
    failed = cli("publish", tmp_path / "audit", "--repo-id", "me/model")
    assert failed.exit_code == 1 and "may not write" in failed.output and "Traceback" not in failed.output
    assert "has no audit" in " ".join(cli("verify", "me/model").output.split())
    assert cli("publish", tmp_path / "nowhere", "--repo-id", "me/model").exit_code == 1


def test_push_metrics(cli, hub: LoopbackHub):
    done = cli("push-metrics", "--org", "me", "--metric", "fade")
    assert done.exit_code == 0 and f"{hub.endpoint}/me/fade" in done.output
    assert hub.repository("me/fade", "space").sdk == "gradio"


@pytest.mark.parametrize("given", [("facts",), ("=x.json",), ("facts=",), ("facts=a.json", "facts=b.json")])
def test_a_set_to_verify_that_cannot_be_read(cli, hub: LoopbackHub, given: tuple[str, ...]):
    failed = cli("verify", "me/model", *(part for one in given for part in ("--set", one)))
    assert failed.exit_code == 1 and ("NAME=DATA" in failed.output or "twice" in failed.output)
