// The reader's mask, drawn over whichever series is displayed and edited in any of them.

import { CLASSES } from './classes.js';
import { gridOf, nearest, resampled, toVoxel, toWorld, voxels } from './grid.js';
import { Motions } from './motion.js';

const PREFIX = 'mtinet:';
const AFTER_EDIT_MS = 120;
const AFTER_BLACK_MS = 250;

/**
 * One labelmap for each displayed series, all showing one mask.
 *
 * A series' labelmap lies on its own voxels. What the reader changes in one is carried to the others voxel by voxel,
 * so that nothing but the change is ever resampled twice. Phases of different breath-holds show a lesion at different
 * places of the scanner; the motions that the server found lead from one to the other.
 */
export class Overlay {
  /** @param services - OHIF's. @param onEdit - called after the reader changed the mask. */
  constructor(services, onEdit) {
    this.services = services;
    this.onEdit = onEdit;
    this.layers = new Map();
    this.followed = new WeakSet();
    this.seen = new Map();
    this.colouring = new Map();
    // A place of the reference.
    this.here = null;
    this.base = null;
    this.lastEdited = null;
    this.motions = new Motions();
    this.ways = new WeakMap();
    this.activeClass = CLASSES[0].value;
    this.cornerstone = window.cornerstone;
    this.tools = window.cornerstoneTools;
    const { segmentationService, viewportGridService, cornerstoneViewportService } = services;
    // Of every viewport, whenever it comes: the events do not bubble, but they can be caught on their way down.
    this.ended = new AbortController();
    const { STACK_NEW_IMAGE, IMAGE_RENDERED } = this.cornerstone.Enums.Events;
    const caught = { capture: true, signal: this.ended.signal };
    window.addEventListener(STACK_NEW_IMAGE, ({ detail }) => this.isOver(detail.viewportId) || this.refresh(), caught);
    window.addEventListener(IMAGE_RENDERED, ({ detail }) => this.colour(detail.viewportId), caught);
    this.subscriptions = [
      segmentationService.subscribe(segmentationService.EVENTS.SEGMENTATION_DATA_MODIFIED, ({ segmentationId }) => {
        this.noticed(segmentationId);
      }),
      ...[viewportGridService.EVENTS.GRID_STATE_CHANGED, viewportGridService.EVENTS.VIEWPORTS_READY].map(event =>
        viewportGridService.subscribe(event, () => this.refresh())
      ),
      cornerstoneViewportService.subscribe(cornerstoneViewportService.EVENTS.VIEWPORT_DATA_CHANGED, () =>
        this.refresh()
      ),
    ];
  }

  destroy() {
    this.ended.abort();
    this.subscriptions.forEach(({ unsubscribe }) => unsubscribe());
    [this.pending, ...this.colouring.values()].forEach(timer => clearTimeout(timer));
    this.clear();
  }

  clear() {
    for (const layer of this.layers.values()) this.services.segmentationService.remove(layer.id);
    this.layers.clear();
    this.base = null;
    this.lastEdited = null;
    this.motions = new Motions();
  }

  get hasMask() {
    return this.base !== null;
  }

  /** The display set in the active viewport, or null. */
  get displaySet() {
    const { viewportGridService } = this.services;
    const { viewports, activeViewportId } = viewportGridService.getState();
    return this.displaySetIn(viewports.get(activeViewportId));
  }

  displaySetIn(viewport) {
    const uid = viewport?.displaySetInstanceUIDs?.[0];
    const displaySet = uid && this.services.displaySetService.getDisplaySetByUID(uid);
    return displaySet?.Modality === 'MR' && displaySet.imageIds?.length ? displaySet : null;
  }

  geometry(displaySet) {
    return gridOf(displaySet.imageIds.map(id => this.cornerstone.metaData.get('imagePlaneModule', id)));
  }

  /** Learn how the phases moved; a mask that is there already is shown where it belongs in each of them. */
  async setMotions(motions) {
    if (this.hasMask) this.collect();
    this.motions = motions;
    this.ways = new WeakMap();
    if (!this.hasMask) return;
    const { grid, data, series } = this.lastEdited ?? this.base;
    const edited = this.lastEdited;
    await this.setMask({ grid, data: data.slice(), series });
    this.lastEdited = edited;
  }

