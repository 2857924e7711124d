"""What uvicorn runs: `uvicorn service.main:app`. The only module that acts when it is imported."""

import sys
from multiprocessing import parent_process
from time import sleep

from pydantic import ValidationError

from service.app import create_app
from service.settings import Settings, in_words

AGAIN = 5.0
"""Seconds until a worker whose settings cannot be used is over, and its supervisor starts the next: they could be used
once, so it is the folder of the artifacts that has gone away, and may come back."""


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        sys.stderr.write(f"the settings cannot be used: {'; '.join(in_words(error))}\n")
    if parent_process() is not None:
        sleep(AGAIN)
    sys.exit(1)


app = create_app(_settings(), owns_process=True)
