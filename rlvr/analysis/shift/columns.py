"""What every column of the analysis files means: the descriptions in columns.yaml as records.

The parquet files carry them in their schema metadata, and tables/columns.csv holds those of the tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

import pyarrow as pa
import yaml

from rlvr.analysis.tables import Column

OVERLAP_KS = (1, 2, 3, 5, 10)  # sizes of the compared candidate sets
CANDIDATES = 5  # most likely tokens of both models that are kept for every position
TYPES = {
    "text": pa.string(),
    "label": pa.dictionary(pa.int32(), pa.string()),  # a string that repeats
    "count": pa.int64(),
    "number": pa.float64(),
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int32": pa.int32(),
    "float32": pa.float32(),
    "ids": pa.list_(pa.int32()),
    "spans": pa.list_(pa.list_(pa.int32())),
    "texts": pa.list_(pa.string()),
    "floats": pa.list_(pa.float32()),
}
TOGETHER = {  # columns that always come together: the end of the name, and what it means
    "interval": {
        "_low": "lower end of the 95 % bootstrap interval; empty where one problem holds all",
        "_high": "upper end of it",
    },
    "edges": {"_from": "lower edge of the bin, included", "_to": "upper edge of the bin, not included"},
}


def _columns(described: list[list[str]]) -> Iterator[Column]:
    for name, kind, unit, meaning in described:
        if kind != "edges":
            yield Column(name, TYPES.get(kind, pa.float64()), unit, meaning)
        for end, its_meaning in TOGETHER.get(kind, {}).items():
            yield Column(name + end, pa.float64(), unit, its_meaning)


_DESCRIBED = yaml.safe_load(files(__package__).joinpath("columns.yaml").read_text())
RESPONSE_COLUMNS = tuple(_columns(_DESCRIBED["parquet"]["responses"]))
TOKEN_COLUMNS = tuple(_columns(_DESCRIBED["parquet"]["tokens"]))
COLUMNS_OF_TABLES = tuple(_columns(_DESCRIBED["columns"]))  # of columns.csv
_KEY = tuple(_columns(_DESCRIBED["key"]))
TABLES = {name: (*_KEY, *_columns(own)) for name, (_, *own) in _DESCRIBED["tables"].items()}
MEANINGS = {name: meaning for name, (meaning, *_) in _DESCRIBED["tables"].items()}  # of the tables
