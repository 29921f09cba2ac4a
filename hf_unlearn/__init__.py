"""Unlearn inside the Hugging Face Trainer, and prove it."""
