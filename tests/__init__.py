"""The tests, which report to nobody: some import ONNX Runtime before the code that says so."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
