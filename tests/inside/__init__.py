"""Tests of the programs that run inside the Jupyter environment."""
