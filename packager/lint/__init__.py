"""Looks for what will go wrong with a model before any work is done: rules with codes, and the facts they judge."""
