"""Ignite workflows: the adversarial trainer, the evaluators, the study inferer, checkpoint and resume."""
