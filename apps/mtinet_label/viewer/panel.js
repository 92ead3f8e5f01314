// The panel at the right: one part under the other in the order of the work.

import { CLASSES, css, titleOf } from './classes.js';
import { h } from './dom.js';
import { classBar, curve, disagreementText, lesionList, ruleText, uncertaintyText } from './results.js';
import { EDITING } from './tools.js';

const DIAGNOSES = ['hemangioma', 'hcc', 'none'];

const part = (title, name, ...children) =>
  h('section', { 'data-section': name }, h('h2', {}, title), ...children);

/** Build the panel in an element; returns a function that takes it away. */
export function mountPanel(root, session) {
  const button = (text, name, onclick) => h('button', { type: 'button', 'data-action': name, onclick }, text);
  const say = h('p', { 'data-part': 'busy', role: 'status' });
  const alert = h('p', { 'data-part': 'error', role: 'alert' });
  const analyse = button('Analyse', 'analyse', () => session.analyse());
  const several = button('All phases', 'several', () => session.arrange(!session.state.several));
  const findings = h('div', { 'data-part': 'findings' });

  const tools = EDITING.map(({ name, title }) => button(title, `tool-${name}`, () => session.useTool(name)));
  const classes = CLASSES.map(({ value, name, title, colour }) => {
    const onchange = () => session.setActiveClass(value);
    const input = h('input', { type: 'radio', name: 'mtinet-class', value, 'data-action': `class-${name}`, onchange });
    const swatch = h('span', { class: 'mtinet-swatch', style: `background:${css(colour)}` });
    return { value, input, label: h('label', {}, input, swatch, title) };
  });
  const radius = h('input', {
    type: 'range', min: 1, max: 40, step: 1, 'data-action': 'radius', 'aria-label': 'Radius of the brush, mm',
    oninput: event => session.setRadius(Number(event.target.value)),
  });
  const radiusText = h('output');
  const undo = button('Undo', 'undo', () => session.undo());
  const measure = button('Curve of my mask', 'region', () => session.curveOfMask());
  const clicks = [['foreground', 'Click: lesion'], ['background', 'Click: not lesion']]
    .map(([kind, text]) => ({ kind, button: button(text, `click-${kind}`, () => session.setClicking(kind)) }));
  const clickRow = h('div', { class: 'mtinet-row' }, clicks.map(click => click.button));

  const diagnosis = h('select', {
    'data-action': 'diagnosis', onchange: event => session.setDiagnosis(event.target.value),
  },
    h('option', { value: '', disabled: true }, 'Not set'),
    DIAGNOSES.map(name => h('option', { value: name }, titleOf(name))));
  const reader = h('input', {
    type: 'text', maxlength: 64, placeholder: 'Your name or initials', 'data-action': 'reader',
    onchange: event => session.setReader(event.target.value.trim()),
  });
  const submit = button('Submit mask', 'submit', () => session.submit());
  const saved = h('p', { 'data-part': 'label' });

  const strategy = h('select', {
    'data-action': 'strategy',
    'aria-label': 'Strategy',
    onchange: event => session.change({ strategy: event.target.value }),
  });
  const next = button('Next study', 'next', () => session.next());
  const train = button('Update model', 'train', () => session.train());
  const stop = button('Cancel', 'stop-training', () => session.stopTraining());
  const progress = h('progress', { max: 1, 'aria-label': 'Training' });
  const progressText = h('p', { 'data-part': 'training' });

  root.classList.add('mtinet');
  root.replaceChildren(
    h('link', { rel: 'stylesheet', href: '/viewer/mtinet/panel.css' }),
    h('p', { class: 'mtinet-small' }, 'Research use only, not a medical device.'),
    alert, say,
    part('Analyse', 'analyse', h('div', { class: 'mtinet-row' }, analyse, several), findings),
    part('Correct', 'correct',
      h('div', { class: 'mtinet-row' }, tools),
      h('div', { class: 'mtinet-row' }, classes.map(entry => entry.label)),
      h('label', {}, 'Radius ', radius, radiusText),
      h('div', { class: 'mtinet-row' }, undo, measure),
      clickRow),
    part('Label', 'label',
      h('label', {}, 'Diagnosis ', diagnosis),
      h('label', {}, 'Reader ', reader),
      submit, saved),
    part('Next', 'next', h('div', { class: 'mtinet-row' }, strategy, next)),
    part('Model', 'model', h('div', { class: 'mtinet-row' }, train, stop), progress, progressText)
  );

  let shownResults;
  let shownSelection;
  let shownStrategies;
  function render(state) {
    const working = state.busy !== null;
    say.textContent = working ? `${state.busy.what} …` : state.notice;
    alert.textContent = state.error;
    alert.hidden = state.error === '';
    for (const element of [analyse, measure, submit, next, train, diagnosis]) {
      element.disabled = working || state.study === null;
    }
    const hasMask = session.overlay.hasMask;
    several.disabled = state.study === null;
    several.setAttribute('aria-pressed', String(state.several));
    measure.disabled ||= !hasMask;
    submit.disabled ||= !hasMask;
    if (state.results !== shownResults || state.selected !== shownSelection) {
      findings.replaceChildren(...(state.results ? findingsOf(state, session) : []));
      [shownResults, shownSelection] = [state.results, state.selected];
    }
    EDITING.forEach(({ name }, n) => {
      tools[n].setAttribute('aria-pressed', String(state.clicking === null && state.tool === name));
    });
    classes.forEach(({ value, input }) => { input.checked = value === state.activeClass; });
    radius.value = state.radius;
    radiusText.textContent = `${state.radius} mm`;
    clickRow.hidden = !state.canClick;
    clicks.forEach(click => click.button.setAttribute('aria-pressed', String(state.clicking === click.kind)));
    diagnosis.value = state.diagnosis;
    if (document.activeElement !== reader) reader.value = state.reader;
    saved.textContent = labelText(state);
    if (state.strategies !== shownStrategies) {
      strategy.replaceChildren(...state.strategies.map(name => h('option', { value: name }, name)));
      shownStrategies = state.strategies;
    }
    strategy.value = state.strategy;
    const { training } = state;
    const learning = Boolean(training?.running);
    train.disabled ||= learning;
    stop.disabled = working || !learning;
    progress.hidden = !learning;
    if (training?.iterations) progress.value = training.iteration / training.iterations;
    else progress.removeAttribute('value');
    progressText.textContent = trainingText(training);
  }

  const clock = setInterval(() => {
    const { busy } = session.state;
    if (busy) say.textContent = `${busy.what} … ${Math.round((Date.now() - busy.since) / 1000)} s`;
  }, 1000);
  session.listeners.add(render);
  render(session.state);
  return () => {
    clearInterval(clock);
    session.listeners.delete(render);
  };
}

