"""MUSE (arXiv 2407.06460): BBC news and the Harry Potter books; what is recited, what is known, what membership attacks tell."""

from dataclasses import replace

from hf_unlearn.audit import Citation
from hf_unlearn.benchmarks._spec import Benchmark, BenchmarkSet, Configuration, PublishedModels, Source


FEW_SHOT = "Question: {question}\nAnswer: {answer}"
_KNOWN, _RECITED = ("knowledge_memorization",), ("verbatim_memorization",)
_MEMBERSHIP = ("privleak", "membership_loss", "membership_zlib", "membership_min_k")


def _configuration(corpus: str) -> Configuration:
    def source(name: str, split: str, **columns: str) -> Source:
        files = (f"{name}/{split}", f"{name}/{split}-*", f"{corpus}/{name}/{split}", f"data/{corpus}/{name}/{split}")
        return Source(name, split, files=files, columns=columns)

    def whole_texts(side: str, metrics: tuple[str, ...] = ()) -> BenchmarkSet:
        """Scored from their first token on, each its own cluster, though all have the empty prompt."""
        found = replace(source("privleak", side, completion="text"), constants={"prompt": ""}, group=1)
        return BenchmarkSet(found, side, metrics)

    def questions(side: str) -> BenchmarkSet:
        return BenchmarkSet(
            source("knowmem", f"{side}_qa"), side, _KNOWN, FEW_SHOT, examples=source("knowmem", f"{side}_qa_icl")
        )

    return Configuration(
        sets={
            "forget": whole_texts("forget", _MEMBERSHIP),
            "retain": questions("retain"),
            "holdout": whole_texts("holdout"),
            "forget_verbmem": BenchmarkSet(source("verbmem", "forget", completion="gt"), "forget", _RECITED),
            "forget_knowmem": questions("forget"),
        },
        metrics=(*_RECITED, *_KNOWN, *_MEMBERSHIP),
        headline=(
            "verbatim_memorization/forget_verbmem",
            "knowledge_memorization/forget_knowmem",
            "privleak/forget",
            "knowledge_memorization/retain",
        ),
        models={
            "meta-llama/Llama-2-7b-hf": PublishedModels(
                reference=f"muse-bench/MUSE-{corpus}_retrain",
                original=f"muse-bench/MUSE-{corpus}_target",
                processing_class="meta-llama/Llama-2-7b-hf",
            )
        },
        options={"max_new_tokens": 128},
        data=f"muse-bench/MUSE-{corpus.capitalize()}",
    )


MUSE = Benchmark(
    name="muse",
    title="MUSE: six-way evaluation of unlearning on news and books",
    citation=Citation("Shi et al. 2024, MUSE", "2407.06460"),
    licence="CC BY 4.0, as its dataset cards state it; the texts themselves are their publishers'",
    configurations={corpus: _configuration(corpus) for corpus in ("news", "books")},
    note="""Configurations, splits, columns, the ten in-context examples and their format as in its dataset cards and code of 2024; neither data nor models
were loaded here. Departures: the end of a text counts as one more token of it; answers are drawn up to 128 tokens for all sets, where MUSE draws 32
for questions, of which what follows the answer does not count. Scalability and sustainability, which compare several
requests, are not one audit.""".replace("\n", " "),
)
