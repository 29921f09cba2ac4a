"""What an Evaluate module says of itself: its inputs, its numbers, what they mean and what they do not show. Knows no arithmetic."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hf_unlearn.audit import METRICS


@dataclass(frozen=True)
class Input:
    """One thing that a module takes.

    Attributes:
        name: In `compute`, and in `add_batch` if it is a column.
        meaning: Half a sentence, with its unit.
        column: Kind of its values (see `_columns.KINDS`) where it is one value a row; "": it is given once.
        least: Of numbers; smaller ones are refused.
        most: The same on the other side.
    """

    name: str
    meaning: str
    column: str = ""
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Output:
    """One number of the result.

    Attributes:
        name: Its key.
        meaning: Half a sentence, with its unit.
        reach: Its range, and which side is wanted.
    """

    name: str
    meaning: str
    reach: str = ""


@dataclass(frozen=True)
class Facts:
    """What every card must say.

    Attributes:
        unit: What the value counts.
        direction: Which values are wanted.
        range: Of the value.
        without_knowledge: What a model scores that never saw the data.
        does_not_show: What must not be read into it.
    """

    unit: str
    direction: str
    range: str
    without_knowledge: str
    does_not_show: str


def facts_of(metric: str) -> Facts:
    """Those of a metric of the audit, so that module and audit say the same.

    Raises:
        KeyError: There is no such metric.
    """
    spec = METRICS[metric].from_settings({}).spec
    return Facts(spec.unit, spec.direction_in_words, spec.range, spec.without_knowledge, spec.does_not_show)


@dataclass(frozen=True)
class ModuleSpec:
    """All that docstrings, card and page of a module are made from.

    Attributes:
        name: As `evaluate.load` and the folder under `metrics/` have it.
        title: Of the card.
        description: One or two sentences.
        about: What it measures, Markdown.
        inputs: In the order in which they are shown.
        outputs: Likewise; the value itself has the module's name.
        example: Python as in a terminal, `>>>`; it is run as a test.
        page: Inputs that its page starts with, as JSON has them.
        facts: Unit, direction, range, floor, what it does not show.
        citation: BibTeX.
        source: A sentence on where it comes from, before the BibTeX.
        limits: Further sentences.
        kind: "metric" or "measurement", as Evaluate sorts them.
        metric: Name of the same metric in an audit; "" where there is none.
        usage: Markdown before the example, where the example alone does not show how it is used.
        input_notes: Markdown after the table of inputs.
        output_notes: Markdown after the table of outputs.
    """

    name: str
    title: str
    description: str
    about: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    example: str
    facts: Facts
    citation: str
    source: str = ""
    limits: tuple[str, ...] = ()
    page: Mapping[str, object] = field(default_factory=dict)
    kind: str = "metric"
    metric: str = ""
    usage: str = ""
    input_notes: str = ""
    output_notes: str = ""

    @property
    def columns(self) -> dict[str, Input]:
        """Inputs that have one value a row, by name."""
        return {each.name: each for each in self.inputs if each.column}

    @property
    def inputs_description(self) -> str:
        """For the docstring of `compute`."""
        args = "".join(f"    {each.name}: {each.meaning}.\n" for each in self.inputs)
        returns = "".join(
            f"    {each.name}: {each.meaning}{f' ({each.reach})' if each.reach else ''}.\n" for each in self.outputs
        )
        example = "".join(f"    {line}\n" for line in self.example.strip().splitlines())
        return f"\nArgs:\n{args}Returns, as a dict:\n{returns}Examples:\n{example}"
