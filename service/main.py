"""What uvicorn runs: `uvicorn service.main:app`. The only module that acts when it is imported."""

from service.app import create_app
from service.settings import Settings

app = create_app(Settings(), owns_process=True)
