"""What an objective may declare besides its losses, the defaults where it does not, and its options as they are checked when it is made."""

from dataclasses import dataclass, field, fields

import pytest
import torch
from world import build, with_lora

from hf_unlearn import NPO, PDU, RMU, HiddenRetain, KLRetain
from hf_unlearn.objectives import (
    OBJECTIVES,
    ModelParts,
    ObjectiveBase,
    StepLosses,
    completed,
    completed_retain,
    get_objective,
)


class FourMembers:
    name, reduction, needs = "four", "example", ()

    def __call__(self, batch):
        return batch.log_probs


def parts(name: str = "llama", *, adapter: bool = False) -> ModelParts:
    model = build(name)
    blocks = next(module for module in model.modules() if isinstance(module, torch.nn.ModuleList))
    return ModelParts(with_lora(model, name) if adapter else model, tuple(blocks), adapter)


def test_four_members_are_complete():
    objective = completed(FourMembers())
    assert (objective.name, objective.reduction, objective.needs) == ("four", "example", ())
    assert objective.prepare(parts()) is objective and objective.trainable(parts()) is None
    assert objective.after_step(StepLosses(1.0, 2.0, 0.5)) is None
    assert objective.layer is None and objective.alternatives == "column"
    assert completed(objective) is objective


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_of_ours_need_no_completion(name: str):
    objective = get_objective(name)
    assert completed(objective) is objective
    assert objective.after_step(StepLosses(1.0, None, 0.5)) is None  # no retain loss, nothing to move by


def test_members_of_ones_own_are_used():
    class Own(FourMembers):
        layer, alternatives = 2, "refusal"

        def prepare(self, model):
            self.seen = model
            return self

        def trainable(self, model):
            return {"a"}

        def after_step(self, losses):
            return losses.retain * 2

    own, model = Own(), parts()
    objective = completed(own).prepare(model)
    assert own.seen is model and objective.trainable(model) == {"a"}
    assert objective.after_step(StepLosses(1.0, 3.0, 0.5)) == 6.0
    assert (objective.layer, objective.alternatives) == (2, "refusal")


def test_the_former_way_to_move_the_retain_weight_works_and_says_its_name():
    class Former(FourMembers):
        def next_retain_weight(self, retain_weight, retain_loss):
            return retain_weight + retain_loss

    with pytest.warns(DeprecationWarning, match="'four': next_retain_weight.* is after_step"):
        objective = completed(Former())
    assert objective.after_step(StepLosses(1.0, 3.0, 0.5)) == 3.5
    assert objective.after_step(StepLosses(1.0, None, 0.5)) is None


def test_pdu_steps_after_a_step():
    objective = PDU(bound=0.3, step_size=0.5)
    assert objective.after_step(StepLosses(None, 0.7, 2.0)) == pytest.approx(2.2)
    assert objective.after_step(StepLosses(1.0, -9.0, 0.1)) == 0


def test_rmu_chooses_its_layer_once_and_trains_up_to_it():
    model = parts()
    prepared = RMU().prepare(model)
    assert prepared.layer == max(1, round(len(model.blocks) * 7 / 32)) and RMU(layer=2).prepare(model).layer == 2
    assert prepared.trainable(model) == {"model.layers.0.mlp.down_proj.weight"}
    two = RMU(layer=2).trainable(model)
    assert two == {f"model.layers.{at}.mlp.down_proj.weight" for at in (0, 1)}
    assert RMU(layer=2).trainable(parts(adapter=True)) is None  # the adapter trains


def test_hidden_states_of_ones_own_train_what_rmu_trains():
    class Hidden(FourMembers):
        needs, layer = ("hidden",), 2

    assert completed(Hidden()).trainable(parts()) == RMU(layer=2).trainable(parts())


def test_a_block_without_an_mlp_is_named():
    empty = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="no MLP output matrix was found in Linear"):
        RMU(layer=1).trainable(ModelParts(empty, (empty,)))


def test_retain_terms_say_what_they_compare():
    class Layered:
        name, needs_original, layer = "layered", True, 1

        def __call__(self, output, original_output, labels):
            return output

    assert completed_retain(Layered()).compares == HiddenRetain().compares == "hidden"
    assert completed_retain(KLRetain()).compares == "logits"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: NPO(beta="x"), TypeError, r"option 'beta' of objective 'npo' must be a number, got 'x' \(str\)"),
        (lambda: NPO(beta=float("nan")), ValueError, "option 'beta' of objective 'npo' must be finite"),
        (lambda: NPO(beta=0), ValueError, "beta must be above 0, got 0"),
        (lambda: RMU(layer=1.5), TypeError, "option 'layer' of objective 'rmu' must be a whole number"),
        (lambda: RMU(adaptive="no"), TypeError, "option 'adaptive' of objective 'rmu' must be True or False"),
        (lambda: HiddenRetain(layer="x"), TypeError, "option 'layer' of retain term 'hidden' must be a whole number"),
    ],
)
def test_options_are_checked_where_an_objective_is_made(make, error: type, message: str):
    with pytest.raises(error, match=message):
        make()


def test_options_of_a_dataclass_of_ones_own_are_checked():
    @dataclass(frozen=True)
    class Mine(ObjectiveBase):
        strength: float = field(default=1.0, metadata={"above": 0})
        name: str = field(default="mine", init=False)

    with pytest.raises(TypeError, match="option 'strength' of objective 'mine' must be a number"):
        Mine(strength=None)
    with pytest.raises(ValueError, match="strength must be above 0, got -1"):
        Mine(strength=-1)
    assert Mine().layer is None


def test_annotations_that_only_type_checkers_can_read_forbid_nothing():
    @dataclass(frozen=True)
    class Mine(ObjectiveBase):
        table: "SomewhereElse" = None  # noqa: F821 - that it is not there is the test
        name: str = field(default="mine", init=False)

    assert Mine(table=3).table == 3


def test_the_lifecycle_is_no_option():
    """Settings and checkpoints keep the fields of an objective; defaults of the lifecycle are none of them."""
    assert [option.name for option in fields(NPO)] == ["beta", "name", "reduction", "needs"]
    assert [option.name for option in fields(HiddenRetain)] == ["layer", "name", "needs_original"]
