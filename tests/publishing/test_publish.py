"""Publishing over real HTTP: what arrives, what is left alone, and what happens on a bad day."""

import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from loopback_hub import LoopbackHub
from reports import metric, report

from hf_unlearn.audit import AuditReport
from hf_unlearn.publishing import PublicationError, compare_audits, load_audit, publish


REPO = "me/model"


def card_of(hub: LoopbackHub, name: str = REPO) -> str:
    return hub.repository(name).files()["README.md"].decode()


def test_everything_arrives_in_one_commit(hub: LoopbackHub, there: dict):
    done = publish(
        report(), REPO, forgotten="20 persons", objective="npo", base_model="me/original", private=True, **there
    )
    repository = hub.repository(REPO)
    assert repository.private and repository.messages == ["Unlearning audit", "initial commit"]
    assert done.commit == repository.refs["main"] and done.url.endswith(done.commit)
    files = repository.files()
    assert set(files) == set(done.files) == {
        "README.md", "unlearning_audit/report.json", "unlearning_audit/manifest.json", "unlearning_audit/fade.png", "unlearning_audit/probability.png", "unlearning_audit/representation.png",
    }  # fmt: skip
    assert files["unlearning_audit/fade.png"].startswith(b"\x89PNG")
    data = ModelCard(files["README.md"].decode()).data
    assert data.base_model == "me/original" and {"machine-unlearning", "hf_unlearn"} <= set(data.tags)
    values = {
        split: {
            result.metric_type: result.metric_value
            for result in data.eval_results
            if result.dataset_type == f"unlearning-audit-{split}"
        }
        for split in ("forget", "retain")
    }
    assert values["forget"]["fade"] == 12.4 and values["retain"]["fade"] == 1.6
    assert "20 persons" in card_of(hub) and "unlearning_audit/fade.png" in card_of(hub)
    back = load_audit(REPO, **there)
    assert back.metrics["fade"] == report().metrics["fade"]


def test_again_changes_nothing_and_a_new_audit_replaces(hub: LoopbackHub, there: dict):
    publish(report(), REPO, **there)
    publish(report(), REPO, **there)
    assert len(hub.repository(REPO).messages) == 2
    publish(report({"fade": metric(3.0)}), REPO, **there)
    files = hub.repository(REPO).files()
    assert "unlearning_audit/representation.png" not in files  # of the old audit
    results = ModelCard(files["README.md"].decode()).data.eval_results
    assert [(result.metric_type, result.metric_value) for result in results] == [("fade", 3.0)]


def test_the_report_s_own_method(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch):
    """`report.push_to_hub` goes to the default Hub."""
    import huggingface_hub.hf_api

    monkeypatch.setattr(huggingface_hub.hf_api.constants, "ENDPOINT", hub.endpoint)
    done = report().push_to_hub(REPO, forgotten="x", dry_run=True)
    assert done.commit is None and "+## Unlearning audit" in done.diff
    assert not hub.repositories


def test_somebody_edits_the_card_meanwhile(hub: LoopbackHub, there: dict, monkeypatch: pytest.MonkeyPatch):
    from hf_unlearn.publishing import _publish

    hub.add(REPO, {"README.md": b"---\nlicense: mit\n---\n# Mine\n"})
    edits, original = [], _publish.read_text

    def read_then_edit(api, repo_id, name, revision):
        text = original(api, repo_id, name, revision)
        if len(edits) < 2 and name == "README.md":
            edits.append(name)
            hub.repository(REPO).commit(
                {"README.md": f"---\nlicense: mit\n---\n# Mine, edit {len(edits)}\n".encode()}, "edit"
            )
        return text

    monkeypatch.setattr(_publish, "read_text", read_then_edit)
    publish(report(), REPO, **there)
    assert "# Mine, edit 2\n" in card_of(hub) and "## Unlearning audit" in card_of(hub)
    assert hub.repository(REPO).messages[0] == "Unlearning audit"


