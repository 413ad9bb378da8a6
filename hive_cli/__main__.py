"""`python -m hive_cli`: the same as `hive`."""

import sys

from hive_cli.app import main

sys.exit(main())
