"""A card with the audit in it: a pure function of the old card, the report and what the publisher says. No Hub, no files."""

import html
import importlib.resources
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import eval_results_to_model_index

from hf_unlearn.audit import AuditReport, MetricResult
from hf_unlearn.publishing._escape import Safe, markdown, one_line
from hf_unlearn.publishing._front_matter import SOURCE, CardError, FrontMatter
from hf_unlearn.publishing._statement import Statement, is_repo_id


FOLDER = "unlearning_audit"
"""Where report and figures lie in a repository."""
TAGS = ("machine-unlearning", "hf_unlearn")
BEGIN, END = "<!-- hf_unlearn:audit:begin -->", "<!-- hf_unlearn:audit:end -->"
_MANY = 30
_CITED = {
    "fade": ("FADE", "2510.12981"),
    "residual_ratio": ("Residues in hidden states", "2606.25001"),
    "exposure": ("Generalized exposure", "2411.04388"),
}


def card_section(report: AuditReport, statement: Statement, repo_id: str, figures: Sequence[str] = ()) -> str:
    """`## Unlearning audit`, between markers.

    Args:
        report: As it is published.
        statement: What the publisher says.
        repo_id: Of the model.
        figures: File names under `unlearning_audit/`.

    Returns:
        Markdown; every text from outside is escaped.
    """
    rows = _rows(report.metrics)
    models = {role: _model(described) for role, described in report.provenance.models.items()}
    confidence = report.provenance.settings.get("confidence")
    return (
        _template()
        .render(
            begin=Safe(BEGIN),
            end=Safe(END),
            statement=statement,
            base_model=None if statement.base_model is None else _linked(statement.base_model),
            datasets=Safe(", ".join(markdown(_linked(name, "datasets/")) for name in statement.datasets)),
            rows=rows,
            folded=len(rows) > _MANY,
            holdout=any(_side(name) == "holdout" for name in report.metrics),
            models=models,
            data=report.provenance.data,
            interval=Safe(f"{100 * confidence:g} % interval" if isinstance(confidence, float) else "interval"),
            reading=[Safe(html.escape(sentence, quote=False)) for sentence in report.reading()],
            notes=report.notes,
            figures=[Safe(name) for name in figures if re.fullmatch(r"[\w.-]+", name)],
            folder=Safe(FOLDER),
            repo_id=Safe(repo_id),
            created=report.created,
            version=report.provenance.versions.get("hf-unlearn", ""),
            cited=Safe("; ".join(_cited(report))),
        )
        .strip()
    )


def update_card(
    card: str | None,
    report: AuditReport,
    statement: Statement,
    repo_id: str,
    figures: Sequence[str] = (),
    *,
    library_name: str = "transformers",
) -> str:
    """Put section and metadata into a card; doing it twice changes nothing more, and what is not ours keeps every byte.

    Args:
        card: The old card; None or "" where there is none.
        report: As it is published.
        statement: What the publisher says.
        repo_id: Of the model.
        figures: File names under `unlearning_audit/`.
        library_name: For a card that does not name one.

    Raises:
        CardError: Front matter that cannot be read, or a marker without its partner.
    """
    name = repo_id.split("/")[-1]
    text = card or f"---\nlibrary_name: {library_name}\n---\n\n# {markdown(name)}\n"
    mark, text = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    head = FrontMatter(text)
    head.set_default("library_name", library_name)
    head.merge_list("tags", TAGS)
    if statement.base_model is not None and is_repo_id(statement.base_model):
        _name_base(head, statement.base_model)
    head.merge_list("datasets", [name for name in statement.datasets if is_repo_id(name)])
    head.replace_results(name, model_index_results(report, repo_id))
    section = card_section(report, statement, repo_id, figures).replace("\n", head.newline)
    head.body = _with_section(head.body, section, head.newline)
    return mark + head.render()


def _name_base(head: FrontMatter, base_model: str) -> None:
    """Unless there is one. A local folder, as PEFT writes it of a base that was loaded from disk, is none: the Hub refuses such a card."""
    found = head.data.get("base_model")
    head.set_default("base_model", base_model)
    if isinstance(found, str) and (found.startswith((".", "~")) or Path(found).is_absolute()):
        head.replace("base_model", base_model)
        tags = head.data.get("tags")
        if isinstance(tags, list):
            head.replace("tags", [tag.replace(found, base_model) if isinstance(tag, str) else tag for tag in tags])


def sections_of(card: str) -> list[str]:
    """Sections as they stand in a card, with `\\n` as line end.

    Markers without partners are no section.
    """
    return [card[start:end].replace("\r\n", "\n") for start, end in _spans(card)]


def _spans(text: str) -> list[tuple[int, int]]:
    """From each opening marker to the next closing one."""
    spans, at = [], 0
    while (start := text.find(BEGIN, at)) >= 0 and (end := text.find(END, start)) >= 0:
        at = end + len(END)
        spans.append((start, at))
    return spans


