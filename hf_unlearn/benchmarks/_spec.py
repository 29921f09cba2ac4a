"""What a benchmark is: facts only. Which data play which role, what is measured on them, which published models are compared with. Loads nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hf_unlearn._arguments import known_name
from hf_unlearn.audit import Citation
from hf_unlearn.audit._contracts import SPLITS
from hf_unlearn.config import AuditConfig, options_of


@dataclass(frozen=True)
class Source:
    """Where the rows of a set lie, on the Hub and in a folder.

    Attributes:
        name: Configuration on the Hub; None where there is only one.
        split: On the Hub.
        data: Hub id, file or any other notation of `load_data`, where the rows are not in the benchmark's own data set. A folder that is given
            instead of that is looked through for them first.
        files: Where they may lie in a folder, as patterns without suffix, in the order in which they are looked for; default: `name`,
            `name/split` and the shards of a downloaded repository, `name/split-*`. Several matches of one pattern are parts of one table.
        columns: Names that an audit understands, and what they are called here.
        constants: Columns that have one value in all rows, and that value.
        nested: Column that holds the rows as a list, where the Hub's rows are not the rows.
        where: Only rows with these values of columns, which are then dropped: what all rows share tells no cluster from another.
        select: Whether its rows are narrowed by the benchmark's column `select`.
        group: So many consecutive rows are about one person, who is then one cluster of every interval.
    """

    name: str | None = None
    split: str = "train"
    data: str | None = None
    files: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    nested: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    select: bool = False
    group: int | None = None


@dataclass(frozen=True)
class BenchmarkSet:
    """A set of a benchmark.

    Attributes:
        source: Where its rows lie.
        role: "forget", "retain" or "holdout".
        metrics: Of the configuration's metrics those that are measured on it; empty = all that are measured on its role.
        prompt_template: How its questions are put.
        examples: Questions with answers to put before each question.
        optional: Why an audit can do without it; empty = it cannot.
    """

    source: Source
    role: str = "retain"
    metrics: tuple[str, ...] = ()
    prompt_template: str | None = None
    examples: Source | None = None
    optional: str = ""

    def __post_init__(self) -> None:
        if self.role not in SPLITS:
            raise ValueError(f"the role of a set is one of {', '.join(SPLITS)}, got {self.role!r}.")


@dataclass(frozen=True)
class PublishedModels:
    """Models to compare with, of one base model: Hub ids, or what makes them.

    Attributes:
        reference: Trained without the forget set; None where nobody has published one.
        original: Before unlearning.
        twin: A second reference.
        processing_class: The tokenizer, where it does not come with the models.
        prompt_template: With which they were trained, where it is not their tokenizer's chat template.
    """

    reference: str | Callable[[], Any] | None = None
    original: str | Callable[[], Any] | None = None
    twin: str | Callable[[], Any] | None = None
    processing_class: str | Callable[[], Any] | None = None
    prompt_template: str | None = None


@dataclass(frozen=True)
class Configuration:
    """One task of a benchmark.

    Attributes:
        sets: By name: "forget", perhaps "retain" and "holdout", and further ones.
        metrics: What is measured.
        headline: Keys of the results by which the benchmark's authors compare, for example `forget_quality/forget`.
        models: By base model.
        options: Of the audit: `max_new_tokens`, `compatible`, ….
        data: Hub id of its data set, where it is not the benchmark's.
        note: What a user must know of it.
    """

    sets: Mapping[str, BenchmarkSet]
    metrics: tuple[str, ...]
    headline: tuple[str, ...] = ()
    models: Mapping[str, PublishedModels] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if "forget" not in self.sets:
            raise ValueError(f"a benchmark needs a forget set, got {', '.join(self.sets) or 'none'}.")
        for name, found in self.sets.items():
            if name in SPLITS and found.role != name:
                raise ValueError(f"the {name} set has the role {found.role!r}.")
            unknown = [metric for metric in found.metrics if metric not in self.metrics]
            if unknown:
                raise ValueError(
                    f"the set {name!r} asks for {unknown[0]!r}, which the configuration does not measure."
                )
        options = [each.name for each in options_of(AuditConfig)]
        for name in self.options:
            known_name("option of an audit", name, options)
        measured = {key.split("/")[0] for key in self.headline}
        if not measured <= set(self.metrics):
            raise ValueError(f"headline names {sorted(measured - set(self.metrics))[0]!r}, which is not measured.")


@dataclass(frozen=True)
class Benchmark:
    """A benchmark: the same audit for everybody, with the data and the models that its authors published.

    Attributes:
        name: Before the colon of `name:configuration`.
        title: In words.
        citation: Where it comes from.
        licence: Of the data, as their authors state it.
        configurations: By name.
        default: The configuration that is meant where none is named; empty = one has to be.
        data: Hub id of its data set; None where every source names its own.
        version: Of this description: counted up whenever the same models would get other numbers.
        select: Column by whose values the default configuration can be narrowed to one, `name:value`.
        note: What was verified of it and what was not, and what a user must know.
    """

    name: str
    title: str
    citation: Citation
    licence: str
    configurations: Mapping[str, Configuration]
    default: str = ""
    data: str | None = None
    version: int = 1
    select: str | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable() or set("/:@ ") & set(self.name):
            raise ValueError(f"the name of a benchmark is one word without '/', ':' and '@', got {self.name!r}.")
        if not self.configurations:
            raise ValueError(f"the benchmark {self.name!r} has no configuration.")
        if self.default and self.default not in self.configurations:
            raise ValueError(
                f"the default configuration {self.default!r} is none of {', '.join(self.configurations)}."
            )
