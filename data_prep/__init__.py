"""`python -m data_prep`: datasets for lightning_face, from image folders, tars, lists of pairs or from nothing."""
