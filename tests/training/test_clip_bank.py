"""The bank of rendered clips: the same whoever renders it, and picked up where it was left."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from stages.events import Event, Started, silent
from stages.training.clip_bank import SHARD, render_bank
from stages.zoo.clips import sample_training_clips

SIZE = {"num_clips": 2 * SHARD, "num_frames": 3, "size_px": 16, "seed": 5}


def test_two_processes_render_what_one_does_and_what_is_there_stays(tmp_path: Path) -> None:
    alone = render_bank(tmp_path / "alone", sample_training_clips, silent, **SIZE)
    shared = render_bank(tmp_path / "shared", sample_training_clips, silent, processes=2, **SIZE)
    assert (alone.captions, alone.verbs) == (shared.captions, shared.verbs) and len(alone.captions) == 2 * SHARD
    for one, other in zip(alone.paths, shared.paths, strict=True):
        first, second = load_file(one), load_file(other)
        assert all(torch.equal(first[name], second[name]) for name in first)

    alone.paths[0].unlink()
    kept, events = alone.paths[1].stat().st_mtime_ns, list[Event]()
    again = render_bank(tmp_path / "alone", sample_training_clips, events.append, **SIZE)
    assert events[0] == Started("clips", 2, 1) and alone.paths[1].stat().st_mtime_ns == kept
    assert all(torch.equal(load_file(again.paths[0])[name], load_file(shared.paths[0])[name]) for name in first)


def test_reads_the_clips_asked_for(tmp_path: Path) -> None:
    bank = render_bank(tmp_path, sample_training_clips, silent, **SIZE)
    frames, flow = bank.read(torch.tensor([70, 3, 70]))
    assert frames.shape == (3, 3, 16, 16, 3) and flow.shape == (3, 2, 3, 16, 16)
    assert torch.equal(frames[0], load_file(bank.paths[1])["frames"][6]) and torch.equal(frames[0], frames[2])
    assert torch.equal(flow[1], load_file(bank.paths[0])["flow"][3])
