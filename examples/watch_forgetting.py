"""You have a Trainer run and want to see what it forgets: one more callback, the best checkpoint by a rule, curves to look at.

python examples/watch_forgetting.py --model me/model --reference me/retrained --forget forget.jsonl --retain retain.jsonl --output-dir out
python examples/watch_forgetting.py --smoke
"""

import argparse
import tempfile

from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from hf_unlearn import ForgettingTracker, SimNPO, UnlearningCallback
from hf_unlearn.data import AnswerCollator, load_data, load_pocket, pad_token_id, tokenize_examples
from hf_unlearn.training import KeepThenForget


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="path or Hub id")
    parser.add_argument("--reference", help="a model that never saw the forget set; without it FADE is not tracked")
    parser.add_argument("--forget", help="file, or Hub id with :configuration")
    parser.add_argument("--retain", help="the same for what stays; a tenth of it is held out and watched")
    parser.add_argument("--output-dir", default=tempfile.gettempdir() + "/watched")
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--smoke", action="store_true", help="run on the embedded benchmark, in seconds")
    arguments = parser.parse_args()
    if arguments.smoke:
        pocket = load_pocket("nano")
        model, original, tokenizer = pocket.original(), pocket.original(), pocket.tokenizer
        forget, retain, reference, twin = pocket.forget, pocket.retain, pocket.reference(), pocket.twin()
        arguments.learning_rate, arguments.epochs = 5e-4, 3
    else:
        model, original = (AutoModelForCausalLM.from_pretrained(arguments.model) for _ in range(2))
        tokenizer = AutoTokenizer.from_pretrained(arguments.model)
        forget, retain = load_data(arguments.forget), load_data(arguments.retain)
        reference, twin = arguments.reference, None
    parts = retain.train_test_split(test_size=0.1, seed=0)

    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=arguments.output_dir,
            learning_rate=arguments.learning_rate,
            num_train_epochs=arguments.epochs,
            per_device_train_batch_size=8,
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=True,
            metric_for_best_model="eval_forgetting_score",
            greater_is_better=False,
            report_to="none",
            disable_tqdm=arguments.smoke,
        ),
        train_dataset=tokenize_examples(parts["train"], tokenizer),
        eval_dataset=tokenize_examples(parts["test"], tokenizer),
        data_collator=AnswerCollator(pad_token_id(tokenizer)),
        processing_class=tokenizer,
    )
    trainer.add_callback(UnlearningCallback(trainer, forget_dataset=forget, objective=SimNPO()))
    tracker = ForgettingTracker(
        trainer,
        forget_dataset=forget,
        retain_dataset=parts["test"],
        reference=reference,
        original=original,
        twin=twin,
        rule=KeepThenForget(keep=0.95),
        table=True,
    )
    trainer.add_callback(tracker)
    trainer.train()
    trainer.save_model()
    print(f"best checkpoint: {trainer.state.best_model_checkpoint}, score {trainer.state.best_metric:.3f}")
    print(f"curves: {tracker.path.with_suffix('.html')}")


if __name__ == "__main__":
    main()
