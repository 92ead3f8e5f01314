"""The digital liver phantom as DICOM studies, in many styles, with decoys and with faults."""

from . import bad_input as bad_input
from .decoys import DECOYS as DECOYS
from .descriptions import DESCRIPTIONS as DESCRIPTIONS
from .encoding import TRANSFER_SYNTAXES as TRANSFER_SYNTAXES
from .large import large_series as large_series
from .plan import Filing as Filing
from .plan import Part as Part
from .plan import Patient as Patient
from .plan import Series as Series
from .plan import WrittenSeries as WrittenSeries
from .plan import WrittenStudy as WrittenStudy
from .styles import STYLES as STYLES
from .styles import TIMES_S as TIMES_S
from .styles import acquisition_times as acquisition_times
from .styles import ambiguous as ambiguous
from .styles import enhanced_multi_frame as enhanced_multi_frame
from .styles import misspelt as misspelt
from .styles import philips_series as philips_series
from .styles import separate_series as separate_series
from .styles import temporal_positions as temporal_positions
from .styles import trigger_times as trigger_times
from .styles import untagged_repeats as untagged_repeats
from .volumes import Subject as Subject
from .volumes import Volume as Volume
