"""Spiking networks as graphs of NIR, the Neuromorphic Intermediate Representation, and back."""
