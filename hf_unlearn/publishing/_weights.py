"""Model files that may be published: what was opened and audited, saved anew, without names of local folders.

No file of the user's folder is sent: whatever else lies there (the model before unlearning, say) is not looked at.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_unlearn.audit import AuditReport
from hf_unlearn.config import DTYPES
from hf_unlearn.inference import load_model, load_processing_class, weights_fingerprint


_ALLOWED = re.compile(
    r"(.*\.safetensors|.*\.safetensors\.index\.json|(generation_|adapter_|preprocessor_|processor_)?config\.json|tokenizer(_config)?\.json|"
    r"special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)|merges\.txt|chat_template\.jinja|.*\.model)"
)
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")
_NAMES = re.compile(r"(path|file|dir|folder|_dataset)$")


def export_weights(
    model: PreTrainedModel | PeftModel | str | os.PathLike,
    target: Path,
    *,
    expected_sha256: str | None,
    base_model: str | None,
    processing_class: PreTrainedTokenizerBase | None = None,
    dtype: str = "auto",
) -> None:
    """Save the audited model and its tokenizer into a folder, from which they are uploaded.

    Args:
        model: Loaded model or adapter, or a folder, from which both are opened.
        target: Empty folder.
        expected_sha256: `weights_sha256` of the audited candidate.
        base_model: Hub id that replaces a local base model in an adapter's configuration.
        processing_class: A tokenizer to go with the model; default: the one in the folder.
        dtype: Precision in which the folder was audited, and in which it is saved.

    Raises:
        ValueError: Weights that are not those that were audited, no safetensors, or an adapter on a base that is not on the Hub.
    """
    source = Path(model) if isinstance(model, (str, os.PathLike)) else None
    if source is not None and not source.is_dir():
        raise ValueError(f"{str(source)!r} is no folder with weights; pass the folder that was audited.")
    loaded = load_model(model, device="cpu" if source is not None else None, dtype=dtype)
    if isinstance(loaded, PeftModel) and list(loaded.peft_config) != ["default"]:
        raise ValueError(
            f"the model has the adapters {', '.join(loaded.peft_config)}; a repository holds one, named default. Merge them, or save the one "
            "that counts, open it from there, and audit that."
        )
    found = weights_fingerprint(loaded)
    if expected_sha256 is not None and found != expected_sha256:
        raise ValueError(
            f"these weights (SHA-256 {found[:16]}…) are not those that were audited ({expected_sha256[:16]}…); audit them, or publish the "
            "audited ones."
        )
    loaded.save_pretrained(target)
    if processing_class is None and source is not None and any((source / name).is_file() for name in _TOKENIZER):
        processing_class = load_processing_class(source)
    if processing_class is not None:
        processing_class.save_pretrained(target)
    for path in target.iterdir():
        if not _ALLOWED.fullmatch(path.name):
            path.unlink()
    if not any(target.glob("*.safetensors")):
        raise ValueError(f"{str(source or 'the model')!r} has no safetensors weights; only those are published.")
    for path in sorted({*target.glob("*config.json"), *target.glob("special_tokens_map.json")}):
        _without_local_names(path, base_model)


def _without_local_names(path: Path, base_model: str | None) -> None:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    base = data.get("base_model_name_or_path")
    if isinstance(base, str) and _is_local(base):
        if base_model is None:
            raise ValueError(
                "the adapter names a base model in a local folder, where nobody else can find it; pass base_model= with its Hub id."
            )
        data["base_model_name_or_path"] = base_model
    kept = _cleaned(data)
    if kept != json.loads(path.read_text(encoding="utf-8")):
        path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _cleaned(value: Any) -> Any:
    """Without entries that name a file or folder of this machine."""
    if isinstance(value, dict):
        return {
            name: _cleaned(part)
            for name, part in value.items()
            if not (_NAMES.search(name) and isinstance(part, str) and _is_local(part))
        }
    return [_cleaned(part) for part in value] if isinstance(value, list) else value


def _is_local(name: str) -> bool:
    return (
        os.path.isabs(name)
        or name.startswith((".", "~"))
        or "\\" in name
        or name.count("/") > 1
        or Path(name).exists()
    )


def audited_dtype(report: AuditReport) -> str:
    """The precision in which an audit opened its models; "auto" where its report names none that there is."""
    found = report.provenance.settings.get("dtype")
    return str(found) if found in DTYPES else "auto"
