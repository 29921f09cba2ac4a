"""The card: what is ours comes and goes, what is not keeps every byte."""

import dataclasses
import html
import re

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st
from made_reports import made, result, spec
from reports import metric, report

from hf_unlearn.audit import MetricResults
from hf_unlearn.publishing import CardError, Statement, card_section, update_card
from hf_unlearn.publishing._card import BEGIN, END, model_index_results, sections_of
from hf_unlearn.publishing._escape import markdown, one_line
from hf_unlearn.publishing._front_matter import FrontMatter


REPO = "me/model"
PLAIN = Statement("20 persons", "npo", {"learning_rate": 1e-3})
CARD = """---
# chosen with care
license: "apache-2.0"   # quoted on purpose
language: [en, de]
tags:
- text-generation   # mine
- "machine-learning"

# about the numbers
model-index:
  - name: Other
    results:
      - task: {type: text-generation}
        dataset:
          name: "ARC"
          type: ai2_arc
        metrics:
          - type: acc
            value: 0.50   # trailing zero
            name: >
              folded
              name
pipeline_tag: text-generation
---

# My model

Text with --- inside, {{ braces }} and a tab\tinside.
"""


def test_every_other_byte_stays():
    once = update_card(CARD, report(), PLAIN, REPO, ["fade.png"])
    added = [line for line in once.split("\n") if line not in CARD.split("\n")]
    kept = once.split("\n")
    place = 0
    for line in CARD.split("\n"):  # every old line is there, in order
        place = kept.index(line, place) + 1
    assert any("machine-unlearning" in line for line in added)
    data = yaml.safe_load(once.split("\n---")[0].removeprefix("---"))
    assert data["tags"] == ["text-generation", "machine-learning", "machine-unlearning", "hf_unlearn"]
    assert (
        data["language"] == ["en", "de"]
        and data["license"] == "apache-2.0"
        and data["pipeline_tag"] == "text-generation"
    )
    first, *ours = data["model-index"][0]["results"]
    assert first == yaml.safe_load(CARD.split("\n---")[0].removeprefix("---"))["model-index"][0]["results"][0]
    assert {result["source"]["name"] for result in ours} == {"hf_unlearn"}
    body = once.split("\n---\n", 1)[1]
    assert body.startswith(CARD.split("\n---\n", 1)[1]) and body.count(BEGIN) == 1


def test_twice_is_once_and_a_new_audit_replaces():
    once = update_card(CARD, report(), PLAIN, REPO)
    assert update_card(once, report(), PLAIN, REPO) == once
    other = report({"fade": metric(3.0)})
    assert update_card(once, other, PLAIN, REPO) == update_card(CARD, other, PLAIN, REPO)


def test_windows_line_ends_stay():
    card = CARD.replace("\n", "\r\n")
    once = update_card(card, report(), PLAIN, REPO)
    assert "\n" not in once.replace("\r\n", "")
    assert once.replace("\r\n", "\n") == update_card(CARD, report(), PLAIN, REPO)
    assert update_card(once, report(), PLAIN, REPO) == once


@pytest.mark.parametrize(
    "card",
    [
        "",
        "# no front matter\n",
        "# no newline at the end",
        "---\n---\n# empty front matter\n",
        "---\nlicense: mit\n---",
        "\ufeff---\nlicense: mit\n---\n# with a byte order mark\n",
        "---\ntags: one\n---\n",
        "---\ntags: [a, b]\nmodel-index: []\n---\n",
        "---\ntags: []\nmodel-index:\n- name: x\n  results: []\n---\n",
        "---\ntags:\nmodel-index:\n- name: x\n---\n",
        "---\nmodel-index: [{name: x, results: [{task: {type: t}, dataset: {name: d, type: e}, metrics: [{type: m, value: 1}]}]}]\n---\n",
        "---\nlicense: mit\ntags:\n    - deep\n    - deeper\n# the end\n---\n# text\n",
        "---\ndescription: |\n  tags:\n  - not a key\ndatasets:\n- me/one\n---\n",
    ],
)
def test_cards_of_every_shape(card: str):
    statement = Statement(datasets=("me/one", "me/two"), base_model="me/base")
    once = update_card(card, report(), statement, REPO)
    parsed = ModelCard(once.removeprefix("\ufeff"))
    assert {"machine-unlearning", "hf_unlearn"} <= set(parsed.data.tags) and parsed.data.base_model == "me/base"
    assert parsed.data.datasets == ["me/one", "me/two"]
    measured = {(result.metric_type, result.dataset_type) for result in parsed.data.eval_results}
    assert measured >= {("fade", "unlearning-audit-forget"), ("fade", "unlearning-audit-retain")}
    assert once.startswith("\ufeff") == card.startswith("\ufeff")
    assert update_card(once, report(), statement, REPO) == once
    if "deeper" in card:
        assert "    - deeper\n    - machine-unlearning\n    - hf_unlearn\n# the end\n" in once


