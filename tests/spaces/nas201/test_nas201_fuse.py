"""Conversion of state dicts between the two supernets of NAS-Bench-201."""

from __future__ import annotations

import pytest
import torch
from nas201_supernets import images, make_pair

from darts.spaces.nas201 import fuse_state_dict, unfuse_state_dict


def test_fuse_and_unfuse_are_inverse() -> None:
    net = make_pair(auxiliary_skip=True).slow
    net(images(3, 3, 8, 8))
    state = net.state_dict()
    again = unfuse_state_dict(fuse_state_dict(state))
    assert set(again) == set(state)
    for name, value in state.items():
        assert torch.equal(again[name], value), name
        assert again[name].shape == value.shape
        assert again[name].data_ptr() != value.data_ptr()


def test_batch_counters_of_edges_are_kept() -> None:
    state = make_pair().slow.state_dict()
    name = "layers.0.edges.4.operations.3.2.num_batches_tracked"
    state[name] = torch.tensor(7)
    assert int(unfuse_state_dict(fuse_state_dict(state))[name]) == 7


def test_other_state_dicts_are_rejected() -> None:
    pair = make_pair()
    slow, fast = pair.slow.state_dict(), pair.fast.state_dict()
    incomplete = {name: v for name, v in slow.items() if not name.startswith("layers.0.edges.3.")}
    foreign = slow | {"layers.0.edges.6.operations.2.1.weight": torch.zeros(1)}
    for state in (fast, incomplete, foreign):
        with pytest.raises(ValueError, match="not the state dict of an EdgewiseSupernet"):
            fuse_state_dict(state)
    for state in (slow, fast | {"layers.0.leaving.0.2.weight": torch.zeros(4, 1)}):
        with pytest.raises(ValueError, match="not the state dict of a Supernet"):
            unfuse_state_dict(state)
