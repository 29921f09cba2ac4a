"""Kinds of models and their data, by name: one file each, and a line here."""

from hf_unlearn.audit._contracts import DomainFactory
from hf_unlearn.audit.domains._causal_lm import CausalLM


DOMAINS: dict[str, DomainFactory] = {"causal_lm": CausalLM}
"""By name; `audit(domain=...)` takes a name or a class of your own."""
