"""Finished datasets looked at: is one whole, and what do two of them share?"""
