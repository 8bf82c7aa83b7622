"""The custom operators of AMD's examples, in the form of AMD's `vart_op_imp`: a file and a class per operator type.

A class is made with the operator and called as `calculate(output=..., input=[...])` with buffers that numpy can view
and that have `get_tensor()`. Put your own beside each other in a folder and name it with `--ops`:

    roadslim xmodel run FILE --ops FOLDER --input IN.npy --output OUT.npz
"""
