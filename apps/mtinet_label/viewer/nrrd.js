// Masks as NRRD files: uint8, attached header, raw or gzip.

const LPS = 'left-posterior-superior';
const FLIPS = { [LPS]: [1, 1, 1], LPS: [1, 1, 1], 'right-anterior-superior': [-1, -1, 1], RAS: [-1, -1, 1] };
const BYTES = ['uchar', 'unsigned char', 'uint8', 'uint8_t'];

const through = async (bytes, stream) =>
  new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());

const vector = text => text.replace(/[()]/g, '').split(',').map(Number);

/** The mask in a file, with its grid in LPS. */
export async function readNrrd(buffer) {
  const bytes = new Uint8Array(buffer);
  const end = bytes.findIndex((byte, n) => byte === 10 && bytes[n + 1] === 10);
  const [magic, ...lines] = new TextDecoder('latin1').decode(bytes.subarray(0, Math.max(end, 0))).split('\n');
  if (!magic.startsWith('NRRD')) throw new Error('The server sent a mask that is no NRRD file.');
  const fields = Object.fromEntries(
    lines.filter(line => line.includes(': ')).map(line => {
      const at = line.indexOf(': ');
      return [line.slice(0, at).toLowerCase(), line.slice(at + 2).trim()];
    })
  );
  const shape = fields.sizes.split(/\s+/).map(Number);
  const flip = FLIPS[fields.space];
  if (!BYTES.includes(fields.type) || shape.length !== 3 || flip === undefined) {
    throw new Error('The server sent a mask that is not three-dimensional uint8 in the patient\'s space.');
  }
  const stored = bytes.subarray(end + 2);
  const packed = ['gzip', 'gz'].includes(fields.encoding);
  const data = packed ? await through(stored, new DecompressionStream('gzip')) : stored.slice();
  if (data.length !== shape[0] * shape[1] * shape[2]) throw new Error('The server sent a mask that is cut short.');
  const directions = fields['space directions'].match(/\([^)]*\)/g).map(vector);
  const origin = vector(fields['space origin']);
  const affine = [0, 1, 2].map(n => [...directions.map(direction => direction[n]), origin[n]].map(v => v * flip[n]));
  return { grid: { shape, affine }, data };
}

/** A file of the mask, as a Blob. */
export async function writeNrrd({ grid, data }) {
  const column = n => `(${grid.affine.map(row => row[n]).join(',')})`;
  const header = [
    'NRRD0004',
    'type: uchar',
    'dimension: 3',
    `space: ${LPS}`,
    `sizes: ${grid.shape.join(' ')}`,
    `space directions: ${column(0)} ${column(1)} ${column(2)}`,
    'kinds: domain domain domain',
    'encoding: gzip',
    `space origin: ${column(3)}`,
  ].join('\n');
  return new Blob([`${header}\n\n`, await through(data, new CompressionStream('gzip'))]);
}
