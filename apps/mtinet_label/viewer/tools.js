// What the mouse does.

const GROUP = 'default';
export const DEFAULT_RADIUS_MM = 6;
const BRUSH = 'CircularBrush';
const ERASER = 'CircularEraser';
const THRESHOLD = 'ThresholdCircularBrushDynamic';

export const EDITING = [
  { name: 'WindowLevel', title: 'Look' },
  { name: BRUSH, title: 'Brush' },
  { name: ERASER, title: 'Eraser' },
  { name: THRESHOLD, title: 'Threshold' },
];

const brush = (toolName, activeStrategy, more = {}) => ({
  toolName,
  parentTool: 'Brush',
  configuration: { activeStrategy, minRadius: 0.5, maxRadius: 60, ...more },
});

export function setUpTools({ toolGroupService, toolbarService }, extensionManager) {
  const { exports } = extensionManager.getModuleEntry('@ohif/extension-cornerstone.utilityModule.tools');
  const { toolNames, Enums } = exports;
  const { Primary, Secondary, Auxiliary, Wheel } = Enums.MouseBindings;
  toolGroupService.createToolGroupAndAddTools(GROUP, {
    active: [
      { toolName: toolNames.WindowLevel, bindings: [{ mouseButton: Primary }] },
      { toolName: toolNames.Pan, bindings: [{ mouseButton: Auxiliary }] },
      { toolName: toolNames.Zoom, bindings: [{ mouseButton: Secondary }] },
      { toolName: toolNames.StackScroll, bindings: [{ mouseButton: Wheel }] },
    ],
    passive: [
      brush(BRUSH, 'FILL_INSIDE_CIRCLE'),
      brush(ERASER, 'ERASE_INSIDE_CIRCLE'),
      // Paints what is about as bright as the tissue under the pointer.
      brush(THRESHOLD, 'THRESHOLD_INSIDE_CIRCLE', { threshold: { isDynamic: true, dynamicRadius: 3 } }),
      { toolName: toolNames.Length },
    ],
  });
  setBrushRadius(DEFAULT_RADIUS_MM);
  setUpToolbar(toolbarService);
}

function setUpToolbar(toolbarService) {
  const tool = (id, icon, label) => ({
    id,
    uiType: 'ohif.toolButton',
    props: {
      icon,
      label,
      commands: { commandName: 'setToolActiveToolbar', commandOptions: { toolGroupIds: [GROUP] } },
      evaluate: 'evaluate.cornerstoneTool',
    },
  });
  const action = (id, icon, label, commands) => ({
    id,
    uiType: 'ohif.toolButton',
    props: { icon, label, commands, evaluate: 'evaluate.action' },
  });
  const layout = {
    id: 'Layout',
    uiType: 'ohif.layoutSelector',
    props: { rows: 2, columns: 4, evaluate: 'evaluate.action' },
  };
  toolbarService.register([
    tool('WindowLevel', 'tool-window-level', 'Window level'),
    tool('Zoom', 'tool-zoom', 'Zoom'),
    tool('Pan', 'tool-move', 'Pan'),
    tool('StackScroll', 'tool-stack-scroll', 'Scroll'),
    tool('Length', 'tool-length', 'Length'),
    action('Reset', 'tool-reset', 'Reset view', 'resetViewport'),
    layout,
  ]);
  toolbarService.updateSection(toolbarService.sections.primary, [
    'WindowLevel', 'Zoom', 'Pan', 'StackScroll', 'Length', 'Reset', 'Layout',
  ]);
}

export function activate(commandsManager, toolName) {
  commandsManager.run('setToolActive', { toolName, toolGroupId: GROUP });
}

export function setBrushRadius(radius) {
  window.cornerstoneTools.utilities.segmentation.setBrushSizeForToolGroup(GROUP, radius);
}
