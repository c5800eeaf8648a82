"""Write the reference pages from the code: hooks, public names, options, contract, command line.

Run it after changing a docstring, an option or a help text: python docs/generate.py. A test compares.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from click.testing import CliRunner

import vos
import vos.plugin
import vos.testing
from vos.cli import VERBS, cli
from vos.plugin import API_VERSION
from vos.registry import hookspecs
from vos.registry.options import describe_options

EXAMPLE = "examples/every-hook/every_hook.py"
DOCS = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py; change the code, then run it. -->\n"
OBSERVERS = ("vos_run_started", "vos_frame_done", "vos_run_finished", "vos_run_failed")
SECTIONS = ("Args", "Returns", "Raises", "Yields", "Attributes", "Source")


def hook_names() -> list[str]:
    """All hooks, in the order of ``vos/hookspecs.py``."""
    return [name for name in vars(hookspecs) if name.startswith("vos_")]


def pages() -> dict[str, str]:
    """Make every generated page: text by file name."""
    return {
        "hooks.md": _hooks(),
        "api.md": _api(),
        "options.md": _options(),
        "contract.md": _contract(),
        "cli.md": _cli(),
    }


def _hooks() -> str:
    parts = [NOTE, "# Hooks\n", _prose(inspect.getdoc(hookspecs) or "")]
    parts.append(
        f"The version of this contract is `API_VERSION`, now {'.'.join(map(str, API_VERSION))}; "
        "[what it promises](plugin-author-guide.md#versions). The examples are from one plugin, "
        "`examples/every-hook`, which the tests run.\n"
    )
    for name in hook_names():
        function = getattr(hookspecs, name)
        first = bool(function.vos_spec["firstresult"])
        kind = "observation" if name in OBSERVERS else "decision, the first answer counts" if first else "registration"
        parts += [
            f"## {name}\n",
            f"*{kind}*\n",
            f"```python\n{_signature(name, function)}\n```\n",
            _prose(inspect.getdoc(function) or ""),
            f'```python title="{EXAMPLE}"\n--8<-- "{EXAMPLE}:{name}"\n```\n',
        ]
    return "\n".join(parts)


def _api() -> str:
    parts = [
        NOTE,
        "# Public names\n",
        "A program imports `vos`; a plugin imports `vos.plugin`, `vos.testing`, `vos.weights` and `vos.evaluation`. "
        "Everything else may change without notice.\n",
    ]
    documented = _attribute_docs()
    for module, names in (
        ("vos", vos.__all__),
        ("vos.plugin", vos.plugin.__all__),
        ("vos.testing", vos.testing.__all__),
    ):
        parts.append(f"## {module}\n")
        if module == "vos.plugin":
            parts.append(_plugin_groups())
        for name in names:
            value = getattr(sys.modules[module], name)
            # Type aliases are documented where they are assigned; Python 3.10 takes some for classes.
            if name in documented:
                parts += [f"### {module}.{name}\n", _prose(documented[name])]
            else:
                parts += [
                    f"### {module}.{name}\n",
                    f"```python\n{_signature(name, value)}\n```\n",
                    _prose(inspect.getdoc(value) or ""),
                ]
                if inspect.isclass(value) and not issubclass(value, Exception):
                    parts += _methods(value)
    return "\n".join(parts)


def _plugin_groups() -> str:
    """Make a table of the names of ``vos.plugin`` by purpose, as comments in its ``__all__`` group them."""
    groups: dict[str, list[str]] = {}
    listed = Path(vos.plugin.__file__).read_text().partition("__all__ = [")[2].partition("]")[0]
    for line in listed.strip().splitlines():
        text = line.strip()
        if text.startswith("# "):
            group = groups.setdefault(text.removeprefix("# "), [])
        else:
            group.append(text.strip('",'))
    rows = ["| purpose | names |", "|---|---|"]
    for purpose, names in groups.items():
        links = ", ".join(f"[`{name}`](#vosplugin{name.lower()})" for name in names)
        rows.append(f"| {purpose} | {links} |")
    return "\n".join([*rows, ""])


def _methods(owner: type) -> list[str]:
    parts = []
    for name, member in vars(owner).items():
        function = getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(function) or not function.__doc__:
            continue
        parts += [f"#### {name}\n", f"```python\n{_signature(name, function)}\n```\n", _prose(inspect.getdoc(function))]
    return parts


def _options() -> str:
    plugins = vos.load_plugins(autoload=False)
    parts = [
        NOTE,
        "# Trackers, initializers, writers, executors\n",
        "What the installed package offers; `vos plugins` prints the same for your installation. Options are given "
        "with `-O name=value` (initializers in `vos track`: `-I`; writers: `--writer NAME:name=value`), in Python with "
        "`options={...}`.\n",
    ]
    for offers in (plugins.trackers, plugins.initializers, plugins.writers, plugins.executors):
        parts.append(f"## {offers.kind.capitalize()}s\n")
        for spec, _ in offers.all():
            parts.append(f"### {spec.name}\n\n{spec.summary}\n")
            rows = describe_options(spec.options)
            if rows:
                parts.append("| option | type | default | what it does |\n|---|---|---|---|")
                parts += [
                    f"| `{row.name}` | {_cell(row.type_name)} | {_cell(row.default or '')} | {_cell(row.help)} |"
                    for row in rows
                ]
                parts.append("")
    return "\n".join(parts)


def _contract() -> str:
    parts = [
        NOTE,
        "# The contract\n",
        "What each kind of plugin promises to the host, clause by clause. `vos.testing.check_tracker` and its likes "
        "for other kinds, `pytest --vos-tracker NAME`, `--vos-writer NAME` and so on, and `vos.testing.check_plugin` "
        "check each clause and quote it where it is broken; `vos plugin contract` prints them all. Clauses about "
        "`annotate`, `forget`, `save` and `encode` are for trackers that have them.\n",
    ]
    for kind, clauses in vos.testing.CLAUSES_BY_KIND.items():
        parts.append(f"## {kind.capitalize()}s\n")
        for name, clause in clauses.items():
            parts += [f"### {name}\n", f"{clause}\n"]
    return "\n".join(parts)


def _cli() -> str:
    parts = [NOTE, "# Command line\n", "Results go to stdout, progress and messages to stderr. "]
    parts.append("Exit codes: 0 done, 1 the run failed, 2 wrong usage or bad input, 130 stopped by Ctrl-C.\n")
    for path in command_paths():
        parts += [f"## vos {' '.join(path)}".rstrip() + "\n", f"```text\n{help_text(path)}\n```\n"]
    return "\n".join(parts)


def command_paths() -> list[tuple[str, ...]]:
    """Every command of the toolkit and its shipped plugins: () for ``vos`` itself, ("weights", "list") and so on."""
    plugins = vos.load_plugins(autoload=False)
    paths: list[tuple[str, ...]] = [()]
    for verb in [*VERBS, *plugins.commands.names()]:
        command = cli.get_command(cli.make_context("vos", [], resilient_parsing=True), verb)
        paths += [(verb,), *((verb, name) for name in getattr(command, "commands", {}))]
    return paths


def help_text(path: tuple[str, ...]) -> str:
    """The ``--help`` of a command on a terminal of 100 columns or more."""
    width = 98  # click leaves two columns free
    result = CliRunner(env={"VOS_PLUGINS_AUTOLOAD": "0"}).invoke(
        cli, [*path, "--help"], prog_name="vos", terminal_width=width
    )
    if result.exit_code:
        raise SystemExit(f"vos {' '.join(path)} --help: {result.exception or result.output}")
    return result.output.rstrip()


def _signature(name: str, value: Any) -> str:
    """A class or function as one would write it, wrapped where it is long."""
    word = "class" if inspect.isclass(value) else "def"
    try:
        signature = inspect.signature(value)
    except ValueError:
        return f"{word} {name}"
    parameters = [p for n, p in signature.parameters.items() if n != "self"]
    if inspect.isclass(value) and (issubclass(value, Exception) or getattr(value, "_is_protocol", False)):
        return f"class {name}({value.__bases__[0].__name__})"
    texts = [_parameter(p) for p in parameters]
    keyword_only = next((i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY), None)
    if keyword_only is not None and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        texts.insert(keyword_only, "*")
    returns = signature.return_annotation
    end = f" -> {returns}" if returns is not signature.empty and word == "def" else ""
    line = f"{word} {name}({', '.join(texts)}){end}"
    return line if len(line) <= 100 else f"{word} {name}(\n    " + ",\n    ".join(texts) + f",\n){end}"


def _parameter(parameter: inspect.Parameter) -> str:
    text = str(parameter.replace(annotation=parameter.empty, default=parameter.empty))
    if parameter.annotation is not parameter.empty:
        text += f": {parameter.annotation!s}"
    if parameter.default is not parameter.empty:
        default = (
            "..."
            if "factory" in repr(parameter.default)
            else getattr(parameter.default, "__name__", repr(parameter.default))
        )
        text += f" = {default}" if ":" in text else f"={default}"
    return text


def _attribute_docs() -> dict[str, str]:
    """The strings below assignments in ``vos/``, by the name assigned: what constants and type aliases are."""
    found = {
        "__version__": "The installed version, as text.",
        "hookimpl": "A decorator: marks the implementation of the hook that the function is named after.",
    }
    for path in sorted(Path(vos.__file__).parent.rglob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for statement, after in pairwise(body):
            targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found.update((t.id, inspect.cleandoc(after.value.value)) for t in targets if isinstance(t, ast.Name))
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _prose(docstring: str) -> str:
    """Turn a docstring into Markdown: sections become lists, double backticks single."""
    lines, section = [], ""
    for line in docstring.replace("``", "`").splitlines():
        head = re.fullmatch(rf"({'|'.join(SECTIONS)}):(.*)", line)
        entry = re.match(r"    (\S[^:]*): (.*)", line)
        if head:
            section = head[1]
            lines += ["", f"**{section}**{':' if head[2] else ''}{head[2]}", ""]
        elif section in ("Args", "Raises", "Attributes") and entry:
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        elif section and line.startswith("    "):
            lines.append(f"  {line.strip()}" if lines and lines[-1].startswith(("-", "  ")) else line.strip())
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write all pages; with ``--check`` write none, and fail naming those that are not up to date."""
    made = pages()
    stale = [name for name, text in made.items() if (DOCS / name).read_text("utf-8") != text]
    if "--check" in sys.argv:
        sys.exit(f"not up to date: {', '.join(stale)}. Run: python docs/generate.py" if stale else 0)
    for name in stale:
        (DOCS / name).write_text(made[name], encoding="utf-8")
        print(DOCS / name)


if __name__ == "__main__":
    main()
