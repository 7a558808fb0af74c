"""Forms in which images of people are distributed, each read without its own library."""
