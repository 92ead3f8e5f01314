"""The viewer's own arithmetic of displaced phases, run by Node: the same places as the server's."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation

from lib.routes.study import in_json
from scripts.studies.displacement import NODE_MM, Displacement

VIEWER = Path(__file__).resolve().parents[4] / "apps" / "mtinet_label" / "viewer"
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (60, 50, 24)

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")


def affine_of(spacing_mm, angles_deg):
    affine = np.eye(4)
    rotation = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    affine[:3, :3] = rotation @ np.diag(np.multiply((-1, -1, 1), spacing_mm))
    affine[:3, 3] = -affine[:3, :3] @ (np.array(SHAPE) - 1) / 2
    return affine


def twist(places_mm):
    x, y, z = np.moveaxis(places_mm, -1, 0)
    angle = 0.1 * np.sin(z / 50.0)
    turned = np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle), z], -1)
    return turned + np.array([3.0, -5.0, 11.0])


@pytest.fixture
def displacement() -> Displacement:
    affine = np.diag([NODE_MM, NODE_MM, NODE_MM, 1.0])
    affine[:3, 3] = -10 * NODE_MM
    places_mm = apply_affine(affine, np.moveaxis(np.indices((21, 21, 21)), 0, -1))
    return Displacement((twist(places_mm) - places_mm).astype(np.float32), affine)


@pytest.fixture
def node(tmp_path):
    """Run a script over the viewer's modules: what it prints as JSON."""
    for file in ("classes.js", "grid.js", "motion.js", "overlay.js"):
        shutil.copy(VIEWER / file, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')

    def run(script: str, **given):
        (tmp_path / "given.json").write_text(json.dumps(given))
        (tmp_path / "script.js").write_text(
            "import { readFileSync } from 'fs';\n"
            "import { nearest, resampled } from './grid.js';\nimport { Motions } from './motion.js';\n"
            "const given = JSON.parse(readFileSync('given.json'));\n"
            f"console.log(JSON.stringify(await (async () => {{ {script} }})()));\n"
        )
        ran = subprocess.run(["node", "script.js"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    return run


def test_places_are_the_server_s(node, displacement):
    grid = affine_of((3.0, 3.2, 5.0), (7.0, -5.0, 11.0))
    fields = {"moved": {"to_phase": in_json(displacement), "to_reference": in_json(displacement.inverse(SHAPE, grid))}}
    places = apply_affine(grid, np.random.default_rng(0).uniform(5, np.array(SHAPE) - 5, (40, 3)))
    there, back, still = node(
        "const motions = new Motions(given.fields);"
        "return [given.places.map(p => motions.toSeries('moved', p)),"
        " given.places.map(p => motions.toReference('moved', p)),"
        " given.places.map(p => motions.toSeries('other', motions.toReference('other', p)))];",
        fields=fields,
        places=(places @ LPS[:3, :3]).tolist(),
    )
    np.testing.assert_allclose(there @ LPS[:3, :3], displacement.to_phase(places), atol=0.02)
    np.testing.assert_allclose(back @ LPS[:3, :3], displacement.to_reference(places), atol=0.15)
    np.testing.assert_allclose(still @ LPS[:3, :3], places)


def test_series_that_were_not_moved_need_no_way(node, displacement):
    fields = {"a": {"to_phase": None, "to_reference": None}, "b": {"to_phase": in_json(displacement)}}
    fields["b"]["to_reference"] = fields["b"]["to_phase"]
    script = "const m = new Motions(given.fields); return [m.between('a', 'c'), m.between('b', 'b')];"
    assert node(script, fields=fields) == [None, None]
    script = "const m = new Motions(given.fields); return [!!m.between('a', 'b'), !!m.between('b', 'c')];"
    assert node(script, fields=fields) == [True, True]


@pytest.mark.parametrize("shape", [SHAPE, (47, 33, 1), (5, 61, 2)])
def test_voxels_are_those_of_their_place_in_the_body(node, displacement, shape):
    """From a series that was moved to one that was not, on another grid."""
    source, target = affine_of((3.0, 3.2, 5.0), (7.0, -5.0, 11.0)), affine_of((2.6, 2.9, 4.0), (0.0, 4.0, -6.0))
    fields = {
        "moved": {"to_phase": in_json(displacement), "to_reference": in_json(displacement.inverse(SHAPE, source))}
    }
    found = np.array(
        node(
            "const motions = new Motions(given.fields);"
            "return Array.from(nearest(given.source, given.target, motions.between('still', 'moved')));",
            fields=fields,
            source={"shape": SHAPE, "affine": (LPS @ source)[:3].tolist()},
            target={"shape": shape, "affine": (LPS @ target)[:3].tolist()},
        )
    ).reshape(shape, order="F")
    places_mm = displacement.to_phase(apply_affine(target, np.moveaxis(np.indices(shape), 0, -1)))
    index = apply_affine(np.linalg.inv(source), places_mm)
    clear = (np.abs(index - np.floor(index) - 0.5) > 0.05).all(axis=-1)
    index = np.floor(index + 0.5).astype(int)
    inside = ((index >= 0) & (index < SHAPE)).all(axis=-1)
    expected = np.where(inside, index[..., 0] + SHAPE[0] * (index[..., 1] + SHAPE[1] * index[..., 2]), -1)
    assert clear.mean() > 0.6
    assert inside.mean() > 0.3
    np.testing.assert_array_equal(found[clear], expected[clear])


OVERLAY = """
// OHIF in a few lines: two series of one study, each in a viewport, and labelmaps as plain arrays.
const SHAPE = [20, 18, 10];
const images = new Map();
const at = (name, k) => `${name}:${k}`;
const plane = k => ({ rowCosines: [1, 0, 0], columnCosines: [0, 1, 0], rows: SHAPE[1], columns: SHAPE[0],
  columnPixelSpacing: 2, rowPixelSpacing: 2, imagePositionPatient: [0, 0, 4 * k] });
const events = { subscribe: () => ({ unsubscribe() {} }), EVENTS: {} };
const sets = Object.fromEntries(['arterial', 'venous'].map(name => [name, {
  displaySetInstanceUID: name, Modality: 'MR', SeriesInstanceUID: name, StudyInstanceUID: 'study',
  imageIds: Array.from({ length: SHAPE[2] }, (_, k) => at(name, k)),
}]));
const shown = new Map(Object.keys(sets).map(name => [name, { displaySetInstanceUIDs: [name] }]));
const segmentations = {};
const slices = {};
globalThis.window = {
  addEventListener() {},
  cornerstone: {
    Enums: { Events: {} },
    metaData: { get: (_, id) => plane(Number(id.split(':')[1])) },
    cache: { getImage: id => ({ voxelManager: images.get(id) }) },
  },
  cornerstoneTools: { Enums: { SegmentationRepresentations: {} },
    segmentation: { triggerSegmentationEvents: { triggerSegmentationDataModified() {} } } },
};
const element = { addEventListener() {} };
const viewport = name => ({ csImage: {}, element, getImageIds: () => sets[name].imageIds,
  getCurrentImageIdIndex: () => slices[name], setImageIdIndex: n => { slices[name] = n; },
  getCurrentImageId: () => null });
const services = {
  viewportGridService: { ...events, getState: () => ({ viewports: shown, activeViewportId: 'arterial' }) },
  displaySetService: { getDisplaySetByUID: uid => sets[uid] },
  cornerstoneViewportService: { ...events, getCornerstoneViewport: viewport },
  segmentationService: { ...events, getSegmentationRepresentations: () => [], remove() {},
    addSegmentationRepresentation() {}, setSegmentColor() {}, setActiveSegmentation() {}, setActiveSegment() {},
    createLabelmapForDisplaySet: ({ imageIds }, { segmentationId }) => {
      const ids = imageIds.map(id => `mask:${id}`);
      ids.forEach(id => {
        const pixels = new Uint8Array(SHAPE[0] * SHAPE[1]);
        images.set(id, { getScalarData: () => pixels, setScalarData() {} });
      });
      segmentations[segmentationId] = { representationData: { Labelmap: { imageIds: ids } } };
      return segmentationId;
    },
    getSegmentation: id => segmentations[id] },
};
const voxel = (name, [i, j, k], value) => {
  const pixels = images.get(`mask:${at(name, k)}`).getScalarData();
  if (value !== undefined) pixels[i + SHAPE[0] * j] = value;
  return pixels[i + SHAPE[0] * j];
};
const painted = name => sets[name].imageIds.flatMap((id, k) =>
  Array.from(images.get(`mask:${id}`).getScalarData()).flatMap((v, n) =>
    v ? [[n % SHAPE[0], Math.floor(n / SHAPE[0]), k, v]] : []));
// The venous phase shows everything two voxels further along x and three slices higher: 4 and 12 mm, LPS.
const field = sign => ({ shape: [2, 2, 2], affine: [[-40, 0, 0, 0], [0, -40, 0, 0], [0, 0, 40, 0], [0, 0, 0, 1]],
  vectors: Array.from({ length: 8 }, () => [-4 * sign, 0, 12 * sign]).flat() });
const motions = new Motions({ venous: { to_phase: field(1), to_reference: field(-1) },
  arterial: { to_phase: null, to_reference: null } });
"""


@pytest.mark.parametrize("late", [False, True])
def test_what_is_drawn_on_one_phase_lies_on_the_same_tissue_of_the_other(node, late):
    """Late: the registration comes when a mask of the reader's own is there already."""
    script = OVERLAY + (
        "return import('./overlay.js').then(async ({ Overlay }) => {"
        "  const overlay = new Overlay(services, () => {});"
        "  if (!given.late) await overlay.setMotions(motions);"
        "  const data = new Uint8Array(SHAPE[0] * SHAPE[1] * SHAPE[2]);"
        "  data[5 + SHAPE[0] * (6 + SHAPE[1] * 2)] = 1;"
        "  const { grid } = overlay.geometry(sets.arterial);"
        "  await overlay.setMask({ grid, data, series: 'arterial' });"
        "  const before = painted('venous');"
        "  voxel('venous', [12, 7, 8], 2);"
        "  overlay.collect();"
        "  if (given.late) await overlay.setMotions(motions);"
        "  overlay.jumpTo([10, 12, 8]);"
        "  const sent = overlay.current();"
        "  const wanted = overlay.current(sets.arterial);"
        "  const count = mask => mask.data.reduce((n, v) => n + (v > 0), 0);"
        "  return { before, arterial: painted('arterial'), venous: painted('venous'), slices,"
        "    sent: [sent.series, count(sent.mask)], wanted: [wanted.series, count(wanted.mask)] };"
        "});"
    )
    found = node(script, late=late)
    if late:
        # What was edited last counts: the venous phase's own mask as it is, and the arterial one follows.
        assert found["before"] == [[5, 6, 2, 1]]
        assert found["venous"] == [[5, 6, 2, 1], [12, 7, 8, 2]]
        assert found["arterial"] == [[10, 7, 5, 2]]
    else:
        assert found["before"] == [[7, 6, 5, 1]]
        assert found["venous"] == [[7, 6, 5, 1], [12, 7, 8, 2]]
        assert found["arterial"] == [[5, 6, 2, 1], [10, 7, 5, 2]]
    assert found["slices"] == {"arterial": 2, "venous": 5}
    assert found["sent"] == ["venous", 2]
    assert found["wanted"] == ["arterial", len(found["arterial"])]
