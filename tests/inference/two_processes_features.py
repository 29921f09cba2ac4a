"""Run under torchrun by test_features.py: moments and rows of hidden states; every process writes what it got."""

import sys
from pathlib import Path

import torch
from accelerate import PartialState
from launch import leave
from test_features import texts
from toys import tiny_llama

from hf_unlearn.functional import layer_metrics
from hf_unlearn.inference import FeatureSettings, feature_rows, representation_moments


if __name__ == "__main__":
    state = PartialState(cpu=True)
    assert state.num_processes == 2, state
    models = {"reference": tiny_llama(1), "candidate": tiny_llama(0), "original": tiny_llama(2)}
    options = FeatureSettings(batch_size=3)
    moments = representation_moments(models, texts(), options, progress=False).moments
    found = {
        "metrics": {layer: layer_metrics(part).values for layer, part in moments.items()},
        "rows": feature_rows(models["candidate"], texts(), options, progress=False),
    }
    torch.save(found, Path(sys.argv[1]) / f"{state.process_index}.pt")
    leave()
