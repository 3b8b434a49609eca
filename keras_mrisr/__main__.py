"""`python -m keras_mrisr` is the `mrisr` command."""

import sys

from keras_mrisr.cli import main

sys.exit(main())
