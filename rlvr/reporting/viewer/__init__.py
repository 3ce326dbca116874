"""The page of a run on loopback: tokens to intervene at, and curves and samples while it trains."""
