"""Spiking networks in files: safetensors with a JSON description, which runs no code."""
