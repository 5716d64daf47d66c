"""A model's predictions over the whole vocabulary, in a file that another process reads in parts."""

import errno
import os
import shutil
from typing import BinaryIO

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from evoprune import InputError
from evoprune.problems.language_model.evaluation.measure import Objective
from evoprune.problems.language_model.models.cache import cache_folder

_BYTES = 2  # of a float16


class PredictionFile(Objective):
    """Writes predictions to ``file``, and stores the ``losses`` of the next tokens; the value is their mean.

    A row holds the logits minus the largest one, in float16, which is finest near 0, where tokens are likely. Readers
    normalise the rows, so divergences change by less than 1e-5 nats.
    """

    def __init__(self, file: BinaryIO, predictions: int) -> None:
        self._file, self.losses = file, torch.empty(predictions)

    def add(self, logits: Tensor, targets: Tensor, first: int) -> Tensor:
        """Return the summed next-token loss. Raises OSError if the disk is full."""
        losses = cross_entropy(logits, targets, reduction="none")
        self.losses[first : first + len(targets)] = losses.cpu()
        rows = (logits - logits.amax(1, keepdim=True)).half().cpu().numpy()
        if os.pwrite(self._file.fileno(), rows.data, first * rows.shape[1] * _BYTES) < rows.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return losses.sum()


def refuse_unless_room(predictions: int, vocabulary: int) -> None:
    """Raise :class:`evoprune.InputError` if the cache's folder has no room for a :class:`PredictionFile`."""
    needed, folder = predictions * vocabulary * _BYTES / 1e9, cache_folder()
    if needed > (free := shutil.disk_usage(folder).free / 1e9):
        takes = f"{predictions:,} predictions of {vocabulary:,} tokens take {needed:.1f} GB in {folder}"
        remedy = "give fewer --windows, or set EVOPRUNE_CACHE to a folder with room"
        raise InputError(f"{takes}, and {free:.1f} GB are free: {remedy}", "--against")
