"""Rules of the architecture that import contracts cannot state; the contracts are in pyproject.toml (`make lint`)."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vos

ROOT = Path(__file__).parent.parent
HOST = sorted((ROOT / "vos").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
ROOMS = ("vos", "plugins", "examples", "docs", "tests")
QUESTION_WORD = re.compile(r"(What|Whether|How|Where|When|Why|Who|Whom|Whose|Which)\b")
# Files whose docstrings change together with their code.
QUESTIONS_LEFT = {
    "plugins/vos_propagation/backbone/features.py",
    "plugins/vos_propagation/backbone/working_resolution.py",
    "plugins/vos_propagation/config.py",
}
HEAVY = {"torch", "torchvision", "cv2", "av", "segment_anything", "transformers", "diffusers", "timm"}


def imports(path, top_level_only=False):
    """Every module that a file imports; `from a import b` counts as `a`, relative imports are resolved."""
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def relative(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize(
    "path", [p for p in PLUGINS if p.name == "__init__.py" and p.parent.parent.name == "plugins"], ids=relative
)
def test_listing_a_plugin_imports_nothing_heavy(path):
    assert not {name.split(".")[0] for name in imports(path, top_level_only=True)} & HEAVY


@pytest.mark.parametrize("path", PLUGINS, ids=relative)
def test_only_the_hook_modules_know_the_hooks(path):
    if path.name != "__init__.py":
        assert "hookimpl" not in path.read_text(), "hook implementations stay in the package's __init__.py"
    assert "pluggy" not in set(imports(path))


@pytest.mark.parametrize("path", HOST, ids=relative)
def test_only_the_command_line_prints_and_exits(path):
    if "cli" in path.parts:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "exit", "quit"), f"{relative(path)}:{node.lineno}"


@pytest.mark.parametrize(("door", "most"), [("vos", 30), ("vos.plugin", 110)])
def test_each_door_offers_what_it_lists_and_no_more(door, most):
    module = importlib.import_module(door)
    listed = module.__all__
    assert len(set(listed)) == len(listed) <= most
    assert all(hasattr(module, name) for name in listed)


@pytest.mark.parametrize("room", ROOMS)
def test_no_docstring_begins_with_a_question_word(room):
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [
        f"{relative(path)}: {text.splitlines()[0]}"
        for path in sorted((ROOT / room).rglob("*.py"))
        if relative(path) not in QUESTIONS_LEFT
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, documented) and QUESTION_WORD.match(text := ast.get_docstring(node) or "")
    ]
    assert not found, "begin with a noun phrase, a verb or 'True if'"


def test_names_of_vos_are_imported_at_their_first_use():
    declared = {
        alias.name: node.module
        for block in ast.walk(ast.parse((ROOT / "vos/__init__.py").read_text()))
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        for alias in node.names
    }
    assert declared == vos._MODULES
    assert {*declared, "__version__"} == set(vos.__all__)
    code = (
        "import sys, vos; assert not {'numpy', 'cv2'} & set(sys.modules); vos.stream; vos.evaluation; dir(vos); vos.x"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "module 'vos' has no attribute 'x'" in result.stderr
