"""Video models of tiny seeded weights: the real classes, saved as transformers saves the real ones."""

import pytest
import torch

from vos_hf_video.options import EdgeTamOptions, Sam2Options, Sam3TrackerOptions

OPTIONS = {"sam2": Sam2Options, "edgetam": EdgeTamOptions, "sam3-tracker": Sam3TrackerOptions}
SIDE = 64
PARTS = {
    "image_size": SIDE,
    "mask_decoder_config": {"hidden_size": 128, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32},
    "num_maskmem": 3,
    "max_object_pointers_in_encoder": 5,
    "memory_attention_hidden_size": 128,
    "memory_attention_num_layers": 1,
    "memory_encoder_hidden_size": 128,
    "memory_encoder_output_channels": 64,
    "mask_downsampler_embed_dim": 128,
    "memory_fuser_embed_dim": 128,
    "memory_fuser_intermediate_dim": 32,
    "memory_fuser_num_layers": 1,
}
PROMPTS = {"hidden_size": 128, "image_size": SIDE, "mask_input_channels": 4}
NECK = {
    "backbone_channel_list": [64, 32, 16, 8],
    "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    "fpn_hidden_size": 128,
}


def sam2_config():
    from transformers import Sam2VideoConfig

    backbone = {
        "model_type": "sam2_hiera_det_model",
        "image_size": [SIDE, SIDE],
        "hidden_size": 8,
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "blocks_per_stage": [1, 1, 2, 1],
        "window_size_per_stage": [4, 4, 4, 4],
        "window_positional_embedding_background_size": [4, 4],
        "global_attention_blocks": [3],
    }
    return Sam2VideoConfig(
        vision_config={"backbone_config": backbone, **NECK},
        prompt_encoder_config=PROMPTS,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_attention_feed_forward_hidden_size=32,
        **PARTS,
    )


def edgetam_config():
    from transformers import EdgeTamVideoConfig

    layers = {"embed_dim": (8, 16, 32, 64), "depth": (1, 1, 1, 1)}
    backbone = {
        "model_type": "timm_wrapper",
        "architecture": "repvit_m1",
        "num_classes": 2,
        "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3], **layers},
    }
    return EdgeTamVideoConfig(
        vision_config={"model_type": "edgetam_vision_model", "backbone_config": backbone, **NECK},
        prompt_encoder_config=PROMPTS,
        memory_attention_mlp_hidden_size=32,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_attention_rope_k_sizes=[2, 2],
        perceiver_resampler_num_latents=4,
        perceiver_resampler_num_latents_2d=4,
        perceiver_resampler_num_layers=1,
        **PARTS,
    )


def sam3_config():
    from transformers import Sam3TrackerVideoConfig

    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": 16,
        "window_size": 2,
        "global_attn_indexes": [1],
        "pretrain_image_size": 32,
    }
    return Sam3TrackerVideoConfig(
        vision_config={"model_type": "sam3_vision_model", "backbone_config": backbone, "fpn_hidden_size": 128},
        prompt_encoder_config={**PROMPTS, "patch_size": 16},
        memory_attention_feed_forward_hidden_size=32,
        **PARTS,
    )


CONFIGS = {"sam2": sam2_config, "edgetam": edgetam_config, "sam3-tracker": sam3_config}


@pytest.fixture(scope="session", params=sorted(CONFIGS))
def name(request):
    """A tracker's name; a test that uses it, or what is made from it, runs for each."""
    return request.param


@pytest.fixture(scope="session")
def model(name):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = getattr(transformers, OPTIONS[name].model_class)(CONFIGS[name]()).eval()
    with torch.no_grad():  # the library's initial weights are so small that all masks would be alike
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        for key, parameter in model.named_parameters():
            if "memory_attention" in key and "q_proj" in key:  # else each cell attends to one token, never to a pointer
                parameter.mul_(0.01)
        model.mask_decoder.pred_obj_score_head.proj_out.bias.add_(10.0)  # objects are in the frame
    return model


@pytest.fixture(scope="session")
def options(name):
    return OPTIONS[name]()


@pytest.fixture(scope="session")
def folder(name, model, tmp_path_factory):
    """The tiny model as a folder, as one would fetch it."""
    path = tmp_path_factory.mktemp(name)
    model.save_pretrained(path)
    return path