@pytest.mark.parametrize(
    "given",
    [
        {"relative_confidence_interval": None},
        {"over_floor_interval": (-1.0, 5.0), "start_over_floor_interval": (-1.0, 19.0)},
    ],
)
def test_a_relative_that_means_nothing_is_neither_in_table_nor_front_matter(given: dict):
    """As in the terminal: no interval, or no power."""
    shown = report().metrics["fade/forget"]
    for found, relative in ((shown, "0.46 | 0.4 … 0.5"), (dataclasses.replace(shown, **given), "– | –")):
        changed = report({"fade": found})
        (row,) = (line for line in card_section(changed, PLAIN, REPO).split("\n") if line.startswith("| FADE"))
        assert row.endswith(f"| {relative} |")
        arguments = model_index_results(changed, REPO)[0]["metrics"][0]["args"]
        assert ("relative" in arguments) == (found is shown) and arguments["start"] == 25.0


@pytest.mark.parametrize(
    "value, interval, shown",
    [
        (0.45, (9e-6, 0.999), "0.45 | 0.00 … 1.00"),
        (0.412, (9e-6, 0.99999), "0.412 | 0.000 … 1.000"),
        (12.4, (11.4, 13.4), "12.4 | 11.4 … 13.4"),
        (0.4, (0.35, 0.45), "0.4 | 0.35 … 0.45"),
        (1.0, (0.99993, 1.0), "1 | 0.99993 … 1"),
        (3.0, (-0.0004, 5.25), "3 | 0.0 … 5.2"),
        (2.5, (1e-300, 1e304), "2.5 | 0.0 … 1e+304"),
        (2.5, (-1.7e308, 1.7e308), "2.5 | -1.7e+308 … 1.7e+308"),
        (2.5, (1.0, float("inf")), "2.5 | 1 … –"),
    ],
)
def test_bounds_have_the_digits_of_their_number(value: float, interval: tuple[float, float], shown: str):
    """Never fewer than tell them apart."""
    section = card_section(report({"fade": metric(value, confidence_interval=interval)}), PLAIN, REPO)
    (row,) = (line for line in section.split("\n") if line.startswith("| FADE"))
    assert f"| {shown} |" in row


def test_what_is_there_is_not_overruled():
    card = "---\nlibrary_name: peft\nbase_model: you/base\n---\n"
    data = ModelCard(update_card(card, report(), Statement(base_model="me/base"), REPO)).data
    assert data.library_name == "peft" and data.base_model == "you/base"


class CountingText(str):
    """Counts the characters that searches pass over."""

    passed = 0

    def find(self, part: str, start: int = 0, *rest: int) -> int:
        found = super().find(part, start, *rest)
        self.passed += (len(self) if found < 0 else found + len(part)) - start
        return found


@pytest.mark.parametrize(
    "unit, sections", [(BEGIN, 0), (END, 0), (f"{BEGIN}\n{END}", 2_000), (f"{END}\n{BEGIN}", 1_999)]
)
def test_many_markers_cost_little(unit: str, sections: int):
    """Each place of a card is looked at a few times, however many markers a stranger puts into it."""
    card = CountingText("# x\n" + f"{unit}\n" * 2_000)
    assert len(sections_of(card)) == sections
    assert 0 < card.passed <= 3 * len(card)
    if sections < 2_000:
        with pytest.raises(CardError, match="without"):
            update_card(str(card), report(), PLAIN, REPO)


def test_two_old_sections_become_one():
    once = update_card("# Mine\n", report(), PLAIN, REPO)
    twice = once + "between\n" + BEGIN + "\nold\n" + END + "\nafter\n"
    again = update_card(twice, report(), PLAIN, REPO)
    assert again.count(BEGIN) == 1 and "between" in again and again.endswith("after\n") and "\nold\n" not in again


