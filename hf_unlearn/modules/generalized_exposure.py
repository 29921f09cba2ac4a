"""Generalized exposure as an Evaluate module: log-probabilities of answers under two models in, bits out."""

from typing import Any

import numpy as np

from hf_unlearn.functional import Bootstrap, generalized_exposure, mean_estimate
from hf_unlearn.modules._base import RowsModule, with_interval
from hf_unlearn.modules._shared_words import INTERVAL, UNCERTAINTY, N
from hf_unlearn.modules._spec import Input, ModuleSpec, Output, facts_of


class GeneralizedExposure(RowsModule):
    """How much more likely are the answers than after retraining?"""

    spec = ModuleSpec(
        name="generalized_exposure",
        title="Generalized Exposure",
        metric="exposure",
        description="Generalized exposure is by how many bits forgotten answers are more likely under an unlearned language model than under one that was "
        "retrained without them.",
        about="""\
For an answer *x* to its prompt, the candidate *u* and a retrained model *r*,

> exposure(x) = log<sub>2</sub> u(x) − log<sub>2</sub> r(x),

with probabilities of the whole answer. The mean over answers is the value; the most exposed answer stands beside it, because it decides.
This is the library's reading of arXiv 2411.04388.""",
        inputs=(
            Input(
                "log_probs",
                "log-probability of each whole answer under the candidate, nats (the sum over its tokens)",
                "number",
                most=0.0,
            ),
            Input("reference_log_probs", "the same under the retrained model", "number", most=0.0),
            *UNCERTAINTY,
        ),
        outputs=(
            Output(
                "generalized_exposure",
                "mean over answers, bits",
                "0 = as after retraining; above 0 = still exposed; below 0 = over-forgotten",
            ),
            *INTERVAL,
            N,
            Output("max", "of the most exposed answer, bits", "as above"),
        ),
        example="""
>>> import evaluate, hf_unlearn
>>> from math import log
>>> module = evaluate.load(hf_unlearn.metric_path("generalized_exposure"))
>>> result = module.compute(log_probs=[log(0.4), log(0.1)], reference_log_probs=[log(0.1), log(0.1)])
>>> round(result["generalized_exposure"], 6), round(result["max"], 6)
(1.0, 2.0)
""",
        page={"log_probs": [-4.0, -7.5, -2.0], "reference_log_probs": [-6.0, -7.0, -5.0]},
        facts=facts_of("exposure"),
        limits=("Long answers weigh more: bits are counted over the whole answer.",),
        citation="""\
@misc{exposure2024,
  title = {arXiv 2411.04388; the formula here is this library's reading},
  year = {2024},
  eprint = {2411.04388},
  archivePrefix = {arXiv},
}
""",
    )

    def checked(self, columns: Any) -> dict[str, list]:
        """A model that gives an answer no probability at all has no finite exposure."""
        found = super().checked(columns)
        for name, values in found.items():
            if not np.isfinite(values).all():
                at = int(np.flatnonzero(~np.isfinite(values))[0])
                raise ValueError(
                    f"{name}[{at}] is {values[at]}: an answer without any probability has no exposure in bits."
                )
        return found

    def measure(self, rows: dict[str, list], *, clusters: list | None = None, bootstrap: Bootstrap) -> dict[str, Any]:
        """The mean over answers, and the most exposed one."""
        bits = generalized_exposure(np.array(rows["log_probs"]), np.array(rows["reference_log_probs"]))
        result = with_interval(self.spec.name, mean_estimate(bits, clusters), bootstrap, len(bits))
        return {**result, "max": float(bits.max())}
