"""The fourth lot's programs: scripts of kinds that the other lots lack, written after the third lot was used up."""

from __future__ import annotations

from faults.operators import FOURTH
from faults.scripted import script

script("basket_sets", "numbers padded", FOURTH)
script("caption_pairs", "pairs tokens", FOURTH)
script("digit_denoiser", "numbers pictures batchnorm", FOURTH)
script("name_tagger", "classes tokens recurrent padded", FOURTH)
script("patch_vit", "classes pictures attention", FOURTH)
script("pump_tasks", "classes numbers", FOURTH)
