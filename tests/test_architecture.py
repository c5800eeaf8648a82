"""Rules of the architecture that import contracts cannot state; the contracts are in pyproject.toml (`make lint`).

Each test reads all files and lists the places that break its rule.
"""

import ast
import functools
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
OTHERS = sorted(path for room in ("examples", "docs", "tests") for path in (ROOT / room).rglob("*.py"))
HEAVY = {"torch", "torchvision", "cv2", "av", "segment_anything", "transformers", "diffusers", "timm"}
QUESTION_WORD = re.compile(r"(What|Whether|How|Where|When|Why|Who|Whom|Whose|Which)\b")
# People call these with keywords, most of them an option of a command too; a record of settings would be one more name
# to import and to learn. Inside, they make one at once (`RunConfig`, `Protocol`).
MANY_KEYWORDS = {"stream", "track", "evaluate", "export"}


@functools.cache
def text_of(path):
    return path.read_text(encoding="utf-8")


@functools.cache
def nodes_of(path):
    return list(ast.walk(ast.parse(text_of(path))))


def nodes(paths, kinds):
    """Nodes of these kinds in all files, each with its place for messages."""
    for path in paths:
        for node in nodes_of(path):
            if isinstance(node, kinds):
                yield f"{relative(path)}:{getattr(node, 'lineno', 1)}", node


def imports(path, top_level_only=False):
    """Every module that a file imports; `from a import b` counts as `a`."""
    for node in nodes_of(path)[0].body if top_level_only else nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def relative(path):
    return str(path.relative_to(ROOT))


def test_listing_a_plugin_imports_nothing_heavy():
    listed = [path for path in PLUGINS if path.name == "__init__.py" and path.parent.parent.name == "plugins"]
    heavy = {relative(p): {name.split(".")[0] for name in imports(p, top_level_only=True)} & HEAVY for p in listed}
    assert len(listed) > 10
    assert not any(heavy.values()), heavy


def test_only_the_hook_modules_know_the_hooks():
    outside = [relative(p) for p in PLUGINS if p.name != "__init__.py" and "hookimpl" in text_of(p)]
    assert not outside, "hook implementations stay in the package's __init__.py"
    assert not [relative(p) for p in PLUGINS if "pluggy" in set(imports(p))]


def test_only_the_command_line_prints_and_exits():
    library = [path for path in HOST if "cli" not in path.parts]
    found = [
        place
        for place, node in nodes(library, ast.Call)
        if isinstance(node.func, ast.Name) and node.func.id in ("print", "exit", "quit")
    ]
    assert not found


def test_log_lines_of_plugins_reach_the_command_line():
    found = [relative(path) for path in PLUGINS if "getLogger(__name__)" in text_of(path)]
    assert not found, "the command line shows what loggers below `vos` say: getLogger('vos.NAME')"


def test_no_docstring_begins_with_a_question_word():
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [
        f"{place}: {text.splitlines()[0]}"
        for place, node in nodes(HOST + PLUGINS + OTHERS, documented)
        if QUESTION_WORD.match(text := ast.get_docstring(node) or "")
    ]
    assert not found, "begin with a noun phrase, a verb or 'True if'"


def test_modules_functions_and_signatures_are_short():
    found = [relative(path) for path in HOST + PLUGINS if len(text_of(path).splitlines()) >= 400]
    for place, node in nodes(HOST + PLUGINS, (ast.FunctionDef, ast.AsyncFunctionDef)):
        body = node.body[1:] if ast.get_docstring(node) else node.body
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        taken = [one for one in arguments if one.arg not in ("self", "cls")]
        if body and node.end_lineno - body[0].lineno >= 50:
            found.append(f"{place} {node.name}: over 50 lines")
        if len(taken) >= 8 and node.name not in MANY_KEYWORDS:
            found.append(f"{place} {node.name}: {len(taken)} parameters")
    assert not found


@pytest.mark.parametrize(("door", "most"), [("vos", 30), ("vos.plugin", 110)])
def test_each_door_offers_what_it_lists_and_no_more(door, most):
    module = importlib.import_module(door)
    listed = module.__all__
    assert len(set(listed)) == len(listed) <= most
    assert all(hasattr(module, name) for name in listed)


def test_names_of_vos_are_imported_at_their_first_use():
    declared = {
        alias.name: node.module
        for _, block in nodes([ROOT / "vos/__init__.py"], ast.If)
        if ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        for alias in node.names
    }
    assert declared == vos._MODULES
    assert {*declared, "__version__"} == set(vos.__all__)
    code = "import sys, vos; assert not {'numpy', 'cv2'} & {*sys.modules}; vos.stream; vos.evaluation; dir(vos); vos.x"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "module 'vos' has no attribute 'x'" in result.stderr
