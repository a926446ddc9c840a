"""What functions a Python module offers and which arguments they take, read from its source without running it.

Experiments are checked before anything starts, and importing their modules would start Chaos Toolkit's machinery.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's argument names; `open_ended` when it takes any (**kwargs)."""

    name: str
    arguments: tuple[str, ...]
    required: tuple[str, ...]
    open_ended: bool


# Chaos Toolkit passes these itself where a function asks for them.
INJECTED = frozenset({"configuration", "secrets", "experiment_ref"})


def module_source(name: str, root: Path) -> Path | None:
    """The file a module's name stands for, looked for in the suite's root first. None where there is no Python source."""
    path: list[str] | None = None
    spec = None
    for index, part in enumerate(name.split(".")):
        full = ".".join(name.split(".")[: index + 1])
        spec = PathFinder.find_spec(full, [str(root)]) if index == 0 else None
        spec = spec or PathFinder.find_spec(full if index == 0 else part, path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or [])
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def functions(name: str, root: Path, depth: int = 4) -> dict[str, Signature] | None:
    """The public functions of a module, those it re-exports included. None where its source cannot be found or read."""
    source = module_source(name, root)
    if source is None:
        return None
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    package = name if source.name == "__init__.py" else name.rpartition(".")[0]
    found: dict[str, Signature] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = _signature(node)
        elif isinstance(node, ast.ImportFrom) and depth > 0:
            found |= _imported(node, package, root, depth)
    return {key: value for key, value in found.items() if not key.startswith("_")}


def _imported(node: ast.ImportFrom, package: str, root: Path, depth: int) -> dict[str, Signature]:
    base = node.module or ""
    if node.level:
        parent = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*parent, *([base] if base else [])])
    if base.split(".")[0] != package.split(".", maxsplit=1)[0]:
        return {}
    there = functions(base, root, depth - 1) or {}
    if any(alias.name == "*" for alias in node.names):
        return there
    return {alias.asname or alias.name: there[alias.name] for alias in node.names if alias.name in there}


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Signature:
    spec = node.args
    positional = [a.arg for a in (*spec.posonlyargs, *spec.args)]
    keyword = [a.arg for a in spec.kwonlyargs]
    required = positional[: len(positional) - len(spec.defaults)]
    required += [a.arg for a, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if default is None]
    return Signature(
        name=node.name,
        arguments=tuple(a for a in (*positional, *keyword) if a not in INJECTED),
        required=tuple(a for a in required if a not in INJECTED),
        open_ended=spec.kwarg is not None,
    )
