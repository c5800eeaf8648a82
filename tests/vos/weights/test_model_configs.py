"""A model's folder is data: it names no code, no kernels and no other model."""

import json

import pytest

from vos.plugin import WeightsError
from vos.weights import architecture_arguments, read_config
from vos.weights.model_configs import refuse_code


@pytest.mark.parametrize(
    ("file", "entries"),
    [
        ("config.json", {"auto_map": {"AutoModel": "evil.Model"}}),
        ("config.json", {"text_config": {"layers": [{"auto_map": {"AutoConfig": "evil.Config"}}]}}),
        ("config.json", {"quantization_config": {"quant_method": "quanto"}}),
        ("config.json", {"attn_implementation": "someone/kernel"}),
        ("config.json", {"_attn_implementation_internal": {"": "sdpa", "vision_config": "someone/kernel"}}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}),
        ("adapter_config.json", {"base_model_name_or_path": "someone/model"}),
        ("scheduler_config.json", {"custom_pipeline": "someone/pipeline"}),
    ],
)
def test_keys_that_run_code_are_refused_with_their_file(file, entries, tmp_path):
    (tmp_path / file).write_text(json.dumps(entries))
    with pytest.raises(WeightsError, match=r'": has "|: has "') as caught:
        refuse_code(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / file}: ")
    assert "\n" not in str(caught.value)


def test_keys_without_effect_are_let_pass(tmp_path):
    plain = {"auto_map": None, "attn_implementation": "sdpa", "_attn_implementation_autoset": True, "a": [{"b": 1}]}
    (tmp_path / "config.json").write_text(json.dumps(plain))
    refuse_code(tmp_path)


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", "{", '"a"', "\x00", "{" * 5_000])
def test_a_damaged_configuration_is_bad_input(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"config\.json: (cannot be read as JSON|holds a)"):
        read_config(tmp_path / "config.json")


def test_values_that_describe_no_architecture_are_refused():
    for arguments in ([], "depth", {"depth": 10**9}, {"embed_dim": {"a": 1}}, {"img_size": [1e300, 4]}, {"depth": 201}):
        with pytest.raises(WeightsError, match=r"^c\.json: model_args"):
            architecture_arguments(arguments, "c.json")
    assert architecture_arguments(None, "c.json") == {}
    assert architecture_arguments({"img_size": [224, 112], "qkv_bias": False}, "c.json")["img_size"] == [224, 112]