  /** For every voxel of `target` the index of the nearest voxel of `source` in the body. */
  indices(source, target) {
    const way = this.motions.between(target.series, source.series);
    if (way === null) return nearest(source.grid, target.grid);
    const known = this.ways.get(target.grid) ?? new WeakMap();
    if (!known.has(source.grid)) known.set(source.grid, nearest(source.grid, target.grid, way));
    this.ways.set(target.grid, known);
    return known.get(source.grid);
  }

  /** Show another mask; an empty one on the active series where it is null. */
  async setMask(mask) {
    const displaySet = this.displaySet;
    if (mask === null && displaySet === null) throw new Error('Open a series of the study first.');
    this.base = mask ?? this.empty(displaySet);
    this.lastEdited = null;
    for (const layer of this.layers.values()) {
      layer.data = resampled(this.base, layer.grid, this.indices(this.base, layer)).data;
      this.write(layer);
    }
    await this.refresh();
  }

  empty(displaySet) {
    const { grid } = this.geometry(displaySet);
    return { grid, data: new Uint8Array(voxels(grid)), series: displaySet.SeriesInstanceUID };
  }

  /** The mask as the reader left it, and the series on whose voxels it lies: one that is wanted, or the last edited. */
  current(wanted = null) {
    clearTimeout(this.pending);
    this.collect();
    const shown = displaySet => this.layers.get(displaySet?.displaySetInstanceUID);
    const layer = shown(wanted) ?? this.lastEdited ?? shown(this.displaySet);
    if (layer === undefined) throw new Error('There is no mask yet.');
    return { mask: { grid: layer.grid, data: layer.data.slice() }, series: layer.series };
  }

  /** Phases are read by comparison: every viewport shows the slice that the reader looks at in one of them. */
  follow() {
    const { viewportGridService, cornerstoneViewportService } = this.services;
    for (const [viewportId, { displaySetInstanceUIDs }] of viewportGridService.getState().viewports) {
      const viewport = cornerstoneViewportService.getCornerstoneViewport(viewportId);
      const element = viewport?.element;
      const displaySet = this.displaySetIn({ displaySetInstanceUIDs });
      if (!element || displaySet === null) continue;
      if (this.here?.study === displaySet.StudyInstanceUID) this.showSlice(viewportId, displaySet, this.here.world);
      if (this.followed.has(element)) continue;
      this.followed.add(element);
      element.addEventListener('mouseenter', () => { this.hovered = viewportId; });
      element.addEventListener(this.cornerstone.Enums.Events.STACK_NEW_IMAGE, ({ detail }) => {
        this.showed(viewportId, detail.imageId);
      });
      this.showed(viewportId, viewport.getCurrentImageId?.());
    }
  }

  /** Among several viewports, one may draw a labelmap without its colours, black; it is drawn again until it has them. */
  colour(viewportId) {
    const { viewport } = this.cornerstone.getEnabledElementByViewportId(viewportId) ?? {};
    const black = (viewport?.getActors() ?? []).some(({ actor, representationUID }) =>
      String(representationUID).startsWith(PREFIX) && !actor.getProperty().getRGBTransferFunction(0)
    );
    if (!black || this.colouring.has(viewportId)) return;
    this.colouring.set(viewportId, setTimeout(() => {
      this.colouring.delete(viewportId);
      this.tools.utilities.segmentation.triggerSegmentationRender(viewportId);
      this.colour(viewportId);
    }, AFTER_BLACK_MS));
  }

  giveColours(viewportId) {
    const { segmentationService } = this.services;
    for (const { segmentationId } of segmentationService.getSegmentationRepresentations(viewportId)) {
      if (!segmentationId.startsWith(PREFIX)) continue;
      for (const { value, colour } of CLASSES) {
        segmentationService.setSegmentColor(viewportId, segmentationId, value, colour);
      }
    }
  }

