"""The programs: importing this enters all of them into ``settings.PROGRAMS``."""

from faults.programs import (
    adversarial,
    autoencoders,
    images,
    recommending,
    sequences,
    several_inputs,
    tables,
    text,
    transfer,
    transformers,
)

FILES = (adversarial, autoencoders, images, recommending, sequences, several_inputs, tables, text, transfer, transformers)
"""One file a family."""
