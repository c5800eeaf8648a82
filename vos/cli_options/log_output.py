"""The toolkit's log lines on stderr."""

from __future__ import annotations

import logging
import sys

from vos.cli_options.printable import printable


def set_up_logging(debug: bool) -> None:
    """Send the toolkit's log lines to stderr, above a progress bar if there is one.

    Args:
        debug: show debug lines too.
    """
    logger = logging.getLogger("vos")
    logger.handlers.clear()
    handler = _TqdmHandler()
    handler.setFormatter(_MessageFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    logger.propagate = False


class _MessageFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        return printable(f"vos: {prefix}{record.getMessage()}")


class _TqdmHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)
