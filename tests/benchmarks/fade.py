"""FADE between two models with a real vocabulary size: wall time and peak memory, beside (a) the unavoidable work and (b) the
straightforward implementation.

    python tests/benchmarks/fade.py            # about three minutes on two cores
    python tests/benchmarks/fade.py --help

(a) is generation (the library's own `generate`, with the prompt's work shared) and the scoring forwards up to the logits of answer
positions, and nothing else: no noise, no softmax, no divergence, no rows. (b) takes prompts in data order, pads batches, gives `generate`
the whole prompt for every sample, takes a float32 log-softmax over the whole vocabulary at every position, and uses the sampled
estimator. All three run in this process on the same prompts, in turn; memory is the peak of a process that does only that.
"""

import argparse
import dataclasses
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging as hf_logging

from hf_unlearn.audit import measure_fade
from hf_unlearn.functional import FadeEstimate
from hf_unlearn.functional import fade as fade_estimate
from hf_unlearn.inference import ScoredRows, completion_rows, cross_score, sample_completions
from hf_unlearn.inference._batching import batches, right_padded
from hf_unlearn.inference._logits import LogitReader, chunk_length
from hf_unlearn.inference._prefix import left_padded, shared_prefix_cache


@dataclasses.dataclass(frozen=True)
class Setting:
    vocabulary: int = 32_000
    width: int = 256
    layers: int = 4
    prompts: int = 16
    samples: int = 8
    new_tokens: int = 24
    batch_size: int = 32
    distance: float = 0.0015  # standard deviation of what is added to the reference's weights to make the candidate


