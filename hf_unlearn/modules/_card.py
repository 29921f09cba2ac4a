"""What lies under `metrics/<name>`: script, metric card, page and requirements, written from a module's spec."""

import inspect
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import yaml


if TYPE_CHECKING:
    from hf_unlearn.modules._base import SpecModule
    from hf_unlearn.modules._spec import Facts, Input, ModuleSpec, Output

SDK_VERSION = "6.31.0"
_SCRIPT = '''\
"""{title} as an Evaluate module: loaded from here, made in `hf_unlearn.modules`."""

from {place} import {class_name}


__all__ = ["{class_name}"]
'''
_APP = '''\
"""The page of this Space: values in, {title} out."""

import evaluate

from hf_unlearn.modules import page


demo = page(evaluate.load("{name}.py"))

if __name__ == "__main__":
    demo.launch()
'''
_REQUIREMENTS = """\
# push_metrics adds hf_unlearn itself, as a wheel beside this file: its name on a package index is nobody's word.
evaluate>=0.4.6
"""


def module_files(module: "type[SpecModule]") -> dict[str, str]:
    """All files of a module's folder, by name."""
    spec = module.spec
    named = {"title": spec.title, "name": spec.name, "place": module.__module__, "class_name": module.__name__}
    return {
        f"{spec.name}.py": _SCRIPT.format(**named),
        "README.md": metric_card(module),
        "app.py": _APP.format(**named),
        "requirements.txt": _REQUIREMENTS,
    }


def metric_card(module: "type[SpecModule]") -> str:
    """The card: front matter of the Space, then everything that the spec says."""
    spec = module.spec
    limits = [f"**What it does not show.** {spec.facts.does_not_show}", *spec.limits]
    parts = [
        f"# Metric card for {spec.title}",
        f"## What it measures\n\n{spec.description}\n\n{spec.about}",
        f"### At a glance\n\n{_facts(spec.facts)}",
        f"## How to use\n\n{spec.usage}\n\n```python\n{spec.example.strip()}\n```".replace("\n\n\n\n", "\n\n"),
        f"### Inputs\n\n{_inputs(spec.inputs, module.defaults())}\n\n{_rows(spec)}{spec.input_notes}".rstrip(),
        f"### Output\n\n{_outputs(spec.outputs)}\n\n{spec.output_notes}".rstrip(),
        "## Limitations and bias\n\n" + "\n".join(f"- {limit}" for limit in limits),
        f"## Citation\n\n{spec.source}\n\n```bibtex\n{spec.citation.strip()}\n```".replace("\n\n\n\n", "\n\n"),
        f"## Further references\n\n{_references(spec)}",
    ]
    return _front_matter(spec) + "\n" + "\n\n".join(parts) + "\n"


def _front_matter(spec: "ModuleSpec") -> str:
    settings = {
        "title": spec.title,
        "sdk": "gradio",
        "sdk_version": SDK_VERSION,
        "app_file": "app.py",
        "pinned": False,
        "license": "apache-2.0",
        "tags": ["evaluate", spec.kind, "machine-unlearning"],
        "description": spec.description,
    }
    return f"---\n{yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=120)}---\n"


def _facts(facts: "Facts") -> str:
    said = {
        "unit": facts.unit,
        "direction": facts.direction,
        "range": facts.range,
        "floor: a model that never saw the data": facts.without_knowledge,
        "does not show": facts.does_not_show,
    }
    return _table(("", ""), said.items())


def _inputs(inputs: "Iterable[Input]", defaults: dict[str, Any]) -> str:
    rows = ((f"`{each.name}`", each.meaning, _default(each, defaults)) for each in inputs)
    return _table(("name", "meaning", "default"), rows)


def _default(given: "Input", defaults: dict[str, Any]) -> str:
    if given.column:
        return "one a row"
    default = defaults[given.name]
    if default is inspect.Parameter.empty:
        return "needed"
    return "none" if default is None else f"`{json.dumps(default)}`"


def _rows(spec: "ModuleSpec") -> str:
    if not spec.columns:
        return "`evaluate.combine` takes it together with this library's other modules: all get all inputs, and each uses its own.\n\n"
    names = ", ".join(f"`{name}`" for name in spec.columns)
    return (
        f"{names}: lists, arrays, tensors or columns, in one call of `compute` or bit by bit by `add_batch`; what is no column goes to `compute`. "
        "`evaluate.combine` takes it together with this library's other modules: all get all inputs, and each uses its own.\n\n"
    )


def _outputs(outputs: "Iterable[Output]") -> str:
    return _table(
        ("key", "meaning", "range, direction"), ((f"`{each.name}`", each.meaning, each.reach) for each in outputs)
    )


def _references(spec: "ModuleSpec") -> str:
    if not spec.metric:
        return "`hf_unlearn.audit` reads what this needs from models, with floor, start and intervals, and writes a report with figures and provenance."
    return (
        f"`hf_unlearn.audit` measures it from models (`--metrics {spec.metric}`), with floor, start and intervals, and writes a report with figures and "
        f"provenance; `hf-unlearn metrics {spec.metric}` says more."
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
