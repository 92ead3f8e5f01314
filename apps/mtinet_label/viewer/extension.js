// What OHIF loads: the panel, and one session for as long as the mode is open.

import { mountPanel } from './panel.js';
import { phaseHandler } from './phases.js';
import { Session } from './session.js';

// The one element that React has to know; everything in it is ours.
const element = ref => ({
  $$typeof: Symbol.for('react.element'),
  type: 'div',
  key: null,
  ref,
  props: { style: { height: '100%' } },
  _owner: null,
  _store: {},
});

// OHIF may show the panel before it opens the mode.
let session = null;
let place = null;
let unmount = null;

function settle() {
  unmount?.();
  unmount = place && session ? mountPanel(place, session) : null;
}

const mounted = node => {
  place = node;
  settle();
};

export default {
  id: 'mtinet',
  onModeEnter(managers) {
    session = new Session(managers);
    settle();
  },
  onModeExit() {
    session?.destroy();
    session = null;
    settle();
  },
  getSopClassHandlerModule: ({ extensionManager }) => [phaseHandler(extensionManager)],
  getPanelModule: () => [
    {
      name: 'results',
      iconName: 'tab-segmentation',
      iconLabel: 'MTI-Net',
      label: 'MTI-Net',
      component: () => element(mounted),
    },
  ],
};
