"""How strongly each answer pulls at a model's weights: norms of the gradient of its loss, one forward and one backward pass per answer.

Leaves the model as it was: weights, `.grad`, `requires_grad` and mode. Knows examples and one model; not what norms are good for.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import torch

from hf_unlearn.functional import IGNORE_INDEX, flat_token_log_probs
from hf_unlearn.inference._batching import Example, chosen_items, copies, group_equal, right_padded, unpadded
from hf_unlearn.inference._logits import passes
from hf_unlearn.inference._memory import is_out_of_memory
from hf_unlearn.inference._models import base_model, context_length, in_pieces, rope_switch, undisturbed
from hf_unlearn.inference._placement import input_device
from hf_unlearn.inference._rounds import rounds
from hf_unlearn.inference._views import View, Viewable, open_view


class NoGradientsError(ValueError):
    """A model whose weights have no gradients."""


def gradient_tables(
    model: Viewable,
    examples: Sequence[Example],
    *,
    items: Sequence[int] | None = None,
    progress: bool = True,
    label: str = "gradients",
) -> Iterator[pa.Table]:
    """Norms of the gradient of each answer's mean token loss, teacher-forced, table by table. Equal examples are read once.

    The gradient is that for all weights that are stored as floating-point numbers and that the answer hangs on, frozen or not, those of
    adapters at work among them; of a quantized model that leaves what is not quantized. All gradients of one answer are in memory at once, as
    large as those weights. In float16 small gradients vanish; bfloat16 and float32 keep them.

    Args:
        model: A causal language model, loaded, path or id, or in its role.
        examples: `input_ids` and `labels`.
        items: Which of them to give out, by number; default: all.
        progress: Whether to show a progress bar (on the main process).
        label: What it says.

    Returns:
        Tables of some thousand tokens each, together every item once, in no particular order, on every process:

        * `item`: its number.
        * `norm`: the L2 norm of the whole gradient.
        * `mean_norm`: the mean over weight tensors of their gradients' L2 norms, as open-unlearning has it.

    Raises:
        ValueError: No examples, one without a labelled token or longer than the model's context, or an item that does not exist.
        NoGradientsError: From the first table: no weight has a gradient; see `check_gradients`.
    """
    if not len(examples):
        raise ValueError("there are no examples to read.")
    chosen = chosen_items(items, len(examples))
    view = open_view(model)
    contents = [unpadded(example) for example in examples]
    _check(contents, context_length(view.model))
    groups = group_equal((ids.tobytes(), labels.tobytes()) for ids, labels in contents)
    lengths = [len(contents[group[0]][0]) for group in groups]
    # Longest first, so that too little memory fails at once.
    order = sorted(range(len(groups)), key=lambda row: -lengths[row])
    plan = [row for row in order if not chosen.isdisjoint(groups[row])]

    def read(row: int) -> tuple[float, float]:
        return _norms(view, examples[groups[row][0]])

    def tables() -> Iterator[pa.Table]:
        done = rounds(
            plan,
            read,
            models=[view.model],
            tokens=lambda row: 3 * lengths[row],
            split=lambda row: (),
            label=label,
            progress=progress,
        )
        for round_ in done:
            found = [(item, *norms) for row, norms in round_ for _, item in copies([row], groups, chosen)]
            columns = list(zip(*found, strict=True)) or [(), (), ()]
            kinds = {"item": pa.int64(), "norm": pa.float64(), "mean_norm": pa.float64()}
            arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds.values(), strict=True)]
            yield pa.table(dict(zip(kinds, arrays, strict=True)))

    return tables()


def check_gradients(model: Viewable, example: Example) -> None:
    """Try one forward and backward pass.

    Args:
        model: A causal language model.
        example: `input_ids` and `labels`.

    Raises:
        NoGradientsError: No weight is stored as floating-point numbers, none has a gradient, a layer cannot be derived, or processes hold
            pieces of the weights; says which.
    """
    view = open_view(model)
    if in_pieces(view.model):
        raise NoGradientsError(
            f"processes hold pieces of the weights of {type(view.model).__name__} (FSDP, ZeRO-3), and each answer is read by one of them. "
            "Audit the saved model."
        )
    try:
        with undisturbed(view.model):
            _norms(view, example)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise NoGradientsError(f"{type(view.model).__name__} cannot be derived: {error}") from error


def _check(contents: Sequence[tuple], limit: int | None) -> None:
    for item, (ids, labels) in enumerate(contents):
        if not (labels[1:] != IGNORE_INDEX).any():
            raise ValueError(f"example {item} has no labelled token after its first; it has no loss.")
        if limit is not None and len(ids) > limit:
            raise ValueError(
                f"example {item} has {len(ids)} tokens; the model's context holds {limit}. Shorten or drop it."
            )


def _norms(view: View, example: Example) -> tuple[float, float]:
    """Of the whole gradient, and the mean over weight tensors; the model is undisturbed already."""
    with view.active(), _asked_of_all(view) as weights, torch.enable_grad():
        loss = _loss(view, example)
        gradients = torch.autograd.grad(loss, weights, allow_unused=True) if loss.requires_grad else ()
    norms = [float(torch.linalg.vector_norm(found.float())) for found in gradients if found is not None]
    if not norms:
        raise NoGradientsError(
            f"{type(view.model).__name__} gives answers from which no gradient leads back to its weights: they are quantized, or its layers "
            "work without recording. Load it in floating point."
        )
    return sum(norm**2 for norm in norms) ** 0.5, sum(norms) / len(norms)


def _loss(view: View, example: Example) -> torch.Tensor:
    """Mean token loss of the answer, each prefix met as in generation (`passes`)."""
    model, batch = base_model(view.model), right_padded([example])
    rows, positions, targets = batch.answers
    total: torch.Tensor | float = 0.0
    for part in passes(batch.input_ids, batch.attention_mask, rows, positions, rope_switch(model)):
        inputs = {"input_ids": part.input_ids, "attention_mask": part.attention_mask}
        inputs = {name: value.to(input_device(model)) for name, value in inputs.items()}
        logits = model(**inputs, use_cache=False).logits[:, -part.input_ids.shape[1] :]
        wanted = logits[part.rows.to(logits.device), part.positions.to(logits.device)]
        total = total - flat_token_log_probs(wanted, targets[part.places].to(logits.device)).sum()
    assert isinstance(total, torch.Tensor)
    return total / len(targets)


@contextmanager
def _asked_of_all(view: View) -> Iterator[list[torch.nn.Parameter]]:
    """The weights, all asking for gradients; afterwards they ask as before."""
    weights = [weight for weight in view.model.parameters() if weight.is_floating_point()]
    if any(
        weight.is_meta for weight in weights
    ):  # what a pass fetches is another tensor, whose gradient nobody would see
        raise NoGradientsError(
            f"weights of {type(view.model).__name__} are offloaded to memory or disk. Load it whole onto one device or several."
        )
    if not weights:
        raise NoGradientsError(f"{type(view.model).__name__} stores no weights as floating-point numbers.")
    before = [weight.requires_grad for weight in weights]
    try:
        for weight in weights:
            weight.requires_grad_(True)
        yield weights
    finally:
        for weight, asked in zip(weights, before, strict=True):
            weight.requires_grad_(asked)
