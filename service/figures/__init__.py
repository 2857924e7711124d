"""Figures by Matplotlib. It works in a process of its own, `python -m service.figures`: see runner."""
