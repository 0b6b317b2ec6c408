"""The rules of the architecture as functions over source text; each returns faults, none reads a file but ``load``.

A fault is one line: ``module:line: what is wrong``.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MAX_LINES = 400
CONTRACT = "contract"
SHARED_DATA = "firmware_profiles"
PARTS = ("packager", "edge_agent", "server")
PACKAGES = (CONTRACT, SHARED_DATA, *PARTS)

IMPURE = frozenset(
    ("os", "io", "socket", "asyncio", "sqlite3", "subprocess", "threading", "time", "random", "logging")
)
CLOCK_CALLS = frozenset(("now", "utcnow", "today"))
IMPURE_CALLS = frozenset(("open", "print", "input"))
BUILDING_CALLS = frozenset(
    ("open", "connect", "Popen", "Thread", "Process", "create_engine", "Client", "FastAPI")
)
_MODULE_NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*")
_IMPORTERS = frozenset(("import_module", "__import__", "load_library"))


@dataclass(frozen=True)
class Module:
    """One Python file.

    Attributes:
        name: Dotted; a package goes by its own name.
        source: Text.
        is_package: Whether it is an ``__init__.py``.
    """

    name: str
    source: str
    is_package: bool = False

    @property
    def part(self) -> str:
        """The top-level package."""
        return self.name.partition(".")[0]

    @functools.cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.source)


def load(root: Path, packages: Iterable[str] = PACKAGES) -> list[Module]:
    """Read every module below a repository's packages."""
    modules: list[Module] = []
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            is_package = path.name == "__init__.py"
            inside = path.parent if is_package else path.with_suffix("")
            name = ".".join(inside.relative_to(root).parts)
            modules.append(Module(name, path.read_text(encoding="utf-8"), is_package))
    return modules


def imports(module: Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything a module imports, anywhere in it.

    ``from a import b`` gives ``a.b``: it may be a module. Relative imports are resolved. Calls of
    ``import_module``, ``__import__`` and ``load_library`` count; where one of them computes its argument, every text
    in the module that could be a module's name counts.
    """
    computed = False
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in _IMPORTERS:
            if node.args and isinstance(node.args[0], ast.Constant):
                yield node.lineno, str(node.args[0].value)
            else:
                computed = True
    if computed:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and _MODULE_NAME.fullmatch(str(node.value)):
                yield node.lineno, str(node.value)


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    keep = len(parts) - node.level + (1 if module.is_package else 0)
    return ".".join([*parts[:keep], *([node.module] if node.module else [])])


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def is_pure(module: Module) -> bool:
    """Whether a paragraph of the docstring starts with ``PURE``."""
    docstring = ast.get_docstring(module.tree) or ""
    return any(paragraph.startswith("PURE") for paragraph in docstring.split("\n\n"))


def border_faults(module: Module) -> list[str]:
    """Rule 1: the contract imports no part; a part imports the contract, the profiles and itself."""
    allowed = {CONTRACT, module.part} | ({SHARED_DATA} if module.part in PARTS else set())
    return [
        f"{module.name}:{line}: imports {name}"
        for line, name in imports(module)
        if (part := name.partition(".")[0]) in PACKAGES and part not in allowed
    ]


def purity_faults(module: Module) -> list[str]:
    """Rule 2: a PURE module does no I/O, reads no clock and draws no random number."""
    if not is_pure(module):
        return []
    faults = [
        f"{module.name}:{line}: is PURE and imports {name}"
        for line, name in imports(module)
        if name.partition(".")[0] in IMPURE
    ]
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        is_method = isinstance(node.func, ast.Attribute)
        name = _called(node)
        if (is_method and name in CLOCK_CALLS) or (not is_method and name in IMPURE_CALLS):
            faults.append(f"{module.name}:{node.lineno}: is PURE and calls {name}()")
    return faults


def door_faults(modules: Iterable[Module], doors: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Rule 3: a technology is imported by its door alone.

    Args:
        modules: All of them.
        doors: Part to technology (top-level module) to the one module, or package, that may import it. A part
            that a technology does not stand under may not import it when any other part has a door for it.
    """
    technologies = {technology for rows in doors.values() for technology in rows}
    faults: list[str] = []
    for module in modules:
        for line, name in imports(module):
            technology = name.partition(".")[0]
            if technology not in technologies:
                continue
            door = doors.get(module.part, {}).get(technology)
            if door is None or not is_within(module.name, door):
                faults.append(f"{module.name}:{line}: imports {technology}, its door is {door}")
    return faults


def is_within(name: str, package: str) -> bool:
    """Whether a module is a package, or below it."""
    return name == package or name.startswith(package + ".")


def isolation_faults(modules: Iterable[Module], package: str) -> list[str]:
    """A package that runs without litefleet imports none of it but itself; others import of it what is PURE.

    Args:
        modules: All of them.
        package: The package.
    """
    modules = list(modules)
    pure = [module.name for module in modules if is_within(module.name, package) and is_pure(module)]
    return [
        f"{module.name}:{line}: imports {name}"
        for module in modules
        for line, name in imports(module)
        if name.partition(".")[0] in PACKAGES and is_within(module.name, package) != is_within(name, package)
        if not any(is_within(name, shared) for shared in pure)
    ]


def is_command(module: Module) -> bool:
    """Whether a module is a command line: a ``cli``, or the server's ``ctl``."""
    return module.name.split(".")[1:2] in (["cli"], ["ctl"])


def terminal_faults(module: Module) -> list[str]:
    """Rule 4: only command lines print and end the process."""
    if is_command(module):
        return []
    faults: list[str] = []
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                faults.append(f"{module.name}:{node.lineno}: calls print()")
            case ast.Attribute(value=ast.Name(id="sys"), attr="exit"):
                faults.append(f"{module.name}:{node.lineno}: uses sys.exit")
            case ast.ImportFrom(module="sys", names=names) if any(alias.name == "exit" for alias in names):
                faults.append(f"{module.name}:{node.lineno}: imports sys.exit")
            case _:
                pass
    return faults


def building_faults(module: Module) -> list[str]:
    """Rule 4: nothing is opened, connected or started when a module is imported."""
    return [
        f"{module.name}:{node.lineno}: calls {_called(node)}() when imported"
        for statement in module.tree.body
        for node in _run_at_import(statement)
        if isinstance(node, ast.Call) and _called(node) in BUILDING_CALLS
    ]


def _run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that importing executes: not function bodies, not what stands under ``__name__ == "__main__"``."""
    if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test):
        return
    yield node
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        defaults = [default for default in node.args.kw_defaults if default is not None]
        children: list[ast.AST] = [*node.decorator_list, *node.args.defaults, *defaults]
    else:
        children = list(ast.iter_child_nodes(node))
    for child in children:
        yield from _run_at_import(child)


def size_faults(module: Module) -> list[str]:
    """Rule 6: a file has at most 400 lines."""
    lines = len(module.source.splitlines())
    return [f"{module.name}:{lines}: more than {MAX_LINES} lines"] if lines > MAX_LINES else []


def docstring_faults(module: Module) -> list[str]:
    """Rule 6: every module says what it is for."""
    return [] if ast.get_docstring(module.tree) else [f"{module.name}:1: no docstring"]


def package_faults(modules: Iterable[Module]) -> list[str]:
    """Rule 6: every folder with modules is a package with its own ``__init__.py``."""
    known = {module.name for module in modules if module.is_package}
    parents = {module.name.rpartition(".")[0] for module in modules}
    return [f"{name}:1: has no __init__.py" for name in sorted(parents - known - {""})]
