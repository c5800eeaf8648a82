"""Grounding DINO, OWLv2 and SAM 3 of tiny seeded weights, saved as transformers saves the real ones."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import vos

WORDS = ("a", "photo", "of", "dog", "cat", "red", "ball", "un", "##seen")


@pytest.fixture(scope="session")
def dino_folder(tmp_path_factory):
    """A folder with a tiny Grounding DINO."""
    return save_grounding_dino(tmp_path_factory.mktemp("grounding-dino"))


def save_grounding_dino(folder):
    """Grounding DINO: a window transformer of 4 stages, one encoder and two decoder layers, 20 queries."""
    from transformers import (
        BertTokenizerFast,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    # The network knows [CLS], [SEP], "." and "?" by BERT's numbers.
    vocabulary = [f"[unused{row}]" for row in range(1030)]
    vocabulary[0], vocabulary[100:103], vocabulary[1012], vocabulary[1029] = (
        "[PAD]",
        ["[UNK]", "[CLS]", "[SEP]"],
        ".",
        "?",
    )
    vocabulary[10 : 10 + len(WORDS)] = WORDS
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    backbone = {
        "model_type": "swin",
        "image_size": 64,
        "embed_dim": 8,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 2, 2],
        "window_size": 4,
        "out_indices": [2, 3, 4],
    }
    text = {
        "model_type": "bert",
        "vocab_size": len(vocabulary),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    torch.manual_seed(5)
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        num_queries=20,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        max_text_len=24,
        init_std=0.1,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    tokenizer = BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
    images = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def save_clip_tokenizer(folder, length):
    letters = sorted({letter for word in WORDS for letter in word.strip("#")})
    pieces = ["!", *letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({piece: row for row, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": pieces[-2], "eos_token": pieces[-1], "unk_token": pieces[-1], "pad_token": "!"}
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": length, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(pieces)


@pytest.fixture(scope="session")
def owl_folder(tmp_path_factory):
    """OWLv2: one layer each for 64 pixels in patches of 16."""
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor

    folder = tmp_path_factory.mktemp("owlv2")
    count = save_clip_tokenizer(folder, 24)
    layers = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(6)
    text = {
        "vocab_size": count,
        "max_position_embeddings": 24,
        "bos_token_id": count - 2,
        "eos_token_id": count - 1,
        **layers,
    }
    vision = {"image_size": 64, "patch_size": 16, **layers}
    config = Owlv2Config(text_config=text, vision_config=vision, projection_dim=16)
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    Owlv2ImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sam3_folder(tmp_path_factory):
    """SAM 3's video model, whose folder is the published one's layout; its detector alone is read."""
    from transformers import Sam3ImageProcessor, Sam3VideoConfig, Sam3VideoModel

    folder = tmp_path_factory.mktemp("sam3")
    count = save_clip_tokenizer(folder, 32)
    layers = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
    backbone = {
        "model_type": "sam3_vit_model",
        "image_size": 56,
        "patch_size": 14,
        "window_size": 2,
        "num_hidden_layers": 1,
        "global_attn_indexes": [0],
        "pretrain_image_size": 28,
        **layers,
    }
    vision = {
        "backbone_config": backbone,
        "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }
    torch.manual_seed(7)
    detector = {
        "vision_config": vision,
        "text_config": {
            "vocab_size": count,
            "max_position_embeddings": 32,
            "num_hidden_layers": 1,
            "projection_dim": 16,
            "bos_token_id": count - 2,
            "eos_token_id": count - 1,
            **layers,
        },
        "geometry_encoder_config": {"num_layers": 1, **layers},
        "detr_encoder_config": {"num_layers": 1, **layers},
        "detr_decoder_config": {"num_layers": 1, "num_queries": 6, **layers},
        "mask_decoder_config": {"hidden_size": 32, "num_attention_heads": 2},
    }
    prompts = {"hidden_size": 32, "image_size": 56, "mask_input_channels": 4}
    tracker = {
        "image_size": 56,
        "vision_config": vision,
        "prompt_encoder_config": prompts,
        "mask_decoder_config": {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32},
        "memory_attention_hidden_size": 32,
        "memory_attention_num_layers": 1,
        "memory_encoder_hidden_size": 32,
        "mask_downsampler_embed_dim": 32,
        "memory_fuser_embed_dim": 32,
    }
    Sam3VideoModel(Sam3VideoConfig(detector_config=detector, tracker_config=tracker)).save_pretrained(folder)
    Sam3ImageProcessor(size={"height": 56, "width": 56}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def shapes_checkpoint():
    return Path(__file__).parents[2] / "data" / "sam_shapes" / "sam_shapes.pth"


@pytest.fixture(scope="session")
def shapes_sam(shapes_checkpoint):
    """A Segment Anything that segments drawn shapes."""
    from vos_sam.checkpoint import load_sam
    from vos_sam.model import SegmentAnything

    return SegmentAnything(load_sam(shapes_checkpoint))


@pytest.fixture(scope="session")
def scene():
    """A red disc (1) and a blue square (2) on grey."""
    label_map = np.zeros((120, 160), np.uint8)
    cv2.circle(label_map, (45, 50), 24, 1, -1)
    cv2.rectangle(label_map, (95, 55), (138, 98), 2, -1)
    colours = np.array([[105, 112, 104], [214, 48, 44], [40, 88, 222]], np.float32)
    image = cv2.GaussianBlur(colours[label_map], (0, 0), 0.6) + np.random.default_rng(0).normal(0, 4, (120, 160, 3))
    return vos.Frame(0, image.clip(0, 255).astype(np.uint8), "scene"), label_map
