import pytest
import torch
from transformers import Sam2VideoConfig, Sam2VideoModel


@pytest.fixture(scope="session")
def tiny_model():
    """The real classes with random weights, seeded: 64 pixels, three levels."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = Sam2VideoConfig(
        image_size=64,
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "image_size": [64, 64],
                "hidden_size": 8,
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 1, 2, 2],
                "blocks_per_stage": [1, 1, 2, 1],
                "window_size_per_stage": [4, 4, 4, 4],
                "window_positional_embedding_background_size": [4, 4],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 128,
        },
        prompt_encoder_config={"hidden_size": 128, "image_size": 64, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 128,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
        memory_attention_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=32,
        memory_fuser_num_layers=1,
    )
    model = Sam2VideoModel(config).eval()
    with torch.no_grad():  # the released initialisation is so small that all masks would be alike
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        model.mask_decoder.pred_obj_score_head.proj_out.bias.add_(10.0)  # objects are in the frame
    return model


@pytest.fixture(scope="session")
def tiny_folder(tiny_model, tmp_path_factory):
    """The tiny model as a folder, as one would fetch it."""
    folder = tmp_path_factory.mktemp("tiny-sam2")
    tiny_model.save_pretrained(folder)
    return folder
