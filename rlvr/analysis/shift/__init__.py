"""Where a policy moved from its base: a token table scored part by part, and the tables that sum it up.

responses (read or generated) -> index -> scoring, part by part -> summary tables -> analysis.json

<output>/claim.json               the settings that the finished parts were computed with
         responses.parquet        one row per response, one row group per part
         tokens/part-00000.parquet
         tables/*.csv
         analysis.json
"""
