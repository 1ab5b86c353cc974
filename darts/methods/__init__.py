"""Components of search methods.

A method is a YAML file of ``conf/method`` that combines components. Each kind has a module with the
base class, the registry and the simple components: for example, ``relaxation.py``; those that draw
random numbers are in ``relaxation_sampled.py``.

=======================  =========================================================================
``relaxation``           alphas -> mixing weights
``perturbation``         disturb the mixing weights in weight steps
``regularizer``          add terms to the losses
``stopping``             end a search early
``freezing``             freeze operations
``discretization``       supernet -> genotype
``stages``               stages with their own depth, width and candidates
``collapse``             collapse checks
=======================  =========================================================================

The gradient of the alphas is also a component, see ``darts.methods.bilevel``.
"""
