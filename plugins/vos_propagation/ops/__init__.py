"""Operations on planes and buffers that are independent of tracking."""
