"""The seams, kept by parsing: the host imports no plugin, a plugin imports only public names."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOST = sorted((ROOT / "vos").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
PUBLIC = {"vos", "vos.testing", "vos.weights", "vos.evaluation"}
MAY_IMPORT = {"vos_persam": {"vos_sam"}}
HEAVY = {"torch", "torchvision", "cv2", "decord", "av", "segment_anything", "transformers", "diffusers", "timm"}


def imports(path, top_level_only=False):
    """Every module that a file imports; `from a import b` counts as `a`, relative imports are resolved."""
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def package(path):
    return path.relative_to(ROOT / "plugins").parts[0]


def relative(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", HOST, ids=relative)
def test_host_imports_no_plugin(path):
    assert not [name for name in imports(path) if name.startswith("vos_")]


@pytest.mark.parametrize("path", PLUGINS, ids=relative)
def test_plugin_imports_only_public_names_of_the_host(path):
    assert {name for name in imports(path) if name.split(".")[0] == "vos"} <= PUBLIC


@pytest.mark.parametrize("path", PLUGINS, ids=relative)
def test_plugin_imports_only_plugins_that_it_may(path):
    own = package(path)
    others = [name.split(".") for name in imports(path) if name.startswith("vos_") and name.split(".")[0] != own]
    assert {parts[0] for parts in others} <= MAY_IMPORT.get(own, set())
    assert not [parts for parts in others if any(part.startswith("_") for part in parts)], "a private module"


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


def test_all_public_names_are_there():
    import vos

    assert all(hasattr(vos, name) for name in vos.__all__)
    assert len(set(vos.__all__)) == len(vos.__all__)
