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
COMPATIBLE = "compute it as open-unlearning does, its known faults included, to compare with published numbers"
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
MUSE = """\
@misc{shi2024muse,
  title = {MUSE: Machine Unlearning Six-Way Evaluation for Language Models},
  author = {Shi, Weijia and Lee, Jaechan and Huang, Yangsibo and Malladi, Sadhika and Zhao, Jieyu and Holtzman, Ari and Liu, Daogao and
            Zettlemoyer, Luke and Smith, Noah A. and Zhang, Chiyuan},
  year = {2024},
  eprint = {2407.06460},
  archivePrefix = {arXiv},
}
"""
LOG_PROBS = "mean token log-probability, nats per token"
