"""Fast kernels of the supernets.

Every function names the plain PyTorch computation that it replaces, falls back to it where the
faster implementation does not apply, and is tested against it.

===================  =========================================================================
``dispatch``         ``KernelPlan``, ``plan_kernels``: the implementation for each device
``grouped_conv``     grouped and depthwise convolution, and average pooling as one of them
``pointwise``        pointwise and separable convolution, also as one dense convolution
``batch_norm``       batch norm as functions; one returns the statistics of the batch
``sync_batch_norm``  batch norm over the ranks of a distributed run
``accumulator``      sum of normalized feature maps that stores none of them
``sums``             weighted sums and group sums
``pixels``           rearrangements of pixels and channels
``recomputation``    activation checkpointing
===================  =========================================================================
"""
