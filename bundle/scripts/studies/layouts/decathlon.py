"""Medical Segmentation Decathlon: one ``dataset.json`` that lists images and labels.

Takes the Decathlon's own form (4-channel images), nnU-Net's first version and MONAI's data lists (one file per
modality). Source: Antonelli et al., Nature Communications 13:4128 (2022), and the files of Task01_BrainTumour.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ...domain.entry import entry_point
from ...domain.errors import ConfigurationError, DatasetError, StudyError
from ...domain.phases import PHASES
from ..case import FILE_ENDING, Case
from ..nifti import FileError, open_nifti
from ..subjects_table import CASE_PATTERN
from .conversion import ConversionOptions, convert, require_folder, require_new_folder
from .dealing import SHARES
from .lesion_label import MEANINGS, meaning_of, translated
from .phase_names import phase_of
from .source_case import SourceCase, SourceImages, Volume, checked_phase, read_mask, read_phase

DESCRIPTION_FILE = "dataset.json"
LISTS = {"training": "", "validation": "val", "test": "test"}
"""The description's lists, and the split that each means; training is dealt out."""


@dataclass(frozen=True)
class _Description:
    """What ``dataset.json`` says.

    Args:
        channels: per phase of ``PHASES``, the number of its modality.
        n_channels: number of modalities.
        meanings: what each label value stands for.
        entries: per case its split, image files (one 4-channel file, or one per modality) and label file.
    """

    channels: tuple[int, ...]
    n_channels: int
    meanings: dict[int, str]
    entries: dict[str, tuple[str, tuple[Path, ...], Path | None]]


@entry_point
def import_decathlon(
    input_dir: str,
    output_dir: str,
    phase_names: Mapping[str, str] | None = None,
    label_names: Mapping[str, str] | None = None,
    register: str | None = "none",
    split_shares: Sequence[float] = SHARES,
) -> None:
    """Import a Decathlon dataset; the run id ``import_decathlon`` of ``configs/import_layouts.yaml``.

    Args:
        input_dir: folder that holds ``dataset.json``.
        output_dir: new or empty folder for the dataset.
        phase_names: phase by modality (name or number), where the names do not tell it.
        label_names: ``hemangioma``, ``hcc``, ``liver`` or ``background`` by label name, where the names do not tell.
        register: ``none``, ``rigid`` or ``deformable``.
        split_shares: of train, val and test among the training list.

    Raises:
        SystemExit: with all faults of ``dataset.json``, or because no case could be imported; nothing is written.
    """
    options = ConversionOptions(register, split_shares)
    convert_decathlon(input_dir, output_dir, phase_names=phase_names, label_names=label_names, options=options)


def convert_decathlon(
    input_dir: str | Path,
    output_dir: str | Path,
    *,
    phase_names: Mapping[str, str] | None = None,
    label_names: Mapping[str, str] | None = None,
    options: ConversionOptions | None = None,
) -> list[Case]:
    """``import_decathlon`` as a library function.

    Returns:
        The cases of the new dataset.

    Raises:
        ConfigurationError: an option is wrong, or ``output_dir`` holds something.
        DatasetError: ``dataset.json`` is wrong, with every fault; or no case could be imported.
    """
    root = require_folder(input_dir, DESCRIPTION_FILE)
    require_new_folder(output_dir)
    description = _described(root, _overrides("phase_names", phase_names, PHASES), label_names)
    cases = [
        SourceCase(case, partial(_read, description, images, label), split=split)
        for case, (split, images, label) in description.entries.items()
    ]
    return convert(cases, [], output_dir, name="decathlon", options=options or ConversionOptions())


