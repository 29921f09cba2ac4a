"""Ancestral sampling whose result depends on the seed, the row and the position, and on nothing else.

A categorical draw is the argmax of log-probability plus Gumbel noise. Noise from a counter-based generator, keyed by
(seed, row, position), makes the draw independent of batch size, order, process count and device. Knows nothing of models.
"""

import math

import numpy as np
import torch


def gumbel_sample(logits: torch.Tensor, *, seed: int, rows: list[int], position: int) -> torch.Tensor:
    """Draw one token per row from softmax(logits), exactly, with counter-based noise.

    Two Gumbel-max draws replace one over the whole vocabulary: first a block of about √vocabulary tokens, by the block's total
    log-probability, then a token within it. The distribution is the same and about 2·√vocabulary numbers of noise a row are
    enough instead of one a token, which for 32,000 tokens would cost as much as a third of the output layer. A
    perturbation δ of the logits changes a draw with probability of the order of δ, whatever the vocabulary (inverse-CDF sampling
    would add up the error of every boundary).

    Args:
        logits: Unnormalised log-probabilities, shape `(rows, vocabulary)`; −inf is allowed, NaN is not.
        seed: Any integer from 0 to 2⁶⁴ − 1.
        rows: The identity of each row (not its place in the batch); an integer from 0 to 2⁶⁴ − 1 a row.
        position: The place in the sequence that is being drawn, from 0.

    Returns:
        int64, shape `(rows,)`, on the device of `logits`.

    Raises:
        ValueError: A row has no finite largest logit, so that there is no distribution to draw from.

    Example:
        A distribution with one possible token leaves no choice:

        >>> gumbel_sample(torch.tensor([[-torch.inf, 0.0, -torch.inf]]), seed=0, rows=[5], position=0)
        tensor([1])
    """
    return gumbel_draw(logits, seed=seed, rows=rows, position=position)[0]


def gumbel_draw(
    logits: torch.Tensor, *, seed: int, rows: list[int], position: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`gumbel_sample`, and the log-probability of each draw, which the blocks know nearly for nothing.

    Returns:
        The draws; and their log-probabilities, nats, at least float32, shape `(rows,)`.

    Example:
        One of two equally likely tokens has log-probability log ½ = −0.6931:

        >>> gumbel_draw(torch.zeros(1, 2), seed=0, rows=[5], position=0)[1]
        tensor([-0.6931])
    """
    size, vocabulary = logits.shape
    block = math.isqrt(vocabulary - 1) + 1
    num_blocks = -(-vocabulary // block)
    padding = num_blocks * block - vocabulary
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if padding:
        logits = torch.cat([logits, logits.new_full((size, padding), -torch.inf)], dim=1)
    blocks = logits.view(size, num_blocks, block)
    # Shifted by the row's maximum, the plain sum of exponentials is safe and cheaper than a general logsumexp.
    largest = logits.amax(-1)
    if not torch.isfinite(largest).all():
        raise ValueError("cannot sample: the logits are NaN, +inf, or −inf for every token.")
    block_log_probs = (blocks - largest[:, None, None]).exp_().sum(-1).log_()
    noise = torch.from_numpy(_noise(seed, rows, position, num_blocks + block)).to(logits.device, logits.dtype)
    chosen = (block_log_probs + noise[:, :num_blocks]).argmax(-1)
    within = blocks[torch.arange(size, device=logits.device), chosen] + noise[:, num_blocks:]
    tokens = chosen * block + within.argmax(-1)
    return tokens, logits.gather(1, tokens[:, None])[:, 0] - largest - block_log_probs.logsumexp(-1)


def _noise(seed: int, rows: list[int], position: int, count: int) -> np.ndarray:
    """Standard Gumbel noise, float32, shape `(len(rows), count)`."""
    uniform = np.empty((len(rows), count), dtype=np.float64)
    counter = np.array([0, 0, 0, position], dtype=np.uint64)
    for index, row in enumerate(rows):
        key = np.array([seed, row], dtype=np.uint64)
        uniform[index] = np.random.Generator(np.random.Philox(key=key, counter=counter)).random(count)
    # random() may return 0 exactly; the smallest positive step keeps both logarithms finite.
    return (-np.log(-np.log(np.maximum(uniform, 2.0**-53)))).astype(np.float32)
