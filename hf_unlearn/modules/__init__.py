"""Evaluate modules: metrics that stand alone on plain values, for `evaluate.load(hf_unlearn.metric_path(name))`.

A module is one file here (a spec with the author's words, and a call of the library) and a line in `MODULES`; script, card, page and requirements under
`metrics/<name>` are written from it by `python -m hf_unlearn.modules`. The arithmetic is in `functional`.
"""

from hf_unlearn.modules._base import ModelModule as ModelModule
from hf_unlearn.modules._base import RowsModule as RowsModule
from hf_unlearn.modules._base import SpecModule as SpecModule
from hf_unlearn.modules._card import module_files as module_files
from hf_unlearn.modules._page import page as page
from hf_unlearn.modules._spec import Facts as Facts
from hf_unlearn.modules._spec import Input as Input
from hf_unlearn.modules._spec import ModuleSpec as ModuleSpec
from hf_unlearn.modules._spec import Output as Output
from hf_unlearn.modules.counterfactual_fade import CounterfactualFADE as CounterfactualFADE
from hf_unlearn.modules.exact_memorization import ExactMemorization as ExactMemorization
from hf_unlearn.modules.extraction_strength import ExtractionStrength as ExtractionStrength
from hf_unlearn.modules.fade import FADE as FADE
from hf_unlearn.modules.forget_quality import ForgetQuality as ForgetQuality
from hf_unlearn.modules.generalized_exposure import GeneralizedExposure as GeneralizedExposure
from hf_unlearn.modules.knowledge_memorization import KnowledgeMemorization as KnowledgeMemorization
from hf_unlearn.modules.membership_inference import MembershipInference as MembershipInference
from hf_unlearn.modules.model_utility import ModelUtility as ModelUtility
from hf_unlearn.modules.privleak import Privleak as Privleak
from hf_unlearn.modules.representation_forgetting import RepresentationForgetting as RepresentationForgetting
from hf_unlearn.modules.rouge_l_recall import RougeLRecall as RougeLRecall
from hf_unlearn.modules.truth_ratio import TruthRatio as TruthRatio
from hf_unlearn.modules.verbatim_memorization import VerbatimMemorization as VerbatimMemorization


MODULES: dict[str, type[SpecModule]] = {
    module.spec.name: module
    for module in (
        FADE,
        CounterfactualFADE,
        RepresentationForgetting,
        TruthRatio,
        ForgetQuality,
        ModelUtility,
        RougeLRecall,
        VerbatimMemorization,
        KnowledgeMemorization,
        ExactMemorization,
        ExtractionStrength,
        GeneralizedExposure,
        MembershipInference,
        Privleak,
    )
}
"""By name, which is that of the folder under `metrics/`."""
