"""Which forget examples belong to which optimisation step: a pure function of seed and step.

So a resumed run needs no saved position, every process knows the whole step without asking the others, and how the step is cut into
micro-batches and processes changes nothing.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ForgetStream:
    """An endless sequence of seeded permutations of the forget set, cut into steps.

    Attributes:
        num_examples: Of the forget set.
        per_step: Examples per optimisation step, over all processes and micro-batches.
        seed: Of the permutations.

    Raises:
        ValueError: Fewer examples than one step takes.

    Example:
        >>> stream = ForgetStream(num_examples=3, per_step=2, seed=0)
        >>> sorted(np.concatenate([stream.step(0), stream.step(1), stream.step(2)]).tolist())
        [0, 0, 1, 1, 2, 2]
    """

    num_examples: int
    per_step: int
    seed: int

    def __post_init__(self) -> None:
        if self.per_step < 1:
            raise ValueError(f"a step must take at least one forget example, got {self.per_step}.")
        if self.num_examples < self.per_step:
            raise ValueError(
                f"the forget set has {self.num_examples} rows, but each optimisation step takes {self.per_step} (batch size × "
                f"accumulation × processes). Pass forget_batch_size={self.num_examples} or less, or lower the batch size."
            )

    def step(self, step: int) -> np.ndarray:
        """Indices of one optimisation step, shape `(per_step,)`."""
        first = step * self.per_step
        places = np.arange(first, first + self.per_step)
        passes = {number: self._permutation(number) for number in np.unique(places // self.num_examples)}
        return np.array([passes[place // self.num_examples][place % self.num_examples] for place in places])

    def visit(self, step: int) -> int:
        """How often every example had been taken when the step begins."""
        return step * self.per_step // self.num_examples

    def micro_batches(self, step: int, *, count: int, rank: int = 0, num_processes: int = 1) -> list[np.ndarray]:
        """One process's part of a step, cut into `count` micro-batches as evenly as possible; some may be empty."""
        mine = np.array_split(self.step(step), num_processes)[rank]
        return np.array_split(mine, count)

    def _permutation(self, number: int) -> np.ndarray:
        return np.random.default_rng([self.seed, int(number)]).permutation(self.num_examples)
