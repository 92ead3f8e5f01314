// What the reader does with one study at a time: analyse, correct, submit, go on.

import { CLASSES } from './classes.js';
import { Overlay } from './overlay.js';
import { Server } from './server.js';
import { activate, DEFAULT_RADIUS_MM, setBrushRadius } from './tools.js';

const MODEL = 'mtinet';
const CLICK_MODEL = 'mtinet_clicks';
const WATCH_TRAINING_MS = 2000;
const TRAINING_BEGINS_MS = 20000;
const READER = 'mtinet.reader';
const PHASES = ['pre', 'arterial', 'portal_venous', 'delayed'];
// A mouse that moved further between its button's down and up was no click.
const CLICK_PX = 4;

// The viewer's world is LPS, the server's RAS.
const flipped = ([x, y, z]) => [-x, -y, z];

// Of the study that is open; everything else stays when the next one is opened.
const OF_STUDY = {
  results: null,
  // Whether the results are about the reader's own mask, not the model's.
  ofOwnMask: false,
  selected: 0,
  edited: false,
  diagnosis: '',
  label: null,
  phases: {},
  clicks: { foreground: [], background: [] },
};

export class Session {
  constructor({ servicesManager, commandsManager }) {
    this.services = servicesManager.services;
    this.commands = commandsManager;
    const { userAuthenticationService, displaySetService } = this.services;
    this.server = new Server(() => userAuthenticationService.getAuthorizationHeader() ?? {});
    this.overlay = new Overlay(this.services, () => this.change({ edited: true }));
    this.listeners = new Set();
    this.state = {
      ...OF_STUDY,
      study: null,
      busy: null,
      error: '',
      notice: '',
      tool: 'WindowLevel',
      clicking: null,
      radius: DEFAULT_RADIUS_MM,
      activeClass: CLASSES[0].value,
      reader: localStorage.getItem(READER) ?? '',
      strategies: [],
      strategy: '',
      canClick: false,
      several: false,
      training: null,
    };
    this.stopWatching = new AbortController();
    const { signal } = this.stopWatching;
    const added = displaySetService.EVENTS.DISPLAY_SETS_ADDED;
    const { unsubscribe } = displaySetService.subscribe(added, () => this.opened());
    signal.addEventListener('abort', unsubscribe);
    let down = null;
    window.addEventListener('mousedown', event => { down = event; }, { capture: true, signal });
    window.addEventListener('mouseup', event => {
      const still = down && Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) < CLICK_PX;
      if (this.state.clicking && still && event.button === 0) this.clicked(event);
    }, { capture: true, signal });
    this.learnAboutServer();
    this.opened();
  }

  destroy() {
    this.stopWatching.abort();
    clearTimeout(this.watching);
    this.overlay.destroy();
    this.listeners.clear();
  }

  change(changes) {
    Object.assign(this.state, changes);
    this.listeners.forEach(listener => listener(this.state));
  }

  /** Do something that takes time; what goes wrong is said in words. One at a time. */
  async during(what, work) {
    if (this.state.busy) return;
    this.change({ busy: { what, since: Date.now() }, error: '', notice: '' });
    try {
      await work();
    } catch (error) {
      this.change({ error: error.message });
    } finally {
      this.change({ busy: null });
    }
  }

  get series() {
    const displaySet = this.overlay.displaySet;
    if (displaySet === null) throw new Error('Open an MR series of the study first.');
    return displaySet.SeriesInstanceUID;
  }

  async learnAboutServer() {
    try {
      const { strategies, models } = await this.server.info();
      const names = Object.keys(strategies ?? {});
      this.change({ strategies: names, strategy: names[0] ?? '', canClick: CLICK_MODEL in (models ?? {}) });
      await this.watchTraining();
    } catch (error) {
      this.change({ error: error.message });
    }
  }

  /** A study was opened: what the reader said about it before is shown. */
  async opened() {
    const displaySet = this.services.displaySetService.getActiveDisplaySets().find(each => each.Modality === 'MR');
    const study = displaySet?.StudyInstanceUID ?? null;
    if (study === null || study === this.state.study) return;
    this.overlay.clear();
    this.change({ ...OF_STUDY, study });
    // Fetched and registered by the server while the reader looks.
    this.learning = this.server.phases(study).then(phases => this.learnPhases(study, phases), () => {});
    await this.during('Looking for an earlier label', async () => {
      const label = await this.server.label(study);
      if (label === null || this.state.study !== study) return;
      this.change({ label, diagnosis: label.diagnosis });
      if (!label.has_mask) return;
      const mask = await this.server.labelMask(study, displaySet.SeriesInstanceUID);
      await this.learning;
      if (this.state.study === study) await this.overlay.setMask(mask);
    });
  }

  /** Which series show the phases, and how the server moved these onto the reference. */
  async learnPhases(study, phases) {
    if (this.state.study !== study) return;
    this.change({ phases });
    try {
      const motions = await this.server.motions(study, Object.keys(phases));
      if (this.state.study === study) await this.overlay.setMotions(motions);
    } catch (error) {
      this.change({ error: `The phases' registration did not come: ${error.message}` });
    }
  }

  /** Whether what the reader drew may be lost; asked where it is not submitted. */
  mayDropChanges() {
    return !this.state.edited || window.confirm('Your changes are not submitted yet. Go on without them?');
  }

  async analyse() {
    if (!this.mayDropChanges()) return;
    const first = Object.keys(this.state.phases).length === 0;
    await this.during(first ? 'Fetching the study, registering its phases, analysing' : 'Analysing', async () => {
      const { results, mask } = await this.server.infer(MODEL, this.series);
      await this.show(results, mask);
    });
  }

  async show(results, mask) {
    // Where the mask belongs in the other phases.
    await this.learning;
    await this.overlay.setMask(mask);
    this.change({ results, ofOwnMask: false, selected: 0, edited: false, clicks: OF_STUDY.clicks });
    if (results.lesions?.length) this.select(0);
  }

  select(index) {
    this.change({ selected: index });
    const centre = this.state.results?.lesions[index]?.centroid_mm;
    if (centre) this.overlay.jumpTo(flipped(centre));
  }

  curveOfMask() {
    return this.during('Measuring', async () => {
      const { mask, series } = this.overlay.current();
      const results = await this.server.region(this.state.study, series, mask);
      this.change({ results, ofOwnMask: true, selected: 0 });
    });
  }

  /** All phases of the study beside each other, in the order of their times; or one series again. */
  arrange(several) {
    const { displaySetService, viewportGridService } = this.services;
    const order = each => PHASES.indexOf(this.state.phases[each.SeriesInstanceUID]);
    const shown = displaySetService.getActiveDisplaySets()
      .filter(each => each.Modality === 'MR' && each.StudyInstanceUID === this.state.study)
      .filter(each => Object.keys(this.state.phases).length === 0 || order(each) >= 0)
      .sort((one, other) => order(one) - order(other) || one.SeriesNumber - other.SeriesNumber)
      .slice(0, 4);
    const sides = several && shown.length > 1 ? 2 : 1;
    this.commands.run('setViewportGridLayout', { numRows: sides, numCols: sides });
    const viewports = [...viewportGridService.getState().viewports.keys()].slice(0, sides * sides);
    const first = several ? shown : [this.overlay.displaySet ?? shown[0]];
    viewportGridService.setDisplaySetsForViewports(
      viewports.slice(0, first.length).map((viewportId, n) => ({
        viewportId,
        displaySetInstanceUIDs: [first[n].displaySetInstanceUID],
      }))
    );
    this.change({ several });
  }

  async useTool(tool) {
    if (tool !== 'WindowLevel' && !this.overlay.hasMask) {
      try {
        await this.overlay.setMask(null);
      } catch (error) {
        this.change({ error: error.message });
        return;
      }
    }
    activate(this.commands, tool);
    this.change({ tool, clicking: null });
  }

  setRadius(radius) {
    setBrushRadius(radius);
    this.change({ radius });
  }

  setActiveClass(value) {
    this.overlay.setActiveClass(value);
    this.change({ activeClass: value });
  }

  undo() {
    this.commands.run('undo');
  }

  /** Whether clicks say "lesion" (foreground), "not lesion" (background), or nothing (null). */
  setClicking(clicking) {
    activate(this.commands, 'WindowLevel');
    this.change({ tool: 'WindowLevel', clicking: this.state.clicking === clicking ? null : clicking });
  }

  clicked(event) {
    const element = event.target.closest?.('[data-viewport-uid]');
    const enabled = element && window.cornerstone.getEnabledElement(element);
    const displaySet = this.overlay.displaySet;
    if (!enabled || displaySet === null) return;
    const { left, top } = element.getBoundingClientRect();
    const world = enabled.viewport.canvasToWorld([event.clientX - left, event.clientY - top]);
    this.refine(displaySet, world);
  }

  refine(displaySet, world) {
    const kind = this.state.clicking;
    return this.during('Following your click', async () => {
      const { motions } = this.overlay;
      const series = displaySet.SeriesInstanceUID;
      const clicks = { ...this.state.clicks, [kind]: [...this.state.clicks[kind], { series, world }] };
      // Earlier ones may have been made on other phases.
      const here = each => flipped(motions.between(each.series, series)?.(each.world) ?? each.world);
      const points = Object.fromEntries(Object.entries(clicks).map(([name, made]) => [name, made.map(here)]));
      const current = this.overlay.hasMask ? this.overlay.current(displaySet) : null;
      const { results, mask } = await this.server.infer(
        CLICK_MODEL, series, { ...points, points_in: 'mm' }, current?.mask ?? null
      );
      await this.learning;
      await this.overlay.setMask(mask);
      this.change({ clicks, edited: true, ...(results.lesions ? { results, ofOwnMask: false, selected: 0 } : {}) });
    });
  }

  setReader(reader) {
    localStorage.setItem(READER, reader);
    this.change({ reader });
  }

  submit() {
    return this.during('Submitting', async () => {
      const { study, diagnosis, reader } = this.state;
      const { mask, series } = this.overlay.current();
      // What is drawn from here on is another change.
      this.change({ edited: false });
      try {
        const label = await this.server.saveLabel(study, series, mask, { diagnosis, reader });
        this.change({ label, notice: 'Saved.' });
      } catch (error) {
        this.change({ edited: true });
        throw error;
      }
    });
  }

  setDiagnosis(diagnosis) {
    this.change({ diagnosis });
    return this.during('Saving the diagnosis', async () => {
      const { study, reader } = this.state;
      const label = await this.server.saveDiagnosis(study, { diagnosis, reader });
      this.change({ label, notice: 'Diagnosis saved.' });
    });
  }

  async next() {
    if (!this.mayDropChanges()) return;
    await this.during('Choosing the next study', async () => {
      const chosen = await this.server.next(this.state.strategy);
      if (!chosen.StudyInstanceUID) {
        this.change({ notice: 'Every study has a label.' });
        return;
      }
      // A page of its own: nothing of this study can stay behind.
      window.location.assign(`/viewer/annotate?${new URLSearchParams({ StudyInstanceUIDs: chosen.StudyInstanceUID })}`);
    });
  }

  train() {
    return this.during('Starting the training', async () => {
      await this.server.train();
      // Its process needs a moment to begin.
      await this.watchTraining(TRAINING_BEGINS_MS);
    });
  }

  stopTraining() {
    return this.during('Stopping the training', async () => {
      await this.server.stopTraining();
      await this.watchTraining();
    });
  }

  /** Look at the training until it ends; for so long also at one that has not begun. */
  async watchTraining(patience = 0) {
    clearTimeout(this.watching);
    const training = await this.server.training();
    this.change({ training });
    if (!training.running && patience <= 0) return;
    const left = training.running ? 0 : patience - WATCH_TRAINING_MS;
    this.watching = setTimeout(() => {
      this.watchTraining(left).catch(error => this.change({ error: error.message }));
    }, WATCH_TRAINING_MS);
  }
}