def test_four_publishers_at_once(hub: LoopbackHub, there: dict, tmp_path: Path):
    hub.add(REPO, {"README.md": b"# Mine\n"})
    failures = []

    def run(number: int) -> None:
        try:
            # two of them on one machine, in one folder
            publish(report({"fade": metric(float(number + 1))}), REPO, folder=tmp_path / str(number // 2), **there)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    repository = hub.repository(REPO)
    assert repository.messages.count("Unlearning audit") == 4
    # Every state that anybody could see was whole: card, index and report say the same.
    for sha, commit in repository.commits.items():
        if commit["message"] != "Unlearning audit":
            continue
        files = repository.files(sha)
        value = json.loads(files["unlearning_audit/report.json"])["metrics"]["fade/forget"]["value"]
        card = files["README.md"].decode()
        assert card.count("## Unlearning audit") == 1 and card.endswith("end -->\n") and "# Mine" in card
        assert [result.metric_value for result in ModelCard(card).data.eval_results] == [value]
        assert f"| FADE | nats per sequence | 0 | {value:.4g} |" in card


def test_a_pull_request_leaves_main_alone(hub: LoopbackHub, there: dict):
    hub.add("you/model", {"README.md": b"# Yours\n"})
    done = publish(report(), "you/model", create_pr=True, **there)
    repository = hub.repository("you/model")
    assert repository.files()["README.md"] == b"# Yours\n"
    assert b"## Unlearning audit" in repository.files("refs/pr/1")["README.md"] and done.url.endswith("/discussions/1")


def test_a_pull_request_whose_answer_is_lost_is_not_sent_twice(hub: LoopbackHub, there: dict):
    hub.add("you/model", {"README.md": b"# Yours\n"})
    hub.fail("POST /api/models/you/model/commit", "reset after")
    with pytest.raises(PublicationError, match=r"nobody knows whether the pull request was made.*discussions"):
        publish(report(), "you/model", create_pr=True, **there)
    assert hub.repository("you/model").prs == 1
    hub.fail("POST /api/models/you/model/commit", status=504)  # a server in between gave up
    with pytest.raises(PublicationError, match="nobody knows"):
        publish(report(), "you/model", create_pr=True, **there)
    hub.fail("POST /api/models/you/model/commit", status=429)  # refused for certain: repeated
    publish(report(), "you/model", create_pr=True, **there)
    assert hub.repository("you/model").prs == 2


def test_a_dry_run_sends_nothing(hub: LoopbackHub, there: dict):
    hub.add(REPO, {"README.md": b"# Mine\n"})
    done = publish(report(), REPO, dry_run=True, **there)
    assert "+## Unlearning audit" in done.diff and done.commit is None
    assert {request.method for request in hub.requests} <= {"GET", "HEAD"}


@pytest.mark.parametrize(
    "where",
    ["repos/create", "preupload", "commit/main", "validate-yaml", "resolve", "lfs/objects/batch", "lfs-objects"],
)
@pytest.mark.parametrize(
    "kind, status", [("status", 429), ("status", 500), ("status", 503), ("reset", 0), ("reset after", 0)]
)
def test_a_bad_moment_is_waited_out(hub: LoopbackHub, there: dict, where: str, kind: str, status: int):
    is_new = where == "repos/create"
    if not is_new:
        hub.add(REPO, {"README.md": b"---\nlicense: mit\n---\n# Mine\n"})
    headers = {"Retry-After": "0"} if status == 429 else {}
    hub.fail(where, kind, times=2, status=status, headers=headers)
    publish(report(), REPO, **there)
    files = hub.repository(REPO).files()
    assert is_new or b"# Mine\n" in files["README.md"]
    assert files["README.md"].count(b"## Unlearning audit") == 1
    assert hub.repository(REPO).messages.count("Unlearning audit") == 1
    assert hub.faults[0].times < 2  # it did happen
    assert json.loads(files["unlearning_audit/report.json"])["metrics"]["fade/forget"]["value"] == 12.4


@pytest.mark.parametrize(
    "where, kind, status, says",
    [
        ("preupload", "status", 401, "hf auth login"),
        ("commit/main", "status", 403, "create_pr"),
        ("preupload", "status", 404, "no repository"),
        ("commit/main", "status", 409, "kept changing"),
        ("commit/main", "status", 412, "kept changing"),
        ("commit/main", "status", 503, "HTTP 503"),
        ("commit/main", "reset", 0, "cannot be reached"),
        ("resolve/.*README", "reset", 0, "cannot be reached"),
        ("resolve/.*README", "status", 500, "cannot be reached"),
        ("lfs-objects", "status", 503, "cannot be reached"),
    ],
)
def test_a_bad_day_loses_nothing(hub: LoopbackHub, there: dict, where: str, kind: str, status: int, says: str):
    before = b"---\nlicense: mit\n---\n# Mine\n"
    hub.add(REPO, {"README.md": before})
    hub.fail(where, kind, times=1000, status=status)
    with pytest.raises(PublicationError, match=says) as caught:
        publish(report(), REPO, **there)
    assert hub.repository(REPO).files() == {"README.md": before}  # never half a publication
    kept = Path(caught.value.folder)
    assert str(kept) in str(caught.value) and "epeat" in str(caught.value)
    assert AuditReport.load(kept / "hf_unlearn_upload" / "unlearning_audit").metrics["fade"].value == 12.4
    hub.faults.clear()
    publish(report(), REPO, **there)  # what the message says
    assert "## Unlearning audit" in card_of(hub)


def test_a_repository_that_may_not_be_made(hub: LoopbackHub, there: dict):
    hub.fail("repos/create", times=1000, status=403)
    with pytest.raises(PublicationError, match="may not write"):
        publish(report(), REPO, **there)
    assert not hub.repositories


def test_the_hub_asks_for_seconds_and_gets_them(hub: LoopbackHub, there: dict, monkeypatch: pytest.MonkeyPatch):
    waits = []
    monkeypatch.setattr("hf_unlearn.publishing._hub.time.sleep", waits.append)
    hub.add(REPO, {"README.md": b"# Mine\n"})
    hub.fail("commit/main", status=429, headers={"Retry-After": "7"})
    publish(report(), REPO, **there)
    assert 7 in waits


def test_a_slow_hub_is_waited_for(hub: LoopbackHub, there: dict):
    import select

    hub.fail("commit/main", "slow", seconds=1.0)
    before = len(hub.requests)
    # the patched sleep does not wait; select does
    import loopback_hub as server

    server.time = type("Clock", (), {"sleep": staticmethod(lambda seconds: select.select([], [], [], seconds))})
    publish(report(), REPO, **there)
    assert len(hub.requests) > before and "## Unlearning audit" in card_of(hub)


def test_the_report_is_complete_before_the_first_request(hub: LoopbackHub, there: dict, tmp_path: Path):
    hub.tokens = set()
    with pytest.raises(PublicationError, match="does not know your token"):
        publish(report(), REPO, folder=tmp_path / "kept", **there)
    kept = {path.name for path in (tmp_path / "kept").rglob("*") if path.is_file()}
    assert {"report.json", "manifest.json", "fade.png", "data_key.txt"} <= kept


def test_offline_says_so(hub: LoopbackHub, there: dict, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PublicationError, match="HF_HUB_OFFLINE"):
        publish(report(), REPO, **there)


def test_a_broken_card_is_not_touched(hub: LoopbackHub, there: dict):
    for broken in (
        b"---\nlicense: [mit\n---\n# x\n",
        b"---\nlicense: mit\n# never closed\n",
        b"---\na: 1\na: 2\n---\n",
    ):
        hub.add(REPO, {"README.md": broken})
        with pytest.raises(ValueError, match="front matter"):
            publish(report(), REPO, **there)
        assert hub.repository(REPO).files() == {"README.md": broken}


def test_odd_values_and_many_metrics(hub: LoopbackHub, there: dict):
    """Numpy scalars, values that are not finite inside a result, 200 metrics, none at all."""
    many = {
        f"metric_{number}": metric(np.float32(number), n=np.int64(5), details={"x": float("nan"), "y": np.float64(2)})
        for number in range(200)
    }
    many["odd"] = metric(1.0, confidence_interval=(float("-inf"), 1.0), floor=float("nan"), relative=np.float64("inf"))
    publish(report(many), REPO, **there)
    back = load_audit(REPO, **there)
    assert (
        len(back.metrics) == 201
        and back.metrics["metric_7"].value == 7.0
        and back.metrics["metric_7"].details == {"y": 2.0}
    )
    assert back.metrics["odd"].confidence_interval is None and back.metrics["odd"].relative is None
    assert "<details><summary>201 metrics</summary>" in card_of(hub)
    assert len(ModelCard(card_of(hub)).data.eval_results) == 201
    publish(report({}), REPO, **there)
    assert load_audit(REPO, **there).metrics == {}
    assert "fade" not in card_of(hub).split("---")[1]


def test_registered_benchmarks_are_opt_in(hub: LoopbackHub, there: dict):
    publish(report(), REPO, **there)
    assert ".eval_results/hf_unlearn.yaml" not in hub.repository(REPO).files()
    publish(report(), REPO, benchmarks={"fade": ("org/benchmark", "forget")}, **there)
    entry = yaml.safe_load(hub.repository(REPO).files()[".eval_results/hf_unlearn.yaml"])[0]
    assert entry["dataset"]["id"] == "org/benchmark" and entry["value"] == 12.4
    with pytest.raises(ValueError, match="no metric 'nothing'"):
        publish(report(), REPO, benchmarks={"nothing": ("org/benchmark", "forget")}, **there)


def test_what_is_not_ours_stays_and_what_was_ours_goes(hub: LoopbackHub, there: dict):
    hub.add(REPO, {"unlearning_audit/mine.png": b"x", "README.md": b"# Mine\n"})
    publish(report(), REPO, benchmarks={"fade": ("org/benchmark", "forget")}, **there)
    publish(report({"fade": metric(3.0)}), REPO, **there)
    files = set(hub.repository(REPO).files())
    assert "unlearning_audit/mine.png" in files
    assert not files & {"unlearning_audit/representation.png", ".eval_results/hf_unlearn.yaml"}


def test_the_folder_is_the_user_s(hub: LoopbackHub, there: dict, tmp_path: Path):
    (tmp_path / "upload").mkdir()
    (tmp_path / "upload" / "notes.txt").write_text("mine")
    publish(report(), REPO, folder=tmp_path, **there)
    assert (tmp_path / "upload" / "notes.txt").read_text() == "mine"
    (tmp_path / "data_key.txt").write_text("")
    with pytest.raises(ValueError, match="data_key"):
        publish(report(), REPO, folder=tmp_path, **there)


def test_one_key_whoever_asks_first(tmp_path: Path):
    from hf_unlearn.publishing._public import data_key

    for round_ in range(10):
        keys: list[bytes] = []

        def ask(folder: Path = tmp_path / str(round_), found: list[bytes] = keys) -> None:
            found.append(data_key(folder))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(keys) == 4 and len(set(keys)) == 1 and len(keys[0]) == 32


def test_places_are_not_published(hub: LoopbackHub, there: dict, tmp_path: Path):
    for bad in ({"base_model": str(tmp_path)}, {"datasets": [str(tmp_path)]}):
        with pytest.raises(ValueError, match="no id on the Hub"):
            publish(report(), REPO, **bad, **there)
    publish(report(), REPO, settings={"data": str(tmp_path), "epochs": 3}, **there)
    assert str(tmp_path).encode() not in b"".join(hub.repository(REPO).files().values())
    assert "| epochs | 3 |" in card_of(hub)


def test_a_card_that_is_no_text(hub: LoopbackHub, there: dict):
    hub.add(REPO, {"README.md": b"\xff\xfe#"})
    with pytest.raises(ValueError, match="not UTF-8"):
        publish(report(), REPO, **there)
    hub.add(REPO, {"README.md": b"---\nbase_model: /home/me/base\n---\n"})
    with pytest.raises(ValueError, match=r"refuses the card, which is kept as (?s:.*)not an id"):
        publish(report(), REPO, **there)


def test_reading_back_what_is_not_there(hub: LoopbackHub, there: dict):
    hub.add(REPO, {"README.md": b"# Mine\n"})
    with pytest.raises(ValueError, match="has no audit"):
        load_audit(REPO, **there)
    with pytest.raises(ValueError, match="no repository"):
        load_audit("me/nothing", **there)
    with pytest.raises(OSError, match="no such revision"):
        load_audit(REPO, revision="typo", **there)
    hub.fail("resolve", times=1000, status=503)
    with pytest.raises(OSError, match="cannot read the audit"):
        load_audit(REPO, **there)


def test_a_strange_report_is_refused(hub: LoopbackHub, there: dict):
    for text in (
        "{}",
        "[]",
        "no json",
        '{"schema_version": 1}',
        '{"schema_version": 1, "metrics": {"fade": {"x": 1}}}',
        '{"schema_version": 99}',
    ):
        hub.add(REPO, {"unlearning_audit/report.json": text.encode()})
        with pytest.raises(ValueError, match=r"not an audit report|schema version 99"):
            load_audit(REPO, **there)


def test_published_audits_side_by_side(hub: LoopbackHub, there: dict):
    publish(report(), "me/a", **there)
    publish(report({"fade": metric(3.0), "new": metric(1.0)}), "me/b", **there)
    rows = {row.name: row.results for row in compare_audits(["me/a", "me/b"], **there)}
    assert rows["fade/forget"]["me/a"].value == 12.4 and rows["fade/forget"]["me/b"].value == 3.0
    assert rows["new/forget"]["me/a"] is None and rows["fade/retain"]["me/b"] is None
    with pytest.raises(ValueError, match="list of repository ids"):
        compare_audits("me/a", **there)


def test_bad_arguments_cost_no_request(hub: LoopbackHub, there: dict):
    with pytest.raises(ValueError, match="no repository id"):
        publish(report(), "a/b/c", **there)
    with pytest.raises(ValueError, match="no repository id"):
        publish(report(), "model", **there)
    with pytest.raises(TypeError, match="lists of texts"):
        publish(report(), REPO, datasets="me/data", **there)
    with pytest.raises(ValueError, match="no folder with weights"):
        publish(report(), REPO, weights="/nowhere", **there)
    assert not hub.requests


def test_the_token_appears_in_no_message(hub: LoopbackHub, there: dict, caplog: pytest.LogCaptureFixture):
    hub.fail("repos/create", times=1000, status=503)
    with pytest.raises(PublicationError) as caught:
        publish(report(), REPO, **there)
    assert there["token"] not in str(caught.value) + caplog.text
    assert re.search("HTTP 503", str(caught.value))
