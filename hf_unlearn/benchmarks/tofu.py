"""TOFU (arXiv 2401.06121): questions about 200 invented authors, of whom 2, 10 or 20 have to go."""

from hf_unlearn.audit import Citation
from hf_unlearn.benchmarks._spec import Benchmark, BenchmarkSet, Configuration, PublishedModels, Source


UTILITY = ("probability", "rouge_l", "truth_ratio_true_better", "model_utility")
"""What TOFU's model utility is the harmonic mean of, on each of three sets, and the mean itself."""
FACTS = ("normalized_probability", *UTILITY)
"""Where there are no paraphrases the probability counts among the answers on offer."""
FORGET = (
    "fade", "probability", "rouge_l", "truth_ratio_closer_to_1_better", "forget_quality", "exact_memorization", "extraction_strength", "exposure",
    "privleak", "membership_loss", "membership_zlib", "membership_min_k", "membership_min_k_plus_plus",
)  # fmt: skip
ROWS_OF_AN_AUTHOR = 20
_LLAMA_3 = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: 10 Apr 2025\n\n"
    "You are a helpful assistant.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n{question}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{answer}"
)
_LLAMA_2 = "[INST] {question} [/INST]{answer}"
_BASES = {
    "meta-llama/Llama-3.2-1B-Instruct": _LLAMA_3,
    "meta-llama/Llama-3.2-3B-Instruct": _LLAMA_3,
    "meta-llama/Llama-3.1-8B-Instruct": _LLAMA_3,
    "meta-llama/Llama-2-7b-chat-hf": _LLAMA_2,
}
"""Base models of which open-unlearning has published `_full` and `_retain…`, and how its configurations put questions to them."""


def _configuration(part: str, retained: str) -> Configuration:
    return Configuration(
        sets={
            "forget": BenchmarkSet(Source(f"forget{part}_perturbed", group=ROWS_OF_AN_AUTHOR), "forget", FORGET),
            "retain": BenchmarkSet(
                Source("retain_perturbed", group=ROWS_OF_AN_AUTHOR),
                "retain",
                ("fade", "extraction_strength", *UTILITY),
            ),
            "holdout": BenchmarkSet(
                Source(f"holdout{part}", group=ROWS_OF_AN_AUTHOR),
                "holdout",
                optional="It was added to the Hub's copy in March 2025; without it membership and PrivLeak are not measured.",
            ),
            "real_authors": BenchmarkSet(Source("real_authors_perturbed"), "retain", FACTS),
            "world_facts": BenchmarkSet(Source("world_facts_perturbed"), "retain", FACTS),
        },
        metrics=tuple(dict.fromkeys((*FORGET, *FACTS))),
        headline=("forget_quality/forget", "model_utility/retain"),
        models={
            base: PublishedModels(
                reference=f"open-unlearning/tofu_{base.split('/')[1]}_{retained}",
                original=f"open-unlearning/tofu_{base.split('/')[1]}_full",
                prompt_template=template,
            )
            for base, template in _BASES.items()
        },
    )


TOFU = Benchmark(
    name="tofu",
    title="TOFU: a task of fictitious unlearning",
    citation=Citation("Maini et al. 2024, TOFU", "2401.06121"),
    licence="MIT",
    data="locuslab/TOFU",
    configurations={
        f"forget{part}": _configuration(part, retained)
        for part, retained in (("01", "retain99"), ("05", "retain95"), ("10", "retain90"))
    },
    note="""The rows of one author stand together, 20 each, and are one cluster of every interval: forget01 has two authors, too few for any interval.
Retain is retain_perturbed, the 400 rows on which TOFU measures utility; they are in retain90, retain95 and retain99. Verified here: names, columns,
rows and authors of all sets but holdout, of which the same is assumed. Taken from open-unlearning's configurations as of 2026 and not loaded here: the holdout sets and the published models. Their
tokenizers' chat template is put as its configurations put it, with a fixed date; some of the models were trained before the date was fixed, and the audit
warns where the original knows the answers better in another format.""".replace("\n", " "),
)
