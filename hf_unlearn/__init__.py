"""Unlearn inside the Hugging Face Trainer, and prove it.

Names are looked up when they are first used (PEP 562), so that `import hf_unlearn` and `hf-unlearn --help` do not wait for torch.
"""

import sys
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:  # the same names for type checkers and editors; a test compares them with _HOMES
    __version__: str
    from hf_unlearn.audit import AuditReport as AuditReport
    from hf_unlearn.audit import audit as audit
    from hf_unlearn.audit import metric_path as metric_path
    from hf_unlearn.objectives import CEU as CEU
    from hf_unlearn.objectives import DPO as DPO
    from hf_unlearn.objectives import IDK as IDK
    from hf_unlearn.objectives import IHL as IHL
    from hf_unlearn.objectives import NPO as NPO
    from hf_unlearn.objectives import OBJECTIVES as OBJECTIVES
    from hf_unlearn.objectives import PDU as PDU
    from hf_unlearn.objectives import RMU as RMU
    from hf_unlearn.objectives import UNDIAL as UNDIAL
    from hf_unlearn.objectives import WGA as WGA
    from hf_unlearn.objectives import AltPO as AltPO
    from hf_unlearn.objectives import Counterfactual as Counterfactual
    from hf_unlearn.objectives import GradientAscent as GradientAscent
    from hf_unlearn.objectives import HiddenRetain as HiddenRetain
    from hf_unlearn.objectives import IdkDPO as IdkDPO
    from hf_unlearn.objectives import KLRetain as KLRetain
    from hf_unlearn.objectives import NLLRetain as NLLRetain
    from hf_unlearn.objectives import RandomLabel as RandomLabel
    from hf_unlearn.objectives import SatImp as SatImp
    from hf_unlearn.objectives import Scrub as Scrub
    from hf_unlearn.objectives import SimNPO as SimNPO
    from hf_unlearn.publishing import PublishAuditCallback as PublishAuditCallback
    from hf_unlearn.publishing import load_audit as load_audit
    from hf_unlearn.training import ForgettingTracker as ForgettingTracker
    from hf_unlearn.training import RequestLedger as RequestLedger
    from hf_unlearn.training import UnlearningCallback as UnlearningCallback
    from hf_unlearn.training import at_floor as at_floor
    from hf_unlearn.training import continued as continued
    from hf_unlearn.training import negate as negate
    from hf_unlearn.training import retrain as retrain
    from hf_unlearn.training import task_vector as task_vector
    from hf_unlearn.training import unlearn as unlearn
    from hf_unlearn.tuning import tune as tune

_PUBLIC = {
    "audit": "AuditReport audit metric_path",
    "objectives": (
        "CEU DPO IDK IHL NPO OBJECTIVES PDU RMU UNDIAL WGA AltPO Counterfactual GradientAscent HiddenRetain IdkDPO KLRetain NLLRetain RandomLabel "
        "SatImp Scrub SimNPO"
    ),
    "publishing": "PublishAuditCallback load_audit",
    "training": "ForgettingTracker RequestLedger UnlearningCallback at_floor continued negate retrain task_vector unlearn",
    "tuning": "tune",
}
_HOMES = {name: home for home, names in _PUBLIC.items() for name in names.split()}
_PACKAGES = (
    "benchmarks",
    "config",
    "data",
    "functional",
    "inference",
    "modules",
    "objectives",
    "publishing",
    "training",
    "tuning",
)
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = version("hf-unlearn")
    elif name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name in _PACKAGES:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_PACKAGES, "__version__"})


class _Package(ModuleType):
    """Keeps `hf_unlearn.audit` the function: an import of the package of that name would put the package in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOMES and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
