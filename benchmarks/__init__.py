"""What lofty promises about speed and weight, measured: `python -m benchmarks [NAME...] [--write]`.

Each figure that says "so many times" comes from one run in which both sides took turns, so that whatever else the
machine was doing weighed on both.
"""
