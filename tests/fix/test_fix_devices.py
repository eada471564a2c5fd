"""Several processes: what one of them refuses is told as itself, what breaks stays a crash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from fix.trainings import job_of, same_weights, settings, smooth
from torch.multiprocessing.spawn import ProcessRaisedException

from spuraudit.data.dataset import Dataset
from spuraudit.errors import ModelError
from spuraudit.fix.job import Prepared
from spuraudit.fix.objective import Objective

if TYPE_CHECKING:
    from spuraudit.fix.batch import Batch
    from spuraudit.fix.learner import Learner
    from spuraudit.fix.objective import Backward, Outcome


@dataclass(frozen=True)
class StopsOne(Objective):
    """Raises in the second process alone, as where a part does not fit in the memory of one device."""

    known: bool

    def accumulate(self, learner: Learner, batch: Batch, backward: Backward) -> Outcome:
        if torch.distributed.get_rank() == 1:
            raise ModelError("its map lies elsewhere", "Use rrr.") if self.known else ValueError("broken")
        return super().accumulate(learner, batch, backward)


@pytest.mark.slow
def test_an_error_of_one_process_is_raised_as_itself(tagged: Dataset, tmp_path: Path) -> None:
    job = job_of(smooth(), tagged, tmp_path, settings(steps=2), devices=2)
    model = job.started()
    with pytest.raises(ModelError) as caught:
        job.fit("it", Prepared(model, StopsOne(known=True)))
    assert type(caught.value) is ModelError
    assert (caught.value.message, caught.value.hint) == ("its map lies elsewhere", "Use rrr.")
    assert same_weights(model.network, job.model.network)


@pytest.mark.slow
def test_a_crash_of_one_process_stays_a_crash(tagged: Dataset, tmp_path: Path) -> None:
    job = job_of(smooth(), tagged, tmp_path, settings(steps=2), devices=2)
    with pytest.raises(ProcessRaisedException, match="Traceback"):
        job.fit("it", Prepared(job.started(), StopsOne(known=False)))
