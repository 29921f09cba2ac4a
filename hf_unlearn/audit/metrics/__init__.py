"""The metrics of an audit, by name: one file each, and a line here. The order is that of reports."""

from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit.metrics.accuracy import Accuracy
from hf_unlearn.audit.metrics.anchored_erasure import AnchoredErasure
from hf_unlearn.audit.metrics.carlini_exposure import CarliniExposure
from hf_unlearn.audit.metrics.cka import CKA
from hf_unlearn.audit.metrics.cka_asymmetry import CKAAsymmetry
from hf_unlearn.audit.metrics.counterfactual_exposure import CounterfactualExposure
from hf_unlearn.audit.metrics.counterfactual_fade import CounterfactualFade
from hf_unlearn.audit.metrics.counterfactual_progress import CounterfactualProgress
from hf_unlearn.audit.metrics.counterfactual_residual_ratio import CounterfactualResidualRatio
from hf_unlearn.audit.metrics.directional_agreement import DirectionalAgreement
from hf_unlearn.audit.metrics.distinct_n import DistinctN
from hf_unlearn.audit.metrics.exact_memorization import ExactMemorization
from hf_unlearn.audit.metrics.excess_over_twins import ExcessOverTwins
from hf_unlearn.audit.metrics.exposure import Exposure
from hf_unlearn.audit.metrics.extraction_strength import ExtractionStrength
from hf_unlearn.audit.metrics.fade import Fade
from hf_unlearn.audit.metrics.forget_quality import ForgetQualityMetric
from hf_unlearn.audit.metrics.forget_retain_asymmetry import ForgetRetainAsymmetry
from hf_unlearn.audit.metrics.generation_perplexity import GenerationPerplexity
from hf_unlearn.audit.metrics.knowledge_forgetting_rate import KnowledgeForgettingRate
from hf_unlearn.audit.metrics.knowledge_memorization import KnowledgeMemorization
from hf_unlearn.audit.metrics.knowledge_retention_rate import KnowledgeRetentionRate
from hf_unlearn.audit.metrics.language_score import LanguageScore
from hf_unlearn.audit.metrics.logit_lens_erasure import LogitLensErasure
from hf_unlearn.audit.metrics.mean_pca_distance import MeanPCADistance
from hf_unlearn.audit.metrics.membership_gradient_norm import MembershipGradientNorm
from hf_unlearn.audit.metrics.membership_loss import MembershipLoss
from hf_unlearn.audit.metrics.membership_min_k import MembershipMinK
from hf_unlearn.audit.metrics.membership_min_k_plus_plus import MembershipMinKPlusPlus
from hf_unlearn.audit.metrics.membership_reference import MembershipReference
from hf_unlearn.audit.metrics.membership_zlib import MembershipZlib
from hf_unlearn.audit.metrics.model_utility import ModelUtility
from hf_unlearn.audit.metrics.multiple_choice import MultipleChoice
from hf_unlearn.audit.metrics.multiple_choice_text import MultipleChoiceText
from hf_unlearn.audit.metrics.normalized_probability import NormalizedProbability
from hf_unlearn.audit.metrics.off_direction import OffDirection
from hf_unlearn.audit.metrics.pca_shift import PCAShift
from hf_unlearn.audit.metrics.pca_similarity import PCASimilarity
from hf_unlearn.audit.metrics.privleak import PrivLeak
from hf_unlearn.audit.metrics.probability import Probability
from hf_unlearn.audit.metrics.probe_auc import ProbeAUC
from hf_unlearn.audit.metrics.progress import Progress
from hf_unlearn.audit.metrics.relative_exposure import RelativeExposure
from hf_unlearn.audit.metrics.relative_exposure_to_original import RelativeExposureToOriginal
from hf_unlearn.audit.metrics.repetition import Repetition
from hf_unlearn.audit.metrics.representation_unlearning_score import RepresentationUnlearningScore
from hf_unlearn.audit.metrics.residual_concentration import ResidualConcentration
from hf_unlearn.audit.metrics.residual_ratio import ResidualRatio
from hf_unlearn.audit.metrics.rouge_l import RougeL
from hf_unlearn.audit.metrics.truth_ratio import TruthRatio
from hf_unlearn.audit.metrics.truth_ratio_closer_to_1_better import TruthRatioCloserTo1Better
from hf_unlearn.audit.metrics.truth_ratio_prob_mean import TruthRatioProbMean
from hf_unlearn.audit.metrics.truth_ratio_true_better import TruthRatioTrueBetter
from hf_unlearn.audit.metrics.unlearning_depth_score import UnlearningDepthScore
from hf_unlearn.audit.metrics.verbatim_memorization import VerbatimMemorization


METRICS: dict[str, type[BaseMetric]] = {
    "probability": Probability,
    "normalized_probability": NormalizedProbability,
    "accuracy": Accuracy,
    "multiple_choice": MultipleChoice,
    "multiple_choice_text": MultipleChoiceText,
    "fade": Fade,
    "counterfactual_fade": CounterfactualFade,
    "exact_memorization": ExactMemorization,
    "extraction_strength": ExtractionStrength,
    "truth_ratio": TruthRatio,
    "truth_ratio_closer_to_1_better": TruthRatioCloserTo1Better,
    "truth_ratio_true_better": TruthRatioTrueBetter,
    "truth_ratio_prob_mean": TruthRatioProbMean,
    "forget_quality": ForgetQualityMetric,
    "model_utility": ModelUtility,
    "exposure": Exposure,
    "carlini_exposure": CarliniExposure,
    "relative_exposure": RelativeExposure,
    "relative_exposure_to_original": RelativeExposureToOriginal,
    "counterfactual_exposure": CounterfactualExposure,
    "membership_loss": MembershipLoss,
    "membership_min_k_plus_plus": MembershipMinKPlusPlus,
    "membership_min_k": MembershipMinK,
    "membership_zlib": MembershipZlib,
    "membership_reference": MembershipReference,
    "membership_gradient_norm": MembershipGradientNorm,
    "privleak": PrivLeak,
    "rouge_l": RougeL,
    "verbatim_memorization": VerbatimMemorization,
    "knowledge_memorization": KnowledgeMemorization,
    "knowledge_forgetting_rate": KnowledgeForgettingRate,
    "knowledge_retention_rate": KnowledgeRetentionRate,
    "language_score": LanguageScore,
    "repetition": Repetition,
    "distinct_n": DistinctN,
    "generation_perplexity": GenerationPerplexity,
    "progress": Progress,
    "directional_agreement": DirectionalAgreement,
    "off_direction": OffDirection,
    "residual_ratio": ResidualRatio,
    "residual_concentration": ResidualConcentration,
    "counterfactual_progress": CounterfactualProgress,
    "counterfactual_residual_ratio": CounterfactualResidualRatio,
    "cka": CKA,
    "anchored_erasure": AnchoredErasure,
    "pca_similarity": PCASimilarity,
    "pca_shift": PCAShift,
    "mean_pca_distance": MeanPCADistance,
    "forget_retain_asymmetry": ForgetRetainAsymmetry,
    "cka_asymmetry": CKAAsymmetry,
    "representation_unlearning_score": RepresentationUnlearningScore,
    "excess_over_twins": ExcessOverTwins,
    "unlearning_depth_score": UnlearningDepthScore,
    "logit_lens_erasure": LogitLensErasure,
    "probe_auc": ProbeAUC,
}
"""By name. To add one of your own, put its class here, or pass an object to `audit(metrics=[...])`."""
