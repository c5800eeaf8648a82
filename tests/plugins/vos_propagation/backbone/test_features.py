import numpy as np
import torch

import vos
from vos_propagation.backbone.features import Encoder, working_size
from vos_propagation.stages.flow import backward_flow

CPU = torch.device("cpu")


def test_working_size_is_a_multiple_of_32_near_what_is_asked_and_small_frames_are_enlarged_four_times() -> None:
    assert working_size((480, 854), 480) == (480, 864)
    assert working_size((1080, 1920), 480) == (480, 864)
    assert working_size((240, 320), 480) == (480, 640)
    assert working_size((48, 64), 480) == (192, 256)
    assert working_size((5, 9), 480) == (32, 32)


def test_motion_is_that_since_the_frame_before() -> None:
    encoder = Encoder(CPU, torch.float32)
    image = np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    first, second = (encoder(vos.Frame(i, np.roll(image, 4 * i, axis=1), str(i)), (128, 192)) for i in range(2))
    assert first.motion is None
    assert second.motion is not None
    assert second.motion.before is first.grey
    assert np.array_equal(second.motion.flow, backward_flow(second.grey, first.grey))
    assert first.size == (128, 192)
    other = encoder(vos.Frame(0, image[:, :64], "another size"), (128, 128))
    assert other.motion is None


def test_the_chroma_of_a_cell_is_a_and_b_of_cielab() -> None:
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16], image[:, 16:] = (255, 0, 0), (128, 128, 128)
    chroma = Encoder(CPU, torch.float32)(vos.Frame(0, image, "0"), (32, 64)).chroma
    assert chroma.shape == (2, 4, 8)
    # Red of sRGB under D65, Bruce Lindbloom's calculator: L 53.2, a 80.1, b 67.2.
    torch.testing.assert_close(chroma[:, 1, 1], torch.tensor([80.1, 67.2]), atol=0.2, rtol=0)
    torch.testing.assert_close(chroma[:, 1, 6], torch.zeros(2), atol=0.2, rtol=0)
