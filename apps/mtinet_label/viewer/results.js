// What the model and the kinetic rule say, for reading.

import { CLASSES, classNamed, css, titleOf } from './classes.js';
import { curveChart } from './curve.js';
import { h } from './dom.js';

const number = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : '–');
const percent = value => (Number.isFinite(value) ? `${Math.round(100 * value)} %` : '–');
const GREY = [136, 136, 136];
const swatch = name =>
  h('span', { class: 'mtinet-swatch', style: `background:${css(classNamed(name)?.colour ?? GREY)}` });

const classOf = lesion => (lesion.class === 'unknown' ? lesion.rule_class : lesion.class) ?? 'unknown';

export function lesionList(results, selected, onSelect) {
  if (results.lesions.length === 0) return h('p', {}, 'No lesion found.');
  return h('ol', { class: 'mtinet-lesions', 'data-part': 'lesions' }, results.lesions.map((lesion, index) => {
    const name = lesion.reader_class ?? classOf(lesion);
    const probability = lesion.probabilities?.[name];
    return h('li', {}, h('button', {
      type: 'button', 'aria-pressed': String(index === selected), 'data-class': name, onclick: () => onSelect(index),
    },
    swatch(name),
    h('b', {}, `${lesion.id} ${titleOf(name)}`),
    Number.isFinite(probability) && h('span', {}, percent(probability)),
    h('span', {}, `${number(lesion.volume_ml, 1)} ml`),
    h('span', {}, `${number(lesion.max_diameter_mm, 0)} mm`)));
  }));
}

export function classBar(probabilities) {
  if (!probabilities) return null;
  return h('div', { class: 'mtinet-bar', 'data-part': 'class-bar', role: 'img',
    'aria-label': CLASSES.map(({ name, title }) => `${title} ${percent(probabilities[name])}`).join(', ') },
  CLASSES.map(({ name, title, colour }) => {
    const share = probabilities[name] ?? 0;
    return h('span', { style: `width:${100 * share}%;background:${css(colour)}`, title: `${title} ${percent(share)}` },
      share > 0.3 ? `${title} ${percent(share)}` : '');
  }));
}

const LINES = [
  { key: 'from_mask', title: 'Lesion, under its mask', colour: 'rgb(255 255 255)' },
  { key: 'regressed', title: 'Lesion, as the network regresses it', colour: 'rgb(120 220 160)', dashes: '5 3' },
  { key: 'ring', title: 'Around it', colour: 'rgb(150 150 150)', dashes: '2 2' },
];

export function curve(results, lesion) {
  const lines = LINES.map(line => ({ ...line, values: lesion.enhancement[line.key] }))
    .filter(line => line.values?.some(Number.isFinite));
  const chart = curveChart(results.phases, lines);
  if (chart === null) return h('p', {}, 'There is no curve: too few phases were acquired.');
  return h('figure', { 'data-part': 'curve' }, chart, h('figcaption', {}, lines.map(line =>
    h('span', {}, h('i', { style: `border-top:2px ${line.dashes ? 'dashed' : 'solid'} ${line.colour}` }), line.title))));
}

/** The kinetic rule on one lesion, with the values that it goes by. */
export function ruleText(lesion) {
  const { arterial_hyperenhancement: bright, washout, psr_delayed: ratio } = lesion.enhancement;
  if (lesion.rule_class === null) return 'Kinetic rule: cannot be asked here.';
  const arterial = `${bright ? '' : 'not '}brighter than its surroundings in the arterial phase`;
  const late = washout ? 'washes out' : 'does not wash out';
  const values = `surroundings / lesion, delayed: ${number(ratio, 0)} %; washout above 101.5 %`;
  return `Kinetic rule: ${titleOf(lesion.rule_class)}. It is ${arterial} and ${late} (${values}).`;
}

export function disagreementText(lesion) {
  const network = lesion.class;
  if (!lesion.rule_class || !network || network === 'unknown' || network === lesion.rule_class) return '';
  return `The network says ${titleOf(network)}, the rule ${titleOf(lesion.rule_class)}: look again.`;
}

const degree = bits => (bits < 0.35 ? 'low' : bits < 0.7 ? 'moderate' : 'high');

export function uncertaintyText(uncertainty) {
  if (!uncertainty) return '';
  const parts = [['outline', uncertainty.mask], ['class', uncertainty.class]]
    .filter(([, bits]) => Number.isFinite(bits))
    .map(([what, bits]) => `${what} ${degree(bits)} (${number(bits, 2)} of 1 bit)`);
  if (Number.isFinite(uncertainty.disagreement)) {
    parts.push(`curve and regression differ by ${number(uncertainty.disagreement, 2)}`);
  }
  return parts.length ? `Uncertainty: ${parts.join('; ')}.` : '';
}
