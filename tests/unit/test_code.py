"""Bars for the code itself: its length, its words, where it may point."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..conftest import ROOT

SOURCES = sorted((ROOT / "src" / "lofty").rglob("*.py"))
LONGEST_MODULE, LONGEST_FUNCTION = 700, 80


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def definitions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_modules_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_MODULE
    functions = [node for node in definitions(path) if not isinstance(node, ast.ClassDef)]
    long = {node.name: length(node) for node in functions if length(node) > LONGEST_FUNCTION}
    assert long == {}


def length(node: ast.stmt) -> int:
    """Lines."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_most_functions_are_much_shorter() -> None:
    lengths = sorted(
        length(node) for path in SOURCES for node in definitions(path) if not isinstance(node, ast.ClassDef)
    )
    assert len(lengths) > 300
    assert lengths[int(len(lengths) * 0.95)] <= 50


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_whatever_is_public_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    missing = [] if ast.get_docstring(tree) or path.name == "py.typed" else ["the module"]
    parents: list[ast.Module | ast.ClassDef] = [tree]
    parents += (node for node in tree.body if isinstance(node, ast.ClassDef) and public(node.name))
    for parent in parents:
        for node in parent.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                missing += [node.name] if public(node.name) and not ast.get_docstring(node) else []
    tests = label(path) == "src/lofty/testing/contract.py"  # a test's name is its sentence
    assert [name for name in missing if not (tests and name.startswith("test_"))] == []


def public(name: str) -> bool:
    return not name.startswith("_")


def repository_files() -> list[Path]:
    """What is in the repository, or will be."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


HOSTS = [".".join(words) for words in (("pypi", "org"), ("files", "pythonhosted", "org"), ("registry", "npmjs", "org"))]


def test_no_package_registry_is_named() -> None:
    """Which index packages come from is the user's own setting; a lock that named a host would override it."""
    named = re.compile("|".join(map(re.escape, HOSTS)).encode())
    found = [label(path) for path in repository_files() if named.search(path.read_bytes())]
    assert found == []


def test_tests_are_as_long_as_the_code() -> None:
    suite = {ROOT / "src" / "lofty" / "testing" / "contract.py"}  # tests that are shipped
    tests = {*(ROOT / "tests").rglob("*.py"), *suite}
    code = set(SOURCES) - suite
    assert lines(tests) >= lines(code)


def lines(paths: set[Path]) -> int:
    """Of all of them."""
    return sum(len(path.read_text().splitlines()) for path in paths)


def test_public_names_are_those_that_exist() -> None:
    import lofty
    from lofty import testing

    for module in (lofty, testing):
        assert len(module.__all__) == len(set(module.__all__))
        assert all(getattr(module, name) is not None for name in module.__all__)
        with pytest.raises(AttributeError):
            module.nonsense  # noqa: B018
