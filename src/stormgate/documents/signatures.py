"""What functions a Python module offers and which arguments they take, read from its source without
running it.

Experiments are checked before anything starts, and importing their modules would start Chaos
Toolkit's machinery.
"""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from stormgate.documents.problems import Problems, label


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
    """The file a module's name stands for, looked for in the suite's root first. None where there
    is no Python source.
    """
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


@dataclass(frozen=True, slots=True)
class Module:
    """What a module's source defines, and what it takes from where: name -> (module, name
    there).
    """

    defined: dict[str, Signature]
    imported: dict[str, tuple[str, str]]

    @property
    def names(self) -> list[str]:
        """The functions an experiment may call."""
        return [name for name in self.defined if not name.startswith("_")]


def module(name: str, root: Path) -> Module | None:
    """A module as its source reads. None where there is no source, or none that can be read."""
    source = module_source(name, root)
    if source is None:
        return None
    try:
        return _parsed(
            source,
            source.stat().st_mtime_ns,
            name if source.name == "__init__.py" else name.rpartition(".")[0],
        )
    except (OSError, SyntaxError, ValueError):
        return None


def signature(func: str, found: Module, root: Path, depth: int = 4) -> Signature | None:
    """The signature of a module's function, looked up through re-exports; None where there is
    none.
    """
    if func in found.defined:
        return found.defined[func]
    if func not in found.imported or depth == 0:
        return None
    base, original = found.imported[func]
    there = module(base, root)
    return signature(original, there, root, depth - 1) if there is not None else None


@functools.lru_cache(maxsize=64)
def _parsed(source: Path, modified_ns: int, package: str) -> Module:
    defined: dict[str, Signature] = {}
    imported: dict[str, tuple[str, str]] = {}
    for node in ast.parse(source.read_bytes()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            defined[node.name] = _signature(node)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parent, *([base] if base else [])])
            imported |= {alias.asname or alias.name: (base, alias.name) for alias in node.names}
    return Module(defined, imported)


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Signature:
    spec = node.args
    positional = [a.arg for a in (*spec.posonlyargs, *spec.args)]
    keyword = [a.arg for a in spec.kwonlyargs]
    required = positional[: len(positional) - len(spec.defaults)]
    required += [
        a.arg
        for a, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True)
        if default is None
    ]
    return Signature(
        name=node.name,
        arguments=tuple(a for a in (*positional, *keyword) if a not in INJECTED),
        required=tuple(a for a in required if a not in INJECTED),
        open_ended=spec.kwarg is not None,
    )


def check_syntax(path: Path, problems: Problems) -> None:
    """Note where a file is no Python."""
    try:
        compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        message = f"not Python: {error.msg}"
        problems.add(label(path), error.lineno or 1, message, "mend the file")
    except (ValueError, RecursionError, MemoryError) as error:
        problems.add(label(path), 1, f"not Python: {error}", "mend the file")
    except OSError:
        pass  # that it is not there, or cannot be read, is said where its name is written