@pytest.mark.parametrize(
    "card, says",
    [
        ("---\nlicense: [mit\n---\n# x\n", "not valid YAML in line"),
        ("---\nlicense: mit\n# never closed\n", "never closes"),
        ("---\na: 1\na: 2\n---\n", "'a' twice"),
        ("---\n- a\n- b\n---\n", "one key per line"),
        ("---\n{license: mit}\n---\n", "one key per line"),
        ("---\nmodel-index: 3\n---\n", "not a list of models"),
        (f"# x\n{BEGIN}\nold\n", "without"),
        (f"# x\n{END}\n{BEGIN}\n", "out of order"),
        ("--- \nlicense: mit\n---\n", "blanks follow"),
    ],
)
def test_a_card_that_cannot_be_read_is_refused(card: str, says: str):
    with pytest.raises(CardError, match=says):
        update_card(card, report(), PLAIN, REPO)


EVIL = [
    "</details><script>alert(1)</script>",
    f"{END}\n# Out",
    "a | b | c",
    "[click](javascript:alert(1)) ![x](http://evil/x.png) http://evil www.evil.com @someone",
    "{{ 7 * 7 }} {% raw %} {{ config }}",
    "line\n## Heading\n\n---\n- item",
    "\x1b[2J\x1b[31mred\x07 \u202e desrever \x85",
    '": injected: "yes"\n- "',
    "`code` **bold** _it_ ~~no~~ $x^2$ \\",
    "!!python/object/apply:os.system ['true']",
]


@pytest.mark.parametrize("text", EVIL)
def test_text_from_outside_stays_text(text: str):
    statement = Statement(text, text, {text: text}, text, (text,), (text,))
    evil = report({"evil": metric(1.0, unit=text)})
    spec = dataclasses.replace(evil.specs["evil"], title=text, unit=text, family=text, citation=text, arxiv=text)
    results = [
        metric(1.0, unit=text, name=name, split=split, condition=condition, others={"reference": 0.5, text: 1.0})
        for name, split, condition in ((text, "forget", ""), ("evil", text, ""), ("evil", "retain", text))
    ]
    named = MetricResults({str(place): result for place, result in enumerate(results)})
    evil = dataclasses.replace(evil, specs={"evil": spec, text: spec}, metrics=named)
    evil.provenance.models["candidate"]["name"] = text
    evil.provenance.data[text] = {"rows": 1}
    object.__setattr__(evil, "notes", (text,))
    card = update_card(CARD, evil, statement, REPO, [text])
    (section,) = sections_of(card)
    assert card.count(BEGIN) == card.count(END) == 1 and card.endswith(END + "\n")
    assert "<script" not in section and "{{" not in section and "{%" not in section
    assert "](javascript" not in section and "](http://evil" not in section and "![" not in section
    assert "http://evil" not in section and "@someone" not in section
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", card)
    headings = [line for line in section.splitlines() if line.startswith("#")]
    assert headings == [
        "## Unlearning audit",
        "### What the numbers say",
        "### Results",
        "### Examples of what was forgotten, published on purpose",
        "### Check it",
    ]
    # Every row of every table has as many cells as its head.
    tables = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert len(tables) == 3
    for block in tables:
        assert len({len(line.split("|")) for line in block.splitlines()}) == 1
    data = ModelCard(card).data.to_dict()
    assert data["license"] == "apache-2.0" and set(data) <= {
        "license",
        "language",
        "tags",
        "model-index",
        "pipeline_tag",
        "library_name",
    }
    assert update_card(card, evil, statement, REPO, [text]) == card


@given(st.text(max_size=60))
def test_escaped_text_is_one_harmless_line(text: str):
    escaped = markdown(text)
    assert "\n" not in escaped and not re.search(r"[<>|`*\[\]@]", escaped)
    assert html.unescape(escaped) == one_line(text)  # a reader sees what was written


_VALUES = st.one_of(
    st.integers(-5, 5), st.booleans(), st.none(), st.text(max_size=12), st.lists(st.text(max_size=6), max_size=3)
)
_KEYS = st.sampled_from(
    ["license", "language", "tags", "datasets", "base_model", "model-index", "metrics", "x y", "widget"]
)


SMALL = report({"fade": metric(3.0)})


