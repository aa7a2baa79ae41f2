"""Episodes and trained policies on the Hugging Face hub, with cards."""
