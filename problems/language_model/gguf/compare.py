"""Compares a .gguf file with the loaded model: whether it is one of this model, and the forms of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from evoprune import InputError
from evoprune.problems.language_model.gguf.forms import SAME, Form, forms_of_matrix, forms_of_vector, learn
from evoprune.problems.language_model.gguf.metadata import TOKENS
from evoprune.problems.language_model.gguf.names import BLOCK, Slot, find_slots, head_size, within_block
from evoprune.problems.language_model.models.gguf_file import GgufFile, Tensor
from evoprune.problems.language_model.models.resident import Resident

_OF_THE_MODEL = (BLOCK, "token_embd", "output")
"""Prefixes of tensors that are parameters; others, such as factors of rotary frequencies, may be none."""

_HEAD, _EMBEDDING = "output.weight", "token_embd.weight"
_OTHER_TOKENS = 0.01  # the share of a vocabulary that may be spelt differently: converters rewrite some added tokens


@dataclass(frozen=True)
class Comparison:
    """``file`` beside the dense model, which is resident. ``architecture``: llama.cpp's name."""

    file: GgufFile
    resident: Resident
    architecture: str

    @cached_property
    def slots(self) -> Mapping[str, Slot]:
        """The tensors that the model's parameters would be, by name, all in the same form."""
        return {slot.name: slot for slot in find_slots(self.resident.model, self.architecture, {})}

    @property
    def others(self) -> dict[str, Tensor]:
        """The file's tensors that are no parameters."""
        return {
            name: tensor
            for name, tensor in self.file.tensors.items()
            if name not in self.slots and not name.startswith(_OF_THE_MODEL)
        }

    def refuse_another(self) -> None:
        """Raise :class:`evoprune.InputError` unless tokens and shapes are those of the model."""
        tokens: Sequence[str] = self.file.fields[TOKENS].value
        vocabulary = self.resident.tokenizer.get_vocab()
        other = sum(number >= len(tokens) or tokens[number] != token for token, number in vocabulary.items())
        if other > _OTHER_TOKENS * len(vocabulary):
            raise self._another(f"{other:,} of the model's {len(vocabulary):,} tokens are others there")
        ours = {name: slot.shape for name, slot in self.slots.items()}
        theirs = {name: tensor.shape for name, tensor in self.file.tensors.items() if name not in self.others}
        if _HEAD not in ours and _HEAD in theirs and self._form(replace(self.slots[_EMBEDDING], name=_HEAD), SAME):
            del theirs[_HEAD]  # the embedding once more
        for name in sorted(ours.keys() | theirs):
            own, there = (" x ".join(map(str, known.get(name, ()))) for known in (ours, theirs))
            if own != there:
                raise self._another(f"{name} is {there or 'missing'} there, and {own or 'missing'} in the model")

    def forms(self) -> dict[str, Form]:
        """The form of each tensor, by its name :func:`within_block`, from the first block that has it.

        Raises :class:`evoprune.InputError` for one that is not known.
        """
        found: dict[str, Form] = {}
        for name, slot in self.slots.items():
            within = within_block(name)
            if within in found:
                continue
            beside = found.get(f"{within.rpartition('.')[0]}.weight", SAME)
            form = self._form(slot, beside)
            if form is None:
                raise InputError(
                    f"{name} is in a form that evoprune does not know, other than {slot.parameter} in transformers: "
                    "export the model to a folder, and convert that with llama.cpp",
                    str(self.file.path),
                )
            found[within] = form
        return found

    def _form(self, slot: Slot, beside: Form) -> Form | None:
        """``beside``: the form of the matrix that ``slot`` may be the bias of. Stacked experts have but one."""
        if len(slot.shape) > 2:
            return SAME
        model = self.resident.model
        weight = model.get_parameter(slot.parameter)
        size, heads = head_size(model), model.config.get_text_config().num_attention_heads
        vector = len(slot.shape) == 1
        forms = forms_of_vector(beside) if vector else forms_of_matrix(slot.shape[0], size, heads)
        return learn(partial(slot.some_rows, weight), self.file.tensors[slot.name], forms)

    def _another(self, reason: str) -> InputError:
        if str(self.file.path) == self.resident.source:
            return InputError(
                f"cannot be written again: transformers reads it otherwise: {reason}", str(self.file.path)
            )
        return InputError(f"is the file of another model: {reason}; give one of the same model", str(self.file.path))
