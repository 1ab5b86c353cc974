"""Components of search methods.

A method is a YAML file of ``conf/method`` that combines components. The modules are grouped by
kind: for example, ``relaxation.py`` defines the base class and the registry of relaxations, and
``relaxation_gumbel.py`` defines two relaxations.

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

The gradient of the alphas is a component, too; see ``darts.methods.bilevel``.
"""
