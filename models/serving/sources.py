"""Which of the project's modules a Bento needs: what its service and its model import, and these in turn."""

from __future__ import annotations

import ast
import pickletools
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipelines import migrations
from pipelines.settings import PROJECT

PACKAGES = ("models", "pipelines")
SERVICE = "models.serving.service"


def needed(slug: str, model_file: Path) -> list[Path]:
    """Files of the project, relative to it, that serve a model of that use case.

    What is imported inside of a function is not among them: that is how a module says that it can do without. Files
    beside the use case's modules that are no Python come along, such as the sites that its spec reads, and so do the
    statements that make the tables of the request log.
    """
    folder = f"pipelines.use_cases.{slug}"
    waiting = [SERVICE, f"{folder}.spec", f"{folder}.model", *_pickled(model_file)]
    found: set[Path] = set()
    while waiting:
        path = _file(waiting.pop())
        if path is None or path in found:
            continue
        found.add(path)
        waiting += _imports(ast.parse((PROJECT / path).read_text(encoding="utf-8")))
    own = Path(*folder.split("."))
    beside = {
        path.relative_to(PROJECT) for path in (PROJECT / own).iterdir() if path.is_file() and path.suffix != ".py"
    }
    schema = {path.relative_to(PROJECT) for path in migrations.FOLDER.glob("*.sql")}
    return sorted(found | beside | schema | {init for path in found for init in _inits(path)})


def _file(module: str) -> Path | None:
    """The file of a module of the project; None of another's, and of a name that is no module."""
    if module.partition(".")[0] not in PACKAGES:
        return None
    path = Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if (PROJECT / candidate).is_file():
            return candidate
    return None


def _inits(path: Path) -> Iterator[Path]:
    for parent in path.parents:
        init = parent / "__init__.py"
        if parent != Path() and (PROJECT / init).is_file():
            yield init


def _imports(body: ast.AST) -> Iterator[str]:
    """Names that a module imports when it is imported itself; of `from a import b`, both `a` and `a.b`."""
    for node in ast.iter_child_nodes(body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _of_all(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _imports(node)


def _of_all(nodes: Iterable[ast.stmt]) -> Iterator[str]:
    yield from _imports(ast.Module(list(nodes), []))


def _pickled(model_file: Path) -> Iterator[str]:
    """Names of modules in a pickle, among other texts of it; they are read and not run."""
    for _, argument, _ in pickletools.genops(model_file.read_bytes()):
        if isinstance(argument, str) and argument.startswith(tuple(f"{package}." for package in PACKAGES)):
            yield argument.partition(" ")[0]
