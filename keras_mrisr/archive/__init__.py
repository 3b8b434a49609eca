"""Archives of DICOM: every MR series in a tree of studies, with a ledger of what is done."""

from keras_mrisr.archive.ledger import Ledger, Result, Series
from keras_mrisr.archive.run import ArchiveOutcome, upscale_archive

__all__ = ["ArchiveOutcome", "Ledger", "Result", "Series", "upscale_archive"]
