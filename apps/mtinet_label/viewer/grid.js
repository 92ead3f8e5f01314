// The voxels of one series, and masks on them. World coordinates are DICOM's (LPS), in mm.

// An affine is 3 x 4, row-major: (column, row, slice, 1) to world.
const times = (affine, [i, j, k]) =>
  [0, 1, 2].map(r => affine[r][0] * i + affine[r][1] * j + affine[r][2] * k + affine[r][3]);

export function inverted(affine) {
  const [a, b, c] = affine;
  const cross = (u, v) => [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
  const column = n => [a[n], b[n], c[n]];
  const [x, y, z, origin] = [0, 1, 2, 3].map(column);
  const rows = [cross(y, z), cross(z, x), cross(x, y)];
  const volume = x[0] * rows[0][0] + x[1] * rows[0][1] + x[2] * rows[0][2];
  return rows.map(row => {
    const scaled = row.map(value => value / volume);
    return [...scaled, -(scaled[0] * origin[0] + scaled[1] * origin[1] + scaled[2] * origin[2])];
  });
}

export const toVoxel = (grid, world) => times(inverted(grid.affine), world);
export const toWorld = (grid, voxel) => times(grid.affine, voxel);

const dot = (u, v) => u[0] * v[0] + u[1] * v[1] + u[2] * v[2];

// Images at one position, as in a series that holds several phases, are one slice of the grid.
const SAME_POSITION_MM = 1e-2;

/**
 * The grid of images, with its slices in the order of their position along the normal.
 *
 * @param planes - imagePlaneModule of every image.
 * @returns {{grid: {shape: number[], affine: number[][]}, sliceOf: number[]}} sliceOf: the slice of every image.
 */
export function gridOf(planes) {
  const { rowCosines, columnCosines, columnPixelSpacing, rowPixelSpacing, rows, columns } = planes[0];
  const [r, c] = [Array.from(rowCosines), Array.from(columnCosines)];
  const normal = [r[1] * c[2] - r[2] * c[1], r[2] * c[0] - r[0] * c[2], r[0] * c[1] - r[1] * c[0]];
  const heights = planes.map(plane => dot(plane.imagePositionPatient, normal));
  const order = heights.map((_, n) => n).sort((m, n) => heights[m] - heights[n]);
  const slices = [];
  const sliceOf = new Array(planes.length);
  for (const n of order) {
    const last = slices[slices.length - 1];
    if (last === undefined || heights[n] - heights[last] > SAME_POSITION_MM) slices.push(n);
    sliceOf[n] = slices.length - 1;
  }
  const origin = planes[slices[0]].imagePositionPatient;
  const end = planes[slices[slices.length - 1]].imagePositionPatient;
  const steps = Math.max(slices.length - 1, 1);
  const across = slices.length > 1
    ? [0, 1, 2].map(n => (end[n] - origin[n]) / steps)
    : normal.map(value => value * (planes[0].sliceThickness || 1));
  const affine = [0, 1, 2].map(n => [r[n] * columnPixelSpacing, c[n] * rowPixelSpacing, across[n], origin[n]]);
  return { grid: { shape: [columns, rows, slices.length], affine }, sliceOf };
}

const FAR = 1e-3;

/**
 * For every voxel of `target` the index of the nearest voxel of `source`, -1 outside it; null for one grid.
 *
 * @param way - from places of the target to those of the source, where these are not the same ones.
 */
export function nearest(source, target, way = null) {
  if (way !== null) return nearestAlong(source, target, way);
  const inverse = inverted(source.affine);
  const [nx, ny, nz] = target.shape;
  const [mx, my, mz] = source.shape;
  const start = times(inverse, times(target.affine, [0, 0, 0]));
  const step = [0, 1, 2].map(axis => {
    const unit = [0, 0, 0];
    unit[axis] = 1;
    return times(inverse, times(target.affine, unit)).map((value, n) => value - start[n]);
  });
  const same = start.every(value => Math.abs(value) < FAR)
    && step.every((s, axis) => s.every((value, n) => Math.abs(value - (n === axis ? 1 : 0)) * target.shape[axis] < FAR))
    && target.shape.every((n, axis) => n === source.shape[axis]);
  if (same) return null;
  const found = new Int32Array(nx * ny * nz);
  let at = 0;
  for (let k = 0; k < nz; k++) {
    for (let j = 0; j < ny; j++) {
      for (let i = 0; i < nx; i++, at++) {
        const x = Math.round(start[0] + i * step[0][0] + j * step[1][0] + k * step[2][0]);
        const y = Math.round(start[1] + i * step[0][1] + j * step[1][1] + k * step[2][1]);
        const z = Math.round(start[2] + i * step[0][2] + j * step[1][2] + k * step[2][2]);
        const inside = x >= 0 && y >= 0 && z >= 0 && x < mx && y < my && z < mz;
        found[at] = inside ? x + mx * (y + my * z) : -1;
      }
    }
  }
  return found;
}

const NODE_MM = 8;

/** As `nearest`, along a smooth way: it is walked from nodes of the target, and is a line between two of them. */
function nearestAlong(source, target, way) {
  const [nx, ny, nz] = target.shape;
  const [mx, my, mz] = source.shape;
  const inverse = inverted(source.affine);
  const steps = [0, 1, 2].map(n => Math.max(1, Math.floor(NODE_MM / Math.hypot(...target.affine.map(row => row[n])))));
  const [cx, cy, cz] = steps.map((step, n) => Math.ceil((target.shape[n] - 1) / step) + 1);
  const nodes = new Float32Array(3 * cx * cy * cz);
  for (let k = 0, at = 0; k < cz; k++) {
    for (let j = 0; j < cy; j++) {
      for (let i = 0; i < cx; i++, at += 3) {
        const place = times(target.affine, [i * steps[0], j * steps[1], k * steps[2]]);
        nodes.set(times(inverse, way(place)), at);
      }
    }
  }
  const found = new Int32Array(nx * ny * nz);
  const row = new Float32Array(3 * cx);
  for (let k = 0, at = 0; k < nz; k++) {
    const [c, w] = before(k, steps[2], cz);
    for (let j = 0; j < ny; j++) {
      const [b, v] = before(j, steps[1], cy);
      for (let n = 0; n < row.length; n++) {
        const value = (d, e) => nodes[3 * cx * ((b + d) + cy * (c + e)) + n] || 0;
        row[n] = (1 - w) * ((1 - v) * value(0, 0) + v * value(1, 0)) + w * ((1 - v) * value(0, 1) + v * value(1, 1));
      }
      for (let i = 0; i < nx; i++, at++) {
        const [a, u] = before(i, steps[0], cx);
        const x = Math.round(row[3 * a] + u * (row[3 * a + 3] - row[3 * a] || 0));
        const y = Math.round(row[3 * a + 1] + u * (row[3 * a + 4] - row[3 * a + 1] || 0));
        const z = Math.round(row[3 * a + 2] + u * (row[3 * a + 5] - row[3 * a + 2] || 0));
        const inside = x >= 0 && y >= 0 && z >= 0 && x < mx && y < my && z < mz;
        found[at] = inside ? x + mx * (y + my * z) : -1;
      }
    }
  }
  return found;
}

/** The node before a voxel, and how far the voxel is from it to the next. */
function before(voxel, step, count) {
  const node = Math.max(Math.min(Math.floor(voxel / step), count - 2), 0);
  return [node, voxel / step - node];
}

export const voxels = grid => grid.shape[0] * grid.shape[1] * grid.shape[2];

/** A mask on another grid, exactly itself where the grids are one; by the indices that `nearest` gives. */
export function resampled(mask, grid, from = nearest(mask.grid, grid)) {
  if (from === null) return { grid, data: mask.data.slice() };
  const data = new Uint8Array(voxels(grid));
  for (let n = 0; n < data.length; n++) if (from[n] >= 0) data[n] = mask.data[from[n]];
  return { grid, data };
}
