"""Models that are not what their role says: one in two roles, never trained, or swapped. Said in the log, the notes and the reading."""

import re

import pytest
from small_audits import by_prompt
from world import build

from hf_unlearn.audit import AuditReport, audit, verdict
from hf_unlearn.data import load_pocket


@pytest.fixture(scope="module")
def pocket():
    return load_pocket("nano")


@pytest.fixture(scope="module")
def paths(pocket, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    for role in ("reference", "original", "twin", "stranger"):
        getattr(pocket, role)().save_pretrained(folder / role)
    pocket.reference().save_pretrained(folder / "copy")
    untrained = build("llama", vocab_size=len(pocket.tokenizer), max_position_embeddings=128)
    untrained.save_pretrained(folder / "untrained")
    return {path.name: str(path) for path in folder.iterdir()}


@pytest.fixture
def run(pocket, paths: dict[str, str]):
    def run(candidate: str, **roles: str) -> AuditReport:
        """Roles by the names of the folders; by default each is itself."""
        given = {"reference": "reference", "original": "original", "twin": "twin", **roles}
        return audit(
            paths[candidate],
            **{role: paths[name] for role, name in given.items()},
            forget=by_prompt(pocket.forget),
            retain=by_prompt(pocket.retain),
            processing_class=pocket.tokenizer,
            num_samples=1,
            max_examples=12,
            progress=False,
        )

    return run


@pytest.mark.parametrize("candidate", ["original", "stranger"])
def test_honest_roles_are_not_doubted(candidate: str, run, caplog: pytest.LogCaptureFixture):
    """Another retraining, too, knows the retain answers about as well as the original: within .2 nats where 1 is asked for."""
    report = run(candidate, **({"reference": "stranger"} if candidate == "original" else {}))
    assert "retrained" not in caplog.text
    assert not any(finding.is_void for finding in report.findings)
    assert len(report.reading()) > 1 and "Nothing can be said" not in report.reading()[0]


@pytest.mark.parametrize(
    ("candidate", "roles", "sentence"),
    [
        (
            "copy",
            {},
            "reference and candidate are equal (weights, settings, answers), so the audit compares a model with itself",
        ),
        (
            "original",
            {"twin": "reference"},
            "reference and twin are equal (weights, settings, answers), but the twin must be a second",
        ),
        ("twin", {}, "candidate and twin are equal (weights, settings, answers), but the twin must be"),
        (
            "stranger",
            {"twin": "original"},
            "original and twin are equal (weights, settings, answers), but the twin must be",
        ),
    ],
)
def test_one_model_in_two_roles_is_refused(candidate: str, roles: dict, sentence: str, run):
    """Given as paths, so that no two are one object."""
    with pytest.raises(ValueError, match=re.escape(sentence)) as refused:
        run(candidate, **roles)
    assert "load each model for itself" in str(refused.value)


def test_an_original_as_candidate_is_noted_and_still_judged(run, caplog: pytest.LogCaptureFixture):
    report = run("original")
    assert "original and candidate are equal (weights, settings, answers), so nothing was unlearned" in caplog.text
    assert "have equal weights" in report.notes[0]
    assert not any(finding.is_void for finding in report.findings)
    assert verdict(report.metrics["fade"]).kind == "undecided" and len(report.reading()) > 1


@pytest.mark.parametrize("role", ["reference", "twin"])
def test_a_model_that_was_never_trained_on_the_retain_set(role: str, run, caplog: pytest.LogCaptureFixture):
    report = run("original", **{role: "untrained"})
    sentence = f"the {role} is no model retrained on the retain set"
    assert caplog.text.count(sentence) == 1
    assert report.reading()[0].startswith(f"Nothing can be said about unlearning: {sentence}")
    (found,) = (finding for finding in report.findings if finding.kind == "not retrained")
    assert found.role == role and found.interval[0] > 1
    again = AuditReport.from_json(report.to_json())
    assert again.reading() == report.reading()


def test_a_reference_that_has_seen_the_data(run, caplog: pytest.LogCaptureFixture):
    report = run("stranger", reference="original", original="reference")
    assert "original and reference are swapped" in caplog.text
    assert "chat template" not in caplog.text
    assert "the reference knows the forget answers better than the original does" in report.reading()[0]
    assert report.findings[0].kind == "known better after" and report.findings[0].interval[1] < 0
