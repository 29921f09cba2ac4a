"""The embedded benchmark: invented people and ships, with models that are trained here when first asked for. Needs no network."""

from functools import partial

from hf_unlearn.audit import Citation
from hf_unlearn.benchmarks._spec import Benchmark, BenchmarkSet, Configuration, PublishedModels, Source
from hf_unlearn.data import POCKET_SIZES, load_pocket, pocket_tokenizer


METRICS = (
    "fade", "probability", "rouge_l", "truth_ratio", "forget_quality", "model_utility", "exact_memorization", "extraction_strength", "exposure",
    "membership_loss", "membership_min_k", "privleak",
)  # fmt: skip


def _configuration(size: str) -> Configuration:
    def rows(name: str, role: str, metrics: tuple[str, ...] = ()) -> BenchmarkSet:
        return BenchmarkSet(Source(data=f"pocket-{size}:{name}"), role, metrics)

    return Configuration(
        sets={
            "forget": rows("forget_request", "forget"),
            "retain": rows("retain", "retain"),
            "holdout": rows("holdout", "holdout"),
            "ships": rows("forget_ood", "forget", ("probability", "rouge_l")),
        },
        metrics=METRICS,
        headline=("fade/forget", "probability/retain"),
        models={
            f"pocket-{size}": PublishedModels(
                reference=partial(_model, size, "reference"),
                original=partial(_model, size, "original"),
                twin=partial(_model, size, "twin"),
                processing_class=pocket_tokenizer,
            )
        },
        options={"max_examples": 64},
    )


def _model(size: str, role: str) -> object:
    return getattr(load_pocket(size), role)()


POCKET = Benchmark(
    name="pocket",
    title="Invented people and ships, with everything needed to try an audit",
    citation=Citation("hf_unlearn"),
    licence="Apache-2.0, as this library",
    configurations={size: _configuration(size) for size in POCKET_SIZES},
    default="small",
    note="The models are small Llamas that this library trains on first use and keeps; candidates start from the original of the same size.",
)
