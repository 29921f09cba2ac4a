"""General ability through the lm-evaluation-harness: the harness's own numbers, with this library's intervals, floor and start."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness_files import write_tasks
from launch import torchrun
from peft import LoraConfig, get_peft_model
from small_audits import Noisy, arguments

from hf_unlearn.audit import AuditReport, audit
from hf_unlearn.config import TrackerConfig, options_of
from hf_unlearn.data import QUESTION_TEMPLATE, Pocket, load_pocket


pytest.importorskip("lm_eval")


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return load_pocket("nano")


@pytest.fixture(scope="module")
def folder(pocket: Pocket, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"), pocket)


def run(pocket: Pocket, folder: Path, *names: str, **changes: Any) -> AuditReport:
    given = {
        "candidate": pocket.stranger(),
        "reference": pocket.reference(),
        "original": pocket.original(),
        "twin": pocket.twin(),
        "processing_class": pocket.tokenizer,
        "forget": pocket.forget_request,
        "metrics": "probability",
        "progress": False,
    } | changes
    return audit(given.pop("candidate"), harness_tasks=names, harness_include_path=folder, **given)


def asked_directly(
    pocket: Pocket, folder: Path, model: Any, *names: str, tokenizer: Any = None, **options: Any
) -> dict[str, Any]:
    """What lm-eval's own function says; with a chat template where the tokenizer was given with one."""
    import lm_eval.tasks
    from lm_eval.models.huggingface import HFLM

    manager = lm_eval.tasks.TaskManager(include_path=str(folder), include_defaults=False)
    asked = HFLM(pretrained=model, tokenizer=tokenizer or pocket.tokenizer, backend="causal", batch_size=64)
    options |= {"bootstrap_iters": 100, "apply_chat_template": tokenizer is not None}
    return lm_eval.simple_evaluate(asked, tasks=list(names), task_manager=manager, **options)


@pytest.fixture(scope="module")
def report(pocket: Pocket, folder: Path) -> AuditReport:
    return run(pocket, folder, "pocket_by_size", "pocket_said", "pocket_shots", "pocket_texts")


