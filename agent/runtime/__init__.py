"""What runs inside the process of an instance, around the function's own code.

`boot.py` is exec'd by path and loads this folder as the package `_hotswap_runtime`, so that a function may have modules
named `agent`, `runtime` or `hotswap`. For that reason nothing here imports anything of ours by its full name.
"""
