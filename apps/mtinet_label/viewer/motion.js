// How the server moved the phases onto the reference: places of the patient, LPS in mm, there and back.

import { toVoxel } from './grid.js';

const FLIP = [-1, -1, 1];

/** A field of displacement as the server has it, RAS; the same beyond its outermost nodes as there. */
class Field {
  constructor({ shape, affine, vectors }) {
    this.shape = shape;
    this.grid = { affine: [0, 1, 2].map(row => affine[row].map(value => value * FLIP[row])) };
    this.vectors = vectors;
  }

  /** A place, moved. */
  at(place) {
    const [nx, ny, nz] = this.shape;
    const index = toVoxel(this.grid, place).map((value, n) => Math.min(Math.max(value, 0), this.shape[n] - 1));
    const low = [nx, ny, nz].map((size, n) => Math.min(Math.floor(index[n]), size - 2));
    const moved = [...place];
    for (let corner = 0; corner < 8; corner++) {
      const high = [corner >> 2, (corner >> 1) & 1, corner & 1];
      const weight = high.reduce((w, up, n) => w * (up ? index[n] - low[n] : 1 - index[n] + low[n]), 1);
      const node = ((low[0] + high[0]) * ny + low[1] + high[1]) * nz + low[2] + high[2];
      for (let n = 0; n < 3; n++) moved[n] += weight * FLIP[n] * this.vectors[3 * node + n];
    }
    return moved;
  }
}

/** The ways between the reference and the series of a study; a series without one lies as the reference does. */
export class Motions {
  /** @param fields - by SeriesInstanceUID what the server said. */
  constructor(fields = {}) {
    this.ways = new Map(
      Object.entries(fields)
        .filter(([, { to_phase }]) => to_phase !== null)
        .map(([series, field]) => [series, [new Field(field.to_phase), new Field(field.to_reference)]])
    );
  }

  toSeries(series, place) {
    return this.ways.get(series)?.[0].at(place) ?? place;
  }

  toReference(series, place) {
    return this.ways.get(series)?.[1].at(place) ?? place;
  }

  /** From places of one series to those of another; null where they are the same. */
  between(from, to) {
    if (from === to || !(this.ways.has(from) || this.ways.has(to))) return null;
    return place => this.toSeries(to, this.toReference(from, place));
  }
}
