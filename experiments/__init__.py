"""What the papers claim, repeated: one resumable command for each experiment."""