@settings(max_examples=60)
@given(st.dictionaries(_KEYS, _VALUES, max_size=6), st.booleans(), st.text("ab#-\n ", max_size=30))
def test_any_front_matter_is_extended_or_refused(data: dict, flow: bool, body: str):
    """What was there is there after, with its values; twice is once."""
    block = yaml.safe_dump(data, default_flow_style=None if flow else False, allow_unicode=True)
    card = f"---\n{block}---\n{body}"
    try:
        once = update_card(card, SMALL, PLAIN, REPO)
    except CardError:
        assert (
            not isinstance(data.get("model-index"), (list, type(None)))
            or data.get("model-index")
            or not data
            or block.startswith("{")
        )
        return
    found = FrontMatter(once).data
    for key, value in FrontMatter(card).data.items():
        if key == "tags":
            old = value if isinstance(value, list) else [] if value is None else [value]
            assert found["tags"][: len(old)] == old and set(found["tags"]) - set(old) <= {
                "machine-unlearning",
                "hf_unlearn",
            }
            assert {"machine-unlearning", "hf_unlearn"} <= set(found["tags"])
        elif key != "model-index":
            assert found[key] == value
    assert body.rstrip("\n") in once
    assert update_card(once, SMALL, PLAIN, REPO) == once


def test_the_section_says_what_the_report_says():
    section = card_section(report(), PLAIN, REPO, ["fade.png"])
    assert (
        "| FADE | nats per sequence | 0 | 12.4 | 11.4 … 13.4 | 1.6 | 0.6 … 2.6 | – | 1.5 | 25 | 0.46 | 0.4 … 0.5 |"
        in section
    )
    of_one = "| probability of the true answer | probability | as the retrained model | 0.4 | -0.6 … 1.4 | – | – | 0.3 | – | 0.9 |"
    assert of_one in section
    assert "* a limit" in section and "hf-unlearn verify me/model" in section and "arxiv.org/abs/2510.12981" in section
    assert "| learning&#95;rate | 0.001 |" in section
    assert "lies between the twin, which is one other retraining, and the original" in section
    empty = card_section(report({}), Statement(), REPO)
    assert "does not say what was forgotten" in empty and "No metric of this audit" in empty


def test_every_set_and_condition_has_its_place():
    other = metric(0.2, unit="probability", direction="reference")
    keys = ("fade/holdout", "fade/retain", "fade/forget@int8", "fade/retain@int8", "fade/forget_ood")
    held = report(
        {**report().metrics, **{key: dataclasses.replace(other, value=place / 8) for place, key in enumerate(keys)}}
    )
    section = card_section(held, PLAIN, REPO)
    assert "| retain | 95 % interval | holdout | 95 % interval | retrained |" in section
    assert "| FADE | nats per sequence | 0 | 12.4 | 11.4 … 13.4 | 0.125 | -0.8 … 1.2 | 0 | -0.8 … 1.2 |" in section
    assert "| FADE after int8 | probability | 0 | 0.25 | -0.8 … 1.2 | 0.375 | -0.8 … 1.2 | – |" in section
    assert "| FADE on the forget&#95;ood set | probability | 0 | 0.5 | -0.8 … 1.2 | – | – | – |" in section
    entries = {
        (entry["dataset"]["type"], part["name"]): part
        for entry in model_index_results(held, REPO)
        for part in entry["metrics"]
    }
    ends = ("forget", "retain", "holdout", "forget_ood")
    assert {kind for kind, _ in entries} == {f"unlearning-audit-{split}" for split in ends}
    after = entries["unlearning-audit-forget", "FADE after int8 (probability)"]
    assert after["args"]["condition"] == "int8" and after["value"] == 0.25 and after["type"] == "fade"


def test_what_is_not_headline_comes_last_and_into_no_index():
    first = report({"minor": metric(1.0), "major": metric(2.0)})
    specs = {**first.specs, "minor": dataclasses.replace(first.specs["minor"], headline=False)}
    found = dataclasses.replace(first, specs=specs)
    section = card_section(found, PLAIN, REPO)
    assert 0 < section.index("| major |") < section.index("| minor |")
    types = [part["type"] for entry in model_index_results(found, REPO) for part in entry["metrics"]]
    assert types == ["major"]


def test_the_card_says_what_its_metrics_do_not_show():
    """Once for each metric, folded, escaped; a report that does not say has no such part."""
    plain = made(result("gap", 4.0), result("gap", 1.0, split="retain"), result("recall", 0.4))
    assert "do not show" not in card_section(plain, PLAIN, REPO)
    told = made(
        result("gap", 4.0),
        result("gap", 1.0, split="retain"),
        result("recall", 0.4),
        gap=spec("gap between answers", does_not_show="Whether <!-- it --> is | gone."),
    )
    section = card_section(told, PLAIN, REPO)
    assert section.count("What these numbers do not show") == 1
    assert section.count("* **gap between answers**: Whether &lt;!-- it --&gt; is &#124; gone.") == 1
