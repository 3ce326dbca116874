"""Where a policy moved from its base: a token table scored part by part, and the tables that sum it up.

responses (read or generated) -> index -> scoring, part by part -> summary tables -> analysis.json
"""
