"""Networks in folders of transformers and diffusers, loaded strictly.

Left to themselves, these libraries fill what a file lacks with random numbers, and raise errors of many kinds
for a file that is cut short. Configurations that name code are refused: see ``vos.weights.model_configs``.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from vos.errors import ExtraMissingError, WeightsError
from vos.weights.model_configs import refuse_code
from vos.weights.stored_tensors import refuse_nan


def load_part(kind: Any, folder: Path, subfolder: str = "", **settings: Any) -> Any:
    """Load a tokenizer, a scheduler or a configuration from a folder on this machine.

    Args:
        kind: the class, whose ``from_pretrained`` reads it.
        folder: the model's folder.
        subfolder: the part's folder inside it; empty where it lies in ``folder`` itself.
        settings: more for ``from_pretrained``.
    Returns:
        What ``from_pretrained`` returns.
    Raises:
        ExtraMissingError: the part needs a package that is not installed.
        WeightsError: files are missing, damaged, cut short or of something else, or name code to run.
    """
    refuse_code(folder / subfolder)
    place = {"subfolder": subfolder} if subfolder else {}
    if kind.__name__.startswith("Auto"):  # left out, older versions of transformers ask in the terminal
        settings["trust_remote_code"] = False
    try:
        return kind.from_pretrained(folder, local_files_only=True, **place, **settings)
    except ImportError as error:  # some models need a further package, as EdgeTAM needs timm
        raise ExtraMissingError(
            f"{folder / subfolder}: {kind.__name__} needs a package that is not installed: {_reason(error)}."
        ) from error
    except Exception as error:  # several libraries read the files, each with errors of its own
        raise WeightsError(
            f"{folder / subfolder}: {kind.__name__} cannot be loaded from it ({_reason(error)}). "
            "Files are missing, cut short or of another model: fetch them again."
        ) from error


def load_network(kind: Any, folder: Path, subfolder: str = "", *, optional: Sequence[str] = (), **settings: Any) -> Any:
    """Load a network of transformers or diffusers from a folder on this machine, or refuse it.

    Every tensor of the network must be in the file, in its shape. Tensors of the file that the network has no
    place for are refused where they lie in one of its modules (layers that the configuration does not have), and
    ignored elsewhere (a classifier's head).

    Args:
        kind: the class, whose ``from_pretrained`` reads it.
        folder: the model's folder.
        subfolder: the network's folder inside it; empty where it lies in ``folder`` itself.
        optional: patterns of names, such as ``"pooler.*"``, of tensors that need not be there, nor fit.
        settings: more for ``from_pretrained``.
    Returns:
        The network, in evaluation mode, on the CPU.
    Raises:
        ExtraMissingError: the network needs a package that is not installed.
        WeightsError: files are missing or cannot be read, tensors do not fit the configuration, or one holds NaN.
    """
    library = kind.__module__.partition(".")[0]
    if library == "transformers":  # else it raises before it says which
        settings["ignore_mismatched_sizes"] = True
    with _quiet(library):
        network, found = load_part(kind, folder, subfolder, output_loading_info=True, **settings)
    problems = {
        "missing": found["missing_keys"],
        "of another shape": [key for key, *_ in found["mismatched_keys"]],
        "not of this network": [key for key in found["unexpected_keys"] if _inside(network, key)],
    }
    lines = []
    for problem, keys in problems.items():
        left = sorted(key for key in keys if not any(fnmatchcase(key, pattern) for pattern in optional))
        if left:
            lines.append(f'{len(left)} key{"s" * (len(left) > 1)} {problem}, first "{left[0]}"')
    if lines:
        raise WeightsError(
            f"{folder / subfolder}: weights do not fit {type(network).__name__}: {'; '.join(lines)}. "
            "They are cut short, or of another model than config.json says."
        )
    refuse_nan(network.state_dict(), str(folder / subfolder))
    return network


def _inside(network: Any, key: str) -> bool:
    """True if a key belongs to one of the network's modules, with or without a whole model's prefix."""
    prefix = f"{getattr(network, 'base_model_prefix', '')}."
    modules = {name for name, _ in network.named_children()}
    return bool(modules & {key.partition(".")[0], key.removeprefix(prefix).partition(".")[0]})


@contextmanager
def _quiet(library: str) -> Iterator[None]:
    """Silence a library's progress bars, and its table of missing and unexpected keys, of which a line is made."""
    logging = importlib.import_module(library).utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _reason(error: Exception) -> str:
    """The first sentence of an error."""
    text = " ".join(str(error).split()).split(". ")[0].rstrip(".")[:200]
    return f"{type(error).__name__}: {text}" if isinstance(error, LookupError) or not text else text
