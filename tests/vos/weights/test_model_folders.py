"""Folders of models: on this machine, in the hub's cache, or fetched."""

import socket
import sys

import pytest

from vos.plugin import ExtraMissingError, WeightsError, hub_folder

ASK = {"files": ["*.json"], "needed": ["config.json"], "extra": "groupvit"}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that has one model; ``hub.cached`` says whether it is on this machine already."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    from huggingface_hub.errors import LocalEntryNotFoundError

    class Hub:
        def __init__(self):
            self.cached = False
            self.calls = []
            self.folder = tmp_path / "snapshot"

        def fetch(self, model, allow_patterns, local_files_only=False, tqdm_class=None):
            self.calls.append((model, allow_patterns, local_files_only))
            if local_files_only and not self.cached:
                raise LocalEntryNotFoundError("not here")
            if model != "nvidia/groupvit":
                raise RuntimeError("404 Client Error.\nRepository not found.")
            self.folder.mkdir(exist_ok=True)
            (self.folder / "config.json").write_text("{}")
            return str(self.folder)

    hub = Hub()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.fetch)
    monkeypatch.setattr("vos.weights.model_folders._check_reachable", lambda address: None)
    return hub


def test_a_folder_on_this_machine_is_taken(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert hub_folder(str(tmp_path), **ASK) == tmp_path


def test_a_folder_of_another_kind_is_an_error(tmp_path):
    with pytest.raises(WeightsError, match=r"not this kind of model: no config\.json in the folder"):
        hub_folder(str(tmp_path), **ASK)


@pytest.mark.parametrize("model", ["", " "])
def test_no_name_is_an_error(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match="the model's name is empty. Give a model's folder or a hub id"):
        hub_folder(model, **ASK)


def test_a_pattern_is_said_for_reading(tmp_path):
    with pytest.raises(WeightsError, match=r"no unet/model\.\*, \*\.bin in the folder"):
        hub_folder(str(tmp_path), files=[], needed=["unet/model[.-][!f]*", "*.bin"], extra="diffseg")


@pytest.mark.parametrize("model", ["./models/mine", "/models/mine", "~/mine", "models/of/mine"])
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(model):
    with pytest.raises(WeightsError, match="no such folder. Give a model's folder or a hub id"):
        hub_folder(model, **ASK)


def test_what_the_cache_has_is_not_fetched(hub):
    hub.cached = True
    assert hub_folder("nvidia/groupvit", **ASK) == hub.folder
    assert hub.calls == [("nvidia/groupvit", ["*.json"], True)]


def test_what_the_cache_lacks_is_fetched(hub):
    assert hub_folder("nvidia/groupvit", **ASK) == hub.folder
    assert [local for _, _, local in hub.calls] == [True, False]


def test_what_the_hub_refuses_is_an_error_of_two_lines(hub):
    with pytest.raises(WeightsError) as caught:
        hub_folder("nvidia/nothing", **ASK)
    assert str(caught.value).splitlines() == [
        'model "nvidia/nothing" is not on this machine and cannot be fetched from the Hugging Face hub '
        "(404 Client Error.).",
        "Fetch it where there is a network (hf download nvidia/nothing --local-dir FOLDER) and give -O model=FOLDER.",
    ]


def test_a_model_of_another_kind_on_the_hub_is_an_error(hub):
    with pytest.raises(WeightsError, match=r"on the hub is not of this kind: no vae in it"):
        hub_folder("nvidia/groupvit", files=["*"], needed=["vae"], extra="diffseg")


def test_no_network_is_said_at_once(hub, monkeypatch):
    def refuse(address, timeout):
        raise OSError(f"no way to {address[0]}")

    monkeypatch.undo()
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(WeightsError, match=r"cannot be fetched from the Hugging Face hub \(no way to [a-z.]+\)"):
        hub_folder("nvidia/surely-not-cached", **ASK)


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ExtraMissingError, match=r'pip install "vos-toolkit\[groupvit\]"'):
        hub_folder("nvidia/groupvit", **ASK)
