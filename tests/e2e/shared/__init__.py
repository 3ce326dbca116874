"""Tests whose engines, ranks and Ray are the same processes all along: each starts over instead of starting anew."""
