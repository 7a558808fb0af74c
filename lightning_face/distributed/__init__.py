"""Who takes part, and collectives with gradients."""
