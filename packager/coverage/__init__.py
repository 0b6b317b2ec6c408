"""Predicts how much of a model a delegate takes, from the file alone."""