function findingsOf({ results, selected, ofOwnMask }, session) {
  const lesion = results.lesions[selected];
  const about = ofOwnMask ? 'Your mask:' : 'The model:';
  const heading = h('p', {}, `${about} `, h('b', { 'data-part': 'class' }, titleOf(results.class)));
  const list = lesionList(results, selected, index => session.select(index));
  const reasons = (results.notes ?? []).map(note => h('p', {}, note));
  const notes = reasons.length ? [h('details', {}, h('summary', {}, 'Notes'), reasons)] : [];
  if (!lesion) return [heading, list, ...notes];
  const differ = disagreementText(lesion);
  return [
    heading,
    classBar(results.probabilities),
    list,
    curve(results, lesion),
    h('p', { 'data-part': 'rule' }, ruleText(lesion)),
    differ && h('p', { 'data-part': 'disagreement', class: 'mtinet-warning' }, differ),
    h('p', { 'data-part': 'uncertainty' }, uncertaintyText(results.uncertainty)),
    ...notes,
  ].filter(Boolean);
}

function labelText({ label, edited }) {
  const changed = edited ? 'Your changes are not submitted yet. ' : '';
  if (!label) return `${changed}No label yet.`;
  const who = label.reader ? ` by ${label.reader}` : '';
  const when = label.saved_at ? ` at ${new Date(label.saved_at).toLocaleString()}` : '';
  return `${changed}Label version ${label.version}${who}${when}.`;
}

const STATES = { preparing: 'Preparing the studies', comparing: 'Comparing the new weights with the old ones' };

function trainingText(training) {
  if (!training || training.state === 'none') return '';
  if (!training.running) return training.message;
  if (training.state in STATES) return `${STATES[training.state]} …`;
  const loss = Number.isFinite(training.loss) ? `, loss ${training.loss.toFixed(3)}` : '';
  const left = Number.isFinite(training.eta_s) ? `, about ${Math.ceil(training.eta_s)} s left` : '';
  return `Epoch ${training.epoch} of ${training.epochs}${loss}${left}`;
}
