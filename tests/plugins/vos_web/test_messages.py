"""Errors in the words of the page."""

from vos.plugin import InputError, TruncatedSourceError
from vos_web.messages import page_message


def test_a_damaged_video_is_said_without_options_that_the_page_does_not_have():
    error = TruncatedSourceError("dog.mp4: cut short. Use --stop 12.", frames_read=12, frames_declared=30)
    assert page_message(error).startswith("the video is damaged or cut short: of 30 frames the first 12 can be read.")
    assert page_message(InputError("dog.mp4: is empty.")) == "dog.mp4: is empty."
