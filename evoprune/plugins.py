"""The public face of the engine for plugins: problems, operators and commands, ours as well as yours.

Plugins import the interfaces from :mod:`evoprune`, their helpers from here, and checks for their tests from
:mod:`evoprune.testing`. All other modules of the engine may change without notice; the linter refuses them.

Parts of a problem
    :class:`Exporting`, :class:`Measuring` and their :class:`Table`; :class:`Outcome` and :class:`Shown` of
    :class:`evoprune.Reporting`; :class:`Block`, :class:`Heatmap`, :func:`table` and :func:`text` of its pages;
    :class:`Best` and :data:`EVOLVED` of results.
Settings and plugins
    :class:`Checked`, :data:`Positive`, :data:`Config`; a :class:`Choice` of a plugin with parameters;
    :func:`find_plugin`, :func:`check_plugin`, :func:`plugin_names`; :func:`check_parameters`, :func:`validated`.
Experiments
    :func:`resolve`, :data:`SEEDS`, :data:`this_worker`, :func:`locked`; :func:`command_on` a run.
Budgets and genomes
    :func:`solve`, :data:`ROUNDING`, :func:`clipped`.
Exports
    :func:`export` and :func:`refuse_unless_free` write one; :func:`is_one_file`, :func:`metadata_path`,
    :func:`sidecar`, :data:`FACTS` and :data:`CARD` name its files; :func:`commands` fills in its path.
Commands
    :class:`Command`; :func:`add_options`, :func:`read_declared` and :data:`OPTION` for options from a model,
    :func:`add_set` for ``--set``.
Messages
    :func:`note`; :class:`Progress` and :func:`steps` of slow parts; :func:`digits`, :func:`plain`, :func:`aligned`;
    :func:`first_line` of an error, :func:`blamed_on` its source.
Figures
    :func:`new_figure`, :func:`save_figure`, :func:`entitle`, :func:`thousands`, :func:`log_scale_if_wide`,
    :func:`draw_tree`, and the colours :data:`COLOURS`, :data:`BLUE`, :data:`ORANGE`, :data:`GREY`.
Files
    :func:`read_json`, :func:`write_json`, :func:`finite`, :func:`atomically`, :func:`lock`, :func:`private_folder`,
    :func:`find_file` and :func:`missing_files` of settings; :func:`read_lines`, :func:`read_columns` of a CSV file;
    :func:`without_folders`, :data:`HOME`.
"""

from evoprune.backends.evaluation import this_worker
from evoprune.console.errors import blamed_on, first_line
from evoprune.console.formatting import aligned, digits, plain
from evoprune.console.markdown import table, text
from evoprune.console.progress import Progress, note, steps
from evoprune.experiment.config import Config, find_file, missing_files
from evoprune.experiment.explain import OPTION, validated
from evoprune.experiment.options import add_options, add_set, read_declared
from evoprune.experiment.parameters import check_parameters
from evoprune.experiment.registry import HOME, check_plugin, find_plugin
from evoprune.experiment.registry import names as plugin_names
from evoprune.experiment.resolve import resolve
from evoprune.experiment.spec import SEEDS, Choice
from evoprune.exports.exporting import (
    CARD,
    FACTS,
    export,
    is_one_file,
    metadata_path,
    refuse_unless_free,
    sidecar,
)
from evoprune.figures.style import (
    BLUE,
    COLOURS,
    GREY,
    ORANGE,
    entitle,
    log_scale_if_wide,
    new_figure,
    save_figure,
    thousands,
)
from evoprune.figures.trees import draw_tree
from evoprune.files.json_files import atomically, finite, read_json, write_json
from evoprune.files.locks import lock, private_folder
from evoprune.files.paths import without_folders
from evoprune.files.tables import read_columns, read_lines
from evoprune.interfaces.blocks import Block, Heatmap
from evoprune.interfaces.budget import ROUNDING, solve
from evoprune.interfaces.export import Exporting, Measuring, Table, commands
from evoprune.interfaces.genes import clipped
from evoprune.interfaces.parts import Outcome, Shown
from evoprune.interfaces.planning import Command
from evoprune.interfaces.problem import Checked, Positive
from evoprune.interfaces.result import EVOLVED, Best
from evoprune.records.run_folder import command_on, locked
