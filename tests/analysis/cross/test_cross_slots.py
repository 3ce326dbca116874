"""How a cache of slots makes room."""

from __future__ import annotations

import torch

from rlvr.analysis.cross.slots import COLUMNS, SlotLayer, _Columns


def test_room_is_made_by_half_and_at_least_by_so_many_columns():
    """A column at a time would copy the cache at every step, and doubling would hold twice what is needed."""
    layer = SlotLayer(3, _Columns())
    keys, values = torch.zeros(1, 2, 1, 5), torch.zeros(1, 2, 1, 4)
    capacities = []
    for length in (1, COLUMNS, COLUMNS + 1, 129, 193, 289, 200, 1000):
        layer.reserve(keys, values, length)
        capacities.append(layer.keys.shape[2])
    assert capacities == [64, 64, 128, 192, 288, 432, 432, 1000]
    assert (layer.keys.shape, layer.values.shape) == ((3, 2, 1000, 5), (3, 2, 1000, 4))


def test_what_was_written_stays_where_it_is_when_room_is_made():
    layer = SlotLayer(2, _Columns())
    prefix = torch.arange(12.0).reshape(2, 3, 2) + 1
    layer.admit(prefix, -prefix, torch.tensor([1]))
    layer.reserve(prefix[None], prefix[None], 100)
    assert torch.equal(layer.keys[1, :, :3], prefix)
    assert torch.equal(layer.values[1, :, :3], -prefix)
    assert not layer.keys[1, :, 3:].any()
    assert not layer.values[0].any()
