"""A card with the audit in it: a pure function of the old card, the report and what the publisher says. No Hub, no files."""

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
from hf_unlearn.audit._assumed import EXCHANGEABLE, FLOORS, titled
from hf_unlearn.audit._relative import shown_relative
from hf_unlearn.audit._report import ShownSpec
from hf_unlearn.publishing._escape import Safe, markdown, one_line
from hf_unlearn.publishing._front_matter import SOURCE, CardError, FrontMatter
from hf_unlearn.publishing._rounding import unit
from hf_unlearn.publishing._statement import Statement, is_repo_id


FOLDER = "unlearning_audit"
"""Where report and figures lie in a repository."""
TAGS = ("machine-unlearning", "hf_unlearn")
BEGIN, END = "<!-- hf_unlearn:audit:begin -->", "<!-- hf_unlearn:audit:end -->"
_MANY, _DIGITS = 30, 15
_ARXIV = re.compile(r"\d{4}\.\d{4,5}", re.ASCII)
SETS = ("forget", "retain", "holdout")
"""Those with columns of their own in the table; a metric on another set has a row of its own."""


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
    rows = _rows(report)
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
            benchmark=report.provenance.settings.get("benchmark"),
            rows=rows,
            assumed=Safe(_assumed(report)),
            roles=report.provenance.models,
            blind=_blind(report),
            folded=len(rows) > _MANY,
            holdout=any(result.split == "holdout" for result in report.metrics.values()),
            models=models,
            data=report.provenance.data,
            interval=Safe(f"{100 * confidence:g} % interval" if isinstance(confidence, float) else "interval"),
            reading=report.reading(),  # holds titles and conditions, which may be somebody else's
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
    """Headline metrics as entries of `model-index`, marked with our source; the set is in the data set, a condition in the arguments."""
    results = []
    for result in report.metrics.values():
        spec = report.spec(result.name)
        if not spec.headline or not math.isfinite(float(result.value)):
            continue
        interval = result.confidence_interval
        read_against = {
            "condition": _bare(result.condition) or None,
            "confidence_interval": None if interval is None else list(map(float, interval)),
            **{part: _plain(getattr(result, part)) for part in ("floor", "start", "n")},
            "relative": _plain(shown_relative(result)),
            "better": _bare(result.direction),
            "assumes": _bare(result.assumes) or None,
            "floor_of": _bare(result.floor_of) or None,
        }
        after = f" after {result.condition}" if result.condition else ""
        results.append(
            EvalResult(
                task_type="text-generation",
                dataset_type=_bare(f"unlearning-audit-{result.split}"),
                dataset_name=_bare(f"{result.split} set of the unlearning audit"),
                metric_type=_type(result),
                metric_name=_bare(f"{titled(spec)}{after} ({result.unit})"),
                metric_value=float(result.value),
                metric_args={key: value for key, value in read_against.items() if value is not None},
                source_name=SOURCE,
                source_url=f"https://huggingface.co/{repo_id}/blob/main/{FOLDER}/report.json",
            )
        )
    return eval_results_to_model_index("", results)[0].get("results", []) if results else []


def _type(result: MetricResult) -> str:
    """The name of a metric, which says what it rests on."""
    name = _bare(result.name)
    return name if result.assumes in name else f"{result.assumes}_{name}"


def _bare(text: str) -> str:
    """For the front matter, where YAML quotes what it must, but a marker would still look like one."""
    return one_line(text).replace("<", "").replace(">", "")


def _plain(value: Any) -> float | int | None:
    if value is None or not math.isfinite(float(value)):
        return None
    return int(value) if float(value).is_integer() and not isinstance(value, float) else float(value)


def _rows(report: AuditReport) -> list[dict[str, Any]]:
    """One row per metric and condition, its sets beside each other, headline metrics first."""
    rows: dict[tuple[str, ...], dict[str, MetricResult]] = {}
    for result in report.metrics.values():
        other = "" if result.split in SETS else result.split
        rows.setdefault((result.name, result.condition, other), {})[result.split] = result
    made = [(report.spec(name), condition, other, sides) for (name, condition, other), sides in rows.items()]
    return [_row(*row) for row in sorted(made, key=lambda row: (not row[0].headline, bool(row[1])))]


