// Signal against time: the lesion's own curve, what the regression head says, and the tissue around it.

import { svg } from './dom.js';

const [WIDTH, HEIGHT] = [300, 170];
const EDGE = { left: 40, right: 10, top: 10, bottom: 38 };
const SHORT = { pre: 'pre', arterial: 'art', portal_venous: 'port', delayed: 'del' };

const steps = (low, high) => {
  const rough = (high - low) / 3 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(n => n * power).find(n => n >= rough);
  const first = Math.ceil(low / step) * step;
  return Array.from({ length: Math.floor((high - first) / step) + 1 }, (_, n) => first + n * step);
};

/**
 * @param phases - name, time_s and available of each.
 * @param curves - title, values (raw units, null where there is none), colour and dashes of each.
 */
export function curveChart(phases, curves) {
  const shown = phases.map((phase, n) => ({ ...phase, n })).filter(phase => phase.available);
  const values = curves.flatMap(curve => shown.map(({ n }) => curve.values?.[n])).filter(Number.isFinite);
  if (shown.length < 2 || values.length === 0) return null;
  const times = shown.map(phase => phase.time_s);
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const [low, high] = [Math.min(0, ...values), Math.max(...values) * 1.08 || 1];
  const x = time => EDGE.left + ((time - first) / (last - first || 1)) * (WIDTH - EDGE.left - EDGE.right);
  const y = value => HEIGHT - EDGE.bottom - ((value - low) / (high - low)) * (HEIGHT - EDGE.top - EDGE.bottom);
  const grid = steps(low, high).map(value => [
    svg('line', { x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(value), y2: y(value), class: 'grid' }),
    svg('text', { x: EDGE.left - 5, y: y(value) + 3, 'text-anchor': 'end' }, `${value}`),
  ]);
  const below = (time, line, text) =>
    svg('text', { x: x(time), y: HEIGHT - EDGE.bottom + 1 + 12 * line, 'text-anchor': 'middle' }, text);
  const ticks = shown.map(({ name, time_s }) => [
    svg('line', { x1: x(time_s), x2: x(time_s), y1: EDGE.top, y2: HEIGHT - EDGE.bottom, class: 'grid' }),
    below(time_s, 1, SHORT[name] ?? name),
    below(time_s, 2, `${Math.round(time_s)} s`),
  ]);
  const lines = curves.filter(curve => curve.values?.some(Number.isFinite)).map(curve => {
    const known = shown.filter(({ n }) => Number.isFinite(curve.values[n]));
    const points = known.map(({ n, time_s }) => [x(time_s), y(curve.values[n])]);
    const words = known.map(({ n, name }) => `${name} ${curve.values[n].toFixed(0)}`).join(', ');
    return svg('g', { 'data-curve': curve.title },
      svg('polyline', {
        points: points.map(point => point.map(v => v.toFixed(1)).join(',')).join(' '),
        fill: 'none', stroke: curve.colour, 'stroke-width': 2, 'stroke-dasharray': curve.dashes ?? false,
      }),
      points.map(([cx, cy]) => svg('circle', { cx, cy, r: 2.5, fill: curve.colour })),
      svg('title', {}, `${curve.title}: ${words}`)
    );
  });
  const viewBox = `0 0 ${WIDTH} ${HEIGHT}`;
  const label = 'Signal against time';
  return svg('svg', { viewBox, class: 'mtinet-curve', role: 'img', 'aria-label': label }, grid, ticks, lines);
}
