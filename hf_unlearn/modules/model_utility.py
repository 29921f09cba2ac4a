"""TOFU's model utility as an Evaluate module: values of its components in, their harmonic mean out."""

from typing import Any

import numpy as np

from hf_unlearn.functional import Bootstrap, harmonic_mean, mean_estimate
from hf_unlearn.modules._base import RowsModule, with_interval
from hf_unlearn.modules._shared_words import BOOTSTRAP, INTERVAL, TOFU, N
from hf_unlearn.modules._spec import Input, ModuleSpec, Output, facts_of


class ModelUtility(RowsModule):
    """What is left of what had to stay?"""

    spec = ModuleSpec(
        name="model_utility",
        title="Model Utility",
        metric="model_utility",
        description="Model utility (TOFU) is what a language model keeps of what had to stay: the harmonic mean of several shares, each averaged over its own "
        "examples, so that nothing makes up for a component that was lost.",
        about="""\
TOFU has nine components: probability, ROUGE-L recall and truth ratio (`true_better`), each on the retain set, on real authors and on world facts. With
m<sub>1</sub>, …, m<sub>k</sub> their means over examples,

> utility = k / (1/m<sub>1</sub> + … + 1/m<sub>k</sub>).

Any components in [0, 1] will do, of any number of examples each: values of single examples, which give an interval, or one mean each, which do not.""",
        inputs=(
            Input(
                "values", "value of an example, in [0, 1]; or of a component as a whole", "number", least=0.0, most=1.0
            ),
            Input("components", "name of the component that it belongs to", "text"),
            Input(
                "clusters",
                "one name (text or whole number) a row, *the same for the same question or person in all components*, so that they are paired; "
                "default: each row by itself, as if components had nothing in common",
            ),
            *BOOTSTRAP,
        ),
        outputs=(
            Output(
                "model_utility",
                "harmonic mean of the components",
                "0 to 1; higher is better; 0 where one component is 0",
            ),
            *INTERVAL,
            N,
            Output("components", "mean of each, by name", "0 to 1"),
        ),
        example="""
>>> import evaluate, hf_unlearn
>>> module = evaluate.load(hf_unlearn.metric_path("model_utility"))
>>> result = module.compute(values=[0.4, 0.6, 0.5, 1.0], components=["rouge", "rouge", "probability", "truth ratio"])
>>> round(result["model_utility"], 6), result["components"]["rouge"]
(0.6, 0.5)
""",
        page={
            "values": [0.9, 0.8, 0.95, 0.7, 0.6, 0.65],
            "components": ["probability", "probability", "probability", "rouge", "rouge", "rouge"],
        },
        facts=facts_of("model_utility"),
        limits=(
            "Values are comparable only with the same components on the same sets.",
            "Where components come from the same questions, as TOFU's do, name the questions in `clusters`: without them the interval takes components "
            "as independent, and is too narrow.",
        ),
        source="Defined by TOFU (arXiv 2401.06121).",
        citation=TOFU,
    )

    def measure(self, rows: dict[str, list], *, clusters: list | None = None, bootstrap: Bootstrap) -> dict[str, Any]:
        """Over the clusters of all components."""
        values, names = np.array(rows["values"]), np.array(rows["components"])
        found, numbers = np.unique(range(len(values)) if clusters is None else clusters, return_inverse=True)
        means = {
            str(name): mean_estimate(values[names == name], numbers[names == name], num_clusters=len(found))
            for name in dict.fromkeys(rows["components"])
        }
        result = with_interval(self.spec.name, harmonic_mean(list(means.values())), bootstrap, len(values))
        return {**result, "components": {name: mean.value for name, mean in means.items()}}
