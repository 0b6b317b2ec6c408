"""The kinds of models that are gated, one module each; ``packager.tasks.task`` is what they have in common."""
