#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes the current directory as a tar archive to standard output: FORMAT
[MODE].

FORMAT is ustar, gnu or pax; MODE is a part of tarfile's: stream, or gz.
"""

import sys
import tarfile

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
mode = {"": "w|", "stream": "w|", "gz": "w|gz"}[" ".join(sys.argv[2:])]
with tarfile.open(fileobj=sys.stdout.buffer, mode=mode, format=FORMATS[sys.argv[1]]) as tar:
    tar.add(".")
