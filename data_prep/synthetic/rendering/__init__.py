"""Generated faces, step by step: traits -> points of a posed head -> paint -> light -> camera."""
