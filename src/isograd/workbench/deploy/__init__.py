"""Pack a trained network as a bundle of plain files with their hashes, and open one to predict without torch."""

from isograd.workbench.deploy.answers import answers_of
from isograd.workbench.deploy.opening import Opened, open_bundle
from isograd.workbench.deploy.writing import write_bundle

__all__ = ["Opened", "answers_of", "open_bundle", "write_bundle"]