def _with_section(body: str, section: str, newline: str) -> str:
    spans = _spans(body)
    if not len(spans) == body.count(BEGIN) == body.count(END):
        raise CardError(
            f"the card has {BEGIN} without {END}, or they are out of order; remove them. Nothing was changed."
        )
    if not spans:
        gap = "" if not body else newline if body.endswith("\n") else 2 * newline
        return body + gap + section + newline
    pieces, at = [body[: spans[0][0]], section], spans[0][1]
    for start, end in spans[1:]:
        pieces.append(body[at:start])
        at = end
    return "".join([*pieces, body[at:]])


def model_index_results(report: AuditReport, repo_id: str) -> list[dict[str, Any]]:
    """Finite results as entries of `model-index`, marked with our source."""
    results = []
    for name, result in report.metrics.items():
        if not math.isfinite(float(result.value)):
            continue
        side = _side(name)
        read_against = {
            "confidence_interval": None
            if result.confidence_interval is None
            else list(map(float, result.confidence_interval)),
            **{part: _plain(getattr(result, part)) for part in ("floor", "start", "relative", "n")},
            "better": result.direction,
        }
        results.append(
            EvalResult(
                task_type="text-generation",
                dataset_type=f"unlearning-audit-{side}",
                dataset_name=f"{side} set of the unlearning audit",
                metric_type=_bare(name),
                metric_name=_bare(f"{name} ({result.unit})"),
                metric_value=float(result.value),
                metric_args={key: value for key, value in read_against.items() if value is not None},
                source_name=SOURCE,
                source_url=f"https://huggingface.co/{repo_id}/blob/main/{FOLDER}/report.json",
            )
        )
    return eval_results_to_model_index("", results)[0].get("results", []) if results else []


def _bare(text: str) -> str:
    """For the front matter, where YAML quotes what it must, but a marker would still look like one."""
    return one_line(text).replace("<", "").replace(">", "")


def _plain(value: Any) -> float | int | None:
    if value is None or not math.isfinite(float(value)):
        return None
    return int(value) if float(value).is_integer() and not isinstance(value, float) else float(value)


def _side(name: str) -> str:
    """On which set a metric was measured, by its name."""
    return next((side for side in ("retain", "holdout") if name.startswith(f"{side}_")), "forget")


def _rows(metrics: Mapping[str, MetricResult]) -> list[dict[str, Any]]:
    """One row per metric, its sets beside each other; what it is read against is that of the first set that has it."""
    rows: dict[str, dict[str, MetricResult]] = {}
    for name, result in metrics.items():
        side = _side(name)
        stem = (
            name.removeprefix(f"{side}_")
            if side != "forget" or f"retain_{name.removeprefix('forget_')}" in metrics
            else name
        )
        rows.setdefault(stem, {})[side] = result
    return [_row(name, sides) for name, sides in rows.items()]


def _row(name: str, sides: Mapping[str, MetricResult]) -> dict[str, Any]:
    main = next(sides[side] for side in ("forget", "retain", "holdout") if side in sides)
    values: dict[str, Any] = {}
    for side in ("forget", "retain", "holdout"):
        result = sides.get(side)
        values[side] = _number(None if result is None else result.value)
        values[f"{side}_interval"] = _interval(None if result is None else result.confidence_interval)
    return {
        **values,
        "name": name.replace("_", " "),
        "unit": main.unit,
        "retrained": _number(main.others.get("reference")),
        "floor": _number(main.floor),
        "start": _number(main.others.get("original") if main.start is None else main.start),
        "relative": _number(main.relative),
        "relative_interval": _interval(main.relative_confidence_interval),
        "direction": {"reference": "as the retrained model"}.get(main.direction, main.direction),
    }


def _number(value: float | None) -> Safe:
    # All digits of the report, which is rounded already: rounding again could cross a line.
    return Safe("–" if value is None or not math.isfinite(value) else f"{float(value):.15g}")


def _interval(bounds: tuple[float, float] | None) -> Safe:
    return Safe("–" if bounds is None else f"{_number(bounds[0])} … {_number(bounds[1])}")


def _model(described: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": _linked(described["name"]) if described.get("source") == "hub" else "not on the Hub",
        "sha256": Safe(re.sub(r"[^0-9a-f]", "", described.get("weights_sha256", ""))[:16]),
    }


def _linked(name: str, kind: str = "") -> str | Safe:
    return Safe(f"[{markdown(name)}](https://huggingface.co/{kind}{name})") if is_repo_id(name) else name


def _cited(report: AuditReport) -> list[str]:
    papers = {name: paper for name, paper in _CITED.items() if any(name in metric for metric in report.metrics)}
    return [f"{title} ([arXiv {number}](https://arxiv.org/abs/{number}))" for title, number in papers.values()]


def _template() -> jinja2.Template:
    source = (
        importlib.resources.files("hf_unlearn.publishing")
        .joinpath("card_section.md.jinja")
        .read_text(encoding="utf-8")
    )
    # Everything that is not marked safe is escaped, whoever edits the template.
    settings: dict[str, Any] = {"undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    return jinja2.Environment(finalize=markdown, autoescape=False, **settings).from_string(source)
