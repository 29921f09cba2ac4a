"""Benchmarks from a file: YAML is checked to the last key, Python is run when its path is given."""

import textwrap
from pathlib import Path

import pytest
import yaml

from hf_unlearn.audit import METRICS
from hf_unlearn.benchmarks import BENCHMARKS, Benchmark, find_benchmark, load_benchmark, read_benchmark


FORGET = '[{"question": "Who?", "answer": "Ann"}, {"question": "Where?", "answer": "Here"}]'
KEEP = '[{"q": "What {x}?", "a": "That"}]'
WHOLE = """
name: mine
title: My benchmark
citation: {text: Me 2026, arxiv: "2601.00001"}
licence: MIT
version: 3
note: Only for me.
configurations:
  one:
    metrics: [fade, probability]
    headline: [fade/forget]
    options: {max_new_tokens: 7}
    sets:
      forget: forget.json
      facts:
        source: {data: keep.json, columns: {question: q, answer: a}, group: 2}
        metrics: [probability]
        prompt_template: "Q: {question}\\nA:"
        examples: shots.json
    models:
      me/base: {reference: retrained, original: me/original}
"""
LEAST = "name: mine\nconfigurations: {one: {metrics: [fade], sets: {forget: forget.json}}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "forget.json").write_text(FORGET)
    (tmp_path / "shots.json").write_text('[{"question": "Shot?", "answer": "yes"}]')
    (tmp_path / "keep.json").write_text(KEEP)
    (tmp_path / "retrained").mkdir()
    return tmp_path


def written(folder: Path, text: str, name: str = "my.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_whole_description(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir("/")  # its files are looked for beside it
    loaded = load_benchmark(f"{written(folder, WHOLE)}:one")
    assert loaded.label == "mine:one@3" and loaded.benchmark.citation.arxiv == "2601.00001"
    facts = loaded.sets["facts"]
    assert (facts.role, facts.metrics, facts.prompt_template) == ("retain", ("probability",), "Q: {question}\nA:")
    assert facts.data.to_list() == [{"question": "What {x}?", "answer": "That", "person_id": "person-0"}]
    assert facts.examples.to_list() == [{"question": "Shot?", "answer": "yes"}]
    given = loaded.arguments()
    assert given["reference"] == str(folder / "retrained") and given["original"] == "me/original"
    assert (given["metrics"], given["max_new_tokens"]) == (("fade", "probability"), 7)
    assert loaded.sets["forget"].role == "forget"


def test_the_least_description(folder: Path):
    path = written(folder, LEAST)
    assert load_benchmark(path).sets["forget"].data.num_rows == 2
    assert load_benchmark(path).label == load_benchmark(f"{path}:one").label
    with pytest.raises(ValueError, match="no configuration of mine 'two'"):
        load_benchmark(f"{path}:two")
    several = LEAST.replace("one:", "two: {metrics: [fade], sets: {forget: forget.json}}, one:")
    with pytest.raises(ValueError, match="several configurations"):
        load_benchmark(written(folder, several, "several.yaml"))
    assert load_benchmark(written(folder, several + "default: two\n", "several.yaml")).label.startswith("mine:two")


def test_the_example_of_the_examples():
    loaded = load_benchmark(Path(__file__).resolve().parents[2] / "examples" / "own_benchmark.yaml")
    assert loaded.label == "invented-people:people@1"
    assert {name: found.role for name, found in loaded.sets.items()} == {
        "forget": "forget",
        "retain": "retain",
        "paraphrased_questions": "forget",
    }
    assert all(metric in METRICS for metric in loaded.arguments(reference="me/retrained")["metrics"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("licence: MIT", "license: MIT", "the benchmark has 'license', which is not known.*Did you mean 'licence'"),
        ("metrics: [fade, probability]", "metric: [fade]", "configurations, one has 'metric'.*Did you mean 'metrics'"),
        ("metrics: [fade, probability]", "metrics: fade", "metrics must be a list of texts, got 'fade'"),
        ("group: 2", "group: true", "facts, source, group must be a whole number"),
        ("group: 2", "grup: 2", "sets, facts, source has 'grup'"),
        ("version: 3", "version: new", "version must be a whole number"),
        ("version: 3", "version: 3\nversion: 4", "'version' is there twice"),
        ("name: mine", "nam: mine", "'nam'"),
        ("name: mine\n", "", "the benchmark lacks name"),
        ("forget: forget.json", "forgot: forget.json", "one: a benchmark needs a forget set"),
        ("metrics: [probability]", "metrics: [cka]", "asks for 'cka', which the configuration does not measure"),
        ("max_new_tokens: 7", "max_tokens: 7", "no option of an audit 'max_tokens'.*Did you mean"),
        ("prompt_template: ", "role: keep\n        prompt_template: ", "role of a set is one of"),
        ("name: mine", "name: !!python/object/apply:os.system [exit]", "is no YAML"),
        ("title: My benchmark", "title: 5", "title must be a text, got 5"),
        ("{text: Me 2026,", "{txt: Me 2026,", "citation has 'txt'"),
        ("      forget: forget.json", "      forget: [1]", "sets, forget must hold values by name"),
        (WHOLE, "- name", "the benchmark must hold values by name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(folder: Path, old: str, new: str, message: str):
    assert old in WHOLE
    path = written(folder, WHOLE.replace(old, new))
    with pytest.raises(ValueError, match=f"(?s){message}") as caught:
        read_benchmark(path)
    assert str(path) in str(caught.value)


def test_a_python_file_is_run(folder: Path):
    text = f"""
        from pathlib import Path
        from hf_unlearn.audit import Citation
        from hf_unlearn.benchmarks import Benchmark, BenchmarkSet, Configuration, PublishedModels, Source

        forget = BenchmarkSet(Source(data=str(Path(__file__).parent / "forget.json")), "forget")
        one = Configuration({{"forget": forget}}, ("fade",), models={{"me/base": PublishedModels(reference=lambda: "made")}})
        BENCHMARK = Benchmark("own", "Own", Citation("Me"), "MIT", {{"one": one}}, default="one")
        Path({str(folder / "ran")!r}).touch()
    """
    path = written(folder, textwrap.dedent(text), "my.py")
    assert not (folder / "ran").exists()
    loaded = load_benchmark(path)
    assert (folder / "ran").exists() and loaded.label == "own:one@1"
    assert loaded.arguments()["reference"] == "made"
    with pytest.raises(ValueError, match="must have a module-level BENCHMARK"):
        load_benchmark(written(folder, "benchmark = 3", "none.py"))


def test_a_benchmark_object_is_taken_as_it_is(folder: Path):
    found = read_benchmark(written(folder, LEAST))
    assert isinstance(found, Benchmark)
    assert load_benchmark(found, configuration="one").label == "mine:one@1"


def test_the_example_in_the_text_is_what_the_fields_are():
    assert set(yaml.safe_load(WHOLE)) <= set(Benchmark.__dataclass_fields__)


def test_no_report_of_mine_says_that_it_is_tofu_s(folder: Path):
    with pytest.raises(ValueError, match="there is a benchmark 'tofu' already"):
        load_benchmark(written(folder, LEAST.replace("name: mine", "name: tofu")), configuration="one")
    assert find_benchmark(BENCHMARKS["tofu"])[0] is BENCHMARKS["tofu"]
