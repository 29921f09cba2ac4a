"""Benchmarks by name, and how one is loaded."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hf_unlearn._arguments import known_name
from hf_unlearn.audit import AuditSet
from hf_unlearn.benchmarks._loaded import LoadedBenchmark
from hf_unlearn.benchmarks._own import OWN_SUFFIXES, read_benchmark
from hf_unlearn.benchmarks._rows import source_rows
from hf_unlearn.benchmarks._spec import Benchmark, BenchmarkSet, Configuration
from hf_unlearn.benchmarks.knowundo import KNOWUNDO
from hf_unlearn.benchmarks.muse import MUSE
from hf_unlearn.benchmarks.pocket import POCKET
from hf_unlearn.benchmarks.rwku import RWKU
from hf_unlearn.benchmarks.tofu import TOFU
from hf_unlearn.benchmarks.wmdp import WMDP
from hf_unlearn.data import about


BENCHMARKS: dict[str, Benchmark] = {found.name: found for found in (POCKET, TOFU, MUSE, WMDP, RWKU, KNOWUNDO)}
"""By name. To add one of your own, put it here, or hand the path of its YAML or Python file to `load_benchmark`."""


def load_benchmark(
    name: str | os.PathLike[str] | Benchmark,
    *,
    configuration: str = "",
    data: str | os.PathLike[str] | None = None,
    base_model: str | None = None,
) -> LoadedBenchmark:
    """A benchmark with its data, ready for an audit.

    Args:
        name: `name:configuration` (`"tofu:forget10"`), a name alone where the benchmark has a default configuration, or one of your own: the
            path of a YAML file, of a Python file with a module-level `BENCHMARK` (which is run), either with `:configuration`, or a
            `Benchmark`.
        configuration: Instead of the one in the name.
        data: A folder with its files, or the Hub id of a copy, instead of its own data set.
        base_model: Whose published models are compared with, for example `"Llama-3.2-1B-Instruct"`; not needed where there is only one. It
            must be what the candidate was made from: a reference of another size would be measured without complaint and mean nothing.

    Returns:
        With `.arguments()` for `audit`, and `.audit(candidate)`.

    Raises:
        ValueError: No such benchmark, configuration or base model (says what may have been meant), or data that are not as described.
        FileNotFoundError: The data are not there.
        ConnectionError: The Hub cannot be reached.

    Example:
        >>> load_benchmark("pocket:nano").label
        'pocket:nano@1'
    """
    benchmark, named = find_benchmark(name)
    only = next(iter(benchmark.configurations)) if len(benchmark.configurations) == 1 else ""
    chosen = configuration or named or benchmark.default or only
    found = _configuration(benchmark, chosen)
    base = _base_model(benchmark, found, base_model)
    place = found.data or benchmark.data if data is None else os.fspath(data)
    sets: dict[str, AuditSet] = {}
    absent: dict[str, str] = {}
    for each, described in found.sets.items():
        try:
            with about(f"{benchmark.name}, {each} set"):
                sets[each] = _loaded(described, place)
        except FileNotFoundError as error:
            if not described.optional:
                raise
            absent[each] = f"{error} {described.optional}"
    return LoadedBenchmark(benchmark, chosen, found, sets, absent, base)


def find_benchmark(name: str | os.PathLike[str] | Benchmark) -> tuple[Benchmark, str]:
    """The benchmark, and the configuration that was asked for; "" where none was.

    Raises:
        ValueError: There is none of that name.
        FileNotFoundError: There is no such file.
    """
    if isinstance(name, Benchmark):
        return _own(name), ""
    text = os.fspath(name)
    path, chosen = Path(text).expanduser(), ""
    if path.suffix.lower() not in OWN_SUFFIXES:
        place, _, chosen = text.partition(":") if ":" in text else (text, "", "")
        head, colon, tail = text.rpartition(":")
        if colon and Path(head).suffix.lower() in OWN_SUFFIXES:
            place, chosen = head, tail
        path = Path(place).expanduser()
    if path.suffix.lower() in OWN_SUFFIXES:
        return _own(read_benchmark(path)), chosen
    return BENCHMARKS[known_name("benchmark", place, BENCHMARKS)], chosen


def _own(benchmark: Benchmark) -> Benchmark:
    """Refuse a name under which a report would claim to be about another one.

    Raises:
        ValueError: It is taken.
    """
    if BENCHMARKS.get(benchmark.name, benchmark) is not benchmark:
        raise ValueError(f"there is a benchmark {benchmark.name!r} already; give yours another name.")
    return benchmark


def _configuration(benchmark: Benchmark, chosen: str) -> Configuration:
    if not chosen:
        raise ValueError(
            f"{benchmark.name} has several configurations: say {benchmark.name}:NAME with one of "
            f"{', '.join(benchmark.configurations)}."
        )
    if benchmark.select is not None and chosen not in benchmark.configurations:
        return _narrowed(benchmark.configurations[benchmark.default], benchmark.select, chosen)
    return benchmark.configurations[known_name(f"configuration of {benchmark.name}", chosen, benchmark.configurations)]


def _narrowed(configuration: Configuration, column: str, value: str) -> Configuration:
    """Each set to the rows about one value, where the set is about any."""

    def only(found: BenchmarkSet) -> BenchmarkSet:
        if not found.source.select:
            return found
        source = replace(found.source, where={**found.source.where, column: value})
        return replace(found, source=source)

    return replace(configuration, sets={name: only(found) for name, found in configuration.sets.items()})


def _base_model(benchmark: Benchmark, configuration: Configuration, given: str | None) -> str | None:
    """The one that was named, by its last part or in full; else the only one there is."""
    if given is None:
        return next(iter(configuration.models)) if len(configuration.models) == 1 else None
    short: Mapping[str, str] = {known.split("/")[-1]: known for known in configuration.models}
    if given in configuration.models:
        return given
    return short[known_name(f"base model of {benchmark.name} with published models", given.split("/")[-1], short)]


def _loaded(found: BenchmarkSet, place: str | None) -> AuditSet:
    examples = None if found.examples is None else source_rows(found.examples, place)
    rows = source_rows(found.source, place)
    return AuditSet(rows, found.role, found.metrics or None, found.prompt_template, examples)
