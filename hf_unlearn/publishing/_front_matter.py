"""The YAML at the head of a card, changed in place: what is not ours keeps every byte, comments and quotes included.

Positions come from the YAML parser's own nodes; after every change the result is parsed again and compared with what it must say.
"""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml


SOURCE = "hf_unlearn"
"""Name under which our results stand in `model-index`."""
_BLOCK = re.compile(r"^(\s*---(?:\r\n|\n))([\S\s]*?)((?:\r\n|\n)---[ \t]*(?:\r\n|\n|$))")
# YAML counts more characters as line ends than most programs; positions must agree with its count.
_LINE = re.compile("[^\n\x85\u2028\u2029]*[\n\x85\u2028\u2029]")
Span = tuple[int, int, list[str]]
"""Lines from, to, and what comes in their place."""


class CardError(ValueError):
    """A card that cannot be changed without guessing; nothing was changed."""


class FrontMatter:
    """Front matter of one card.

    Args:
        text: The whole card.

    Attributes:
        data: What the YAML says.
        body: The rest of the card.

    Raises:
        CardError: YAML that cannot be read, or is no mapping.
    """

    def __init__(self, text: str):
        match = _BLOCK.match(text)
        opens = re.match(r"\s*---[ \t]*(\r?\n|$)", text)
        if match is None and opens and re.search(r"(?m)^---[ \t]*\r?$", text[opens.end() :]) is None:
            raise CardError("the card opens front matter with --- and never closes it; close it, or remove the line.")
        if match is None and re.match(r"\s*---[ \t]+\r?\n", text):
            raise CardError(
                "blanks follow the --- above the card's front matter, so the Hub does not read it; remove them."
            )
        self.newline = "\r\n" if "\r\n" in text[:2000] else "\n"
        empty = re.match(r"\s*---[ \t]*\r?\n---[ \t]*(\r?\n|$)", text) if match is None else None
        self.body = text[(match or empty).end() :] if (match or empty) else text  # type: ignore[union-attr]
        self._head, block, self._foot = match.groups() if match else (f"---{self.newline}", "", f"---{self.newline}")
        self._found = bool(match or empty)
        if match:  # the newline before the closing line belongs to the last line of the block
            end = "\r\n" if self._foot.startswith("\r\n") else "\n"
            block, self._foot = block + end, self._foot[len(end) :]
        self._lines: list[str] = _LINE.findall(block)
        self.data: dict[str, Any] = self._parse("".join(self._lines))[1]

    def render(self) -> str:
        """The card."""
        if not self._lines and not self._found:
            return self.body
        between = "" if self._found or not self.body or self.body.startswith(("\n", "\r\n")) else self.newline
        if self.body and not self._foot.endswith("\n"):
            between = self.newline
        return self._head + "".join(self._lines) + self._foot + between + self.body

    def set_default(self, key: str, value: str) -> None:
        """Add a key unless it is there."""
        if key not in self.data:
            self._change([self._append({key: value})], {**self.data, key: value})

    def replace(self, key: str, value: Any) -> None:
        """Write a key anew, or add it."""
        if self.data.get(key) != value:
            span = self._replace_key(key, value) if key in self.data else self._append({key: value})
            self._change([span], {**self.data, key: value})

    def merge_list(self, key: str, items: Sequence[str]) -> None:
        """Add what is missing to a list of texts; a single text becomes a list."""
        found = self.data.get(key)
        old = [] if found is None else list(found) if isinstance(found, list) else [found]
        new = [item for item in items if item not in old]
        if not new:
            return
        wanted = {**self.data, key: old + new}
        node = self._node(key)
        if node is None:
            self._change([self._append({key: new})], wanted)
        elif isinstance(node, yaml.SequenceNode) and node.flow_style:
            self._change([self._into_brackets(node, new)], wanted)
        elif isinstance(node, yaml.SequenceNode) and node.value:
            at = _end_line(node)
            self._change([(at, at, self._dump(new, node.start_mark.column))], wanted)
        else:
            self._change([self._replace_key(key, wanted[key])], wanted)

    def replace_results(self, model_name: str, results: list[dict[str, Any]]) -> None:
        """Our results in `model-index`: old ones out, new ones in, others untouched.

        Args:
            model_name: For a card without an index.
            results: Entries as `huggingface_hub.EvalResult` gives them.
        """
        index = copy.deepcopy(self.data.get("model-index")) or [{"name": model_name, "results": []}]
        if not isinstance(index, list) or not all(isinstance(entry, dict) for entry in index):
            raise CardError("model-index of the card is not a list of models; mend it first.")
        for entry in index:
            entry["results"] = [item for item in entry.get("results") or [] if not is_ours(item)]
        index[0]["results"] += results
        wanted = {**self.data, "model-index": index}
        if wanted == self.data:
            return
        if self._node("model-index") is None:
            return self._change([self._append({"model-index": index})], wanted)
        spans = self._result_spans(results)
        try:
            if spans is None:
                raise CardError
            self._change(spans, wanted)
        except CardError:  # an unusual form: this key is written anew, its data as it was
            self._change([self._replace_key("model-index", index)], wanted)

    # Positions.

    def _result_spans(self, results: list[dict[str, Any]]) -> list[Span] | None:
        """Lines of our old results, and the place of the new ones; None where the form is unusual."""
        node, spans = self._node("model-index"), list[Span]()
        if not isinstance(node, yaml.SequenceNode) or node.flow_style:
            return None
        for number, entry in enumerate(node.value):
            values = {key.value: value for key, value in entry.value} if isinstance(entry, yaml.MappingNode) else {}
            listed = values.get("results")
            if not isinstance(listed, yaml.SequenceNode) or listed.flow_style or not listed.value:
                return None
            data = self.data["model-index"][number]["results"]
            mine = [
                (_start_line(item), _end_line(item), list[str]())
                for item, plain in zip(listed.value, data, strict=True)
                if is_ours(plain)
            ]
            if len(mine) == len(data) and (number or not results):
                return None  # the list would be left empty
            spans += mine
            if number == 0:
                at = _end_line(listed)
                spans.append((at, at, self._dump(results, listed.start_mark.column)))
        return spans

    def _into_brackets(self, node: yaml.SequenceNode, items: list[str]) -> Span:
        line, column = node.end_mark.line, node.end_mark.column - 1
        text = self._lines[line]
        before = text[:column].rstrip()
        comma = "" if not node.value or before.endswith(",") else ","
        space = " " if node.value else ""
        added = comma + space + ", ".join(json.dumps(item, ensure_ascii=False) for item in items)
        return (line, line + 1, [text[: len(before)] + added + text[len(before) :]])

    def _replace_key(self, key: str, value: Any) -> Span:
        root = self._parse("".join(self._lines))[0]
        assert root is not None
        name, node = next((name, node) for name, node in root.value if name.value == key)
        return (name.start_mark.line, max(_end_line(node), name.start_mark.line + 1), self._dump({key: value}, 0))

    def _append(self, data: Mapping[str, Any]) -> Span:
        at = len(self._lines)
        return (at, at, self._dump(dict(data), 0))

    def _dump(self, data: Any, indent: int) -> list[str]:
        text = (
            yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=False, width=10**6)
            if data
            else ""
        )
        return [" " * indent + line + self.newline for line in text.split("\n")[:-1]]

    # Reading and checking.

    def _node(self, key: str) -> yaml.Node | None:
        root = self._parse("".join(self._lines))[0]
        return None if root is None else next((node for name, node in root.value if name.value == key), None)

    def _change(self, spans: list[Span], wanted: dict[str, Any]) -> None:
        lines = list(self._lines)
        for start, end, new in sorted(spans, key=lambda span: span[:2], reverse=True):
            lines[start:end] = new
        found = self._parse("".join(lines))[1]
        if found != wanted:
            raise CardError(
                "the card's front matter has a form that cannot be changed in place; write one key per line."
            )
        self._lines, self.data = lines, found

    @staticmethod
    def _parse(block: str) -> tuple[yaml.MappingNode | None, dict[str, Any]]:
        try:
            root, data = yaml.compose(block, Loader=yaml.SafeLoader), yaml.safe_load(block)
        except (yaml.YAMLError, ValueError) as error:
            place = getattr(error, "problem_mark", None)
            where = "" if place is None else f" in line {place.line + 2}"
            raise CardError(
                f"the card's front matter is not valid YAML{where}; mend it first. Nothing was changed."
            ) from error
        if root is None:
            return None, {}
        if not isinstance(root, yaml.MappingNode) or root.flow_style:
            raise CardError(
                "the card's front matter must have one key per line; rewrite it first. Nothing was changed."
            )
        names = [name.value for name, _ in root.value]
        if len(set(names)) < len(names):
            double = next(name for name in names if names.count(name) > 1)
            raise CardError(f"the card's front matter has {double!r} twice; remove one. Nothing was changed.")
        return root, data


def is_ours(result: Any) -> bool:
    """Whether an entry of `model-index` results was written by us."""
    source = result.get("source") if isinstance(result, dict) else None
    return isinstance(source, dict) and source.get("name") == SOURCE


def _start_line(node: yaml.Node) -> int:
    return node.start_mark.line


def _end_line(node: yaml.Node) -> int:
    """The line after a node's last content; the parser itself counts comments that follow."""
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return node.end_mark.line + (node.end_mark.column > 0)
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        return node.end_mark.line + 1
    children = [value for _, value in node.value] if isinstance(node, yaml.MappingNode) else node.value
    return max((_end_line(child) for child in children), default=node.end_mark.line + 1)
