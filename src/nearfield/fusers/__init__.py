"""Fusers: several ranked lists of one query become one. One method, one file."""
