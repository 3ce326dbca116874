"""The figures: a canvas with the house style, and one module for each kind of result."""
