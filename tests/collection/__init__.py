"""Tests of the Collection."""
