"""Pipelines and ensembles: several models of this device that answer under one name."""
