"""Every Evaluate module, enrolled by listing: it loads offline from checkout and wheel, holds no maths, and has a card."""

import ast
import doctest
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import evaluate
import numpy as np
import pytest
import yaml
from datasets import Dataset
from tokenizers.pre_tokenizers import WhitespaceSplit
from toys import tiny_llama, word_tokenizer

import hf_unlearn
from hf_unlearn.audit import measure_fade, measure_representation
from hf_unlearn.inference import FeatureSettings
from hf_unlearn.modules import MODULES, module_files


METRICS = Path(__file__).resolve().parents[2] / "metrics"
NAMES = sorted(path.name for path in METRICS.iterdir() if path.is_dir() and not path.name.startswith(("_", ".")))
MODELS = ("fade", "representation_forgetting")
"""Those that compare models."""
SIDE = {"log_prob_own": [-1.0, -2.0], "log_prob_other": [-1.5, -2.5], "num_tokens": [3, 5]}
FADE_KEYS = {
    "fade",
    "reference_to_candidate",
    "candidate_to_reference",
    "fade_per_token",
    "confidence_interval",
    "num_prompts",
    "num_samples",
    "truncated_fraction",
    "estimator",
}


def test_what_is_listed_is_what_there_is():
    assert sorted(MODULES) == NAMES and set(MODELS) < set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_what_its_spec_says(name: str):
    """Written by `python -m hf_unlearn.modules`; nothing in it is made by hand."""
    there = {path.name: path.read_text() for path in (METRICS / name).iterdir() if path.is_file()}
    assert there == module_files(MODULES[name]), "run `make cards`"
    assert not [line for line in there["README.md"].splitlines() if "hf_unlearn" in line and "pip" in line]


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_every_card_must(name: str):
    card, facts = (METRICS / name / "README.md").read_text(), MODULES[name].spec.facts
    for fact in (facts.unit, facts.direction, facts.range, facts.without_knowledge, facts.does_not_show):
        assert fact.strip() and f" {fact} |" in card
    assert all(f"| `{each.name}` |" in card for each in (*MODULES[name].spec.inputs, *MODULES[name].spec.outputs))


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_card_run(name: str):
    blocks = re.findall(r"```python\n(>>> .*?)```", (METRICS / name / "README.md").read_text(), re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        example = doctest.DocTestParser().get_doctest(block, {}, f"{name} {number}", None, None)
        assert example.examples and not doctest.DocTestRunner().run(example).failed


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_described_as_they_are(name: str):
    """Every input has words and every option is an input; the docstrings have them too."""
    spec = MODULES[name].spec
    named = [each.name for each in spec.inputs]
    assert sorted(named) == sorted({*spec.columns, *MODULES[name].defaults()})
    loaded = evaluate.load(hf_unlearn.metric_path(name))
    assert isinstance(loaded, MODULES[name]) and loaded.module_type == spec.kind
    for word in named:
        assert f"    {word}: " in loaded.inputs_description and f"    {word}: " in loaded.compute.__doc__
    assert spec.description in MODULES[name].__doc__


@pytest.mark.parametrize("name", NAMES)
def test_a_module_is_complete(name: str):
    files = {path.name for path in (METRICS / name).iterdir()}
    assert {f"{name}.py", "README.md", "app.py", "requirements.txt"} <= files


@pytest.mark.parametrize("name", NAMES)
def test_a_card_has_front_matter_and_says_what_numbers_mean(name: str):
    text = (METRICS / name / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    settings = yaml.safe_load(front)
    assert settings["sdk"] == "gradio" and settings["app_file"] == "app.py"
    assert "evaluate" in settings["tags"] and {"metric", "measurement", "comparison"} & set(settings["tags"])
    for section in ("What it measures", "How to use", "Inputs", "Output", "Limitations", "Citation"):
        assert re.search(rf"^#+ {section}", body, re.MULTILINE), section


@pytest.mark.parametrize("name", NAMES)
def test_a_module_holds_no_maths(name: str):
    """No arithmetic, no numpy, no torch: what is computed is computed in the library."""
    tree = ast.parse((METRICS / name / f"{name}.py").read_text())
    imported = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {
        node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
    }
    assert imported <= {"datasets", "evaluate", "hf_unlearn"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.BinOp)]


@pytest.mark.parametrize("name", NAMES)
def test_a_module_loads_by_path_without_a_network(name: str):
    module = evaluate.load(hf_unlearn.metric_path(name))
    assert module.name == name
    assert module.description and module.citation and module.inputs_description


def test_an_unknown_metric_is_suggested():
    with pytest.raises(KeyError, match=r"no metric 'fad'; there are .*Did you mean 'fade'"):
        hf_unlearn.metric_path("fad")


def test_fade_from_log_probs_is_the_librarys():
    result = evaluate.load(hf_unlearn.metric_path("fade")).compute(from_reference=SIDE, from_candidate=SIDE)
    assert set(result) == FADE_KEYS
    assert result["fade"] == 1.0
    assert all(type(value) in (float, int, str, tuple, type(None)) for value in result.values())


def test_fade_from_models_is_the_librarys(tmp_path: Path):
    models = {name: tiny_llama(seed) for seed, name in enumerate(("candidate", "reference", "original", "twin"))}
    options = {"prompts": [[1, 4], [1, 5]], "num_samples": 2, "max_new_tokens": 4, "progress": False, "seed": 3}
    fade = evaluate.load(hf_unlearn.metric_path("fade"))
    result = fade.compute(**models, **options)
    assert result == measure_fade(**models, **options).to_dict()
    assert FADE_KEYS | {"floor", "start", "relative"} <= set(result)
    for name in ("candidate", "reference"):
        models[name].save_pretrained(tmp_path / name)
    paths = fade.compute(candidate=str(tmp_path / "candidate"), reference=str(tmp_path / "reference"), **options)
    assert paths["fade"] == result["fade"]
    evaluate.save(tmp_path, **paths)  # plain Python values only, or this raises


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "FADE needs prompts, candidate, reference"),
        ({"prompts": [[1]], "candidate": tiny_llama()}, "FADE needs reference"),
        ({"from_reference": SIDE}, "needed of both sides"),
        ({"prompts": [], "candidate": tiny_llama(), "reference": tiny_llama()}, "non-empty"),
    ],
)
def test_missing_inputs_are_named(inputs: dict, message: str):
    with pytest.raises(ValueError, match=message):
        evaluate.load(hf_unlearn.metric_path("fade")).compute(**inputs)


