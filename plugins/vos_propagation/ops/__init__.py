"""Operations on planes and buffers that know nothing of tracking."""