def _row(spec: ShownSpec, condition: str, other: str, sides: Mapping[str, MetricResult]) -> dict[str, Any]:
    """What a metric is read against is that of the first set that has it."""
    main = next((sides[side] for side in SETS if side in sides), next(iter(sides.values())))
    values: dict[str, Any] = {}
    for side in SETS:
        result = sides.get(side, main if other and side == "forget" else None)
        values[side] = _number(None if result is None else result.value)
        values[f"{side}_interval"] = "–" if result is None else _interval(result.value, result.confidence_interval)
    place = (f" on the {other} set" if other else "") + (f" after {condition}" if condition else "")
    relative = shown_relative(main)
    return {
        **values,
        "name": titled(spec) + place,
        "unit": main.unit,
        "ideal": _ideal(spec),
        "retrained": _number(main.others.get("reference")),
        "floor": _number(main.floor),
        "start": _number(main.others.get("original") if main.start is None else main.start),
        "relative": _number(relative),
        "relative_interval": _interval(relative, main.relative_confidence_interval),
    }


def _ideal(spec: ShownSpec) -> str:
    if isinstance(spec.ideal, str):
        return {"reference": "as the retrained model", "holdout": "as on the holdout set"}[spec.ideal]
    return _number(spec.ideal)


def _number(value: float | None) -> Safe:
    # All digits of the report, which is rounded already: rounding again could cross a line.
    return Safe("–" if value is None or not math.isfinite(value) else f"{float(value):.15g}")


def _interval(value: float | None, bounds: tuple[float, float] | None) -> Safe:
    """With the digits of its number; the report keeps more of a bound beside 0 or 1, which rounding alone must not make certain."""
    if value is None or bounds is None:
        return Safe("–")
    width = bounds[1] - bounds[0]
    digits = (
        -1 if not math.isfinite(width) else max(_decimals(_number(value)), _decimals(f"{unit(value, bounds):.0e}"))
    )
    return Safe(" … ".join(_bound(end, digits) for end in bounds))


def _bound(end: float, digits: int) -> str:
    full = _number(end)
    if not 0 <= digits <= _DIGITS or "–" in full or _decimals(full) <= digits:
        return full
    return f"{round(end, digits) + 0.0:.{digits}f}"


def _decimals(number: str) -> int:
    """Behind the point.

    Example:
        >>> _decimals("12.34"), _decimals("9e-06"), _decimals("1.5e+20"), _decimals("–")
        (2, 6, 0, 0)
    """
    digits, _, exponent = number.partition("e")
    return max(0, len(digits.partition(".")[2]) - int(exponent or 0))


def _model(described: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": _linked(described["name"]) if described.get("source") == "hub" else "not on the Hub",
        "sha256": Safe(re.sub(r"[^0-9a-f]", "", described.get("weights_sha256", ""))[:16]),
    }


def _linked(name: str, kind: str = "") -> str | Safe:
    return Safe(f"[{markdown(name)}](https://huggingface.co/{kind}{name})") if is_repo_id(name) else name


def _cited(report: AuditReport) -> list[str]:
    """Where the metrics come from, each source once."""
    specs = [report.spec(result.name) for result in report.metrics.values()]
    sources = dict.fromkeys((spec.citation, spec.arxiv) for spec in specs if spec.citation)
    return [
        markdown(title)
        + (f" ([arXiv {number}](https://arxiv.org/abs/{number}))" if _ARXIV.fullmatch(number or "") else "")
        for title, number in sources
    ]


def _assumed(report: AuditReport) -> str:
    """What counterfactual numbers of a report rest on; "" where there are none."""
    results = [result for result in report.metrics.values() if result.assumes]
    if not results:
        return ""
    every = (
        "All distances to what a retrained model would be"
        if "reference" not in report.provenance.models
        else "Numbers marked so"
    )
    floors = [
        FLOORS[found] for found in dict.fromkeys(result.floor_of for result in results) if found in FLOORS and found
    ]
    said = f" Their floor is that of {' and '.join(floors)}." if floors else ""
    return (
        f"{every} are {EXCHANGEABLE}: what the original says of subjects that it has never seen stands in for what a retrained model "
        f"would say of the forgotten ones.{said}"
    )


def _blind(report: AuditReport) -> dict[str, str]:
    """What metrics do not show, by title, where the report says."""
    specs = [report.spec(name) for name in dict.fromkeys(result.name for result in report.metrics.values())]
    return {titled(spec): spec.does_not_show for spec in specs if spec.does_not_show}


def _template() -> jinja2.Template:
    source = (
        importlib.resources.files("hf_unlearn.publishing")
        .joinpath("card_section.md.jinja")
        .read_text(encoding="utf-8")
    )
    # Everything that is not marked safe is escaped, whoever edits the template.
    settings: dict[str, Any] = {"undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    return jinja2.Environment(finalize=markdown, autoescape=False, **settings).from_string(source)
