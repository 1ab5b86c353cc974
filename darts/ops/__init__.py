"""Low-level tricks of the fast networks: each computes what a plain PyTorch call computes, sooner.

Every function here names the plain computation it stands for, falls back to it where the trick does
not apply, and is tested against it.
"""