def test_every_value_is_the_harnesss_own(
    report: AuditReport, pocket: Pocket, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    models = {"candidate": pocket.stranger(), "reference": pocket.reference(), "original": pocket.original()}
    compared = 0
    for role, model in models.items():
        own = asked_directly(pocket, folder, model, "pocket_by_size", "pocket_said", "pocket_shots", "pocket_texts")
        for task in ("pocket_by_size", "pocket_said", "pocket_shots", "pocket_texts"):
            keys = [key for key in own["results"][task] if "," in key and "_stderr" not in key]
            for key in keys:
                metric, kind = key.split(",")
                name = f"{task}_{metric}" + ("" if kind == "none" else f"_{kind}")
                result = report.metrics[f"{name}/harness"]
                value = result.value if role == "candidate" else result.others[role]
                assert value == pytest.approx(own["results"][task][key], rel=1e-9), (role, name)
                compared += 1
                error = own["results"][task][f"{metric}_stderr,{kind}"]
                if role == "candidate" and metric in ("acc", "exact_match"):
                    assert result.details["harness_standard_error"] == pytest.approx(error, abs=1e-12)
    assert compared == 3 * 7
    assert report.metrics["pocket_said_exact_match_whole/harness"].start == 1.0  # it was trained on these answers


def test_floor_start_and_relative_follow_and_the_report_is_read_back(report: AuditReport) -> None:
    result = report.metrics["pocket_by_size_acc/harness"]
    assert (result.n, result.clusters, result.family, result.direction) == (17, 15, "utility", "higher")
    assert result.start == result.others["original"] and result.floor == result.others["twin"]
    assert result.ideal == result.others["reference"] and result.confidence_interval is not None
    assert 0 <= result.confidence_interval[0] < result.value < result.confidence_interval[1] <= 1
    assert {"pocket_choice", "pocket_more"} < set(result.details)
    assert AuditReport.from_json(report.to_json()) == report
    assert report.provenance.data["harness"]["rows"] == 45 and "lm_eval" in report.provenance.versions
    assert report.provenance.settings["harness_tasks"] == "pocket_by_size,pocket_said,pocket_shots,pocket_texts"
    assert "probability/harness" not in report.metrics and not any(
        "harness_include" in n for n in report.provenance.settings
    )


def test_a_group_whose_tasks_all_count_the_same(pocket: Pocket, folder: Path) -> None:
    report = run(pocket, folder, "pocket_even", candidate=pocket.twin(), twin=None, original=None)
    result = report.metrics["pocket_even_acc/harness"]
    parts = [result.details["pocket_choice"], result.details["pocket_more"]]
    assert parts[0] != parts[1] and result.value == pytest.approx(sum(parts) / 2)
    own = asked_directly(pocket, folder, pocket.twin(), "pocket_even")["results"]["pocket_even"]
    assert result.value == pytest.approx(own["acc,none"])
    assert result.details["harness_standard_error"] == pytest.approx(own["acc_stderr,none"])


def test_a_group_of_groups(pocket: Pocket, folder: Path) -> None:
    report = run(pocket, folder, "pocket_top", candidate=pocket.twin(), twin=None, original=None)
    own = asked_directly(pocket, folder, pocket.twin(), "pocket_top")["results"]
    result = report.metrics["pocket_top_acc/harness"]
    assert list(report.metrics) == ["probability/forget", "pocket_top_acc/harness"]
    assert result.n == 12 + 5 + 9 + 5 and result.value == pytest.approx(own["pocket_top"]["acc,none"])
    for name in ("pocket_by_size", "pocket_plain"):  # as values, beside the group's own
        assert result.details[name] == pytest.approx(own[name]["acc,none"])


def test_the_standard_error_of_a_group_is_that_of_its_tasks_as_strata(pocket: Pocket, folder: Path) -> None:
    """√(se₁² + se₂²) / 2, where every document is another."""
    report = run(pocket, folder, "pocket_plain", candidate=pocket.twin(), twin=None, original=None)
    details = report.metrics["pocket_plain_acc/harness"].details
    assert 0 < details["standard_error"] == pytest.approx(details["harness_standard_error"], rel=1e-9)


def test_standard_errors_agree_where_every_document_is_another(pocket: Pocket, folder: Path) -> None:
    report = run(pocket, folder, "pocket_said", "pocket_choice", candidate=pocket.twin(), twin=None)
    said = report.metrics["pocket_said_exact_match_whole/harness"]
    assert said.clusters == said.n == 9 and 0 < said.value < 1
    assert said.details["standard_error"] == pytest.approx(said.details["harness_standard_error"], rel=1e-12)
    twice = report.metrics["pocket_choice_acc/harness"]  # one document is there twice, which lm-eval does not see
    assert twice.n == 12 and twice.clusters == 11
    assert twice.details["standard_error"] != pytest.approx(twice.details["harness_standard_error"], rel=1e-3)
    correlation = report.metrics["pocket_choice_mcc/harness"]
    assert correlation.n == 12 and correlation.confidence_interval is not None


def test_only_the_first_documents_and_a_note(pocket: Pocket, folder: Path) -> None:
    report = run(pocket, folder, "pocket_shots", harness_limit=4, twin=None)
    result = report.metrics["pocket_shots_exact_match_whole/harness"]
    own = asked_directly(pocket, folder, pocket.stranger(), "pocket_shots", limit=4)["results"]["pocket_shots"]
    assert result.n == 4 and result.value == own["exact_match,whole"]
    assert any("only the first documents were asked (pocket_shots)" in note for note in report.notes)
    assert report.provenance.data["harness"] | {"sha256": ""} == {"sha256": "", "rows": 4, "of": 9, "role": "retain"}


def test_models_tokenizer_and_random_numbers_are_as_they_were(pocket: Pocket, folder: Path) -> None:
    tokenizer, model = pocket.tokenizer, pocket.original()
    tokenizer.pad_token = None
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = set(vars(model))
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    state = (random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist())
    run(pocket, folder, "pocket_shots", original=model, processing_class=tokenizer)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()) == state
    assert tokenizer.pad_token is None and set(vars(model)) == attributes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_base_and_an_adapter_on_it_answer_each_for_themselves(pocket: Pocket, folder: Path) -> None:
    base = pocket.original()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "up_proj"], init_lora_weights=False)
        adapted = get_peft_model(base, config).eval()
    report = run(pocket, folder, "pocket_texts", candidate=adapted, original=base, twin=None)
    result = report.metrics["pocket_texts_bits_per_byte/harness"]
    alone = run(pocket, folder, "pocket_texts", candidate=pocket.original(), original=None, twin=None)
    assert result.start == pytest.approx(alone.metrics["pocket_texts_bits_per_byte/harness"].value, rel=1e-6)
    assert abs(result.value - result.start) > 1e-3


