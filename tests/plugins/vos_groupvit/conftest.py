"""A GroupViT of tiny seeded weights, saved as transformers saves the real one."""

import json

import pytest
import torch

WORDS = ("a", "photo", "of", "dog", "cat", "sky", "road")


@pytest.fixture(scope="session")
def tiny_groupvit(tmp_path_factory):
    """A folder in transformers' layout: two grouping stages, 8 then 4 groups, patches of 8 pixels."""
    pytest.importorskip("transformers")
    from transformers import GroupViTConfig, GroupViTModel

    folder = tmp_path_factory.mktemp("groupvit")
    letters = sorted({letter for word in WORDS for letter in word} | {"."})
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    torch.manual_seed(3)
    config = GroupViTConfig(
        text_config={
            "vocab_size": len(pieces),
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "bos_token_id": len(pieces) - 2,
            "eos_token_id": len(pieces) - 1,
            "pad_token_id": len(pieces) - 1,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "depths": [1, 1, 1],
            "num_group_tokens": [8, 4, 0],
            "num_output_groups": [8, 4, 4],
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "initializer_range": 0.5,
        },
        projection_dim=8,
        projection_intermediate_dim=16,
        initializer_range=0.5,
        initializer_factor=8.0,
    )
    GroupViTModel(config).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": pieces[-2], "eos_token": pieces[-1], "unk_token": pieces[-1], "pad_token": pieces[-1]}
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
