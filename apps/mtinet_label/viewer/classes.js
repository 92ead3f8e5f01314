// The classes of lesions, in the order of their values in a mask; colours that also differ in brightness.

export const CLASSES = [
  { value: 1, name: 'hemangioma', title: 'Hemangioma', colour: [86, 180, 233, 255] },
  { value: 2, name: 'hcc', title: 'HCC', colour: [230, 120, 0, 255] },
];

export const classNamed = name => CLASSES.find(entry => entry.name === name);
export const titleOf = name => classNamed(name)?.title ?? { none: 'No lesion', unknown: 'Unknown' }[name] ?? name;
export const css = colour => `rgb(${colour.slice(0, 3).join(' ')})`;
