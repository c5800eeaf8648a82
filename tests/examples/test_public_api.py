"""The examples are what a stranger could have written: they import only public names."""

import ast
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
GUESTS = ["vos-template-tracker", "every-hook", "exec-tracker"]
FILES = [path for guest in GUESTS for path in sorted((EXAMPLES / guest).rglob("*.py"))]
PUBLIC = {"vos", "vos.plugin", "vos.testing", "vos.weights", "vos.evaluation"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_only_public_names_are_imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module]
        assert {name for name in names if name.split(".")[0] == "vos"} <= PUBLIC
