"""Components of search methods.

A method is a YAML file of ``conf/method`` that combines components. The modules are grouped by
kind: ``relaxation.py`` defines the base class and the registry, ``relaxation_softmax.py`` a
component.

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

The gradient of the alphas is a component, too; see ``darts.bilevel``.
"""

from darts.methods.collapse import Checkup, CollapseChecks
from darts.methods.discretization import DISCRETIZATIONS, Discretization
from darts.methods.freezing import FREEZING, Freezing
from darts.methods.perturbation import PERTURBATIONS, Perturbation
from darts.methods.regularizer import REGULARIZERS, Regularizer
from darts.methods.relaxation import RELAXATIONS, Relaxation
from darts.methods.stages import Stage
from darts.methods.stopping import STOPPING, Stopping

__all__ = [
    "DISCRETIZATIONS",
    "FREEZING",
    "PERTURBATIONS",
    "REGULARIZERS",
    "RELAXATIONS",
    "STOPPING",
    "Checkup",
    "CollapseChecks",
    "Discretization",
    "Freezing",
    "Perturbation",
    "Regularizer",
    "Relaxation",
    "Stage",
    "Stopping",
]
