"""Run under torchrun by test_distributed_retraining.py: a retraining that is cut short, gone on with, and a continuation."""

import sys
from pathlib import Path

from launch import leave
from recipes import Kill, Recipe, people

from hf_unlearn import continued, retrain


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    share = {"per_device_train_batch_size": 2}
    for callbacks in ([Kill(3)], []):
        try:
            recipe = Recipe(folder / "base", callbacks=callbacks, **share)
            made = retrain(recipe, people(), without=people("Cai"), output_dir=folder / "two", seeds=[0])
        except KeyboardInterrupt:
            continue
    continued(
        Recipe(folder / "base", **share), made.reference, people("Ada", "Bo"), output_dir=folder / "on", seeds=[0]
    )
    leave()