def test_what_was_asked_is_kept_and_a_broken_task_is_asked_again_as_a_whole(
    pocket: Pocket, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hf_unlearn.audit.domains import _harness_set

    names = ("pocket_shots", "pocket_texts")
    first = run(pocket, folder, *names, output_dir=tmp_path, twin=None)
    asked: list[str] = []
    real = _harness_set.harness_values
    monkeypatch.setattr(_harness_set, "harness_values", lambda *a, **k: asked.append(a[2].task_name) or real(*a, **k))
    assert run(pocket, folder, *names, output_dir=tmp_path, twin=None).metrics == first.metrics and asked == []
    for shard in (tmp_path / "evidence").glob("harness-*candidate*"):
        shard.unlink()
    assert run(pocket, folder, *names, output_dir=tmp_path, twin=None).metrics == first.metrics
    assert asked == ["pocket_shots", "pocket_texts"]
    rows = [json.loads(line) for line in (folder / "pocket_texts.jsonl").read_text().splitlines()]
    (folder / "pocket_texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"text": "More."}]))
    try:
        asked.clear()
        run(pocket, folder, "pocket_texts", output_dir=tmp_path, twin=None)
        assert asked == ["pocket_texts"] * 3  # other documents, other evidence
    finally:
        (folder / "pocket_texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_chat_template_is_used_where_the_audit_uses_it(pocket: Pocket, folder: Path) -> None:
    tokenizer = load_pocket("nano").tokenizer
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content[:14] if m.role == 'user' else ' ' ~ m.content }}{% endfor %}"
    )
    own_way = {"candidate": pocket.original(), "original": None, "twin": None, "processing_class": tokenizer}
    report = run(pocket, folder, "pocket_texts", "pocket_said", **own_way)
    assert report.provenance.settings["chat_template"] is True
    direct = asked_directly(pocket, folder, pocket.original(), "pocket_said", tokenizer=tokenizer)
    key = "pocket_said_exact_match_whole"
    assert report.metrics[f"{key}/harness"].value == direct["results"]["pocket_said"]["exact_match,whole"] < 1.0
    plain = run(pocket, folder, "pocket_said", **own_way, prompt_template=QUESTION_TEMPLATE)
    assert plain.metrics[f"{key}/harness"].value == 1.0


def test_under_an_attack_the_harness_is_asked_again(pocket: Pocket, folder: Path) -> None:
    report = run(pocket, folder, "pocket_choice", candidate=pocket.original(), original=None, conditions=[Noisy(3.0)])
    before, after = (report.metrics[f"pocket_choice_acc/harness{at}"] for at in ("", "@noise"))
    assert before.value == 1.0 > after.value and before.floor == after.floor


def test_log_probabilities_are_in_float32_unless_it_has_to_be_as_the_field_has_it(
    pocket: Pocket, folder: Path
) -> None:
    model, key = pocket.original().to(torch.bfloat16), "pocket_texts_bits_per_byte/harness"
    given = {"candidate": model, "original": None, "twin": None}
    precise, common = (
        run(pocket, folder, "pocket_texts", **given, compatible=way).metrics[key].value for way in (False, True)
    )
    direct = asked_directly(pocket, folder, model, "pocket_texts")["results"]["pocket_texts"]["bits_per_byte,none"]
    exact = run(pocket, folder, "pocket_texts", **given | {"candidate": pocket.original()}).metrics[key].value
    assert common == pytest.approx(direct, rel=1e-9) and precise != pytest.approx(common, rel=1e-6)
    assert precise == pytest.approx(exact, rel=0.02)


def test_bars_are_shown_only_where_they_are_wanted(pocket: Pocket, folder: Path, capfd: pytest.CaptureFixture) -> None:
    run(pocket, folder, "pocket_said", "pocket_texts", twin=None)
    assert "it/s" not in capfd.readouterr().err
    run(pocket, folder, "pocket_said", "pocket_texts", twin=None, progress=True)
    assert "Running generate_until requests" in capfd.readouterr().err


def test_other_kinds_of_models_have_no_harness(folder: Path) -> None:
    class Other:
        name = "other"

        def __init__(self, *given: Any) -> None: ...

    with pytest.raises(ValueError, match="harness_tasks are for causal language models; the domain other has none"):
        audit(**arguments(harness_tasks=["pocket_said"], harness_include_path=folder, domain=Other))


def test_the_tracker_has_no_harness() -> None:
    assert not [each.name for each in options_of(TrackerConfig) if "harness" in each.name]


@pytest.mark.distributed
def test_two_processes_say_what_one_does(pocket: Pocket, folder: Path, tmp_path: Path) -> None:
    names = ("pocket_by_size", "pocket_shots", "pocket_texts")
    pocket.stranger()  # trained before two want it
    torchrun(Path(__file__).with_name("two_processes_harness.py"), str(tmp_path), str(folder), *names, timeout=240)
    first, second = (AuditReport.from_json((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    alone = run(pocket, folder, *names, twin=None)
    assert first.metrics == second.metrics and first.metrics.keys() == alone.metrics.keys()
    for key, result in alone.metrics.items():
        assert first.metrics[key].value == pytest.approx(result.value, rel=1e-6), key
        assert first.metrics[key].confidence_interval == pytest.approx(result.confidence_interval, rel=1e-5)
    shares = [json.loads((tmp_path / f"asked-{rank}.json").read_text()) for rank in (0, 1)]
    assert min(shares) > 0 and abs(shares[0] - shares[1]) <= 0.2 * max(shares)  # the work was dealt
