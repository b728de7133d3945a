"""Measures: vectors to a Report, a value with its interval and how to read it. One function, one file."""
