"""An audit on the Hub: card section, one atomic commit, verification, metric Spaces."""

from hf_unlearn.publishing._callback import PublishAuditCallback as PublishAuditCallback
from hf_unlearn.publishing._card import card_section as card_section
from hf_unlearn.publishing._card import update_card as update_card
from hf_unlearn.publishing._claims import Check as Check
from hf_unlearn.publishing._escape import one_line as one_line
from hf_unlearn.publishing._escape import printable as printable
from hf_unlearn.publishing._front_matter import CardError as CardError
from hf_unlearn.publishing._hub import PublicationError as PublicationError
from hf_unlearn.publishing._public import UPLOAD as UPLOAD
from hf_unlearn.publishing._public import Bundle as Bundle
from hf_unlearn.publishing._public import stage as stage
from hf_unlearn.publishing._publish import Publication as Publication
from hf_unlearn.publishing._publish import publish as publish
from hf_unlearn.publishing._read_back import compare_audits as compare_audits
from hf_unlearn.publishing._read_back import load_audit as load_audit
from hf_unlearn.publishing._spaces import push_metrics as push_metrics
from hf_unlearn.publishing._statement import Statement as Statement
from hf_unlearn.publishing._verify import verify as verify
