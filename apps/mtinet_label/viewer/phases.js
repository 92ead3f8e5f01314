// A series that holds several phases is shown as several: OHIF would make one moving picture of it, which takes no mask
// of ours and cannot be put beside itself.

const MR_IMAGE = '1.2.840.10008.5.1.4.1.1.4';
const STACK = '@ohif/extension-default.sopClassHandlerModule.stack';
const NAME = 'phases';
export const PHASES = `mtinet.sopClassHandlerModule.${NAME}`;

// What may tell the images at one position apart, as in the server's import; all are numbers.
const ORDER = [
  'TemporalPositionIdentifier', 'TriggerTime', 'AcquisitionDate', 'AcquisitionTime', 'AcquisitionNumber',
  'InstanceNumber',
];

const compared = (one, other) =>
  ORDER.map(tag => Number(one[tag] ?? 0) - Number(other[tag] ?? 0)).find(difference => difference) ?? 0;

const placeOf = ({ ImagePositionPatient, ImageOrientationPatient }) =>
  [...(ImagePositionPatient ?? []), ...(ImageOrientationPatient ?? [])].map(value => Number(value).toFixed(2)).join();

/** The images of each phase, the earliest first; one group where not every position repeats as often as the others. */
export function phasesOf(instances) {
  const places = new Map();
  for (const instance of instances) {
    const place = placeOf(instance);
    places.set(place, [...(places.get(place) ?? []), instance]);
  }
  const stacks = [...places.values()];
  const count = stacks[0].length;
  if (count === 1 || stacks.length === 1 || stacks.some(stack => stack.length !== count)) return [instances];
  stacks.forEach(stack => stack.sort(compared));
  return Array.from({ length: count }, (_, phase) => stacks.map(stack => stack[phase]));
}

/** Asks OHIF's own handler of stacks once for each phase; leaves every other series to it. */
export function phaseHandler(extensionManager) {
  return {
    name: NAME,
    sopClassUids: [MR_IMAGE],
    getDisplaySetsFromSeries: instances => {
      const phases = phasesOf(instances);
      if (phases.length === 1) return [];
      const { getDisplaySetsFromSeries } = extensionManager.getModuleEntry(STACK);
      return phases.flatMap((images, n) => getDisplaySetsFromSeries(images).map(displaySet => {
        const words = `${displaySet.SeriesDescription} ${n + 1} of ${phases.length}`.trim();
        displaySet.setAttributes({ SeriesDescription: words, label: words, SOPClassHandlerId: PHASES });
        return displaySet;
      }));
    },
  };
}
