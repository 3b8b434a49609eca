"""A data set in BIDS, upscaled into a derivative data set."""

from keras_mrisr.bids.app import BidsOutcome, upscale_bids
from keras_mrisr.bids.dataset import SUFFIXES, BidsScan, find_scans

__all__ = ["SUFFIXES", "BidsOutcome", "BidsScan", "find_scans", "upscale_bids"]
