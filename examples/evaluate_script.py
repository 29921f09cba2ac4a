"""You have an evaluation script. Add FADE: two lines, and the answer to "would retraining have given this model?".

python examples/evaluate_script.py --candidate me/unlearned --reference me/retrained --prompts questions.jsonl
python examples/evaluate_script.py --smoke
"""

import argparse

import evaluate
from datasets import load_dataset

import hf_unlearn
from hf_unlearn.data import load_pocket, prompt_token_ids


def main() -> dict[str, object]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidate", help="path or Hub id of the unlearned model")
    parser.add_argument("--reference", help="path or Hub id of a model retrained without the forget data")
    parser.add_argument("--prompts", help="JSON lines with a column 'prompt', as the models saw it in training")
    parser.add_argument("--num-samples", type=int, default=8)
    parser.add_argument("--smoke", action="store_true", help="run on the embedded benchmark, in seconds")
    arguments = parser.parse_args()
    if arguments.smoke:
        pocket = load_pocket("nano")
        prompts = prompt_token_ids(pocket.forget, pocket.tokenizer)[:6]
        candidate, reference = pocket.original(), pocket.reference()  # nothing was unlearned: FADE should be large
    else:
        prompts = load_dataset("json", data_files=arguments.prompts, split="train")["prompt"][:]
        candidate, reference = arguments.candidate, arguments.reference

    fade = evaluate.load(hf_unlearn.metric_path("fade"))
    result = fade.compute(
        prompts=prompts, candidate=candidate, reference=reference, num_samples=arguments.num_samples, seed=0
    )
    print(
        f"FADE {result['fade']:.3f} nats per sequence (0 = like the retrained model), interval {result['confidence_interval']}"
    )
    return result


if __name__ == "__main__":
    main()
