"""What runs inside AMD's Vitis AI container: their quantiser and their compiler, with their traps worked around.

`python -m compress.vitis calibrate | export | compile` in a job folder; `roadslim compile` on the host prepares the
folder and calls them one after the other. Everything here, and what it imports, keeps to the container's Python 3.8,
torch 1.13 and numpy 1.22.
"""
