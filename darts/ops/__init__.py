"""Fast kernels of the supernets.

Every function names the plain PyTorch computation that it replaces, falls back to it where the
faster implementation does not apply, and is tested against it.

=======================  =========================================================================
``dispatch``             ``KernelPlan``, ``plan_kernels``: the implementation for each device
``separable``            depthwise and pointwise convolution, also as one dense convolution
``depthwise``            depthwise convolution with a fast backward pass on CPUs
``pointwise``            pointwise convolution without a stored input
``batch_norm``           batch norm as functions; one returns the statistics of the batch
``folded_norm``          batch norm of few channels
``sync_batch_norm``      batch norm over the ranks of a distributed run
``accumulator``          sum of normalized feature maps that stores none of them
``sums``                 weighted sums and group sums
``pool``                 3x3 average pooling
``pixels``               rearrangements of pixels
``recomputation``        activation checkpointing
=======================  =========================================================================
"""
