"""Benchmarks of one's own, from a file: YAML, which is checked to the last key, or Python, which is run."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from hf_unlearn.audit import Citation
from hf_unlearn.audit._contracts import SPLITS
from hf_unlearn.benchmarks._spec import Benchmark, BenchmarkSet, Configuration, PublishedModels, Source
from hf_unlearn.data._files import FILE_SUFFIXES


OWN_SUFFIXES = (".yaml", ".yml", ".py")
Reader = Callable[[Any, str], Any]


def read_benchmark(path: Path) -> Benchmark:
    """The benchmark that a file describes.

    Args:
        path: YAML with the fields of `Benchmark` (files in it are looked for beside it), or Python with a module-level `BENCHMARK`.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A file that describes none; says where.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}. Relative paths start at {Path.cwd()}.")
    if path.suffix.lower() == ".py":
        return _run(path)
    try:
        plain = yaml.load(path.read_text(encoding="utf-8"), Loader=_Strict)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    try:
        return _Beside(path.parent).benchmark(plain)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _run(path: Path) -> Benchmark:
    spec = importlib.util.spec_from_file_location(f"hf_unlearn_benchmark_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, "BENCHMARK", None)
    if not isinstance(found, Benchmark):
        raise ValueError(
            f"{path} must have a module-level BENCHMARK, an hf_unlearn.benchmarks.Benchmark; it has {found!r}."
        )
    return found


class _Strict(yaml.SafeLoader):
    """Plain values only, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


class _Beside:
    """Reads a description whose files lie in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def benchmark(self, value: Any) -> Benchmark:
        return _record(
            Benchmark,
            value,
            "the benchmark",
            {
                **dict.fromkeys(("name", "title", "licence", "default", "note"), _text),
                "version": _whole,
                "select": _text,
                "data": self.place,
                "citation": _citation,
                "configurations": _each(self.configuration),
            },
            {"title": "", "licence": "not stated", "citation": "not stated"},
        )

    def configuration(self, value: Any, where: str) -> Configuration:
        readers = {
            "sets": self.sets,
            "metrics": _texts,
            "headline": _texts,
            "models": _each(self.models),
            "options": _mapping,
            "data": self.place,
            "note": _text,
        }
        return _record(Configuration, value, where, readers)

    def sets(self, value: Any, where: str) -> dict[str, BenchmarkSet]:
        return {name: self.set(found, f"{where}, {name}", name) for name, found in _mapping(value, where).items()}

    def set(self, value: Any, where: str, name: str) -> BenchmarkSet:
        if isinstance(value, str):
            value = {"source": value}
        readers = {
            "source": self.source,
            "examples": self.source,
            "metrics": _texts,
            **dict.fromkeys(("role", "prompt_template", "optional"), _text),
        }
        return _record(BenchmarkSet, value, where, readers, {"role": name if name in SPLITS else "retain"})

    def source(self, value: Any, where: str) -> Source:
        if isinstance(value, str):
            value = {"data": value}
        readers = {
            **dict.fromkeys(("name", "split", "nested"), _text),
            "data": self.place,
            "files": _texts,
            "columns": _named_texts,
            "constants": _named_texts,
            "where": _named_texts,
            "select": _switch,
            "group": _whole,
        }
        return _record(Source, value, where, readers)

    def models(self, value: Any, where: str) -> PublishedModels:
        roles = ("reference", "original", "twin", "processing_class")
        return _record(PublishedModels, value, where, {**dict.fromkeys(roles, self.place), "prompt_template": _text})

    def place(self, value: Any, where: str) -> str:
        """What lies beside the file is meant before anything on the Hub."""
        text = _text(value, where)
        head, colon, tail = text.rpartition(":")
        for file, rest in ((text, ""), (head, colon + tail)):
            if file and (self.folder / file).exists():
                return f"{self.folder / file}{rest}"
        is_file = Path(text).suffix.lower() in FILE_SUFFIXES
        return str(self.folder / text) if is_file else text


def _record(
    kind: Any, value: Any, where: str, readers: Mapping[str, Reader], defaults: Mapping[str, Any] | None = None
) -> Any:
    """A dataclass from values by name, each read by its reader."""
    given = {**(defaults or {}), **_mapping(value, where)}
    for name in given:
        if name not in readers:
            close = get_close_matches(str(name), readers, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{where} has {name!r}, which is not known; known are {', '.join(readers)}.{hint}")
    needed = [part.name for part in fields(kind) if part.default is MISSING and part.default_factory is MISSING]
    lacking = [name for name in needed if name not in given]
    if lacking:
        raise ValueError(f"{where} lacks {', '.join(lacking)}.")
    read = {name: readers[name](found, f"{where}, {name}") for name, found in given.items() if found is not None}
    try:
        return kind(**read)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _each(read: Reader) -> Reader:
    return lambda value, where: {
        name: read(found, f"{where}, {name}") for name, found in _mapping(value, where).items()
    }


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{where} must hold values by name, got {_shown(value)}.")
    return dict(value)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where} must be a text, got {_shown(value)}.")
    return value


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{where} must be a list of texts, got {_shown(value)}.")
    return tuple(_text(part, where) for part in value)


def _named_texts(value: Any, where: str) -> dict[str, str]:
    return {name: _text(found, f"{where}, {name}") for name, found in _mapping(value, where).items()}


def _whole(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{where} must be a whole number of at least 1, got {_shown(value)}.")
    return value


def _switch(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{where} must be true or false, got {_shown(value)}.")
    return value


def _citation(value: Any, where: str) -> Citation:
    if isinstance(value, str):
        return Citation(value)
    return _record(Citation, value, where, dict.fromkeys(("text", "arxiv", "note"), _text))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
