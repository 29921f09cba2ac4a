"""A published audit of real (small) models: what can be recomputed, what is flagged, and that nothing of the data leaves the house."""

import base64
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from loopback_hub import LoopbackHub
from peft import LoraConfig, get_peft_model

from hf_unlearn.audit import AuditReport, MetricResults, audit
from hf_unlearn.data import Pocket, load_pocket
from hf_unlearn.inference import load_model
from hf_unlearn.publishing import load_audit, publish, verify


REPO = "me/model"
CANARY = "CANARY"


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return load_pocket("nano")


@pytest.fixture(scope="module")
def folder(pocket: Pocket, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The audited model, as a folder with everything that must not be published."""
    folder = tmp_path_factory.mktemp(f"{CANARY}-place") / f"{CANARY}-model"
    model = pocket.original()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.97)
    model.save_pretrained(folder)
    pocket.tokenizer.save_pretrained(folder)
    # The model before unlearning lies in the same folder, under every name that weights go by.
    pocket.original().save_pretrained(folder.parent / "before")
    before = (folder.parent / "before" / "model.safetensors").read_bytes()
    for name in (
        "original.safetensors",
        "adapter_model.safetensors",
        "model-00001-of-00002.safetensors",
        "backup.model",
    ):
        (folder / name).write_bytes(before)
    (folder / "vocab.txt").write_text(CANARY)
    (folder / "training_args.bin").write_bytes(b"CANARY pickle")
    (folder / "forgetting.jsonl").write_text(CANARY)
    settings = {
        "objective": {"name": "npo", "beta": 0.1},
        "learning_rate": 1e-3,
        "data": {"forget": {"sha256": "0" * 64}},
    }
    (folder / "unlearning.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def data(pocket: Pocket) -> dict:
    """The forget set has the canary in each prompt and answer."""

    def planted(row: dict) -> dict:
        return {**row, "question": f"{row['question']} {CANARY}", "answer": f"{CANARY} {row['answer']}"}

    return {"forget": pocket.forget.map(planted), "retain": pocket.retain}


@pytest.fixture(scope="module")
def report(pocket: Pocket, folder: Path, data: dict, tmp_path_factory: pytest.TempPathFactory) -> AuditReport:
    return audit(
        str(folder), reference=pocket.reference(), original=pocket.original(), processing_class=pocket.tokenizer, num_samples=2,
        max_examples=6, progress=False, output_dir=tmp_path_factory.mktemp("audit"), **data,
    )  # fmt: skip


def outcomes(checks) -> dict[str, str]:
    return {check.name: check.outcome for check in checks}


def test_a_claim_is_recomputed(
    hub: LoopbackHub, there: dict, pocket: Pocket, folder: Path, report: AuditReport, data: dict
):
    done = publish(report, REPO, weights=folder, base_model="me/original", **there)
    given = {"reference": pocket.reference(), "original": pocket.original(), "progress": False, **data}
    checks = verify(REPO, **given, data_key=done.folder / "data_key.txt", **there)
    found = outcomes(checks)
    for name in (
        "card",
        "settings",
        "notes",
        "reading",
        "weights",
        "reference weights",
        "original weights",
        "forget data",
        "retain data",
        *report.metrics,
    ):
        assert found[name] == "reproduced", [check for check in checks if check.name == name]
    fade = next(check for check in checks if check.name == "fade/forget")
    assert (
        fade.recomputed == pytest.approx(report.metrics["fade"].value, rel=1e-5)
        and fade.interval == load_audit(REPO, **there).metrics["fade"].confidence_interval
    )
    assert "npo" in hub.repository(REPO).files()["README.md"].decode()  # from unlearning.json

    # Without the key data cannot be compared; with less data less can be checked, and the reason is said.
    checks = verify(REPO, forget=data["forget"], reference=pocket.reference(), progress=False, **there)
    found = outcomes(checks)
    assert found["fade/forget"] == "reproduced" and found["forget data"] == found["fade/retain"] == "not checkable"
    assert (
        found["fade/forget, the rest"] == found["notes"] == found["reading"] == "not checkable"
    )  # no original: no start
    reasons = {check.name: check.reason for check in checks}
    assert "start" in reasons["fade/forget, the rest"] and "the original" in reasons["fade/forget, the rest"]
    assert "the retain" in reasons["fade/retain"] and "data_key" in reasons["forget data"]
    found = outcomes(verify(REPO, **there))
    assert found["card"] == found["weights"] == "reproduced" and found["fade/forget"] == "not checkable"


def test_other_data_or_another_reference_is_seen(
    hub: LoopbackHub, there: dict, pocket: Pocket, folder: Path, report: AuditReport, data: dict
):
    done = publish(report, REPO, weights=folder, **there)
    key = done.folder / "data_key.txt"
    checks = verify(
        REPO, forget=pocket.forget, reference=pocket.original(), progress=False, data_key=key.read_text(), **there
    )
    found = outcomes(checks)
    assert found["forget data"] == found["reference weights"] == found["fade/forget"] == "not reproduced"
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        verify(REPO, forget=pocket.forget, reference=pocket.original(), progress=False, data_key="no key", **there)


def test_a_model_pushed_after_its_audit_is_flagged(
    hub: LoopbackHub, there: dict, folder: Path, report: AuditReport, tmp_path: Path
):
    publish(report, REPO, weights=folder, **there)
    other = load_model(folder)
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    other.save_pretrained(tmp_path / "other")
    hub.repository(REPO).commit(
        {"model.safetensors": (tmp_path / "other" / "model.safetensors").read_bytes()}, "better weights"
    )
    check = next(check for check in verify(REPO, **there) if check.name == "weights")
    assert check.outcome == "not reproduced" and "not the same model" in check.reason
    with pytest.raises(ValueError, match="not those that were audited"):
        publish(report, REPO, weights=tmp_path / "other", **there)


def test_an_interval_without_end_is_no_claim(
    hub: LoopbackHub, there: dict, pocket: Pocket, folder: Path, report: AuditReport, data: dict
):
    """A publisher who claims a value, and an interval that contains everything."""
    claimed = dataclasses.replace(report.metrics["fade"], value=0.1, confidence_interval=(0.0, 1e9))
    lie = dataclasses.replace(report, metrics=MetricResults({**report.metrics, "fade/forget": claimed}))
    publish(lie, REPO, weights=folder, **there)
    found = outcomes(verify(REPO, reference=pocket.reference(), progress=False, **data, **there))
    assert found["fade/forget"] == "not reproduced" and found["probability/forget"] == "reproduced"


def test_a_forged_report_is_not_reproduced(
    hub: LoopbackHub, there: dict, pocket: Pocket, folder: Path, report: AuditReport, data: dict
):
    """Card, index and figures agree with the forged report; whoever has all data sees each lie all the same."""
    metrics, states = MetricResults(report.metrics), report.metrics["residual_ratio"]
    bounds = {"floor_confidence_interval": (0.0, 90.0), "over_floor_interval": None, "start_over_floor_interval": None}
    metrics["fade/forget"] = dataclasses.replace(metrics["fade"], floor=None, **bounds)
    details = {**metrics["fade/retain"].details, "reference_to_candidate": 0.001}
    metrics["fade/retain"] = dataclasses.replace(metrics["fade/retain"], details=details)
    kept = list(states.by_layer)[1:]
    assert kept
    fewer = dataclasses.replace(states, by_layer={name: states.by_layer[name] for name in kept})
    metrics["residual_ratio/forget"] = fewer
    del metrics["probability/retain"]
    settings = {**report.provenance.settings, "certified": True}
    provenance = dataclasses.replace(report.provenance, settings=settings, versions={"hf-unlearn": "99.0"})
    notes = (*report.notes, "Audited by an independent laboratory.")
    publish(
        dataclasses.replace(report, metrics=metrics, notes=notes, provenance=provenance), REPO, weights=folder, **there
    )
    card = hub.repository(REPO).files()["README.md"].replace(b"### What the numbers say", b"### Certified")
    hub.repository(REPO).commit({"README.md": card}, "edited; another version is no excuse")
    given = {"reference": pocket.reference(), "original": pocket.original(), "progress": False, **data}
    wrong = {check.name for check in verify(REPO, **given, **there) if check.outcome == "not reproduced"}
    # Whether the reading differs depends on what it says of these models.
    expected = {
        "card",
        "settings",
        "notes",
        "fade/forget",
        "fade/retain",
        "residual_ratio/forget",
        "probability/retain",
    }
    assert wrong - {"reading"} == expected


def test_a_cut_line_is_not_a_missing_file(hub: LoopbackHub, there: dict, folder: Path, report: AuditReport):
    publish(report, REPO, weights=folder, **there)
    for where in ("tree/", "resolve/.*model.safetensors"):
        hub.faults.clear()
        hub.fail(where, status=503, times=1000)
        with pytest.raises(OSError, match="cannot"):
            verify(REPO, **there)


def test_somebody_else_s_report_opens_no_folder_of_mine(
    hub: LoopbackHub, there: dict, pocket: Pocket, folder: Path, report: AuditReport, data: dict
):
    """It names a reference; that may be a repository which is gone, or a place on this machine."""
    for name in ("you/gone", str(folder), "../secret"):
        models = {
            **report.provenance.models,
            "reference": {**report.provenance.models["reference"], "name": name, "source": "hub"},
        }
        strange = dataclasses.replace(report, provenance=dataclasses.replace(report.provenance, models=models))
        publish(strange, REPO, weights=folder, **there)
        checks = verify(REPO, **data, progress=False, **there)
        assert outcomes(checks)["weights"] == "reproduced"
        assert {check.reason for check in checks if check.name == "fade/forget"} == {"needs the reference"}
    settings = {**report.provenance.settings, "num_samples": 10**9}
    greedy = dataclasses.replace(report, provenance=dataclasses.replace(report.provenance, settings=settings))
    publish(greedy, REPO, weights=folder, **there)
    with pytest.raises(ValueError, match="num_samples"):
        verify(REPO, **data, reference=pocket.reference(), **there)


def test_old_weights_do_not_stay_beside_the_audited_ones(
    hub: LoopbackHub, there: dict, folder: Path, report: AuditReport
):
    """Any of these would be loaded instead of the audited ones, or beside them."""
    old = {
        "model-00001-of-00002.safetensors": b"x",
        "model.safetensors.index.json": b"{}",
        "adapter_config.json": b"{}",
        "pytorch_model.bin": b"x",
    }
    hub.add(REPO, {**old, "README.md": b"# Mine\n", "data/other.safetensors": b"x"})
    publish(report, REPO, weights=folder, **there)
    files = set(hub.repository(REPO).files())
    assert not files & set(old) and {"data/other.safetensors", "model.safetensors"} <= files
    assert outcomes(verify(REPO, **there))["weights"] == "reproduced"


@pytest.mark.parametrize("edit", ["section", "index", "gone", "second", "figure"])
def test_an_edited_claim_is_flagged(hub: LoopbackHub, there: dict, report: AuditReport, edit: str):
    publish(report, REPO, **there)
    card = hub.repository(REPO).files()["README.md"].decode()
    value = load_audit(REPO, **there).metrics["fade"].value
    edited = {
        "section": card.replace(f"| {value:.15g} |", "| 0.001 |"),
        "index": card.replace(f"value: {value!r}", "value: 0.001"),
        "gone": card.split("<!--")[0],
        "second": card + card[card.index("<!--") :].replace(f"| {value:.15g} |", "| 0.001 |"),
        "figure": card.replace("![fade.png]", "![certified.png](https://evil/x.png)\n\n![fade.png]"),
    }[edit]
    assert edited != card
    hub.repository(REPO).commit({"README.md": edited.encode()}, "edited")
    assert outcomes(verify(REPO, **there))["card"] == "not reproduced"


def test_only_what_was_audited_is_uploaded(
    hub: LoopbackHub, there: dict, pocket: Pocket, folder: Path, report: AuditReport
):
    """The original's weights lie beside the audited ones; none of their bytes may leave, by whatever name."""
    publish(report, REPO, weights=folder, **there)
    files = hub.repository(REPO).files()
    assert {name for name in files if "/" not in name and name not in ("README.md", "chat_template.jinja")} == {
        "model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    secret = pocket.original().get_input_embeddings().weight.detach().numpy().tobytes()
    assert secret in (folder / "original.safetensors").read_bytes()
    sent = [*files.values(), *(request.body for request in hub.requests)]
    row = secret[len(secret) // 2 :][:256]
    assert any(row) and not [part for part in sent if row in part]
    assert outcomes(verify(REPO, **there))["weights"] == "reproduced"


def test_nothing_of_the_data_is_published(
    hub: LoopbackHub,
    there: dict,
    pocket: Pocket,
    folder: Path,
    report: AuditReport,
    data: dict,
    monkeypatch: pytest.MonkeyPatch,
):
    """Canaries in texts, prompts, the path, the token, the environment; all bytes that went over the wire are searched."""
    monkeypatch.setenv("SOME_SECRET", f"{CANARY}-environment")
    publish(report, REPO, weights=folder, forgotten="invented persons", **there)
    everything = [request.body for request in hub.requests] + [request.path.encode() for request in hub.requests]
    for request in hub.requests:  # small files travel as base64
        lines = request.body.splitlines() if "/commit/" in request.path else []
        everything += [base64.b64decode(json.loads(line)["value"].get("content", "")) for line in lines]
    everything += list(hub.repository(REPO).files().values())
    assert sum(len(part) for part in everything) > 100_000 and [
        part for part in everything if b"invented persons" in part
    ]
    assert all(CANARY in text for row in data["forget"] for text in (row["question"], row["answer"]))
    texts = {row[column] for row in pocket.forget for column in ("question", "answer", "paraphrased_answer")}
    assert len(texts) > len(pocket.forget)
    for text in (CANARY, str(folder.parent), *texts):
        assert not [part for part in everything if text.encode() in part], text
    assert report.provenance.data
    for sha in (described["sha256"] for described in report.provenance.data.values()):
        assert not [part for part in everything if str(sha).encode() in part]  # salted
    assert set(hub.repository(REPO).files()) & {"training_args.bin", "forgetting.jsonl", "unlearning.json"} == set()


def test_forget_text_is_published_only_by_name(hub: LoopbackHub, there: dict, report: AuditReport):
    publish(report, REPO, show_examples=["Who is Ada?"], **there)
    files = hub.repository(REPO).files()
    assert b"Who is Ada?" in files["README.md"] and b"published on purpose" in files["README.md"]
    publish(report, REPO, **there)
    assert b"Who is Ada?" not in b"".join(hub.repository(REPO).files().values())


def test_the_key_makes_the_hash(hub: LoopbackHub, there: dict, report: AuditReport, tmp_path: Path):
    """Two publishers of the same data publish different hashes; one publisher the same again."""
    for name in ("one", "two", "one"):
        publish(report, f"me/{name}", folder=tmp_path / name, **there)
    hashes = {
        name: load_audit(f"me/{name}", **there).provenance.data["forget"]["salted_sha256"] for name in ("one", "two")
    }
    assert hashes["one"] != hashes["two"]
    assert len(hub.repository("me/one").messages) == 2
    assert (tmp_path / "one" / "data_key.txt").stat().st_mode & 0o077 == 0


def test_several_adapters_are_refused(hub: LoopbackHub, there: dict, pocket: Pocket, report: AuditReport):
    model = get_peft_model(pocket.original(), LoraConfig(r=2, target_modules=["q_proj"]), adapter_name="mine")
    with pytest.raises(ValueError, match="holds one, named default"):
        publish(report, REPO, weights=model, **there)
    assert not hub.repositories


def test_an_adapter_is_published_as_adapter(hub: LoopbackHub, there: dict, pocket: Pocket, tmp_path: Path, data: dict):
    base = tmp_path / "base"
    pocket.original().save_pretrained(base)
    adapted = get_peft_model(load_model(base), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    result = audit(
        adapted, reference=pocket.reference(), processing_class=pocket.tokenizer, num_samples=1, max_examples=3, progress=False, **data
    )  # fmt: skip
    with pytest.raises(ValueError, match="base model in a local folder"):
        publish(result, REPO, weights=adapted, **there)
    publish(result, REPO, weights=adapted, base_model="me/base", **there)
    files = hub.repository(REPO).files()
    assert "adapter_model.safetensors" in files and "model.safetensors" not in files
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "me/base"
    assert str(tmp_path).encode() not in b"".join(files.values())
    assert b"library_name: peft" in files["README.md"]


def test_what_was_audited_in_another_precision_is_published_and_verified_in_it(
    hub: LoopbackHub, there: dict, pocket: Pocket, folder: Path, data: dict
):
    """The folder holds float32; audited, published and recomputed is what it gives in bfloat16."""
    quick = {"num_samples": 1, "max_examples": 3, "metrics": ["fade", "probability"], "progress": False}
    result = audit(str(folder), reference=pocket.reference().bfloat16(), dtype="bfloat16", processing_class=pocket.tokenizer, **quick, **data)  # fmt: skip
    publish(result, REPO, weights=folder, base_model="me/original", **there)
    checks = verify(REPO, reference=pocket.reference().bfloat16(), progress=False, **data, **there)
    found = outcomes(checks)
    assert all(found[name] == "reproduced" for name in ("weights", "settings", "fade/forget", "probability/retain")), (
        found
    )


PROGRAM = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import Trainer
from runs import arguments, examples
from hf_unlearn import PublishAuditCallback, audit
from hf_unlearn.data import AnswerCollator, load_pocket, tokenize_examples
pocket = load_pocket("nano")
out, kind = Path(sys.argv[1]), sys.argv[1].split("-")[-1]
model = pocket.original()
if kind == "peft":
    pocket.original().save_pretrained(out.parent / "base")
    model = get_peft_model(type(model).from_pretrained(out.parent / "base"), LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
trainer = Trainer(
    model=model, args=arguments(out, push_to_hub=True, hub_model_id=f"me/{kind}", hub_strategy="end", max_steps=2, hub_token="hf_t"),
    train_dataset=tokenize_examples(pocket.retain, pocket.tokenizer), data_collator=AnswerCollator(0), processing_class=pocket.tokenizer,
)
run = lambda model: audit(model, reference=pocket.reference(), forget=pocket.forget, processing_class=pocket.tokenizer, num_samples=1,
                          max_examples=3, progress=False)
trainer.add_callback(PublishAuditCallback(trainer, run, forgotten="invented persons", base_model="me/original"))
trainer.train()
trainer.push_to_hub(tags=["mine"])
trainer.push_to_hub()
again = Trainer(model=trainer.model, args=trainer.args, processing_class=pocket.tokenizer)  # as a new process would
again.add_callback(PublishAuditCallback(again, run, forgotten="invented persons", base_model="me/original"))
again.push_to_hub(commit_message="later")
run_into = audit(trainer.model, reference=pocket.reference(), forget=pocket.forget, processing_class=pocket.tokenizer, num_samples=1,
                 max_examples=3, progress=False, output_dir=out / "audit")
try:
    trainer.push_to_hub(commit_message="with evidence")
except ValueError as error:
    print("refused:", error)
import shutil
shutil.rmtree(out / "audit")
if kind == "plain":
    with torch.no_grad():
        next(trainer.model.parameters()).add_(0.1)
    trainer.push_to_hub(commit_message="changed")
"""


@pytest.mark.parametrize("kind", ["plain", "peft"])
def test_the_trainer_s_own_card_keeps_the_section(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch):
    """`Trainer(push_to_hub=True)`, twice pushed; PEFT rewrites the tags in between. A model changed after the audit loses the section."""
    from loopback_hub import loopback_hub

    here = Path(__file__).parent
    with loopback_hub(tmp_path / "served") as hub:
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.endpoint,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path / "home"),
        }
        folders = [str(here.parent / "training"), str(here.parent)]
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / f"out-{kind}"), *folders]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        repository = hub.repository(f"me/{kind}")
        audited = [sha for sha, commit in repository.commits.items() if commit["message"] == "End of training"][-1]
        files = repository.files(audited)
        card = files["README.md"].decode()
        assert (
            card.count("## Unlearning audit") == 1
            and "generated_from_trainer" in card
            and "machine-unlearning" in card
        )
        assert {"unlearning_audit/report.json", "unlearning_audit/fade.png"} <= set(files)
        assert ("adapter_model.safetensors" if kind == "peft" else "model.safetensors") in files
        assert not [name for name in files if "data_key" in name]
        assert "refused:" in done.stdout and "with evidence" not in repository.messages
        assert not [name for name in repository.files() if "evidence" in name]
        # From the audit on no state lacks the section, until the model is changed.
        commits = list(repository.commits)
        states = commits[commits.index(audited) : -1 if kind == "plain" else None]
        assert len(states) > 1
        assert all("## Unlearning audit" in repository.files(sha)["README.md"].decode() for sha in states)
        if kind == "plain":
            assert "## Unlearning audit" not in repository.files()["README.md"].decode()
            assert "changed after its audit" in done.stderr
