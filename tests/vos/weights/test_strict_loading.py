"""Networks are loaded whole or refused in a line: nothing is filled with random numbers."""

import json
import logging.handlers

import pytest
import torch

from vos.plugin import ExtraMissingError, WeightsError, load_network, load_part

transformers = pytest.importorskip("transformers")
safetensors_torch = pytest.importorskip("safetensors.torch")


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=8, num_attention_heads=2, num_hidden_layers=2, intermediate_size=8, patch_size=8, image_size=16
    )
    transformers.ViTModel(config).save_pretrained(tmp_path)
    return tmp_path


def change(folder, edit):
    """Save other tensors in a folder; ``edit`` takes and gives those by name."""
    file = folder / "model.safetensors"
    tensors = edit(safetensors_torch.load_file(file))
    safetensors_torch.save_file(tensors, file, metadata={"format": "pt"})


def configure(folder, **settings):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def check_refused(folder, message, **settings):
    with pytest.raises(WeightsError, match=message) as caught:
        load_network(transformers.ViTModel, folder, **settings)
    assert str(caught.value).startswith(f"{folder}: ")
    assert "\n" not in str(caught.value)


def test_a_whole_network_is_loaded(folder):
    network = load_network(transformers.ViTModel, folder)
    assert not network.training
    stored = safetensors_torch.load_file(folder / "model.safetensors")
    assert torch.equal(network.state_dict()["layernorm.weight"], stored["layernorm.weight"])


def test_missing_tensors_are_refused_unless_optional(folder):
    change(folder, lambda tensors: {k: v for k, v in tensors.items() if not k.startswith(("layernorm", "pooler"))})
    check_refused(folder, 'weights do not fit ViTModel: 4 keys missing, first "layernorm.bias". They are cut short')
    check_refused(folder, '2 keys missing, first "layernorm.bias"', optional=["pooler.*"])
    assert load_network(transformers.ViTModel, folder, optional=["pooler.*", "layernorm.*"]) is not None


def test_tensors_of_another_shape_are_refused(folder):
    change(folder, lambda tensors: tensors | {"layernorm.bias": torch.zeros(3)})
    check_refused(folder, '1 key of another shape, first "layernorm.bias"')


def test_layers_that_the_configuration_does_not_have_are_refused(folder):
    configure(folder, num_hidden_layers=1)
    check_refused(folder, r'16 keys not of this network, first "\S*layers?\.1\.')


def test_layers_under_a_prefix_are_refused_too(folder):
    change(folder, lambda tensors: {f"vit.{key}": value for key, value in tensors.items()})
    assert load_network(transformers.ViTModel, folder) is not None
    configure(folder, num_hidden_layers=1)
    check_refused(folder, r'16 keys not of this network, first "vit\.')


def test_a_head_of_another_task_is_let_pass_without_a_word(folder, monkeypatch):
    change(folder, lambda tensors: tensors | {"classifier.weight": torch.zeros(3, 8)})
    told = logging.handlers.BufferingHandler(capacity=1000)
    logger = logging.getLogger("transformers")
    monkeypatch.setattr(logger, "handlers", [told])
    monkeypatch.setattr(logger, "level", logging.WARNING)
    assert load_network(transformers.ViTModel, folder) is not None
    assert not told.buffer
    assert logger.level == logging.WARNING
    transformers.ViTModel.from_pretrained(folder)
    assert "classifier.weight" in told.buffer[0].getMessage()


@pytest.mark.parametrize("size", [0, 4, 200, -1])
def test_a_file_cut_short_is_refused(folder, size):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    check_refused(folder, r"ViTModel cannot be loaded from it \(.+\)\. Files are missing, cut short or of another")


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x02"])
def test_a_pickle_cut_short_is_refused(folder, content):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    check_refused(folder, r"ViTModel cannot be loaded from it \(.+\)\.")


@pytest.mark.parametrize("settings", [{"hidden_act": "none such"}, {"hidden_size": "wide"}, {"patch_size": 0}])
def test_a_configuration_that_makes_no_network_is_refused(folder, settings):
    configure(folder, **settings)
    check_refused(folder, r"ViTModel cannot be loaded from it \(.+\)\.")


def test_a_package_that_is_not_installed_is_said_and_not_that_files_are_damaged(tmp_path):
    class EdgeTam:
        @classmethod
        def from_pretrained(cls, *_, **__):
            raise ImportError("TimmWrapperModel requires the timm library but it was not found. Please install it")

    with pytest.raises(ExtraMissingError, match="EdgeTam needs a package that is not installed: .*the timm library"):
        load_part(EdgeTam, tmp_path)


def test_a_part_names_its_subfolder(tmp_path):
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "vocab.json").write_text('{"a": 0, "b')
    (tmp_path / "tokenizer" / "merges.txt").write_text("")
    with pytest.raises(WeightsError, match=r"tokenizer: CLIPTokenizer cannot be loaded from it \(.+\)\.") as caught:
        load_part(transformers.CLIPTokenizer, tmp_path, "tokenizer")
    assert "\n" not in str(caught.value)


def test_a_folder_that_brings_code_is_refused(folder):
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()\nclass Config: pass\n")
    configure(folder, model_type="nothing", auto_map={"AutoConfig": "evil.Config"})
    with pytest.raises(WeightsError, match=r'config\.json: has "auto_map", which makes the library run code'):
        load_part(transformers.AutoConfig, folder)
    assert not (folder / "ran").exists()