def _overrides(option: str, given: Mapping[str, str] | None, allowed: Sequence[str]) -> dict[str, str]:
    """Meanings by name that the user gives.

    Raises:
        ConfigurationError: no mapping, or a meaning that does not exist.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping) or any(str(v) not in allowed for v in given.values()):
        msg = f"{option} is {given!r}; it must give one of {', '.join(allowed)} for each name, as a JSON object."
        raise ConfigurationError(msg)
    return {str(key): value for key, value in given.items()}


def _described(root: Path, phase_names: Mapping[str, str], label_names: Mapping[str, str] | None) -> _Description:
    file = root / DESCRIPTION_FILE
    meanings = _overrides("label_names", label_names, MEANINGS)
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        msg = f"{file}: no such file. Give the folder that holds {DESCRIPTION_FILE} as input_dir."
        raise DatasetError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{file}: not readable as JSON ({error}). Correct it, or download it again."
        raise DatasetError(msg) from error
    if not isinstance(content, dict):
        msg = f"{file}: not a description of a dataset, but a {type(content).__name__}. Download it again."
        raise DatasetError(msg)
    faults: list[str] = []
    modalities = content.get("modality", content.get("modalities", content.get("channel_names")))
    channels = _channels(modalities, phase_names, faults)
    labels = _labels(content.get("labels"), meanings, faults)
    entries = _entries(content, root, faults)
    if faults:
        raise DatasetError("\n".join([f"{file}: {len(faults)} fault(s), nothing is written", *faults]))
    return _Description(channels, len(modalities), labels, entries)


def _channels(modalities: object, phase_names: Mapping[str, str], faults: list[str]) -> tuple[int, ...]:
    """The number of each phase's modality."""
    if not isinstance(modalities, dict) or sorted(modalities) != sorted(map(str, range(len(modalities)))):
        faults.append(f'modality: is {modalities!r}. Number the modalities from "0", e.g. {{"0": "pre", …}}.')
        return ()
    names = {number: str(name) for number, name in modalities.items()}
    unused = [key for key in phase_names if key not in names and key not in names.values()]
    if unused:
        faults.append(f"phase_names: no modality is called {', '.join(unused)}. There are {_listed(names)}.")
    phases = {
        number: phase_names.get(number) or phase_names.get(name) or phase_of(name) for number, name in names.items()
    }
    for phase in PHASES:
        count = Counter(phases.values())[phase]
        if count != 1:
            found = "no modality is" if count == 0 else f"{count} modalities are"
            example = f'--phase_names \'{{"{next(iter(names))}": "{phase}"}}\''
            faults.append(f"modality: {found} the {phase} phase among {_listed(names)}. Say which, e.g. {example}.")
    return tuple(int(number) for phase in PHASES for number in names if phases[number] == phase)


def _listed(names: Mapping[str, str]) -> str:
    return ", ".join(f"{number} {name!r}" for number, name in names.items())


def _labels(labels: object, overrides: Mapping[str, str], faults: list[str]) -> dict[int, str]:
    """What each value stands for; ``{"1": "hcc"}`` and nnU-Net v2's ``{"hcc": 1}`` both occur."""
    if not isinstance(labels, dict) or not labels:
        faults.append(f'labels: is {labels!r}. Name every value, e.g. {{"0": "background", "1": "hcc"}}.')
        return {}
    meanings: dict[int, str] = {}
    unused = set(overrides)
    for key, other in labels.items():
        number, name = (key, other) if str(key).strip().isdecimal() else (other, key)
        if isinstance(number, bool) or not str(number).strip().isdecimal():
            faults.append(f"labels: {key!r}: {other!r} gives no single value. Give each name one whole number.")
            continue
        unused.discard(str(name))
        meaning = "background" if int(number) == 0 else meaning_of(str(name), overrides)
        if meaning is None:
            example = f'--label_names \'{{"{name}": "hcc"}}\''
            faults.append(
                f"labels: {name!r} is none of {', '.join(MEANINGS)}. Say what it is, e.g. {example}; "
                "background leaves it out."
            )
        meanings[int(number)] = meaning or "background"
    if unused:
        faults.append(f"label_names: no label is called {', '.join(sorted(unused))}.")
    return {0: "background"} | meanings


