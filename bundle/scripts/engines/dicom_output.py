"""Handler of the study evaluator: writes results back into the DICOM study that they came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ignite.engine import Engine, Events
from pydicom import dcmread

from ..domain.errors import StudyError, where_raised
from ..domain.phases import REFERENCE_PHASE
from ..results.dicom.source import DicomSource, SourceFrame, SourceStack
from ..results.dicom.writing import write_dicom
from ..studies.dicom.privacy import quiet_libraries
from ..studies.dicom.stack import Stack
from ..studies.dicom.study_import import ImportedStudy
from .study_evaluator import Analysis


class DicomWriter:
    """Write ``<output_dir>/<case>/{segmentation,measurements,page}.dcm`` after every study that came from DICOM.

    Attach it after ``ResultWriter``, which replaces the case's folder. A study of which no DICOM object can be made
    keeps its other results, counts among the evaluator's failures and is named at the end.

    Args:
        output_dir: where the cases' folders are.
        from_dicom: the acquired stacks, by case.
    """

    def __init__(self, output_dir: str | Path, from_dicom: Mapping[str, ImportedStudy]) -> None:
        self.output_dir = Path(output_dir)
        self.from_dicom = from_dicom

    def attach(self, engine: Engine) -> None:
        """Write after every study."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write)

    def _write(self, engine: Engine) -> None:
        analysis = engine.state.output
        if not isinstance(analysis, Analysis) or analysis.case.case not in self.from_dicom:
            return
        folder = self.output_dir / analysis.case.case
        try:
            with quiet_libraries():
                source = source_of(self.from_dicom[analysis.case.case])
                write_dicom(folder, study=analysis.study, result=analysis.result, mask=analysis.mask, source=source)
        except StudyError as error:
            reason = str(error)
        except Exception as error:  # highdicom raises many kinds, and its messages may quote the patient
            reason = f"a source attribute could not be used ({where_raised(error)})"
        else:
            return
        case = analysis.case.case
        engine.failures[case] = StudyError(f"{case}: mask and numbers are written, DICOM objects are not: {reason}")


def source_of(imported: ImportedStudy) -> DicomSource:
    """The stacks as the results know them, with the patient's and study's attributes from the reference's file."""
    reference = imported.sources[REFERENCE_PHASE].frames[0]
    return DicomSource(
        {phase: _stack(stack) for phase, stack in imported.sources.items()},
        header=dcmread(reference.file, stop_before_pixels=True),
    )


def _stack(stack: Stack) -> SourceStack:
    return SourceStack(tuple(SourceFrame(frame.header, frame.index) for frame in stack.frames), stack.affine)
