"""Other people's libraries at work, without their bars and advice on the user's screen."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

_TALKING = ("sentence_transformers", "transformers", "huggingface_hub", "mteb")


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep the bars and the advice of the libraries from the user's screen; errors still raise."""
    from transformers.utils import logging as transformers_logging  # heavy, and not wanted by whoever needs no model

    loggers = [logging.getLogger(name) for name in _TALKING]
    levels = [logger.level for logger in loggers]
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
