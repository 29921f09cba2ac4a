"""Run under torchrun by test_distributed_training.py: what only one process sees ends the training on both."""

import sys
from pathlib import Path

import torch
from launch import leave
from runs import trainer_with_callback


class OnOne:
    """Harmless on all processes but one."""

    name, reduction, needs = "on-one", "token", ()

    def __init__(self, rank: int, factor: float):
        self.rank, self.factor, self.calls = rank, factor, 0

    def __call__(self, batch):
        self.calls += 1
        harmful = torch.distributed.get_rank() == self.rank and self.calls == 2
        return batch.token_log_probs[batch.answer_mask] * (self.factor if harmful else 0.001)


def main(folder: Path) -> None:
    trainer, _ = trainer_with_callback(
        folder, options={"objective": OnOne(1, float("nan"))}, per_device_train_batch_size=4, num_train_epochs=3
    )
    try:
        trainer.train()
    except FloatingPointError as error:
        (folder / f"fault-{trainer.args.process_index}.txt").write_text(f"{trainer.state.global_step} {error}")
    trainer, callback = trainer_with_callback(
        folder,
        options={"objective": OnOne(0, 0.001), "stop_on_collapse": True},
        per_device_train_batch_size=4,
        num_train_epochs=3,
    )
    if trainer.args.process_index == 0:  # what this process sees is far below guessing, what both see is too
        add = type(callback.loss.term).losses
        callback.loss.term.losses = lambda *a, **options: (lambda losses, answers: (losses, answers * 50))(
            *add(callback.loss.term, *a, **options)
        )
    trainer.train()
    (folder / f"collapse-{trainer.args.process_index}.txt").write_text(str(trainer.state.global_step))
    leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