def test_representation_forgetting_from_models_is_the_librarys(tmp_path: Path):
    """Texts go through the tokenizer; numbers are those of the library, and plain Python values."""
    models = {name: tiny_llama(seed) for seed, name in enumerate(("candidate", "reference", "original"))}
    tokenizer = word_tokenizer(*"abcdefgh")
    tokenizer.backend_tokenizer.pre_tokenizer = WhitespaceSplit()
    texts = ["a b c d", "b c a", "d e f g h", "h a b", "c c d", "e f a b", "g g a", "f a c h"]
    split = ["forget"] * 4 + ["retain"] * 4
    metric = evaluate.load(hf_unlearn.metric_path("representation_forgetting"))
    result = metric.compute(texts=texts, **models, split=split, processing_class=tokenizer, progress=False, layers=[2])
    expected = measure_representation(
        texts=texts,
        **models,
        split=split,
        processing_class=tokenizer,
        progress=False,
        settings=FeatureSettings(layers=(2,)),
    )
    assert result == expected.to_dict()
    assert {"progress", "residual_ratio", "cka", "retain_cka", "forget_retain_asymmetry", "layers", "reasons"} <= set(
        result
    )
    assert set(result["layers"]) == {"2"}
    evaluate.save(tmp_path, **result)


def test_representation_forgetting_known_answer():
    """u = o + .6Δr + .3w, w ⟂ Δr, ‖w‖ = ‖Δr‖, Δr of rank 1 (see tests/functional/test_representation.py)."""
    generator = np.random.default_rng(0)
    scores = generator.normal(size=30)
    shift, other = np.outer(scores, [1.0, 0, 0, 0]), np.outer(scores, [0, 0, 1.0, 0])
    original = generator.normal(size=(30, 4))
    result = evaluate.load(hf_unlearn.metric_path("representation_forgetting")).compute(
        candidate_features=(original + 0.6 * shift + 0.3 * other).tolist(),
        reference_features=(original + shift).tolist(),
        original_features=original.tolist(),
        space="feature",
    )
    known = {"progress": 0.6, "directional_agreement": 0.894427, "residual_ratio": 0.5, "off_direction": 0.3}
    for name, value in {**known, "residual_concentration": 0.64, "diffuse_concentration": 0.25}.items():
        assert result[name] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "needs texts, candidate, reference"),
        ({"candidate_features": [[1.0]]}, "needed of both models"),
        ({"texts": [], "candidate": tiny_llama(), "reference": tiny_llama()}, "texts must be a non-empty list"),
    ],
)
def test_missing_inputs_of_representation_forgetting_are_named(inputs: dict, message: str):
    with pytest.raises(ValueError, match=message):
        evaluate.load(hf_unlearn.metric_path("representation_forgetting")).compute(**inputs)


def module(name: str) -> evaluate.EvaluationModule:
    return evaluate.load(hf_unlearn.metric_path(name))


