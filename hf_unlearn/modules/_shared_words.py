"""Words that several modules share."""

from hf_unlearn.modules._spec import Input, Output


CLUSTERS = Input(
    "clusters",
    "one name (text or whole number) a row; rows about one person or document count as one in the interval, default: each by itself",
)
BOOTSTRAP = (
    Input("confidence", "of the interval"),
    Input("num_resamples", "of the bootstrap over clusters"),
    Input("seed", "of the bootstrap"),
)
UNCERTAINTY = (CLUSTERS, *BOOTSTRAP)
INTERVAL = (
    Output("confidence_interval", "studentised bootstrap over clusters, a pair; None where there is none"),
    Output(
        "confidence_interval_note", "why there is none, or that it rests on few clusters; None where neither is so"
    ),
)
N = Output("n", "rows behind the value")
TOFU = """\
@misc{maini2024tofu,
  title = {TOFU: A Task of Fictitious Unlearning for LLMs},
  author = {Maini, Pratyush and Feng, Zhili and Schwarzschild, Avi and Lipton, Zachary C. and Kolter, J. Zico},
  year = {2024},
  eprint = {2401.06121},
  archivePrefix = {arXiv},
}
"""
LOG_PROBS = "mean token log-probability, nats per token"
