"""KnowUnDo (arXiv 2407.01920): private facts and copyrighted text to forget, with general knowledge of the same kind that must stay."""

from hf_unlearn.audit import Citation
from hf_unlearn.benchmarks._spec import Benchmark, BenchmarkSet, Configuration, Source


METRICS = ("fade", "probability", "rouge_l", "exact_memorization", "extraction_strength")


def _configuration(part: str) -> Configuration:
    def rows(split: str) -> Source:
        files = (
            f"{part}_{split}_val",
            f"{part}/{split}_val",
            f"dataset/KnowUnDo/{part}/{split}_val",
            f"data/{part}/{split}_val",
        )
        return Source(part, split, files=files, nested="val", columns={"question": "text", "answer": "labels"})

    return Configuration(
        sets={
            "forget": BenchmarkSet(rows("unlearn"), "forget"),
            "retain": BenchmarkSet(rows("retention"), "retain"),
        },
        metrics=METRICS,
        headline=("rouge_l/forget", "rouge_l/retain"),
    )


KNOWUNDO = Benchmark(
    name="knowundo",
    title="KnowUnDo: what to forget, and what of the same kind must stay",
    citation=Citation("Tian et al. 2024, To Forget or Not?", "2407.01920"),
    licence="MIT",
    data="zjunlp/KnowUnDo",
    configurations={part: _configuration(part) for part in ("privacy", "copyright")},
    note="""The validation questions, of which unlearning must not have been trained. Nobody has published a model that never saw the forget set: give a
reference of your own. Questions are put by the tokenizer's chat template or as `Question: … Answer:`; its code joins question and answer by an empty line
(prompt_template="{question}\\n\\n{answer}"). Verified here: the files privacy_unlearn_val.json and privacy_retention_val.json. As in its code of 2024 and
not loaded here: the Hub's layout (one row with lists train and val) and the copyright part.""".replace("\n", " "),
)
