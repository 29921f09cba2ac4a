"""Options are declared once: signatures, their documentation and the fields of the configs say the same."""

import inspect

import pytest

from hf_unlearn import UnlearningCallback, unlearn
from hf_unlearn.config import ForgetConfig, UnlearnConfig, options_of
from hf_unlearn.training import UnlearningLoop


OTHER_THAN_OPTIONS = {
    unlearn: {"model", "forget", "retain", "output_dir", "processing_class"},
    UnlearningCallback: {"trainer", "forget_dataset", "processing_class", "seed"},
}


@pytest.mark.parametrize(
    ("function", "config"), [(unlearn, UnlearnConfig), (UnlearningCallback, ForgetConfig)], ids=["unlearn", "callback"]
)
def test_a_signature_has_the_options_and_their_defaults(function, config: type):
    found = {name: part.default for name, part in inspect.signature(function).parameters.items()}
    declared = {each.name: each.default for each in options_of(config)}
    assert found.keys() - declared.keys() == OTHER_THAN_OPTIONS[function]
    assert {name: found[name] for name in declared} == declared
    documentation = " ".join((inspect.getdoc(function) or "").split())
    for each in options_of(config):
        assert f"{each.name}: {each.help}" in documentation


def test_the_loop_calls_its_options_as_the_others_do():
    declared = {each.name: each.default for each in options_of(ForgetConfig)}
    for name, part in inspect.signature(UnlearningLoop).parameters.items():
        if name in declared and name != "forget_batch_size":
            assert part.default == declared[name], name