def _entries(content: dict, root: Path, faults: list[str]) -> dict[str, tuple[str, tuple[Path, ...], Path | None]]:
    entries: dict[str, tuple[str, tuple[Path, ...], Path | None]] = {}
    for key, split in LISTS.items():
        listed = content.get(key) or []
        if not isinstance(listed, list):
            faults.append(f"{key}: is no list. List one entry per case.")
            continue
        for number, entry in enumerate(listed, start=1):
            where = f"{key} entry {number}"
            image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else (entry, None)
            images = [image] if isinstance(image, str) else image
            if not isinstance(images, list) or not images or not all(isinstance(file, str) for file in images):
                faults.append(f"{where}: names no image. Give a file, or a list of one file per modality.")
                continue
            if not (label is None or isinstance(label, str)) or (label is None and key != "test"):
                faults.append(f"{where}: names no label file. Give one, or move the entry to the test list.")
                continue
            case = _case_name([root / file for file in images])
            if not CASE_PATTERN.fullmatch(case):
                faults.append(f"{where}: its file name cannot name a case. Use letters, digits, '.', '_' and '-' only.")
            elif case in entries:
                faults.append(f"{where}: a second case called {case}. Give every case a name of its own.")
            else:
                entries[case] = (split, tuple(root / file for file in images), root / label if label else None)
    if not entries and not faults:
        faults.append(f"{', '.join(LISTS)}: no case in these lists.")
    return entries


def _case_name(files: Sequence[Path]) -> str:
    """What the names of a case's files share, up to a separator; their folder's name where they share nothing."""
    stems = [file.name.removesuffix(".gz").removesuffix(".nii") for file in files]
    if len(stems) == 1:
        return re.sub(r"_0000$", "", stems[0])
    prefix = stems[0]
    while not all(stem.startswith(prefix) for stem in stems):
        prefix = prefix[:-1]
    shared = re.match(r"(.+)[_.-]", prefix)
    return shared[1] if shared else files[0].parent.name


def _read(description: _Description, files: tuple[Path, ...], label_file: Path | None) -> SourceImages:
    phases = _read_phases(description, files)
    if label_file is None:
        return SourceImages(phases)
    stored = read_mask(label_file, "label")
    label, liver = translated(stored.data, description.meanings)
    return SourceImages(
        phases,
        label=Volume(label, stored.affine),
        liver=None if liver is None else Volume(liver, stored.affine),
    )


def _read_phases(description: _Description, files: tuple[Path, ...]) -> tuple[Volume, ...]:
    if len(files) == 1 and not files[0].is_file():
        # nnU-Net's first version names the case and leaves the modality's number to the reader.
        stem = files[0].name.removesuffix(FILE_ENDING)
        numbered = [files[0].with_name(f"{stem}_{k:04d}{FILE_ENDING}") for k in range(description.n_channels)]
        files = tuple(numbered) if numbered[0].is_file() else files
    if len(files) == 1 and description.n_channels > 1:
        return _channels_of_one(description, files[0])
    if len(files) != description.n_channels:
        msg = f"image: {len(files)} files, but the dataset has {description.n_channels} modalities."
        raise StudyError(msg)
    return tuple(read_phase(files[channel], phase) for phase, channel in zip(PHASES, description.channels, strict=True))


def _channels_of_one(description: _Description, file: Path) -> tuple[Volume, ...]:
    try:
        image = open_nifti(file)
    except FileError as error:
        msg = f"image: {error.problem}. {error.fix}."
        raise StudyError(msg) from error
    if len(image.shape) != 4 or image.shape[3] != description.n_channels:
        msg = (
            f"image: shape {image.shape}, but the dataset has {description.n_channels} modalities (X, Y, Z, modality)."
        )
        raise StudyError(msg)
    phases = []
    for phase, channel in zip(PHASES, description.channels, strict=True):
        data = np.asarray(image.dataobj[..., channel])
        if not np.isfinite(data).all():
            msg = f"{phase}: voxels that are NaN or infinite. Replace them, e.g. with 0 outside the body."
            raise StudyError(msg)
        phases.append(checked_phase(Volume(data, image.affine), file, phase))
    return tuple(phases)
