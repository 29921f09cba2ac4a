"""What one may choose: the options of `audit`, `unlearn` and `ForgettingTracker`, declared once.

The signature of a function, its documentation, the command line, the provenance of a report and `verify` follow from the fields here (a test
compares them). Imports nothing but the standard library, so that `hf-unlearn --help` answers at once.
"""

from hf_unlearn.config._audit_config import DTYPES as DTYPES
from hf_unlearn.config._audit_config import SPREADS as SPREADS
from hf_unlearn.config._audit_config import STANDARD as STANDARD
from hf_unlearn.config._audit_config import AuditConfig as AuditConfig
from hf_unlearn.config._documented import document as document
from hf_unlearn.config._documented import documented as documented
from hf_unlearn.config._option import Config as Config
from hf_unlearn.config._option import Option as Option
from hf_unlearn.config._option import option as option
from hf_unlearn.config._option import options_of as options_of
from hf_unlearn.config._tracker_config import TrackerConfig as TrackerConfig
from hf_unlearn.config._tune_config import TuneConfig as TuneConfig
from hf_unlearn.config._unlearn_config import ForgetConfig as ForgetConfig
from hf_unlearn.config._unlearn_config import UnlearnConfig as UnlearnConfig
