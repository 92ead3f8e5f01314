import { PHASES } from './phases.js';
import { setUpTools } from './tools.js';

const EXTENSION = '/viewer/mtinet/extension.js';
const LAYOUT = '@ohif/extension-default.layoutTemplateModule.viewerLayout';
const SERIES_LIST = '@ohif/extension-default.panelModule.seriesList';
const VIEWPORT = '@ohif/extension-cornerstone.viewportModule.cornerstone';
const STACK = '@ohif/extension-default.sopClassHandlerModule.stack';

// Loaded at run time, an extension is known by its address.
const extensions = {
  '@ohif/extension-default': '^3.0.0',
  '@ohif/extension-cornerstone': '^3.0.0',
  [EXTENSION]: '^1.0.0',
};

const isMagneticResonance = modalities => modalities.split(/[\\/]/).includes('MR');

function modeFactory() {
  return {
    id: 'mtinet-annotate',
    routeName: 'annotate',
    displayName: 'MTI-Net: analyse and correct',
    onModeEnter({ servicesManager, extensionManager }) {
      setUpTools(servicesManager.services, extensionManager);
    },
    onModeExit({ servicesManager }) {
      const { toolGroupService, segmentationService, cornerstoneViewportService } = servicesManager.services;
      toolGroupService.destroy();
      segmentationService.destroy();
      cornerstoneViewportService.destroy();
    },
    validationTags: { study: [], series: [] },
    isValidMode: ({ modalities }) => ({
      valid: isMagneticResonance(modalities),
      description: 'This mode reads four-phase liver MRI.',
    }),
    routes: [
      {
        path: 'annotate',
        layoutTemplate: () => ({
          id: LAYOUT,
          props: {
            leftPanels: [SERIES_LIST],
            rightPanels: ['mtinet.panelModule.results'],
            rightPanelResizable: true,
            viewports: [{ namespace: VIEWPORT, displaySetsToDisplay: [PHASES, STACK] }],
          },
        }),
      },
    ],
    extensions,
    hangingProtocol: 'default',
    sopClassHandlers: [PHASES, STACK],
  };
}

export default { id: 'mtinet-annotate', modeFactory, extensionDependencies: extensions };