def models(setting: Setting) -> dict[str, LlamaForCausalLM]:
    """A reference and a candidate some way from it."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=setting.vocabulary,
        hidden_size=setting.width,
        intermediate_size=3 * setting.width,
        num_hidden_layers=setting.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        eos_token_id=None,
        bos_token_id=None,
        initializer_range=0.08,
    )
    reference, candidate = LlamaForCausalLM(config).eval(), LlamaForCausalLM(config).eval()
    candidate.load_state_dict(reference.state_dict())
    with torch.no_grad():
        for parameter in candidate.parameters():
            parameter.add_(setting.distance * torch.randn_like(parameter))
    return {"reference": reference, "candidate": candidate}


def prompt_ids(setting: Setting) -> list[list[int]]:
    """Lengths between 8 and 96 tokens, in no order, as real questions have."""
    generator = np.random.default_rng(1)
    lengths = generator.integers(8, 97, setting.prompts)
    return [generator.integers(0, setting.vocabulary, length).tolist() for length in lengths]


def ours(setting: Setting, pair: dict[str, LlamaForCausalLM], prompts: list[list[int]]) -> FadeEstimate:
    return measure_fade(
        prompts=prompts,
        candidate=pair["candidate"],
        reference=pair["reference"],
        num_samples=setting.samples,
        max_new_tokens=setting.new_tokens,
        batch_size=setting.batch_size,
        progress=False,
    ).estimate


@torch.inference_mode()
def unavoidable(setting: Setting, pair: dict[str, LlamaForCausalLM], prompts: list[list[int]]) -> None:
    """(a) Generate, then one forward of each model over what was generated, up to the logits of answer positions."""
    readers = [LogitReader(model) for model in pair.values()]
    for model in pair.values():
        examples = []
        together = max(1, setting.batch_size // setting.samples)
        for group in batches([len(prompt) for prompt in prompts], together, padding=math.inf):
            input_ids, mask = left_padded([prompts[index] for index in group])
            cache = shared_prefix_cache(model, input_ids, mask, repeats=setting.samples)
            repeated = input_ids.repeat_interleave(setting.samples, 0)
            output = model.generate(
                input_ids=repeated,
                attention_mask=mask.repeat_interleave(setting.samples, 0),
                past_key_values=cache,
                generation_config=GenerationConfig(do_sample=False, max_new_tokens=setting.new_tokens, pad_token_id=0),
            )
            generated = output[:, repeated.shape[1] :].tolist()
            starts = [prompts[index] for index in group for _ in range(setting.samples)]
            examples += [
                {"input_ids": start + answer, "labels": [-100] * len(start) + answer}
                for start, answer in zip(starts, generated, strict=True)
            ]
        for at in range(0, len(examples), setting.batch_size):
            batch = right_padded(examples[at : at + setting.batch_size])
            rows, positions, _ = batch.answers
            length = chunk_length(setting.vocabulary, batch.input_ids.device)
            for reader in readers:
                for states in reader.states(*batch.inputs.values(), rows, positions).split(length):
                    reader.logits(states)


@torch.inference_mode()
def straightforward(setting: Setting, pair: dict[str, LlamaForCausalLM], prompts: list[list[int]]) -> FadeEstimate:
    """(b) What one writes first."""
    torch.manual_seed(2)
    settings = GenerationConfig(do_sample=True, top_k=0, max_new_tokens=setting.new_tokens, pad_token_id=0)
    together = max(1, setting.batch_size // setting.samples)
    sides = []
    for name, other in (("reference", "candidate"), ("candidate", "reference")):
        columns: dict[str, list] = {"own": [], "other": [], "prompt": []}
        for at in range(0, len(prompts), together):
            input_ids, mask = left_padded(prompts[at : at + together])
            output = pair[name].generate(
                input_ids=input_ids,
                attention_mask=mask,
                generation_config=settings,
                num_return_sequences=setting.samples,
            )
            mask = torch.nn.functional.pad(
                mask.repeat_interleave(setting.samples, 0), (0, setting.new_tokens), value=1
            )
            for key, model in (("own", pair[name]), ("other", pair[other])):
                positions = (mask.cumsum(-1) - 1).clamp_min(0)
                logits = model(input_ids=output, attention_mask=mask, position_ids=positions).logits
                log_probs = logits.float().log_softmax(-1)[:, :-1].gather(-1, output[:, 1:, None])[..., 0]
                columns[key] += log_probs[:, -setting.new_tokens :].double().sum(-1).tolist()
            columns["prompt"] += [at + row // setting.samples for row in range(len(output))]
        sides.append(
            _rows(setting, name, other, columns).directed(sampled_from=name, scored_by=other, estimator="sampled")
        )
    return fade_estimate(*sides)


def _rows(setting: Setting, name: str, other: str, columns: dict[str, list]) -> ScoredRows:
    count = len(columns["own"])
    return completion_rows(
        {
            "sampled_from": [name] * count,
            "scored_by": [other] * count,
            "prompt_index": columns["prompt"],
            "sample_index": [row % setting.samples for row in range(count)],
            "num_tokens": [setting.new_tokens] * count,
            "truncated": [True] * count,
            "log_prob_own": columns["own"],
            "log_prob_other": columns["other"],
            "step_divergence": [0.0] * count,
        }
    )


WAYS: dict[str, Callable] = {"ours": ours, "unavoidable": unavoidable, "straightforward": straightforward}


def same_answer(setting: Setting, pair: dict[str, LlamaForCausalLM], prompts: list[list[int]]) -> float:
    """Largest difference between our log-probabilities and a full-vocabulary log-softmax, on the same completions."""
    completions = sample_completions(
        pair["reference"], prompts[:4], num_samples=2, max_new_tokens=setting.new_tokens, progress=False
    )
    rows = cross_score(completions, sampled_from="reference", models=pair, progress=False)
    worst = 0.0
    for row in range(len(completions)):
        prompt, answer = completions.prompts[int(completions.prompt_index[row])], completions.answer(row)
        ids = torch.tensor([[*prompt, *answer]])
        with torch.inference_mode():
            for column, name in (("log_prob_own", "reference"), ("log_prob_other", "candidate")):
                log_probs = pair[name](ids).logits.float().log_softmax(-1)[0, :-1].gather(-1, ids[0, 1:, None])
                worst = max(worst, abs(float(log_probs[len(prompt) - 1 :].double().sum()) - rows.column(column)[row]))
    return worst


def peak_mib(arguments: argparse.Namespace, way: str) -> float:
    command = [sys.executable, __file__, "--only", way, *_flags(arguments)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def resident_mib(field: str) -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return float(status[field].split()[0]) / 1024


def _flags(arguments: argparse.Namespace) -> list[str]:
    return [
        f"--{field.name.replace('_', '-')}={getattr(arguments, field.name)}" for field in dataclasses.fields(Setting)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    for field in dataclasses.fields(Setting):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    parser.add_argument("--repeats", type=int, default=2, help="timed rounds, after one warm-up round")
    parser.add_argument(
        "--only", choices=list(WAYS), help="run one way once and print its peak memory above the models, in MiB"
    )
    arguments = parser.parse_args()
    hf_logging.set_verbosity_error()
    setting = Setting(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Setting)})
    pair, prompts = models(setting), prompt_ids(setting)
    if arguments.only:
        before = resident_mib("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of building the models (Linux)
        WAYS[arguments.only](setting, pair, prompts)
        print(resident_mib("VmHWM") - before)
        return
    print(f"{setting}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(
        f"same answer: log-probabilities differ by at most {same_answer(setting, pair, prompts):.1e} nats a sequence"
    )
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    results = {}
    for round_number in range(arguments.repeats + 1):
        for way, function in WAYS.items():
            started = time.perf_counter()
            results[way] = function(setting, pair, prompts)
            if round_number:
                seconds[way].append(time.perf_counter() - started)
    report(arguments, seconds, results)


def report(arguments: argparse.Namespace, seconds: dict[str, list[float]], results: dict[str, FadeEstimate]) -> None:
    mine, simple = results["ours"], results["straightforward"]
    assert mine.confidence_interval and simple.confidence_interval and mine.standard_error and simple.standard_error
    gap = abs(mine.fade - simple.fade) / np.hypot(mine.standard_error, simple.standard_error)
    print(
        f"FADE: ours {mine.fade:.4f} ± {mine.standard_error:.4f}, (b) {simple.fade:.4f} ± {simple.standard_error:.4f}, {gap:.1f} standard errors apart"
    )
    for way in WAYS:
        print(
            f"{way:16s} {statistics.median(seconds[way]):7.2f} s   {peak_mib(arguments, way):7.0f} MiB above the loaded models"
        )
    doubled = argparse.Namespace(
        **{**vars(arguments), "batch_size": 2 * arguments.batch_size, "samples": 2 * arguments.samples}
    )
    for way in ("ours", "straightforward"):
        print(f"{way:16s} at twice the rows at a time: {peak_mib(doubled, way):7.0f} MiB")
    ratio = {way: statistics.median(a / b for a, b in zip(seconds["ours"], seconds[way], strict=True)) for way in WAYS}
    width_ratio = np.ptp(simple.confidence_interval) / np.ptp(mine.confidence_interval)
    print(f"ours / (a) unavoidable work:  {ratio['unavoidable']:.2f}")
    print(f"(b) / ours, same samples:     {1 / ratio['straightforward']:.2f}")
    print(f"interval width (b) / ours:    {width_ratio:.2f}   (work for equal width grows with its square)")
    print(f"(b) / ours, equal width:      {width_ratio**2 / ratio['straightforward']:.2f}")


if __name__ == "__main__":
    main()