  /** Whether a viewport shows a mask. */
  isOver(viewportId) {
    return this.services.segmentationService.getSegmentationRepresentations(viewportId).length > 0;
  }

  showed(viewportId, imageId) {
    const { viewports, activeViewportId } = this.services.viewportGridService.getState();
    const displaySet = this.displaySetIn(viewports.get(viewportId));
    const image = displaySet?.imageIds.indexOf(imageId) ?? -1;
    if (image < 0) return;
    const uid = displaySet.displaySetInstanceUID;
    const came = this.seen.get(viewportId) !== uid;
    this.seen.set(viewportId, uid);
    const known = this.here?.study === displaySet.StudyInstanceUID;
    const { grid, sliceOf } = this.geometry(displaySet);
    if (known && sliceOf[image] === this.sliceAt(displaySet, this.here.world)) return;
    const leads = viewportId === (viewports.has(this.hovered) ? this.hovered : activeViewportId);
    if (known && (came || !leads)) {
      // OHIF may still be busy with the series' first image.
      setTimeout(() => this.showSlice(viewportId, displaySet, this.here.world));
    } else {
      const [columns, rows] = grid.shape;
      const centre = toWorld(grid, [(columns - 1) / 2, (rows - 1) / 2, sliceOf[image]]);
      this.jumpTo(this.motions.toReference(displaySet.SeriesInstanceUID, centre));
    }
  }

  /** Put the mask over every displayed series; one call at a time. */
  refresh() {
    this.refreshing = (this.refreshing ?? Promise.resolve()).then(() => this.draw()).catch(error => {
      console.error('MTI-Net overlay:', error);
    });
    return this.refreshing;
  }

  async draw() {
    this.follow();
    if (this.base === null) return;
    const { viewportGridService, segmentationService, cornerstoneViewportService } = this.services;
    for (const [viewportId, viewport] of viewportGridService.getState().viewports) {
      const displaySet = this.displaySetIn(viewport);
      // A mask that is put over a viewport before its first image stays black.
      if (displaySet === null || !cornerstoneViewportService.getCornerstoneViewport(viewportId)?.csImage) continue;
      const layer = this.layers.get(displaySet.displaySetInstanceUID) ?? (await this.addLayer(displaySet));
      const shown = segmentationService.getSegmentationRepresentations(viewportId);
      for (const { segmentationId } of shown) {
        if (segmentationId.startsWith(PREFIX) && segmentationId !== layer.id) {
          segmentationService.removeRepresentationsFromViewport(viewportId, { segmentationId });
        }
      }
      if (!shown.some(({ segmentationId }) => segmentationId === layer.id)) {
        await segmentationService.addSegmentationRepresentation(viewportId, {
          segmentationId: layer.id,
          type: this.tools.Enums.SegmentationRepresentations.Labelmap,
        });
        this.giveColours(viewportId);
      }
      segmentationService.setActiveSegmentation(viewportId, layer.id);
      segmentationService.setActiveSegment(layer.id, this.activeClass);
    }
  }

  async addLayer(displaySet) {
    const { segmentationService } = this.services;
    const { grid, sliceOf } = this.geometry(displaySet);
    const id = await segmentationService.createLabelmapForDisplaySet(displaySet, {
      segmentationId: `${PREFIX}${displaySet.displaySetInstanceUID}`,
      label: 'MTI-Net',
      segments: Object.fromEntries(
        CLASSES.map(({ value, title }) => [value, { segmentIndex: value, label: title, active: value === 1 }])
      ),
    });
    const { imageIds } = segmentationService.getSegmentation(id).representationData.Labelmap;
    const layer = { id, grid, sliceOf, imageIds, series: displaySet.SeriesInstanceUID };
    layer.data = resampled(this.base, grid, this.indices(this.base, layer)).data;
    this.layers.set(displaySet.displaySetInstanceUID, layer);
    this.write(layer);
    return layer;
  }

  image(imageId) {
    return this.cornerstone.cache.getImage(imageId).voxelManager;
  }

