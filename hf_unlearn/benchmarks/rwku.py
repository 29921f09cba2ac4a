"""RWKU (arXiv 2406.10890): real people whom a pretrained model knows; 200 of them, usually one at a time."""

from hf_unlearn.audit import Citation
from hf_unlearn.benchmarks._spec import Benchmark, BenchmarkSet, Configuration, Source


_ANSWERS = ("rouge_l", "probability")
_BLANK = "Please complete the blank in the following question.\nQuestion: {question}\nAnswer:"
_BRIEF = "Please briefly answer the following question.\nQuestion: {question}\nAnswer:"


def _probe(name: str, role: str, template: str, metrics: tuple[str, ...] = _ANSWERS) -> BenchmarkSet:
    source = Source(
        name, "test", files=(name, f"All/{name}"), columns={"question": "query", "answer": "answer"}, select=True
    )
    return BenchmarkSet(source, role, metrics, template)


RWKU = Benchmark(
    name="rwku",
    title="RWKU: real-world knowledge unlearning",
    citation=Citation("Jin et al. 2024, RWKU", "2406.10890"),
    licence="CC BY 4.0",
    data="jinzhuoran/RWKU",
    configurations={
        "all": Configuration(
            sets={
                "forget": _probe("forget_level2", "forget", _BRIEF, (*_ANSWERS, "fade")),
                "retain": _probe("neighbor_level2", "retain", _BRIEF, (*_ANSWERS, "fade")),
                "forget_level1": _probe("forget_level1", "forget", _BLANK),
                "forget_level3": _probe("forget_level3", "forget", _BRIEF),
                "neighbor_level1": _probe("neighbor_level1", "retain", _BLANK),
            },
            metrics=("fade", *_ANSWERS),
            headline=("rouge_l/forget", "rouge_l/forget_level1", "rouge_l/forget_level3", "rouge_l/retain"),
            options={"max_new_tokens": 30},
        )
    },
    default="all",
    select="subject",
    note="""One person is a configuration: `rwku:Stephen King`. What has to be forgotten comes from pretraining, so that nobody has a model that never saw
it: give a reference of your own; the original is Llama-3-8B-Instruct or Phi-3-mini-4k-instruct in the paper. Questions are put as in its code, but as plain
text, where its code puts them into the model's chat template; the in-context attacks of level 3 are put like the others. Its membership sets and general
abilities (MMLU, BBH, TruthfulQA, TriviaQA, fluency) are left to --set and the harness. Configurations, splits and columns as in its dataset card and code
of 2024; not loaded here.""".replace("\n", " "),
)