def test_both_modules_combine():
    """What one of them takes and the other does not goes to that one."""
    models = {name: tiny_llama(seed) for seed, name in enumerate(("candidate", "reference"))}
    prompts, texts = [[1, 4], [1, 5]], [[1, 4, at] for at in range(6, 11)]
    fade = {"prompts": prompts, "num_samples": 2, "max_new_tokens": 4, "progress": False}
    both = evaluate.combine([module("fade"), module("representation_forgetting")])
    result = both.compute(**models, **fade, texts=texts, layers=[2])
    expected = module("fade").compute(**models, **fade)
    expected |= module("representation_forgetting").compute(**models, texts=texts, layers=[2], progress=False)
    assert result == expected and {"fade", "cka"} <= set(result)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"predictions": ["a"], "references": ["b"]}, "compares two models and takes no predictions"),
        ({"predictions": None, "references": None, "candidat": 1}, "no input 'candidat'.* Did you mean 'candidate'"),
        ({"twins": 1, "layer": [1]}, "takes no input 'twins'"),
    ],
)
def test_what_a_module_does_not_take_is_refused_in_words(name: str, inputs: dict, message: str):
    with pytest.raises(TypeError, match=message):
        module(name).compute(**inputs)


@pytest.mark.parametrize("name", MODELS)
def test_an_input_of_the_other_module_is_refused_where_nothing_is_combined(name: str):
    others = {"fade": "pooling", "representation_forgetting": "num_samples"}
    with pytest.raises(TypeError, match=f"takes no input '{others[name]}'"):
        module(name).compute(**{others[name]: 3})


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("way", ["add", "add_batch"])
def test_batches_are_not_collected_in_vain(name: str, way: str):
    with pytest.raises(TypeError, match="compares models in one call"):
        getattr(module(name), way)(prompts=["a"])


def test_representation_forgetting_takes_token_ids():
    """The same as model inputs."""
    models = {name: tiny_llama(seed) for seed, name in enumerate(("candidate", "reference"))}
    ids = [[1, 4, at, at + 3] for at in range(6, 11)]
    results = [
        module("representation_forgetting").compute(texts=texts, progress=False, **models)
        for texts in (ids, [{"input_ids": row} for row in ids], np.array(ids))
    ]
    assert results[0] == results[1] == results[2] and results[0]["cka"] is not None


TABLE = Dataset.from_dict({"question": ["a"] * 5, "answer": ["b"] * 5})


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (
            TABLE,
            TypeError,
            r"Dataset with the columns question, answer; pass one of them, for example \w+=data\['question'\]",
        ),
        (TABLE.to_pandas(), TypeError, "DataFrame with the columns question, answer"),
        ({"question": ["a"]}, TypeError, "dict with the columns question"),
        ("one text", ValueError, "must be a non-empty list of texts or of token ids, got 'one text'"),
        (
            [[1, 2], [1, 500], [1], [1], [1]],
            ValueError,
            r"\[1\] has the token id 500, but LlamaForCausalLM knows 0 to 96",
        ),
        ([[1, -3], [1], [1], [1], [1]], ValueError, r"\[0\] has the token id -3"),
        ([[1, 2.5], [1], [1], [1], [1]], TypeError, "whole numbers; it holds '2.5'"),
        ([[1], "text", [1], [1], [1]], TypeError, "all texts or all token ids"),
        ([None, [1], [1], [1], [1]], TypeError, "must be a text or a list of token ids, got 'None'"),
        (["a"] * 5, ValueError, "no model says where its tokenizer is: pass processing_class="),
    ],
)
def test_rows_of_another_kind_are_refused_in_words(name: str, rows: object, error: type, message: str):
    inputs = {"candidate": tiny_llama(), "reference": tiny_llama(1), "progress": False}
    inputs["prompts" if name == "fade" else "texts"] = rows
    if isinstance(rows, list) and "text" in rows:
        inputs["processing_class"] = word_tokenizer("text")
    with pytest.raises(error, match=message):
        module(name).compute(**inputs)


def test_fade_works_from_an_installed_wheel(tmp_path: Path):
    """Built without isolation (no network), unpacked away from the checkout, and loaded from there."""
    root = METRICS.parent
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    copied = tmp_path / "source"
    copied.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (copied / name).write_bytes((root / name).read_bytes())
    for folder in ("hf_unlearn", "metrics"):
        for path in (root / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                target = copied / path.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(copied)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import evaluate, hf_unlearn\n"
        f"for name in {NAMES}:\n"
        "    path = hf_unlearn.metric_path(name)\n"
        "    assert path.startswith(sys.argv[1]) and evaluate.load(path).name == name, path\n"
        "path = hf_unlearn.metric_path('fade')\n"
        "assert path.startswith(sys.argv[1]), path\n"
        f"print(evaluate.load(path).compute(from_reference={SIDE}, from_candidate={SIDE})['fade'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "site")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "1.0", done.stderr
