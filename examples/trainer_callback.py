"""You have a Trainer run. Train on what you keep, add one callback for what must go.

python examples/trainer_callback.py --model me/model --forget forget.jsonl --retain retain.jsonl --output-dir out
python examples/trainer_callback.py --smoke
"""

import argparse
import tempfile

from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from hf_unlearn import NPO, UnlearningCallback
from hf_unlearn.data import AnswerCollator, load_data, load_pocket, pad_token_id, tokenize_examples


def main() -> list[dict[str, float]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="path or Hub id")
    parser.add_argument(
        "--forget", help="file, or Hub id with :configuration; columns question and answer, for example"
    )
    parser.add_argument("--retain", help="the same for what stays")
    parser.add_argument("--output-dir", default=tempfile.gettempdir() + "/unlearned")
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--smoke", action="store_true", help="run on the embedded benchmark, in seconds")
    arguments = parser.parse_args()
    if arguments.smoke:
        pocket = load_pocket("nano")
        model, tokenizer, forget, retain = pocket.original(), pocket.tokenizer, pocket.forget, pocket.retain
        arguments.learning_rate, arguments.epochs = 5e-4, 2
    else:
        model = AutoModelForCausalLM.from_pretrained(arguments.model)
        tokenizer = AutoTokenizer.from_pretrained(arguments.model)
        forget, retain = load_data(arguments.forget), load_data(arguments.retain)

    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=arguments.output_dir,
            learning_rate=arguments.learning_rate,
            num_train_epochs=arguments.epochs,
            per_device_train_batch_size=8,
            logging_steps=5,
            save_strategy="no",
            report_to="none",
        ),
        train_dataset=tokenize_examples(retain, tokenizer),
        data_collator=AnswerCollator(pad_token_id(tokenizer)),
        processing_class=tokenizer,
    )
    trainer.add_callback(UnlearningCallback(trainer, forget_dataset=forget, objective=NPO(beta=0.1)))
    trainer.train()
    trainer.save_model()
    return trainer.state.log_history


if __name__ == "__main__":
    main()
