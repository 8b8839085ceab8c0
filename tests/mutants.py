"""How many small mistakes in a module its own tests notice: `python -m tests.mutants [--sample N] [PART...]`.

A mutant is the module with one operator, condition or constant changed. Its tests run in a forked process, so that
libraries load once. Survivors are printed: each is either another way to say the same, or a gap in the tests.
"""

import argparse
import ast
import importlib
import importlib.abc
import importlib.util
import os
import random
import resource
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

SCORING = (
    "assess", "average", "baselines", "certify", "curves", "exact", "halves", "intervals", "metrics",
    "operating", "shifted",
)  # fmt: skip
TESTS = {
    **{f"pneumo_core.scoring.{name}": f"tests/pneumo_core/scoring/test_{name}.py" for name in SCORING},
    "pneumo_core.data.split": "tests/pneumo_core/data/test_split.py",
    "search.promotion": "tests/search/test_promotion.py",
    "search.trials": "tests/search/test_trials.py",
}
LIBRARIES = ["hypothesis.extra.numpy", "optuna", "scipy.stats", "sklearn.linear_model", "statsmodels.stats.proportion"]
LIMIT_S = 60  # of processor time: a mutant that loops for ever is noticed too
OPTIONS = [
    "-x", "-q", "--tb=no", "--timeout=0", "--hypothesis-profile=mutants", "-p", "no:cacheprovider",
    "-p", "no:xdist", "-W", "ignore::pytest.PytestAssertRewriteWarning",  # hypothesis is loaded before the fork
]  # fmt: skip

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Mutant:
    line: int
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.before.splitlines()[0]}  ->  {self.after.splitlines()[0]}"


def changed(node: ast.AST) -> ast.AST | None:
    """Return the node with one mistake in it, None where there is none to make."""
    match node:
        case ast.Compare(left, [first, *others], compared):
            return ast.Compare(left, [COMPARED[type(first)](), *others], compared)
        case ast.BinOp(left, operator, right) if type(operator) in COMPUTED and not _is_text(left):
            return ast.BinOp(left, COMPUTED[type(operator)](), right)
        case ast.BoolOp(operator, values):
            return ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            return operand
        case ast.IfExp(test, body, otherwise):
            return ast.IfExp(test, otherwise, body)
        case ast.If(test, body, otherwise):
            return ast.If(ast.UnaryOp(ast.Not(), test), body, otherwise)
        case ast.Constant(bool(value)):
            return ast.Constant(not value)
        case ast.Constant(int(value)):
            return ast.Constant(value + 1)
        case ast.Constant(float(value)):
            return ast.Constant(value * 1.5 + 0.01)
    return None


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _compared(node: ast.AST) -> Iterator[ast.AST]:
    """Give the nodes that decide what is computed: no annotations, and nothing of a message."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list") or isinstance(
            node, ast.Raise | ast.JoinedStr | ast.Assert
        ):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child
                yield from _compared(child)


def mutants(source: str) -> list[Mutant]:
    """Return every mutant of a module."""
    tree = ast.parse(source)
    parents = {id(child): node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    found = []
    for node in _compared(tree):
        if (other := changed(node)) is None:
            continue
        ast.copy_location(other, node)
        before = ast.unparse(node)
        with_it = _replaced(parents[id(node)], node, other)
        found.append(Mutant(line=node.lineno, before=before, after=ast.unparse(other), source=ast.unparse(tree)))  # type: ignore[attr-defined]
        _replaced(with_it, other, node)
    return found


def _replaced(parent: ast.AST, old: ast.AST, new: ast.AST) -> ast.AST:
    for name, value in ast.iter_fields(parent):
        if value is old:
            setattr(parent, name, new)
        elif isinstance(value, list):
            value[:] = [new if child is old else child for child in value]
    return parent


class Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads a mutant wherever its module is imported."""

    def __init__(self, module: str, source: str) -> None:
        self.module, self.source = module, source

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self, origin=name) if name == self.module else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, self.module, "exec"), module.__dict__)  # noqa: S102 - it is our own source


def passes(module: str, source: str, tests: str) -> bool:
    """Return whether the module's tests pass with this source in its place."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S))
        sys.meta_path.insert(0, Instead(module, source))
        os._exit(pytest.main([*OPTIONS, tests]))
    return os.waitpid(child, 0)[1] == 0


def survivors(module: str, n: int, seed: int) -> tuple[int, list[Mutant]]:
    """Return how many of at most `n` mutants were tried, and those that no test noticed."""
    source, tests = Path(module.replace(".", "/") + ".py").read_text(), TESTS[module]
    assert passes(module, source, tests), f"{tests} fails without any mutant"
    found = mutants(source)
    chosen = random.Random(f"{seed} {module}").sample(found, min(n, len(found)))
    left = []
    for i, mutant in enumerate(chosen, 1):
        if passes(module, mutant.source, tests):
            left.append(mutant)
        print(f"\r{module}: {i} of {len(chosen)}, {len(left)} unnoticed ", end="", file=sys.stderr, flush=True)
    print("\r", end="", file=sys.stderr)
    return len(chosen), left


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="*", help="only modules whose name has this in it")
    parser.add_argument("--sample", type=int, default=10**6, metavar="N", help="at most N a module")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for library in LIBRARIES:
        importlib.import_module(library)
    n_all = n_killed = 0
    for module in TESTS:
        if options.part and not any(part in module for part in options.part):
            continue
        n, left = survivors(module, options.sample, options.seed)
        n_all, n_killed = n_all + n, n_killed + n - len(left)
        print(f"{module}: {n - len(left)} of {n} killed", flush=True)
        for mutant in left:
            print(f"  {mutant}", flush=True)
    print(f"{n_killed} of {n_all} mutants killed")


if __name__ == "__main__":
    main()
