import numpy as np
import torch

import vos
from vos_propagation.features import Encoder, working_size
from vos_propagation.motion import backward_flow


def test_working_size_is_a_multiple_of_16_near_what_is_asked_and_small_frames_are_enlarged_four_times() -> None:
    assert working_size((480, 854), 480) == (480, 848)
    assert working_size((1080, 1920), 480) == (480, 848)
    assert working_size((240, 320), 480) == (480, 640)
    assert working_size((48, 64), 480) == (192, 256)
    assert working_size((5, 9), 480) == (16, 32)


def test_motion_is_that_since_the_frame_before() -> None:
    encoder = Encoder(128, torch.device("cpu"), torch.float32)
    image = np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    first, second = (encoder(vos.Frame(i, np.roll(image, 4 * i, axis=1), str(i))) for i in range(2))
    assert first.motion is None
    assert second.motion is not None
    assert second.motion.before is first.grey
    assert np.array_equal(second.motion.flow, backward_flow(second.grey, first.grey))
    other = encoder(vos.Frame(0, image[:, :64], "another size"))
    assert other.motion is None
