// The routes of the MTI-Net server that the viewer asks.

import { Motions } from './motion.js';
import { readNrrd, writeNrrd } from './nrrd.js';

const PLAIN = {
  401: 'Log in first.',
  403: 'Your account may not do this.',
  404: 'The server does not know this study, or not yet.',
  413: 'The mask is larger than the server takes.',
  429: 'A training runs already.',
  502: 'The PACS does not answer.',
  503: 'The server is busy. Try again in a moment.',
};

/** What the server refused, in words for the reader. */
export class ServerError extends Error {
  constructor(status, detail) {
    super(detail || PLAIN[status] || `The server answered with an error (${status}).`);
    this.status = status;
  }
}

const detailOf = async response => {
  try {
    const { detail } = await response.json();
    return typeof detail === 'string' ? detail : '';
  } catch {
    return '';
  }
};

const json = body => ({ headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

const form = fields => {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof Blob) body.append(name, value, `${name}.nrrd`);
    else if (value) body.append(name, value);
  }
  return { body };
};

export class Server {
  /** @param authorization - gives the headers of who is logged in. */
  constructor(authorization) {
    this.authorization = authorization;
  }

  async ask(method, path, { headers, ...options } = {}) {
    let response;
    try {
      response = await fetch(path, { method, headers: { ...this.authorization(), ...headers }, ...options });
    } catch {
      throw new ServerError(0, 'The server does not answer. Is it still running?');
    }
    if (!response.ok) throw new ServerError(response.status, await detailOf(response));
    return response;
  }

  async json(method, path, options) {
    return (await this.ask(method, path, options)).json();
  }

  study(id, what) {
    return `/mtinet/studies/${encodeURIComponent(id)}/${what}`;
  }

  /** Run a model: its results, and its mask, which lies on the voxels of the series. */
  async infer(model, series, params = {}, mask = null) {
    const query = new URLSearchParams({ image: series, output: 'all' });
    const label = mask && (await writeNrrd(mask));
    const request = form({ params: JSON.stringify({ result_extension: '.nrrd', ...params }), label });
    const response = await this.ask('POST', `/infer/${model}?${query}`, request);
    if (!response.headers.get('content-type').startsWith('multipart/')) {
      return { results: await response.json(), mask: null };
    }
    const answer = await response.formData();
    const file = answer.get('image') ?? answer.get('file');
    const answered = { ...(await readNrrd(await file.arrayBuffer())), series };
    return { results: JSON.parse(answer.get('params')), mask: answered };
  }

  /** Curve and kinetic rule of the reader's own mask. */
  async region(study, series, mask) {
    return this.json('POST', this.study(study, 'region'), form({ mask: await writeNrrd(mask), series }));
  }

  /** The study's series with the phase that each shows; the server fetches and registers it for that. */
  async phases(study) {
    const { series } = await this.json('GET', `/mtinet/studies/${encodeURIComponent(study)}`);
    return Object.fromEntries(series.map(({ id, phase }) => [id, phase]));
  }

  /** How the server moved the phases that some series show onto the reference. */
  async motions(study, series) {
    const asked = series.map(async id => [
      id, await this.json('GET', `${this.study(study, 'displacement')}?${new URLSearchParams({ series: id })}`)
    ]);
    return new Motions(Object.fromEntries(await Promise.all(asked)));
  }

  /** What a reader said last about a study; null while nobody has. */
  async label(study) {
    return (await this.json('GET', this.study(study, 'label'))).label;
  }

  /** The reader's last mask, on the voxels of the series. */
  async labelMask(study, series) {
    const file = await this.ask('GET', `${this.study(study, 'label/mask')}?${new URLSearchParams({ series })}`);
    return { ...(await readNrrd(await file.arrayBuffer())), series };
  }

  async saveLabel(study, series, mask, { diagnosis, reader }) {
    const request = form({ mask: await writeNrrd(mask), series, diagnosis, reader });
    return (await this.json('PUT', this.study(study, 'label'), request)).label;
  }

  async saveDiagnosis(study, { diagnosis, reader }) {
    return (await this.json('PUT', this.study(study, 'diagnosis'), json({ diagnosis, reader }))).label;
  }

  /** Models, strategies and trainers that the server has. */
  info() {
    return this.json('GET', '/info/');
  }

  next(strategy) {
    return this.json('POST', `/activelearning/${encodeURIComponent(strategy)}`, json({}));
  }

  train() {
    return this.json('POST', '/mtinet/training', json({}));
  }

  stopTraining() {
    return this.ask('DELETE', '/mtinet/training');
  }

  /** How far the training is, or how the last one ended. */
  training() {
    return this.json('GET', '/mtinet/training');
  }
}
