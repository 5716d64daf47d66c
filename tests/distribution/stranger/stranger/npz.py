import numpy

from evoprune import Exported
from evoprune.problems.language_model.export.format import ExportFormat


class Npz(ExportFormat):
    """All weights as arrays of 32 bits."""

    def write(self, run, place):
        model = self.final.copy().model.float()
        arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        numpy.savez(place, **arrays)
        with numpy.load(place) as found:
            faults = [name for name, array in arrays.items() if not numpy.array_equal(found[name], array)]
        return Exported(self.facts(run, model, [place]), [f"{place.stat().st_size:,} bytes"], faults)