  write(layer) {
    const size = layer.grid.shape[0] * layer.grid.shape[1];
    layer.imageIds.forEach((imageId, n) => {
      const slice = layer.sliceOf[n];
      const pixels = this.image(imageId);
      const values = pixels.getScalarData();
      values.set(layer.data.subarray(slice * size, (slice + 1) * size));
      pixels.setScalarData(values);
    });
    this.writing = true;
    this.tools.segmentation.triggerSegmentationEvents.triggerSegmentationDataModified(layer.id);
    this.writing = false;
  }

  noticed(segmentationId) {
    if (this.writing || !segmentationId.startsWith(PREFIX)) return;
    clearTimeout(this.pending);
    this.pending = setTimeout(() => this.collect() && this.onEdit(), AFTER_EDIT_MS);
  }

  /** Take what the reader changed since the last time, and carry it to the other series. */
  collect() {
    let edited = false;
    for (const layer of this.layers.values()) {
      const changed = this.read(layer);
      if (changed === null) continue;
      edited = true;
      this.lastEdited = layer;
      // Images at one position show one slice.
      if (layer.imageIds.length > layer.grid.shape[2]) this.write(layer);
      for (const other of [this.base, ...this.layers.values()]) {
        if (other === layer) continue;
        const carried = carry(layer, changed, other, this.indices(layer, other));
        if (carried && other !== this.base) this.write(other);
      }
    }
    return edited;
  }

  /** Bring `layer.data` up to date; a flag for each voxel that changed, or null. */
  read(layer) {
    const size = layer.grid.shape[0] * layer.grid.shape[1];
    let changed = null;
    layer.imageIds.forEach((imageId, n) => {
      const offset = layer.sliceOf[n] * size;
      const values = this.image(imageId).getScalarData();
      for (let at = 0; at < size; at++) {
        if (values[at] !== layer.data[offset + at] && !changed?.[offset + at]) {
          changed ??= new Uint8Array(layer.data.length);
          changed[offset + at] = 1;
          layer.data[offset + at] = values[at];
        }
      }
    });
    return changed;
  }

  setActiveClass(value) {
    this.activeClass = value;
    for (const layer of this.layers.values()) this.services.segmentationService.setActiveSegment(layer.id, value);
  }

  /** Show the slice through a point of the patient, LPS in mm of the reference, in every viewport. */
  jumpTo(world) {
    for (const [viewportId, viewport] of this.services.viewportGridService.getState().viewports) {
      const displaySet = this.displaySetIn(viewport);
      if (displaySet === null) continue;
      this.here = { study: displaySet.StudyInstanceUID, world };
      this.showSlice(viewportId, displaySet, world);
    }
  }

  showSlice(viewportId, displaySet, world) {
    const viewport = this.services.cornerstoneViewportService.getCornerstoneViewport(viewportId);
    const { sliceOf } = this.geometry(displaySet);
    const slice = this.sliceAt(displaySet, world);
    const shown = viewport?.getImageIds?.().indexOf(displaySet.imageIds[sliceOf.indexOf(slice)]) ?? -1;
    if (shown < 0 || shown === viewport.getCurrentImageIdIndex()) return;
    // cornerstone's own jump scrolls by a difference, which adds up while a series is still coming in.
    if (viewport.setImageIdIndex) viewport.setImageIdIndex(shown);
    else this.cornerstone.utilities.jumpToSlice(viewport.element, { imageIndex: shown });
  }

  /** The slice of a series that shows a place of the reference. */
  sliceAt(displaySet, world) {
    const { grid } = this.geometry(displaySet);
    const place = this.motions.toSeries(displaySet.SeriesInstanceUID, world);
    return Math.min(Math.max(Math.round(toVoxel(grid, place)[2]), 0), grid.shape[2] - 1);
  }
}

function carry(source, changed, target, from) {
  let any = false;
  for (let n = 0; n < target.data.length; n++) {
    const at = from === null ? n : from[n];
    if (at >= 0 && changed[at] && target.data[n] !== source.data[at]) {
      target.data[n] = source.data[at];
      any = true;
    }
  }
  return any;
}
