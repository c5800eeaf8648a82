"""The documentation says what the code does: generated pages are up to date, commands and names in it exist."""

import ast
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

import vos
from vos.cli import cli
from vos.testing import CLAUSES, check_plugin, check_tracker, tiny_sequence

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
EVERY_HOOK = ROOT / "examples" / "every-hook"


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("vos_docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def every_hook(monkeypatch):
    monkeypatch.syspath_prepend(EVERY_HOOK)
    plugins = vos.load_plugins(["every_hook"])
    module = sys.modules["every_hook"]
    module.log.clear()
    return plugins, module


def blocks(language, pages=PAGES):
    """All fenced code blocks of a language: (page, text)."""
    for page in pages:
        for text in re.findall(rf"^```{language}[^\n]*\n(.*?)^```", page.read_text(), re.S | re.M):
            yield pytest.param(page.relative_to(ROOT), text, id=f"{page.stem}-{text.split(maxsplit=3)[-1][:30]!r}")


def test_generated_pages_are_up_to_date():
    result = subprocess.run([sys.executable, DOCS / "generate.py", "--check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("verb", [(), ("track",), ("weights", "list"), ("personalize",)])
def test_the_command_line_page_is_what_help_prints(verb):
    code = "import sys; from vos.cli import main; main(sys.argv[1:])"
    environment = {**os.environ, "COLUMNS": "100"}
    result = subprocess.run(
        [sys.executable, "-c", code, *verb, "--help"], capture_output=True, text=True, env=environment
    )
    assert f"```text\n{result.stdout.rstrip()}\n```" in (DOCS / "cli.md").read_text()


def test_help_shows_no_marks_of_click():
    assert "\\b" not in (DOCS / "cli.md").read_text()


def test_every_hook_is_documented_and_used_in_the_tests(generate):
    page = (DOCS / "hooks.md").read_text()
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    example = (EVERY_HOOK / "every_hook.py").read_text()
    for name in generate.hook_names():
        assert f"\n## {name}\n" in page
        assert f"@hookimpl\ndef {name}(" in example
        assert name in tests, f"no test speaks of {name}"
    assert len(generate.hook_names()) >= 10


@pytest.mark.parametrize("clause", CLAUSES)
def test_every_clause_has_its_anchor(clause):
    assert f"\n### {clause}\n" in (DOCS / "contract.md").read_text()


def test_the_site_builds_without_warnings(tmp_path):
    pytest.importorskip("material", reason="the extra `docs`")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    guide = (tmp_path / "site" / "plugin-author-guide" / "index.html").read_text()
    assert "matchTemplate" in guide, "the template tracker is quoted by inclusion"


@pytest.mark.parametrize(("page", "text"), list(blocks("python")))
def test_python_in_the_docs_is_python_and_its_names_exist(page, text):
    if "--8<--" in text:
        paths = re.findall(r'--8<-- "([^":]+)', text)
        assert all((ROOT / path).is_file() for path in paths), paths
        return
    if page.name in ("hooks.md", "api.md"):  # signatures, made from the code
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "vos":
            assert hasattr(vos, node.attr), f"{page}: vos.{node.attr}"


COMMANDS = [
    pytest.param(param.values[0], line, id=line)
    for param in blocks("sh", [*PAGES, ROOT / "README.md"])
    for line in param.values[1].splitlines()
    if line.startswith("vos ")
]


@cache
def command_line():
    """The context of the command line, which loads plugins at its first use."""
    return cli.make_context("vos", [], resilient_parsing=True)


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_commands_in_the_docs_exist_with_their_options(page, line):
    words = shlex.split(line, comments=True)[1:]
    of_plugin = words[0] == "-p"
    command, context = cli, command_line()
    while words and hasattr(command, "commands" if command is not cli else "get_command"):
        if words[0].startswith("-"):
            words = words[2:]
            continue
        command = command.get_command(context, words.pop(0))
        if command is None and of_plugin:
            return  # a verb of the page's own plugin; test_docs_run.py runs it
        assert command is not None, line
    parameters = command.get_params(click.Context(command, parent=context, info_name=command.name))
    known = {option for parameter in parameters for option in [*parameter.opts, *parameter.secondary_opts]}
    for word in words:
        if re.match(r"-{1,2}[a-zA-Z]", word):
            assert word in known, f"{page}: {line}: {word}"


def test_the_plugin_with_every_hook_tracks_an_initialised_source(every_hook, tmp_path):
    """vos_open_source, vos_initializers, vos_trackers, vos_writers and the observers, in one run."""
    plugins, module = every_hook
    label_map = vos.initialize("noise:64x48x3", "centre", options={"share": 0.25}, plugins=plugins)
    assert (label_map > 0).sum() == 12 * 16
    vos.track(
        "noise:64x48x3",
        label_map,
        tracker="still",
        options={"shift": 2},
        output=tmp_path,
        writers=["davis", "areas"],
        plugins=plugins,
    )
    assert (
        tmp_path / "noise-areas.json"
    ).read_text() == '{"00000": {"1": 192}, "00001": {"1": 192}, "00002": {"1": 192}}'
    assert np.array_equal(vos.read_label_map(tmp_path / "noise" / "00002.png"), np.roll(label_map, 4, axis=1))
    frames = [f"0000{i}: 192 pixels" for i in range(3)]
    assert module.log == ["noise: still begins at frame 0", *frames, "done: 3 frames"]


def test_vos_run_failed_is_told(every_hook):
    plugins, module = every_hook
    label_map = np.ones((48, 64), np.uint8)
    with pytest.raises(vos.TrackerError, match="cannot"):
        vos.track("noise:64x48x3", label_map, tracker=Failing(), plugins=plugins)
    started, failed = module.log
    assert started == "noise: Failing begins at frame 0"
    assert re.fullmatch("failed: .*frame 00000.*cannot", failed)


class Failing:
    def start(self, frame, label_map):
        raise RuntimeError("cannot")

    def step(self, frame):
        raise NotImplementedError


def test_vos_merge_objects_puts_the_smaller_object_in_front(every_hook):
    plugins, _ = every_hook
    logits = np.full((2, 48, 64), -1.0, np.float32)
    logits[0, :10, :10] = 1
    logits[1] = 9
    merged = plugins.hook.vos_merge_objects(prediction=vos.Prediction((3, 5), logits), size=(48, 64))
    assert (merged == 3).sum() == 100
    assert (merged == 5).sum() == 48 * 64 - 100
    assert plugins.hook.vos_merge_objects(prediction=vos.Prediction((3,), logits[:1]), size=(48, 64)) is None


def test_vos_formats_offers_a_writer_and_an_importer(every_hook, tmp_path):
    plugins, _ = every_hook
    sequence = tiny_sequence("moving", length=3)
    folder = vos.track(
        sequence, sequence.label_maps[0], tracker="still", output=tmp_path, writers="text", plugins=plugins
    ).run.output
    importer = plugins.formats.get("text").importer
    (masks,) = importer(folder / "text")
    assert (masks.sequence, [frame.name for frame in masks.frames()]) == (sequence.name, ["00000", "00001", "00002"])
    assert np.array_equal(next(masks.frames()).label_map, sequence.label_maps[0])
    assert importer(tmp_path) is None


def test_vos_commands_offers_a_verb(every_hook, tmp_path):
    vos.write_label_map(tmp_path / "mask.png", tiny_sequence(object_ids=(3, 7)).label_maps[0])
    result = CliRunner().invoke(cli, ["-p", "every_hook", "ids", str(tmp_path / "mask.png")])
    assert result.stdout == "3 7\n"


def test_vos_executors_offers_an_engine_for_many_jobs(every_hook, tmp_path):
    vos.write_label_map(tmp_path / "mask.png", tiny_sequence().label_maps[0])
    (tmp_path / "jobs.jsonl").write_text('{"video": "noise:64x48x3", "masks": "mask.png", "tracker": "still"}\n')
    command = ["-p", "every_hook", "batch", str(tmp_path / "jobs.jsonl"), "--executor", "serial", "-o", str(tmp_path)]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    assert "1 of 1 jobs done; 3 frames" in result.stdout


def test_vos_checkpoints_offers_weights(every_hook, tmp_path, monkeypatch):
    monkeypatch.setenv("VOS_CACHE", str(tmp_path))
    (tmp_path / "tiny_still.pth").write_bytes(b"test")
    runner = CliRunner()
    assert "tiny-still" in runner.invoke(cli, ["-p", "every_hook", "weights", "list"]).stdout
    verified = runner.invoke(cli, ["weights", "verify", "-p", "every_hook"])
    assert verified.stdout == f"{tmp_path / 'tiny_still.pth'}: ok\n"


def test_the_plugin_with_every_hook_passes_the_kit(every_hook):
    plugins, _ = every_hook
    assert check_plugin("every_hook") == ["still", "centre", "areas", "text", "serial", "ids", "tiny-still"]
    assert "fresh-start" in check_tracker("still", plugins=plugins)


CLIP = Path(vos.__file__).parent / "example_clip"


@pytest.fixture
def example_folder(tmp_path, monkeypatch):
    """A folder with the files that the first pages speak of, from the example clip."""
    shutil.copy(CLIP / "clip.mp4", tmp_path / "dog.mp4")
    first = min((CLIP / "masks").glob("*.png"))
    shutil.copy(first, tmp_path / "first.png")
    shutil.copy(first, tmp_path / "later.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/how-to/frames-in-memory.md"])
def test_python_of_the_first_pages_runs_as_it_stands(page, example_folder, monkeypatch):
    """Each block runs as a user pastes it; tracking stops early, as the clip's later frames show nothing new."""
    short = {name: partial(getattr(vos, name), stop=41 if name == "track" else 2) for name in ("stream", "track")}
    for name, function in short.items():
        monkeypatch.setattr(vos, name, function)
    monkeypatch.setitem(vos.track.keywords, "step", 40)
    ran = 0
    for text in re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M):
        exec(compile(text, page, "exec"), {})
        ran += 1
    assert ran
    if page == "README.md":
        assert sorted(p.name for p in (example_folder / "out" / "dog").glob("*.png")) == ["00000.png", "00040.png"]


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_track_commands_of_the_first_pages_run_as_they_stand(page, example_folder):
    lines = re.findall(r"^vos track .*$", (ROOT / page).read_text(), re.M)
    assert lines
    for number, line in enumerate(lines):
        words = shlex.split(line, comments=True)[1:]
        result = CliRunner().invoke(cli, [*words, "--stop", "2", "--sequence", f"run{number}"])
        assert result.exit_code == 0, f"{line}: {result.output}"
        assert len(list((example_folder / "vos-out" / f"run{number}").glob("*.png"))) == 2
