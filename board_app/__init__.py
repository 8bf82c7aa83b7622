"""The application that watches the road: everything that ships to the board.

Runs on Python 3.9 with the standard library, numpy and cv2; `xir` and `vart` are known to `dpu_runner` alone.
"""

__version__ = "0.1.0"
