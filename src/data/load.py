"""The guide's door to ``create_connection_string``; it is ``vigie.data.load`` itself."""

import sys

from vigie.data import load

# Replacing this module by the real one makes a patch through the door reach the code.
sys.modules[__name__] = load
