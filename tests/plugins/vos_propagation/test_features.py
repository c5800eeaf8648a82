from vos_propagation.features import working_size


def test_working_size_is_a_multiple_of_16_near_what_is_asked_and_small_frames_are_enlarged_four_times() -> None:
    assert working_size((480, 854), 480) == (480, 848)
    assert working_size((1080, 1920), 480) == (480, 848)
    assert working_size((240, 320), 480) == (480, 640)
    assert working_size((48, 64), 480) == (192, 256)
    assert working_size((5, 9), 480) == (16, 32)
