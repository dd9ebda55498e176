"""Every error that cmsearch raises on purpose.

    CmsearchError                  one line for the user, exit code 1
    |-- CodeError                  a text that is no code, or means more than one
    |-- OntologyError              a code set or release file that cannot be read
    |-- EncoderError               an encoder that cannot be opened or run
    |-- IndexFolderError           an index folder that is missing, damaged or in use
    |   `-- IndexMismatch          an index built with another encoder or format
    |-- NoteError                  a note that cannot be read, or that is no text
    |-- CasesError                 evaluation cases, runs or qrels that cannot be read
    |-- BatchError                 a batch job that cannot start, go on or be resumed
    |-- TrainingError              training data or a configuration that cannot be used
    `-- MissingDependency          an optional library that is not installed

A message says what is wrong, where (file, row, field) and what to do about it.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class CmsearchError(Exception):
    """Root of all errors that cmsearch raises on purpose."""


class CodeError(CmsearchError):
    """A text that is no code of a known code set, or that means more than one."""


class OntologyError(CmsearchError):
    """A code set or an official release file that cannot be read."""


class EncoderError(CmsearchError):
    """An encoder that cannot be opened or run."""


class IndexFolderError(CmsearchError):
    """An index folder that is missing, damaged, unreadable or being written."""


class IndexMismatch(IndexFolderError):
    """An index that was built with another encoder or in another format."""


class NoteError(CmsearchError):
    """A note that cannot be read, or that is no text. Its words are never quoted."""


class CasesError(CmsearchError):
    """Evaluation cases, runs or relevance judgements that cannot be read."""


class BatchError(CmsearchError):
    """A batch job that cannot start, go on or be resumed."""


class TrainingError(CmsearchError):
    """Training data or a training configuration that cannot be used."""


class MissingDependency(CmsearchError):
    """An optional library that is not installed."""


def need(module: str, *, extra: str) -> ModuleType:
    """Import and return an optional library, or say which extra brings it.

    Args:
        module: dotted name of the module to import.
        extra: the extra of this package that installs it.

    Raises:
        MissingDependency: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingDependency(
            f"{module.split('.')[0]} is not installed, and this needs it. "
            f'Install it with: pip install "cmsearch[{extra}]"'
        ) from error
