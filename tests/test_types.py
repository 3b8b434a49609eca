"""Public signatures are annotated, everywhere."""

import ast
import pathlib

import pytest

import keras_mrisr

ROOT = pathlib.Path(keras_mrisr.__file__).parents[1]
MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("keras_mrisr", "export", "tuning")
    for path in (ROOT / folder).rglob("*.py")
)


def missing(source):
    """Names of public functions, methods and attributes of dataclasses without full annotations."""
    found = []
    for owner, node in _public(ast.parse(source), ""):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        static = any(getattr(one, "id", "") == "staticmethod" for one in node.decorator_list)
        arguments = arguments[1:] if owner and not static else arguments
        arguments += [one for one in (node.args.vararg, node.args.kwarg) if one is not None]
        returns = node.returns is not None or node.name == "__init__"
        if not returns or any(argument.annotation is None for argument in arguments):
            found.append(f"{owner}{node.name}")
    return found


def _public(parent, owner):
    for node in parent.body:
        name = getattr(node, "name", "")
        if name.startswith("_") and name not in ("__init__", "__call__"):
            continue
        if isinstance(node, ast.FunctionDef):
            yield owner, node
        elif isinstance(node, ast.ClassDef):
            yield from _public(node, f"{owner}{name}.")


def test_what_counts_as_missing():
    assert missing("def f(a: int) -> int: ...\ndef _g(a): ...") == []
    assert missing("def f(a) -> int: ...\ndef g(a: int): ...") == ["f", "g"]
    assert missing("def f(*a: int, **b) -> int: ...\ndef h(*, a) -> None: ...") == ["f", "h"]
    assert missing("class A:\n  def f(self) -> int: ...\n  def g(self, a) -> int: ...") == ["A.g"]
    assert missing("class A:\n  def __init__(self, a: int): ...\n  def __call__(self, a): ...") == [
        "A.__call__"
    ]
    assert missing("class A:\n  @staticmethod\n  def f(a) -> int: ...") == ["A.f"]


@pytest.mark.parametrize("module", MODULES)
def test_public_signatures_are_annotated(module):
    assert missing((ROOT / module).read_text(encoding="utf-8")) == []
