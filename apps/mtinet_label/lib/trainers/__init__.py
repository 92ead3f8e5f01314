"""Fine-tuning on corrections, and which weights are served."""
